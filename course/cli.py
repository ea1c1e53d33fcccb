"""The command `course`: check this machine, open the lessons, run the experiments."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
console = Console()

FIRST_LESSON = "notebooks/00_start_here.ipynb"
WARM_SYSTEM = (
    sys.platform == "linux"
)  # Windows cannot fork; on macOS, forks of a process with many libraries may crash


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
        f"--LabApp.app_settings_dir={Path(__file__).with_name('lab_settings')}",
        # It begins to import Keras for the kernels to come, where `lab_environment` asks for that.
        *(["--ServerApp.jpserver_extensions={'course.warm': True}"] if WARM_SYSTEM else []),
        *options,
    ]


def lab_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of JupyterLab, in which kernels start with Keras imported
    (course/warm.py).

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
        os.execve(
            command[0], command, lab_environment(os.environ)
        )  # Ctrl-C and signals then reach JupyterLab alone
    # Windows cannot replace a process: wait, and leave Ctrl-C to JupyterLab.
    signal.signal(signal.SIGINT, lambda *_: None)
    raise typer.Exit(subprocess.call(command))


ROOT = Path(__file__).resolve().parent.parent


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


@app.command()
def slides(
    lessons: Annotated[
        list[str] | None, typer.Argument(help="Numbers of lessons, such as 02 04; none: all.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the decks.")] = ROOT / "build" / "slides",
    pdf: Annotated[
        bool,
        typer.Option(
            "--pdf", help="Print each deck into a PDF file, too; needs Chromium, Chrome or Edge."
        ),
    ] = False,
) -> None:
    """Make a deck of each lesson: one HTML file that needs no network. Its keys: arrows, s
    (speaker), c (contents), f (full screen).
    """
    from course import slides as decks

    try:
        for path in find_lessons(lessons or []):
            made = decks.write(path, out)
            console.print(str(made), soft_wrap=True, markup=False, highlight=False)
            if pdf:
                console.print(
                    str(decks.print_pdf(made)), soft_wrap=True, markup=False, highlight=False
                )
    except decks.SlidesError as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False)
        raise typer.Exit(1) from None


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def present(
    context: typer.Context,
    lesson: Annotated[str, typer.Argument(help="Number of the lesson, such as 02.")],
) -> None:
    """Present a lesson inside JupyterLab, with working sliders: F4 runs all cells, arrows turn.
    Options go to JupyterLab.
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
    with TemporaryDirectory() as folder:
        write_settings(Path(folder))
        code = subprocess.call(
            command, env=lab_environment(os.environ | {"JUPYTERLAB_SETTINGS_DIR": folder})
        )
    raise typer.Exit(code)


def write_settings(folder: Path) -> None:
    """Write JupyterLab's settings for a lecture, which must not outlive it: it presents at once, in
    large type, and F4 runs all.
    """
    large = {"code-font-size": "18px", "content-font-size1": "20px"}
    run_all = {
        "command": "notebook:run-all-cells",
        "keys": ["F4"],
        "selector": "body",
    }  # the menu is hidden
    settings = {
        "jupyterlab-slideshow/plugin": {"active": True},
        "@jupyterlab/apputils-extension/themes": {"overrides": large},
        "@jupyterlab/shortcuts-extension/shortcuts": {"shortcuts": [run_all]},
    }
    for name, values in settings.items():
        path = folder / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values), encoding="utf-8")


