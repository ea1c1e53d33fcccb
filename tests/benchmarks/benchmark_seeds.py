"""How many dense runs an hour a sweep trains, against one notebook a run and plain papermill.

    .venv/bin/python tests/benchmarks/benchmark_seeds.py [--workers 2] [--most 256]

All on this machine, in one go: (1) plain papermill, one run of the template after the other, each
in a fresh kernel, on TensorFlow; (2) one notebook a run on TensorFlow, `workers` at a time, in warm
kernels: what `course experiment` did in the first edition; (3) what it does now, all seeds of an
arm in one execution, on JAX, from 8 seeds on, doubled up to --most. The run is that of the ledger's
dense experiments: 2 x 256, batch norm and dropout, 2,000 images, 15 epochs, measured after each.
Ratios are of runs an hour. Run it on a machine that does nothing else.
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

NAME, ARM = "two by two", "dense 1000, both"
RUN = {"train_size": 2_000, "epochs": 15, "measure_every": 1, "measure": []}


def trials(seeds):
    return plan.trials(NAME, arms=[ARM], seeds=seeds, parameters=RUN)


def plain(seeds, folder):
    """Wall seconds of plain papermill, one run after the other."""
    start = perf_counter()
    for one in trials(seeds):
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


def swept(seeds, folder, workers):
    """Wall seconds of a sweep, the start of its workers included."""
    start = perf_counter()
    outcome = sweep.sweep(trials(seeds), folder, workers=workers)
    assert len(outcome.done) == seeds, outcome.failed
    return perf_counter() - start


def main(
    workers: Annotated[int, typer.Option(help="Executions at a time.")] = 2,
    most: Annotated[int, typer.Option(help="Seeds of the largest sweep.")] = 256,
    backend: Annotated[str, typer.Option(help="Of (3).")] = "jax",
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        with_settings = {**os.environ}
        os.environ.update(sweep.KERNEL_SETTINGS)  # the same threads and arithmetic for all
        rates = {"plain papermill": 3 / plain(3, scratch)}
        os.environ.clear()
        os.environ.update(with_settings)
        orders = sweep._orders
        sweep._orders = partial(_one_a_run, orders)
        rates["one notebook a run"] = 4 * workers / swept(4 * workers, f"{scratch}/one", workers)
        sweep._orders, seeds = orders, 8
        os.environ["KERAS_BACKEND"] = backend
        while seeds <= most:
            rates[f"{seeds} seeds"] = seeds / swept(seeds, f"{scratch}/{seeds}", workers)
            seeds *= 2
    print(f"{'':20} {'runs an hour':>14} {'x one notebook a run':>22} {'x plain papermill':>18}")
    for name, rate in rates.items():
        against = [rate / rates[other] for other in ("one notebook a run", "plain papermill")]
        print(f"{name:20} {3_600 * rate:14,.0f} {against[0]:22.1f} {against[1]:18.1f}")


def _one_a_run(orders, trials, folder, workers, token):
    return orders(trials, folder, 1_000 * len(trials), token)


if __name__ == "__main__":
    typer.run(main)
