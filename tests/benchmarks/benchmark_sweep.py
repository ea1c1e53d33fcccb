"""How close a sweep comes to (seconds of pure training) / workers, and how close papermill does.

    .venv/bin/python tests/benchmarks/benchmark_sweep.py [--epochs 20] [--workers 2]

Both execute the same eight runs of the template, with one thread a run: first plain papermill, one
run after the other, each in a fresh kernel; then `course experiment`. The efficiency of either is
the sum of the seconds that its own runs spent in training steps, divided by the number of workers
and by the wall time. Run it on a machine that does nothing else.
"""

import json
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated

import papermill
import typer

from course.lab import plan, results, sweep


def plain(trials, folder):
    """Wall seconds, and seconds of training, of plain papermill: one run after the other."""
    template = plan.TEMPLATES / f"{trials[0].template}.ipynb"
    start, training = perf_counter(), 0.0
    for trial in trials:
        place = folder / trial.key
        place.mkdir(parents=True)
        papermill.execute_notebook(
            template,
            place / "notebook.ipynb",
            {"parameters": trial.to_dict(), "save_to": str(place)},
            kernel_name="python3",
            progress_bar=False,
            cwd=place,
        )
        training += json.loads((place / results.ROW).read_text())["metrics"]["seconds"]
    return perf_counter() - start, training


def swept(trials, folder, workers):
    """The same of a sweep, the start of its workers included."""
    start = perf_counter()
    outcome = sweep.sweep(trials, folder, workers=workers)
    wall = perf_counter() - start
    assert len(outcome.done) == len(trials), outcome.failed
    return wall, float(results.load(trials, folder)[0]["seconds"].sum())


def main(
    epochs: Annotated[
        int, typer.Option(help="Epochs of each run; the experiment itself has 60.")
    ] = 20,
    workers: Annotated[int, typer.Option(help="Runs at a time in the sweep.")] = 2,
) -> None:
    os.environ.update(sweep.KERNEL_SETTINGS)  # the same threads and the same arithmetic for both
    os.environ["JUPYTER_DEFAULT_PROVISIONER_NAME"] = "local-provisioner"
    trials = plan.trials("eight", seeds=1, parameters={"epochs": epochs})
    with tempfile.TemporaryDirectory() as scratch:
        results = {"plain papermill": (*plain(trials, Path(scratch) / "plain"), 1)}
        del os.environ["JUPYTER_DEFAULT_PROVISIONER_NAME"]
        results["course experiment"] = (*swept(trials, Path(scratch) / "swept", workers), workers)
    for name, (wall, training, count) in results.items():
        print(
            f"{name:<18} {wall:6.0f} s wall, {training:6.0f} s of training, {count} at a time: "
            f"efficiency {training / count / wall:.2f}"
        )
    print(
        f"The sweep is {results['plain papermill'][0] / results['course experiment'][0]:.2f} times"
        " as fast."
    )


if __name__ == "__main__":
    typer.run(main)
