"""What a run leaves behind, as its template writes it down: row, history and provenance."""

import io
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import keras
import numpy as np

from course import training
from course.lab.files import write_whole
from course.lab.results import HISTORY, RESULTS, ROW, check_metrics


def save(folder, metrics, history, provenance):
    """Put down what a run found; the last cell of a template calls this.

    Parameters
    ----------
    folder : path
        Empty when the notebook is run by hand: then nothing is written.
    metrics : mapping of str to number
        One row.
    history : pandas.DataFrame
        Tidy: epoch, split, mode, metric, value.
    provenance : mapping

    Raises
    ------
    course.lab.results.SweepError
        If a metric has the name of another column of the table of results.
    """
    check_metrics(metrics, provenance)
    if not folder:
        return
    folder = Path(folder)
    history.to_parquet(folder / HISTORY, index=False)
    metrics = {name: float(value) for name, value in metrics.items()}
    (folder / ROW).write_text(json.dumps({"metrics": metrics, "provenance": dict(provenance)}))


class Checkpoint(training.Hook):
    """Saves a training after an epoch, and goes on from what a killed one has saved.

    It goes on only for the same config, data and backend, and is removed when the training is
    complete.

    Parameters
    ----------
    path : path
        The file.
    seconds : float
        Save at most so often: what a kill may cost, besides the epoch it comes in.
    """

    def __init__(self, path, seconds=20):
        self.path, self.seconds, self.saved = Path(path), seconds, perf_counter()

    def begin(self, run):
        self.identity = json.dumps(
            [
                repr(run.config),
                run.data.provenance,
                run.data.input_shape,
                len(run.data.x_train),
                keras.config.backend(),
            ]
        )
        if self.path.exists():
            self._load(run)

    def epoch_done(self, run):
        if perf_counter() - self.saved > self.seconds:
            self._save(run)
            self.saved = perf_counter()

    def end(self, run):
        if run.completed:
            self.path.unlink(missing_ok=True)

    def _save(self, run):
        progress = {
            "identity": self.identity,
            "epoch": run.epoch,
            "seconds": run.seconds,
            "rows": run.rows,
        }
        variables = map(keras.ops.convert_to_numpy, training.state(run.model))
        content = io.BytesIO()
        np.savez(content, *variables, progress=json.dumps(progress))
        write_whole(self.path, content.getvalue())

    def _load(self, run):
        with np.load(self.path) as saved:
            progress = json.loads(str(saved["progress"]))
            if progress["identity"] != self.identity:
                print(
                    "The checkpoint is of another config, data or backend: starting from the"
                    " beginning."
                )
                return
            for model in (run.model, run.engine):
                for number, variable in enumerate(training.state(model)):
                    variable.assign(saved[f"arr_{number}"])
        run.epoch, run.seconds = progress["epoch"], progress["seconds"]
        run.rows = [tuple(row) for row in progress["rows"]]


def provenance(data):
    """Where a run comes from: versions, backend, kind of machine, data set, state of the course.

    Parameters
    ----------
    data : course.data.Data

    Returns
    -------
    dict of str to str
    """
    backend = keras.config.backend()
    return {
        "keras": keras.version(),
        "backend": backend,
        "backend_version": getattr(sys.modules.get(backend), "__version__", "unknown"),
        "numpy": np.__version__,
        "machine": (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{_graphics_card()}"
        ),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS", "all"),
        "data": data.provenance,
        "revision": _revision(),
        "python": platform.python_version(),
    }


def _graphics_card():
    """The name of the GPU that Keras computes on, with a comma in front; empty if there is none."""
    # Each backend has its own word for where a tensor lies; `keras.distribution` does not know
    # PyTorch's.
    device = str(keras.ops.convert_to_tensor(0.0).device).lower()
    if "gpu" not in device and "cuda" not in device:
        return ""
    try:
        names = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        )
        return f", {names.stdout.splitlines()[0]}"
    except (OSError, subprocess.SubprocessError, IndexError):
        return ", a GPU"


def _revision():
    """Which state of the course computes this; tables that a sweep has written make it no other."""
    root = RESULTS.parent
    try:
        described = _git(root, "describe", "--always", "--exclude=*")
        if described and _git(
            root, "status", "--porcelain", "--untracked-files=no", "--", ".", f":!{RESULTS.name}"
        ):
            described += "-dirty"
    except (OSError, subprocess.SubprocessError):
        described = ""
    return described or "unknown"


def _git(root, *arguments):
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()