@app.command()
def site(
    out: Annotated[
        Path, typer.Option(help="Folder of the site; an earlier one in it is replaced.")
    ] = ROOT / "build" / "site",
    repository: Annotated[
        str | None,
        typer.Option(
            help="Its address on GitHub, for links to Binder and Colab. [default: of CITATION.cff]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build the course as a web site, with a cheat sheet in HTML and PDF: pages that need no
    network, and no kernel.
    """
    from course import site as sites
    from course.publish import address
    from course.slides import SlidesError

    try:
        sites.build(out, address.repository() if repository is None else repository.rstrip("/"))
    except (sites.SiteError, SlidesError) as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False)
        raise typer.Exit(1) from None
    console.print(str(out / "index.html"), soft_wrap=True, markup=False, highlight=False)


@app.command()
def colab() -> None:
    """Give each lesson the cell that fetches the course on Google Colab, from the address in
    CITATION.cff.
    """
    from course.publish import address

    for path in address.write_colab_cells():
        console.print(path.relative_to(ROOT).as_posix(), highlight=False)
    console.print("Every lesson is as CITATION.cff asks.")


Out = Annotated[
    Path | None, typer.Option(help="Folder of the results; by default results/ of the course.")
]


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="Which: `course results` lists them.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            help="key=value: change a parameter of the template in every arm; repeatable.",
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="fashion_mnist, digits or auto.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many repetitions of each arm.")] = None,
    epochs: Annotated[int | None, typer.Option(help="The same as -p epochs=...")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only this arm; repeatable.")] = None,
    small: Annotated[
        bool, typer.Option("--small", help="The version that takes about a minute.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time on this machine; by default one a core."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")
    ] = None,
    out: Out = None,
) -> None:
    """Run an experiment: what is missing of it. Stop it when you like; run again, it goes on."""
    from course import experiments

    with _explained():
        changes = dict(_parameter(text) for text in parameter or [])
        if epochs is not None:
            changes["epochs"] = epochs
        runs = experiments.plan(
            name, dataset=dataset, seeds=seeds, small=small, parameters=changes, arms=arm
        )
        if changes or dataset:
            with console.status("Checking the parameters ..."):
                experiments.check(runs)
        outcome = run_sweep(runs, out, workers, scheduler)
    if outcome.failed:
        raise typer.Exit(1)


def run_sweep(runs, out, workers, scheduler):
    """Run a sweep with a progress bar, and say what came of it."""
    from course import sweeps

    out = out or sweeps.RESULTS
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    columns += [TextColumn("left:"), _TimeLeft()]
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(runs[0].experiment, total=len(runs), end=None)

        def report(run, error, outcome):
            progress.update(
                task,
                completed=len(outcome.done) + len(outcome.failed),
                end=monotonic() + outcome.left,
            )
            if not console.is_terminal or error:
                state = f"failed: {error}" if error else "done"
                progress.console.print(
                    f"{run.arm}, seed {run.seed}: {state}",
                    style="red" if error else None,
                    markup=False,
                )

        def begin(outcome):
            progress.update(task, total=len(runs) - len(outcome.present))

        outcome = sweeps.sweep(
            runs, out, workers=workers, scheduler=scheduler, report=report, begin=begin
        )
    folder = Path(out) / runs[0].experiment
    console.print(
        f"{len(outcome.done)} runs done, {len(outcome.present)} were there already,"
        f" {len(outcome.failed)} failed; {outcome.seconds:.0f} s. Results:"
        f" {folder / 'runs.parquet'}",
        soft_wrap=True,
        markup=False,
    )
    for run, error in outcome.failed:
        places = [folder / "failed" / run.key / sweeps.NOTEBOOK, folder / "logs" / f"{run.key}.log"]
        where = next((place for place in places if place.exists()), folder / "logs")
        console.print(
            f"  {run.arm}, seed {run.seed}: {error}\n    {where}",
            soft_wrap=True,
            markup=False,
            style="red",
        )
    return outcome


class _TimeLeft(ProgressColumn):
    """Counts down to the end that the last finished run made likely."""

    def render(self, task):
        end = task.fields["end"]
        return Text(
            "-" if end is None else str(timedelta(seconds=max(0, round(end - monotonic()))))
        )


@app.command()
def results(
    name: Annotated[str | None, typer.Argument(help="Of which experiment; none: the list.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Metric to show; repeatable.")] = None,
    out: Out = None,
) -> None:
    """Show what the experiments found: mean over seeds with its 95 % interval."""
    from course import experiments, sweeps

    out = out or sweeps.RESULTS
    with _explained():
        if name is None:
            table = Table("experiment", "runs", "question")
            for key, one in experiments.EXPERIMENTS.items():
                rows = sweeps.collect(out / key)
                table.add_row(key, f"{len(rows)}", one.question)
        else:
            rows = sweeps.table(name, out)
            table = sweeps.summary(rows, metric or ["accuracy", "loss", "gap_loss", "seconds"])
            table = _rich(table, name)
    console.print(table)


def _rich(frame, title):
    table = Table(*map(str, frame.columns), title=title)
    for row in frame.itertuples(index=False):
        table.add_row(*map(Text, map(str, row)))  # as Text: an interval's brackets are no markup
    return table


def _parameter(text):
    """A pair (name, value) from "name=value"; the value as JSON where it is that, else as text."""
    from course.experiments import PlanError

    name, equals, value = text.partition("=")
    if not equals:
        raise PlanError(f"-p {text!r} has no value: write -p name=value, such as -p epochs=3.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


@contextmanager
def _explained():
    """One plain sentence instead of a traceback, for what the user can mend."""
    from course.data import DataError
    from course.experiments import PlanError
    from course.sweeps import SweepError

    try:
        yield
    except (PlanError, SweepError, DataError) as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Stopped. What is finished is kept; the same command goes on from there.")
        raise typer.Exit(130) from None


@app.command()
def claims(
    claim: Annotated[
        str | None, typer.Argument(help="Id of a claim to test here and now, in about a minute.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Run all experiments of the ledger: overnight, or on a cluster."
        ),
    ] = False,
    dataset: Annotated[str | None, typer.Option(help="fashion_mnist, digits or auto.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many repetitions.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time on this machine; by default one a core."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")
    ] = None,
    out: Out = None,
) -> None:
    """Show the ledger of claims and verdicts; with an id, test that claim on a small scale."""
    from course import experiments, ledger, sweeps

    with _explained():
        if everything:
            for name in experiments.EXPERIMENTS:
                runs = experiments.plan(name, dataset=dataset, seeds=seeds)
                # What took a GPU is not computed again, for hours, because this machine has another
                # backend.
                missing = sweeps.computed_nowhere(runs, out or sweeps.RESULTS)
                if missing:
                    run_sweep(missing, out, workers, scheduler)
                else:
                    console.print(f"{name}: all {len(runs)} runs are there.", markup=False)
        if claim is None:
            console.print(_rich(ledger.table(ledger.look_up(out or sweeps.RESULTS)), "The ledger"))
            return
        one = ledger.find(claim)
        console.print(f"{one.sentence} ({one.source})", markup=False)
        live = out or sweeps.RESULTS / "live"
        groups = ledger.runs_of(one, small=True, seeds=seeds, dataset=dataset)
        for runs in groups:
            run_sweep(runs, live, workers, scheduler)
        entry = ledger.judge_runs(one, groups, live)
        if entry.missing:
            raise sweeps.SweepError(entry.missing)
        console.print(_rich(ledger.details(entry), one.id))
        (committed,) = [line for line in ledger.look_up() if line.claim is one]
        console.print(
            f"Here, on a small scale: {entry.verdict}. In the ledger: {committed.verdict}.",
            style="bold",
        )
        if one.known:
            console.print(one.known, markup=False)


@app.command()
def release(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Which assignments, such as 02_batch_norm; by default all."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; say what differs from exercises/ as it is."),
    ] = False,
    solutions: Annotated[
        Path | None,
        typer.Option(help="Folder of the assignments; by default solutions/ of the course."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the students' versions; by default exercises/ of the course."),
    ] = None,
) -> None:
    """Make the students' version of the exercises, without answers and hidden checks (for
    instructors).
    """
    with _explained_grading():
        from course.grading import release as releases

        solutions, out = solutions or releases.SOLUTIONS, out or releases.EXERCISES
        names = names or releases.assignments(solutions)
        if not names:
            raise ValueError(
                f"There are no assignments in {solutions}: each is a folder with a notebook and a"
                " grader.py."
            )
        differences = []
        for name in names:
            with console.status(f"{name} ..."):
                found = (
                    releases.drift(name, out, solutions)
                    if check
                    else releases.release([name], out, solutions)
                )
            differences += found if check else []
            if not check:
                console.print(f"{found[0]}", soft_wrap=True, markup=False)
    for difference in differences:
        console.print(difference, style="red", soft_wrap=True, markup=False)
    if differences:
        console.print(
            "The release is not what the solutions make now: `course release`.", soft_wrap=True
        )
        raise typer.Exit(1)
    if check:
        console.print(f"Up to date: {', '.join(names)}.", soft_wrap=True, markup=False)


@app.command()
def grade(
    submissions: Annotated[
        Path, typer.Argument(help="nbgrader's submitted/, a flat folder of notebooks, or a zip.")
    ],
    assignment: Annotated[
        str | None, typer.Option(help="Only this one; also what files are of that do not say it.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Notebooks at a time on this machine; by default one a core."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds that a notebook may take.")
    ] = None,
    unboxed: Annotated[
        bool, typer.Option("--unboxed", help="DANGER: run students' code with all that you may do.")
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Where to: an nbgrader course folder, made if it is not there.")
    ] = Path("grades"),
    regrade: Annotated[
        bool, typer.Option("--regrade", help="Grade also what is graded and has not changed.")
    ] = False,
    solutions: Annotated[
        Path | None,
        typer.Option(help="Folder of the assignments; by default solutions/ of the course."),
    ] = None,
) -> None:
    """Grade submissions (for instructors). Stop it when you like; run again, it goes on."""
    with _explained_grading():
        from course.grading import grade as grading

        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        ]
        columns += [TextColumn("left:"), _TimeLeft()]
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("grading", total=None, end=None)

            def begin(outcome):
                progress.update(task, total=outcome.total - len(outcome.present))

            def report(result, outcome):
                done = len(outcome.graded) + len(outcome.failed)
                progress.update(task, completed=done, end=monotonic() + outcome.left)
                if result["trouble"]:
                    where = f"{result['student']}, {result['assignment']}"
                    progress.console.print(
                        f"{where}: {result['trouble']}", style="red", markup=False, soft_wrap=True
                    )

            outcome = grading.grade(
                submissions,
                out,
                assignment=assignment,
                solutions=solutions or grading.SOLUTIONS,
                workers=workers,
                scheduler=scheduler,
                timeout=timeout,
                boxed=not unboxed,
                again=regrade,
                begin=begin,
                report=report,
            )
    for name, count in outcome.left_out.items():
        console.print(
            f"{count} left out: {name} is no assignment in solutions/.",
            soft_wrap=True,
            markup=False,
        )
    states = ", ".join(f"{count} {state}" for state, count in outcome.states.items())
    failed = (
        f", {len(outcome.failed)} failed by the grader (run this again)" if outcome.failed else ""
    )
    console.print(
        f"{len(outcome.graded)} graded, {len(outcome.present)} were graded already{failed}:"
        f" {states}; {outcome.seconds:.0f} s. Grades: {out / 'grades.csv'}, overview:"
        f" {out / 'summary.html'}",
        soft_wrap=True,
        markup=False,
        style="red" if outcome.failed else None,
    )
    if outcome.failed:
        raise typer.Exit(1)


@contextmanager
def _explained_grading():
    """The same for grading, which needs packages of its own."""
    try:
        with _explained():
            yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(("nbgrader", "course.grading")):
            raise
        console.print(
            "This needs nbgrader, which the course installs only where exercises are graded: use"
            ' `python3 run.py grade ...`, or `pip install -e ".[grading]"`.',
            style="red",
            soft_wrap=True,
        )
        raise typer.Exit(1) from None
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app(prog_name="course")
