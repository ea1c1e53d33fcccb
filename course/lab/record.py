"""What a run leaves behind, as its template writes it down: row, history and provenance."""

import io
import json
import os
import platform
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from time import perf_counter

import keras
import numpy as np

from course import training
from course.lab.files import write_whole
from course.lab.results import (
    HISTORY,
    ORDER,
    RESULTS,
    ROW,
    SweepError,
    check_metrics,
    clear_errors,
    columns_of,
)
from course.lab.versions import versions

NOTES = {}  # what else a run's provenance says, set by what trains it
PROGRESS = ("epoch", "step", "seconds")  # of a run, and in its checkpoint
OTHER_CHECKPOINT = (
    "The checkpoint is of another config, data, backend or version of Keras: starting from the"
    " beginning."
)


@cache
def _order(text):
    """What the sweep that this kernel works for wants: folder, setting, and key by seed."""
    order = json.loads(text)
    # Imported when this kernel began, in the middle of a sweep.
    if order.get("versions", versions()) != versions():
        raise SweepError(
            f"The course was changed while the sweep was at work: it began with"
            f" {order['versions']}, and this run has {versions()}. Start it again: finished runs"
            " are kept."
        )
    return order


def _ordered():
    return _order(os.environ.get(ORDER, "{}"))


def is_there(trial):
    """Whether the sweep that this kernel works for has the result of a trial."""
    order = _ordered()
    return bool(order) and Path(order["folder"], "runs", order["keys"][str(trial.seed)]).is_dir()


def checkpoint(*trials):
    """The file that a killed training of these trials goes on from; None where none is kept.

    It is of exactly these seeds. Where the missing ones are shared out otherwise when the sweep is
    started again, as by another number of workers, they begin anew; the next sweep removes what has
    lain there for a week.
    """
    order = _ordered()
    if not order:
        return None
    seeds = "-".join(str(one.seed) for one in trials)
    return Path(order["folder"], "checkpoints", f"{order['setting']}-{seeds}")


def save(trial, metrics, history, images):
    """Put down what a run found; the last cell of a template calls this for each seed.

    Run by hand, the notebook keeps nothing: only a sweep says where to.

    Parameters
    ----------
    trial : course.lab.trial.Trial
    metrics : mapping of str to number
        One row.
    history : pandas.DataFrame
        Tidy: epoch, split, mode, metric, value.
    images : course.data.Data
        What it was trained on.

    Raises
    ------
    course.lab.results.SweepError
        If a metric has the name of another column of the table of results, or the disk is full.
    """
    origin = provenance(images) | NOTES
    check_metrics(metrics, origin)
    order = _ordered()
    if not order:
        return
    folder, key = Path(order["folder"]), order["keys"][str(trial.seed)]
    row = columns_of(trial, key, order["setting"])
    row |= {"metrics": {name: float(value) for name, value in metrics.items()}}
    row |= {"provenance": origin}
    with clear_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".new_") as scratch:
        new, place = Path(scratch) / key, folder / "runs" / key
        new.mkdir()
        history.to_parquet(new / HISTORY, index=False)
        (new / ROW).write_text(json.dumps(row, indent=1))
        try:
            os.rename(new, place)
        except OSError:
            if not place.exists():  # or another sweep was faster, and all is well
                raise


def identity(runs, images):
    """What a checkpoint must have in common with the trainings that go on from it, as text."""
    return json.dumps([_identity(run.config, data) for run, data in zip(runs, images, strict=True)])


def _identity(config, data):
    # The name of a builder of one's own: what Python prints of it has its place in memory, too.
    name = getattr(config.model, "__name__", config.model)
    return [
        repr(vars(config) | {"model": name}),
        data.provenance,
        data.input_shape,
        len(data.x_train),
        keras.config.backend(),
        keras.version(),
    ]


def keep(path, identity, runs, arrays):
    """Write the checkpoint of some runs that are trained beside each other.

    Parameters
    ----------
    path : path
    identity : str
        See the function of this name.
    runs : list of course.training.Run
        All are in the same epoch.
    arrays : list
        All that changes while they are trained.

    Raises
    ------
    course.lab.results.SweepError
        If the disk is full.
    """
    of_all = {name: getattr(runs[0], name) for name in PROGRESS}
    progress = {"identity": identity, "rows": [run.rows for run in runs], **of_all}
    content = io.BytesIO()
    arrays = map(keras.ops.convert_to_numpy, arrays)
    np.savez(content, *arrays, progress=json.dumps(progress))
    with clear_errors(path.parent):
        write_whole(path, content.getvalue())


def kept(path, identity, runs):
    """The arrays of a checkpoint, whose progress the runs get; none, if there is none for them."""
    if not path.exists():
        return []
    with np.load(path) as saved:
        progress = json.loads(str(saved["progress"]))
        if progress["identity"] != identity:
            print(OTHER_CHECKPOINT)
            return []
        arrays = [saved[f"arr_{number}"] for number in range(len(saved.files) - 1)]
    for run, rows in zip(runs, progress["rows"], strict=True):
        run.rows = [tuple(row) for row in rows]
        for name in PROGRESS:
            setattr(run, name, progress[name])
    return arrays


class Checkpoint(training.Hook):
    """Saves a training after an epoch, and goes on from what a killed one has saved.

    It goes on only for the same config, data, backend and version of Keras, and is removed when the
    training is complete.

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
        self.identity = identity([run], [run.data])
        arrays = kept(self.path, self.identity, [run])
        if not arrays:
            return
        for model in (run.model, run.engine):
            variables = training.state(model)
            for variable, array in zip(variables, arrays, strict=False):
                variable.assign(array)
        run.best = arrays[len(variables) :] or run.best

    def epoch_done(self, run):
        if perf_counter() - self.saved > self.seconds:
            arrays = [*training.state(run.model), *(run.best or [])]
            keep(self.path, self.identity, [run], arrays)
            self.saved = perf_counter()

    def end(self, run):
        if run.completed:
            self.path.unlink(missing_ok=True)


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


@cache
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


@cache
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
