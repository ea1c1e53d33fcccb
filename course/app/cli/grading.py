"""Commands for instructors: release and grade."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from course.app.cli.common import Scheduler, app, console, explained, fail, progress_bar

Solutions = Annotated[
    Path | None,
    typer.Option(help="Folder of the assignments; by default solutions/ of the course."),
]


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
    solutions: Solutions = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the students' versions; by default exercises/ of the course."),
    ] = None,
) -> None:
    """Make the students' version of the exercises, without answers (for instructors)."""
    with explained_grading():
        from course.grading import release as releases

        solutions, out = solutions or releases.SOLUTIONS, out or releases.EXERCISES
        names = names or releases.assignments(solutions)
        if not names:
            fail(
                f"There are no assignments in {solutions}: each is a folder with a notebook and a"
                " grader.py."
            )
        differences = []
        for name in names:
            with console.status(f"{name} ..."):
                if check:
                    differences += releases.drift(name, out, solutions)
                else:
                    (folder,) = releases.release([name], out, solutions)
                    console.print(f"{folder}", soft_wrap=True, markup=False)
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
def prove(
    name: Annotated[str, typer.Argument(help="Which assignment, such as 02_batch_norm.")],
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Which of its tasks; by default all.")
    ] = None,
    said: Annotated[
        bool, typer.Option("--said", help="Show also what the student is told.")
    ] = False,
    solutions: Solutions = None,
) -> None:
    """Test a grader: right answers pass, each mistake is recognised (for instructors)."""
    with explained_grading():
        from course.grading import prove as proof
        from course.grading import release as releases

        if proof.show((solutions or releases.SOLUTIONS) / name, tasks, said):
            raise typer.Exit(1)


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
    scheduler: Scheduler = None,
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
    solutions: Solutions = None,
) -> None:
    """Grade submissions (for instructors). Stop it when you like; run again, it goes on."""
    with explained_grading():
        from course.grading import batch as grading

        with progress_bar() as progress:
            task = progress.add_task("grading", total=None)

            def begin(outcome):
                progress.update(task, total=outcome.total - len(outcome.present))

            def report(graded, outcome):
                done = len(outcome.graded) + len(outcome.failed)
                progress.update(task, completed=done)
                if graded.failed:
                    where = f"{graded.student}, {graded.assignment}"
                    progress.console.print(
                        f"{where}: {graded.trouble}", style="red", markup=False, soft_wrap=True
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
    _print_outcome(outcome, out)
    if outcome.failed:
        raise typer.Exit(1)


def _print_outcome(outcome, out):
    """What a batch did: a line for what is special, and one for all."""
    for name, count in outcome.left_out.items():
        console.print(
            f"{count} left out: {name} is no assignment in solutions/.",
            soft_wrap=True,
            markup=False,
        )
    for reason, count in Counter(reason for *_, reason in outcome.unread).items():
        console.print(f"{count} graded again: {reason}", soft_wrap=True, markup=False)
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


@contextmanager
def explained_grading():
    """One sentence for what the user can mend; grading needs packages of its own, too."""
    try:
        with explained():
            yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(("nbgrader", "course.grading")):
            raise
        fail(
            "This needs nbgrader, which the course installs only where exercises are graded: use"
            ' `python3 run.py grade ...`, or `pip install -e ".[grading]"`.'
        )
