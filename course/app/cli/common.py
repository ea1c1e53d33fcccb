"""What the commands share: the application, the console, the progress bar, errors in a sentence."""

from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The command `course`: check this machine, open the lessons, run the experiments.",
)
console = Console()
ROOT = Path(__file__).resolve().parents[3]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")
]


def fail(sentence, markup=False):
    """Print what went wrong and end the command."""
    console.print(str(sentence), style="red", soft_wrap=True, markup=markup)
    raise typer.Exit(1) from None


def progress_bar():
    """A bar that counts what is done, and says how long it took and will take."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=24 * 3600,  # seconds: by the pace since the start, for long runs
    )


@contextmanager
def explained():
    """One plain sentence instead of a traceback, for what the user can mend."""
    from course.data import DataError
    from course.lab.errors import UserError

    try:
        yield
    except (UserError, DataError) as error:
        fail(error)
    except KeyboardInterrupt:
        console.print("Stopped. What is finished is kept; the same command goes on from there.")
        raise typer.Exit(130) from None
