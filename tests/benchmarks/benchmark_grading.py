"""What a submission costs with `course grade` and its box, and with plain `nbgrader autograde`.

    .venv/bin/python tests/benchmarks/benchmark_grading.py               # about half an hour
    .venv/bin/python tests/benchmarks/benchmark_grading.py 6 --plain 2   # does it work?

Both grade the same Keras exercise, for classes of 30, 100 and 300 unless told otherwise. A class is
made of the exercise's right answers, other right answers and typical mistakes. Plain
nbgrader executes each notebook in a fresh kernel, whose check cells run the same probes on the
public cases; ours on the hidden ones, too. Ours begins each class from nothing: start of the
workers and of the boxes, the key, and the grade book count. The cost is wall time times processes
that work at a time, by submission. What each further notebook costs is told from two classes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated

import nbformat
import typer

from course.grading import release
from course.grading.tasks import load_tasks

OURS = """
import json, resource, sys, time
from course.grading.batch import grade
submissions, out, workers = sys.argv[1:]
start = time.perf_counter()
outcome = grade(submissions, out, workers=int(workers))
wall = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({
    "wall": wall, "peak": peak, "graded": len(outcome.graded), "states": outcome.states,
}))
"""


def hand_in(folder, name, count):
    """Notebooks of `count` students, where nbgrader puts them."""
    released = release.release_notebook(release.SOLUTIONS / name)
    tasks = load_tasks(release.SOLUTIONS / name)
    right = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in release.keys.read_notebook(release.SOLUTIONS / name).cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }
    for number in range(count):
        for cell in released.cells:
            task = tasks.get(release.keys.grade_id(cell))
            if task is not None:
                variants = [
                    right[task.id],
                    *task.alternatives.values(),
                    *(mistake.source for mistake in task.mistakes),
                ]
                cell.source = variants[number % len(variants)]
        place = folder / f"student{number:03}" / name
        place.mkdir(parents=True)
        nbformat.write(released, place / f"{name}.ipynb")


def plain(scratch, name, count):
    """Wall seconds of `nbgrader autograde`."""
    course = scratch / "plain"
    source = course / "source" / name
    source.parent.mkdir(parents=True)
    release.release(
        [name], source.parent
    )  # the public checks beside the notebook, as students have them
    shutil.copy(release.SOLUTIONS / name / f"{name}.ipynb", source)
    hand_in(course / "submitted", name, count)
    environment = os.environ | {
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    }

    def nbgrader(command, *options):
        log = course / f"{command}.log"
        with log.open("w") as file:
            subprocess.run(
                [sys.executable, "-m", "nbgrader", command, name, *options],
                cwd=course,
                env=environment,
                stdout=file,
                stderr=file,
                check=False,
            )
        return log.read_text()

    nbgrader("generate_assignment")
    start = perf_counter()
    # Its 4 seconds are too few for the import of Keras on a busy machine: it would give up, and be
    # faster.
    log = nbgrader("autograde", "--Execute.iopub_timeout=600", "--Execute.timeout=600")
    wall = perf_counter() - start
    graded = len(list(course.glob("autograded/*/*/*.ipynb")))
    if graded != count:
        raise SystemExit(f"nbgrader graded {graded} of {count}:\n{log[-3000:]}")
    return wall


def ours(scratch, name, count, workers):
    """What `course grade` used, from nothing to the summary."""
    folder = scratch / f"ours_{count}"
    hand_in(folder / "submitted", name, count)
    found = subprocess.run(
        [sys.executable, "-c", OURS, folder / "submitted", folder / "out", str(workers)],
        cwd=folder,
        text=True,
        capture_output=True,
    )
    match = re.search(r"^\{.*\}$", found.stdout, re.M)
    if not match:
        raise SystemExit(found.stderr[-3000:])
    result = json.loads(match[0])
    assert result["graded"] == count, result
    return result


def main(
    sizes: Annotated[list[int] | None, typer.Argument(help="Sizes of the classes.")] = None,
    plain_count: Annotated[
        int,
        typer.Option(
            "--plain",
            help="How many notebooks plain nbgrader grades; its cost is the same for each.",
        ),
    ] = 10,
    workers: Annotated[
        int, typer.Option(help="Of ours; plain nbgrader grades one notebook at a time.")
    ] = 2,
    name: Annotated[str, typer.Option(help="The exercise.")] = "05_build_a_cnn",
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        wall = plain(Path(scratch), name, plain_count) / plain_count
        print(f"plain nbgrader autograde, {plain_count} notebooks: {wall:.2f} s each", flush=True)
        before = None
        for size in sizes or [30, 100, 300]:
            used = ours(Path(scratch), name, size, workers)
            busy = used["wall"] * workers / size
            print(
                f"course grade, class of {size}: {used['wall']:.0f} s on {workers} workers,"
                f" {busy:.2f} s of a worker each, {wall / busy:.1f} times below plain nbgrader;"
                f" driver's peak {used['peak'] / 1e6:.0f} MB; {used['states']}",
                flush=True,
            )
            if before:
                each = (used["wall"] - before[1]) * workers / (size - before[0])
                print(
                    f"  each notebook beyond {before[0]}: {each:.2f} s of a worker,"
                    f" {wall / each:.1f} times below",
                    flush=True,
                )
            before = size, used["wall"]


if __name__ == "__main__":
    typer.run(main)
