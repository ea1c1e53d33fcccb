"""How many dense runs an hour a sweep trains, against one notebook a run and plain papermill.

    .venv/bin/python tests/benchmarks/benchmark_seeds.py [--quick] [--workers 2]

All on this machine, in one go: (1) plain papermill, one run of the template after the other, each
in a fresh kernel, on TensorFlow, which may use all cores; (2) one notebook a run on TensorFlow,
`workers` at a time, in warm kernels of one thread: what `course experiment` did in the first
edition; (3) what it does now, all seeds of an arm in one execution, on JAX, of 8 to 256 seeds. The
run is that of the ledger's dense experiments: 2 x 256, batch norm and dropout, 15 epochs, measured
after each; on 2,000 images, or with --digits on 1,000 small ones. Ratios are of runs an hour. Run
it on a machine that does nothing else; on two cores it takes about four minutes; with --quick,
which has fewer runs of each, about two.

2,000 images are some 70 GFLOP a run, half of them to measure: (3) is near the speed at which a core
multiplies matrices. The small images show what a run costs besides.
"""

import os
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

import papermill
import typer

from course.lab import plan, sweep
from course.lab.trial import TEMPLATES

NAME, ARM = "two by two", "more images, both, rate 0.2"
RUN = {"epochs": 15, "measure_every": 1, "measure": []}
PLAIN, ONE_A_RUN, AT_ONCE = 3, 8, (8, 16, 64, 256)  # runs of (1), (2) and (3)
QUICK = 1, 4, (8, 32)


def trials(seeds, digits=False):
    name, size = (f"{NAME} digits", {}) if digits else (NAME, {"train_size": 2_000})
    return plan.trials(name, arms=[ARM], seeds=seeds, parameters=RUN | size)


def plain(seeds, folder, digits):
    """Wall seconds of plain papermill, one run after the other."""
    start = perf_counter()
    for one in trials(seeds, digits):
        parameters = {name: value for name, value in one.to_dict().items() if name != "seed"}
        papermill.execute_notebook(
            TEMPLATES / f"{one.template}.ipynb",
            Path(folder) / f"{one.seed}.ipynb",
            {"parameters": parameters, "seeds": [one.seed]},
            kernel_name="python3",
            progress_bar=False,
            cwd=folder,
        )
    return perf_counter() - start


def swept(seeds, folder, workers, digits):
    """Wall seconds of a sweep, the start of its workers included."""
    start = perf_counter()
    outcome = sweep.sweep(trials(seeds, digits), folder, workers=workers)
    assert len(outcome.done) == seeds, outcome.failed
    return perf_counter() - start


def main(
    workers: Annotated[int, typer.Option(help="Executions at a time.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs.")] = False,
    digits: Annotated[bool, typer.Option("--digits", help="1,000 digits, 8 x 8 pixels.")] = False,
    backend: Annotated[str, typer.Option(help="Of (3).")] = "jax",
) -> None:
    begun = perf_counter()
    of_plain, of_one, of_many = QUICK if quick else (PLAIN, ONE_A_RUN, AT_ONCE)
    seconds = {}  # of a run
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        seconds["plain papermill"] = plain(of_plain, scratch, digits) / of_plain
        orders = sweep._orders
        sweep._orders = partial(_one_a_run, orders)
        seconds["one notebook a run"] = swept(of_one, f"{scratch}/one", workers, digits) / of_one
        sweep._orders = orders
        os.environ["KERAS_BACKEND"] = backend
        for seeds in of_many:
            seconds[f"{seeds} seeds"] = swept(seeds, f"{scratch}/{seeds}", workers, digits) / seeds
    print(
        f"{'':20} {'seconds a run':>14} {'runs an hour':>14} {'x one notebook a run':>22}"
        f" {'x plain papermill':>18}"
    )
    for name, value in seconds.items():
        against = [seconds[other] / value for other in ("one notebook a run", "plain papermill")]
        print(
            f"{name:20} {value:14.2f} {3_600 / value:14,.0f} {against[0]:22.1f} {against[1]:18.1f}"
        )
    print(f"{workers} workers, {os.cpu_count()} cores; {perf_counter() - begun:.0f} s in all.")


def _one_a_run(orders, trials, folder, workers, token):
    return orders(trials, folder, 1_000 * len(trials), token)


if __name__ == "__main__":
    typer.run(main)
