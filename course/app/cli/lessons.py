"""Commands for readers and lecturers: check, lab, present."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from course.app.cli.common import ROOT, app, console

FIRST_LESSON = "notebooks/00_start_here.ipynb"
# Windows cannot fork; on macOS, forks of a process with many libraries may crash.
WARM_SYSTEM = sys.platform == "linux"


@app.command()
def check() -> None:
    """Say for each thing the course needs whether it is there, and what to do if it is not."""
    # Imports nothing heavy before it is asked to.
    from course.app.environment import FAIL, check_table

    # In a notebook (lesson 00) the moving sign would leave a widget behind.
    with nullcontext() if console.is_jupyter else console.status("Looking at this machine ..."):
        table = check_table()
    console.print(table)
    if any(result.status == FAIL for result in table.results):
        raise typer.Exit(1)


def lab_command(options: list[str], root: Path, lesson: str = FIRST_LESSON) -> list[str]:
    """Return the command that opens JupyterLab on a lesson.

    Parameters
    ----------
    options : list of str
        Options for `jupyter lab`; they come last, so that they win.
    root : pathlib.Path
        Folder that holds `notebooks/`; JupyterLab shows all of it.
    lesson : str
        Path of the notebook in that folder.

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
        f"--LabApp.default_url=/lab/tree/{lesson}",
        # Defaults that a reader can change. Without them the first thing a newcomer sees is a
        # question about Jupyter news; `--LabApp.news_url=None` does not take it away.
        f"--LabApp.app_settings_dir={Path(__file__).parents[1] / 'lab_settings'}",
        # It begins to import Keras for the kernels to come, where `lab_environment` asks for that.
        *(["--ServerApp.jpserver_extensions={'course.app.warm': True}"] if WARM_SYSTEM else []),
        *options,
    ]


def lab_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of JupyterLab, in which kernels start warm (course/app/warm.py).

    Parameters
    ----------
    environment : mapping of str to str
        What the user has set; it wins.

    Returns
    -------
    dict of str to str
        A copy, with the choice of the kernels' provisioner where that is tested and installed.
    """
    # An installation older than the provisioner does not know it, and then no kernel would start.
    if not WARM_SYSTEM or not entry_points(
        group="jupyter_client.kernel_provisioners", name="course-warm"
    ):
        return dict(environment)
    # The first kernel waits for the import that began with JupyterLab: a second one beside it takes
    # longer.
    return {
        "JUPYTER_DEFAULT_PROVISIONER_NAME": "course-warm",
        "COURSE_WARM_SECONDS": "60",
        **environment,
    }


@app.command(
    add_help_option=False,  # `course lab --help` shows the options of `jupyter lab`
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the first lesson; options (--no-browser, --port, ...) go to it."""
    root = ROOT
    if not (root / FIRST_LESSON).is_file():
        console.print(
            f"The lessons are not here: there is no {FIRST_LESSON} beside the package `course`. "
            "Clone the whole course and run `python3 run.py` in it.",
            style="red",
        )
        raise typer.Exit(1)
    command = lab_command(context.args, root)
    if os.name != "nt":
        # Ctrl-C and signals then reach JupyterLab alone.
        os.execve(command[0], command, lab_environment(os.environ))
    # Windows cannot replace a process: wait, and leave Ctrl-C to JupyterLab.
    signal.signal(signal.SIGINT, lambda *_: None)
    raise typer.Exit(subprocess.call(command))


def find_lessons(numbers: list[str]) -> list[Path]:
    """The notebooks of these lessons, such as 02; of all lessons if no number is given."""
    lessons = {
        path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    }
    if unknown := [number for number in numbers if number.zfill(2) not in lessons]:
        console.print(
            f"There is no lesson {unknown[0]!r}: say one of {', '.join(lessons)}.",
            style="red",
            markup=False,
        )
        raise typer.Exit(1)
    return [lessons[number.zfill(2)] for number in numbers] or list(lessons.values())


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def present(
    context: typer.Context,
    lesson: Annotated[str, typer.Argument(help="Number of the lesson, such as 02.")],
) -> None:
    """Present a lesson inside JupyterLab, with working sliders.

    F4 runs all cells, arrows turn; options go to JupyterLab.
    """
    (path,) = find_lessons([lesson])
    if not find_spec("jupyterlab_slideshow"):
        console.print(
            "To present inside JupyterLab you need jupyterlab-slideshow. Say: uv sync --inexact"
            ' --extra site   or: pip install -e ".[site]"',
            style="red",
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(1)
    command = lab_command(context.args, ROOT, path.relative_to(ROOT).as_posix())
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is JupyterLab's
    with TemporaryDirectory() as folder:  # the settings must not outlive the lecture
        write_settings(Path(folder))
        code = subprocess.call(
            command, env=lab_environment(os.environ | {"JUPYTERLAB_SETTINGS_DIR": folder})
        )
    raise typer.Exit(code)


def write_settings(folder: Path) -> None:
    """Write JupyterLab's settings for a lecture: present at once, in large type; F4 runs all."""
    large = {"code-font-size": "18px", "content-font-size1": "20px"}
    # The menu, which has this command, is hidden.
    run_all = {"command": "notebook:run-all-cells", "keys": ["F4"], "selector": "body"}
    settings = {
        "jupyterlab-slideshow/plugin": {"active": True},
        "@jupyterlab/apputils-extension/themes": {"overrides": large},
        "@jupyterlab/shortcuts-extension/shortcuts": {"shortcuts": [run_all]},
    }
    for name, values in settings.items():
        path = folder / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values), encoding="utf-8")
