"""The command `course`: check this machine, open the lessons."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
console = Console()

FIRST_LESSON = "notebooks/00_start_here.ipynb"


@app.callback()
def course() -> None:
    """Batch normalization and dropout with Keras 3: a course you can run."""


@app.command()
def check() -> None:
    """Say for each thing the course needs whether it is there, and what to do if it is not."""
    from course.environment import FAIL, check_table  # imports nothing heavy before it is asked to

    with console.status("Looking at this machine ..."):
        table = check_table()
    console.print(table)
    if any(result.status == FAIL for result in table.results):
        raise typer.Exit(1)


def lab_command(options: list[str], root: Path) -> list[str]:
    """Return the command that opens JupyterLab on the first lesson.

    Parameters
    ----------
    options : list of str
        Options for `jupyter lab`; they come last, so that they win.
    root : pathlib.Path
        Folder that holds `notebooks/`; JupyterLab shows all of it.

    Returns
    -------
    list of str
        The command, which runs with this very Python.
    """
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={root}",
        # Also in the address that --no-browser prints, which a file name as argument is not.
        f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}",
        # Defaults that a reader can change. Without them the first thing a newcomer sees is a
        # question about Jupyter news; `--LabApp.news_url=None` does not take it away.
        f"--LabApp.app_settings_dir={Path(__file__).with_name('lab_settings')}",
        *options,
    ]


@app.command(
    add_help_option=False,  # `course lab --help` shows the options of `jupyter lab`
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the first lesson; options (--no-browser, --port, ...) go to it."""
    root = Path(__file__).resolve().parent.parent
    if not (root / FIRST_LESSON).is_file():
        console.print(
            f"The lessons are not here: there is no {FIRST_LESSON} beside the package `course`. "
            "Clone the whole course and run `python3 run.py` in it.",
            style="red",
        )
        raise typer.Exit(1)
    command = lab_command(context.args, root)
    if os.name != "nt":
        os.execv(command[0], command)  # Ctrl-C and signals then reach JupyterLab alone
    # Windows cannot replace a process: wait, and leave Ctrl-C to JupyterLab.
    signal.signal(signal.SIGINT, lambda *_: None)
    raise typer.Exit(subprocess.call(command))


if __name__ == "__main__":
    app(prog_name="course")
