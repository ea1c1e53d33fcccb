"""Sweeps: runs executed with papermill on Dask, kept one folder a run, and the tables made of them.

A run is done when its folder is there, and a folder appears whole or not at all: whatever is
killed, and whenever, the next sweep computes what is missing and nothing else.
"""

import errno
import io
import json
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import uuid4

import numpy as np
import pandas as pd

# Dask and papermill are imported where a sweep begins: the kernel of each run imports this file,
# too.
from course import experiments

RESULTS = Path(__file__).resolve().parent.parent / "results"
ROW, HISTORY, NOTEBOOK = "row.json", "history.parquet", "notebook.ipynb"
# One thread a run: two runs beside each other are faster than one run on two threads, and a thread
# of its own makes a run the same whatever runs beside it. oneDNN halves the time of convolutions.
KERNEL_SETTINGS = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "COURSE_PROGRESS": "lines",
    "COURSE_WIDGETS": "0",
}
# Unless the user has set them.
KERNEL_DEFAULTS = {
    "JUPYTER_DEFAULT_PROVISIONER_NAME": "course-warm",
    "COURSE_WARM_SECONDS": "120",
    "XLA_PYTHON_CLIENT_PREALLOCATE": (
        "false"
    ),  # or the first run takes three quarters of a GPU's memory from the others
}
KERNEL_DEATHS = 3  # how often the kernel of a run may die before the run counts as failed
KERNEL_START_SECONDS = 300  # on a busy machine
SCHEDULER_SECONDS = 15  # to wait for an answer
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


class SweepError(RuntimeError):
    """A sweep that cannot go on; says what to do."""


@dataclass
class Outcome:
    """What a sweep did.

    Attributes
    ----------
    done, present, failed : list
        Runs computed now, runs that were there before, and pairs (run, message).
    seconds : float
        Wall time so far.
    left : float or None
        Estimate of the seconds left; None before the first run is over.
    """

    done: list = field(default_factory=list)
    present: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    seconds: float = 0.0
    left: float | None = None


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
    """
    if not folder:
        return
    folder = Path(folder)
    history.to_parquet(folder / HISTORY, index=False)
    metrics = {name: float(value) for name, value in metrics.items()}
    (folder / ROW).write_text(json.dumps({"metrics": metrics, "provenance": dict(provenance)}))


def revision():
    """Which state of the course computes this: for the provenance. Tables that a sweep has written
    make it no other state.
    """
    root = RESULTS.parent
    try:
        described = _git(root, "describe", "--always", "--exclude=*")
        if described and _git(
            root, "status", "--porcelain", "--untracked-files=no", "--", ".", f":!{RESULTS.name}"
        ):
            described += "-dirty"
    except (OSError, subprocess.SubprocessError):
        described = ""
    return {"revision": described or "unknown", "python": platform.python_version()}


def _git(root, *arguments):
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()


# In a worker
# ------------------------------------------------------------------------------------------------


def execute(run, template, out, backend):
    """Execute the template of one run in a kernel of its own.

    Parameters
    ----------
    run : course.experiments.Run
    template : str
        The notebook's text: the worker may be on another machine.
    out : str
        The sweep's folder; where the worker sees it, the log grows there and checkpoints are kept
        there.
    backend : str
        Keras's: the driver's, which is part of the run's key.

    Returns
    -------
    dict
        "files": content by name; "error": None, or one line; "seconds". None if another sweep has
        computed the run meanwhile.
    """
    import multiprocessing

    import papermill
    from distributed import get_worker

    # Dask's workers are daemons, which may have no children; the fork server of the warm kernels is
    # one.
    multiprocessing.current_process().daemon = False
    os.environ.update(KERNEL_DEFAULTS | os.environ | KERNEL_SETTINGS | {"KERAS_BACKEND": backend})
    start, shared = monotonic(), Path(out)
    if (shared / "runs" / run.key).is_dir():
        return None
    # In Dask's own folder, which the next worker on this machine clears if this one is killed.
    with tempfile.TemporaryDirectory(dir=get_worker().local_directory, prefix="run_") as scratch:
        scratch = Path(scratch).resolve()
        source = scratch / "template.ipynb"
        source.write_text(template, encoding="utf-8")
        log_folder = shared / "logs" if (shared / "logs").is_dir() else scratch
        plumbing = {"save_to": str(scratch)}
        if (shared / "checkpoints").is_dir():
            plumbing["checkpoint"] = str(shared / "checkpoints" / run.key)
        log = open(log_folder / f"{run.key}.log", "w+", encoding="utf-8")
        with log, _kernels_die_if_cancelled(scratch) as stopped:
            print(f"{run.experiment}, {run.arm}, seed {run.seed}", file=log, flush=True)
            for attempt in range(1, KERNEL_DEATHS + 1):
                error = None
                try:
                    papermill.execute_notebook(
                        source,
                        scratch / NOTEBOOK,
                        run.parameters | plumbing,
                        kernel_name="python3",
                        cwd=scratch,
                        progress_bar=False,
                        stdout_file=log,
                        stderr_file=log,
                        start_timeout=KERNEL_START_SECONDS,
                    )
                    break
                except RuntimeError as death:  # nbclient's, while the kernel starts or later
                    error = f"its kernel died {attempt} times (killed, or out of memory?)"
                    print(f"Attempt {attempt} of {KERNEL_DEATHS}: {death}", file=log, flush=True)
                    if stopped.is_set():
                        break
                except papermill.PapermillExecutionError as failure:
                    error = f"{failure.ename}: {failure.evalue}"
                    print(error, file=log, flush=True)
                    break
            log.seek(0)
            files = {"log.txt": log.read().encode()}
        names = [name for name in (ROW, HISTORY, NOTEBOOK) if (scratch / name).exists()]
        files |= {name: (scratch / name).read_bytes() for name in names}
        if error is None and not {ROW, HISTORY} <= set(files):
            error = "its template ended without saving results (sweeps.save)"
    return {"files": files, "error": error, "seconds": monotonic() - start}


@contextmanager
def _kernels_die_if_cancelled(folder):
    """While the block runs: kill the kernels in a folder as soon as nobody waits for this task any
    more.

    Dask does not interrupt a task when its driver stops or is killed; on a cluster a run would go
    on for hours.
    """
    from distributed import get_worker

    worker = get_worker()
    key, over, stopped = worker.get_current_task(), threading.Event(), threading.Event()

    def watch():
        while not over.wait(0.5):
            task = worker.state.tasks.get(key)
            if task is None or task.state in ("cancelled", "forgotten"):
                stopped.set()
                _kill_children(folder)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield stopped
    finally:
        over.set()
        watcher.join()


def _kill_children(folder):
    """Kill the kernels of this process that work in a folder."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            # A kernel has a session of its own; the fork server, which may have come from this
            # folder, has not.
            if Path(child.cwd()) == folder and (
                os.name == "nt" or os.getsid(child.pid) == child.pid
            ):
                child.kill()
        except (psutil.Error, ProcessLookupError):
            pass


# In the driver
# ----------------------------------------------------------------------------------------------


def sweep(runs, out=RESULTS, *, workers=None, scheduler=None, begin=None, report=None):
    """Execute what is missing of some runs of one experiment.

    Parameters
    ----------
    runs : list of course.experiments.Run
    out : path
        Folder of all results; the experiment gets its own in it.
    workers : int, optional
        Processes on this machine, one core each; by default one a core.
    scheduler : str, optional
        Address of a Dask scheduler, such as "tcp://127.0.0.1:8786", instead of workers on this
        machine.
    begin : callable, optional
        Called as begin(outcome) once it is known what is there already.
    report : callable, optional
        Called as report(run, error or None, outcome) after each run.

    Returns
    -------
    Outcome

    Raises
    ------
    SweepError
        If the folder cannot be written, the disk is full, or the scheduler cannot be reached.
    """
    start = monotonic()
    folder = _prepare(Path(out).resolve() / runs[0].experiment)
    known = set(collect(folder)["key"])
    outcome = Outcome(present=[run for run in runs if run.key in known])
    if begin:
        begin(outcome)
    # Seed by seed, so that a sweep that is stopped leaves whole pairs; the last arms first, because
    # the catalogue lists the long ones last, and a long run that begins last would leave the other
    # workers idle.
    missing = {
        run.key: run
        for run in sorted(reversed(runs), key=lambda run: run.seed)
        if run.key not in known
    }
    if missing:
        from distributed import as_completed

        template = (experiments.TEMPLATES / f"{runs[0].template}.ipynb").read_text(encoding="utf-8")
        workers = min(workers or os.cpu_count(), len(missing))
        with _client(workers, scheduler, folder / "logs" / "workers.txt") as client:
            begun = monotonic()
            futures = {
                client.submit(
                    execute,
                    run,
                    template,
                    str(folder),
                    experiments.backend(),
                    key=f"{run.experiment}-{key}-{uuid4().hex}",
                ): run
                for key, run in missing.items()
            }
            time_left = _TimeLeft(len(futures), sum(client.ncores().values()))
            for future in as_completed(futures):
                run = futures[future]
                error = _keep(run, future, folder)
                (outcome.failed.append((run, error)) if error else outcome.done.append(run))
                outcome.seconds = monotonic() - start
                outcome.left = time_left.after_one(monotonic() - begun)
                if report:
                    report(run, error, outcome)
                future.release()
        collect(folder)
    outcome.seconds = monotonic() - start
    return outcome


class _TimeLeft:
    """Estimates the time left of runs that take turns on some workers.

    Parameters
    ----------
    remaining, workers : int
    """

    def __init__(self, remaining, workers):
        self.remaining, self.workers = remaining, workers
        self.starts = [0.0] * min(
            workers, remaining
        )  # of the runs under way; the first is the oldest
        self.seconds = []

    def after_one(self, now):
        """Seconds left when one more run is over, `now` seconds after the start."""
        self.remaining -= 1
        self.seconds.append(now - self.starts.pop(0))
        if self.remaining > len(self.starts):
            self.starts.append(now)
        mean = sum(self.seconds) / len(self.seconds)
        under_way = sum(min(now - start, mean) for start in self.starts)
        return (self.remaining * mean - under_way) / max(1, len(self.starts))


def _keep(run, future, folder):
    """Write what a run put out; None, or why it failed."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        result = future.result()
    except KilledWorker:
        return "its workers died again and again (killed, or out of memory?)"
    except (CommClosedError, FutureCancelledError):  # the scheduler is gone
        raise
    except Exception as error:  # such as a worker that cannot import the course
        if getattr(error, "errno", None) in CANNOT_WRITE:
            raise SweepError(_cannot_write(folder, error)) from error
        return f"{type(error).__name__}: {error}"
    if result is None:
        return None
    place = folder / ("failed" if result["error"] else "runs") / run.key
    row = {
        "key": run.key,
        "setting": run.setting,
        "experiment": run.experiment,
        "arm": run.arm,
        "seed": run.seed,
    }
    row["parameters"] = run.parameters
    files = dict(result["files"])
    if not result["error"]:
        found = json.loads(files[ROW])
        found["provenance"]["wall_seconds"] = round(
            result["seconds"], 2
        )  # with the kernel's start and all measuring
        files[ROW] = json.dumps(row | found, indent=1).encode()
    with _clear_errors(folder):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new_") as scratch:
            new = Path(scratch) / run.key
            new.mkdir()
            for name, content in files.items():
                (new / name).write_bytes(content)
            if result["error"] and place.exists():
                shutil.rmtree(place)  # of an earlier attempt
            try:
                os.rename(new, place)
            except OSError:
                if not place.exists():  # or another sweep was faster, and all is well
                    raise
        if not result["error"]:
            shutil.rmtree(folder / "failed" / run.key, ignore_errors=True)
        (folder / "logs" / f"{run.key}.log").unlink(
            missing_ok=True
        )  # it is in the run's folder now
    return result["error"]


@contextmanager
def _client(workers, scheduler, log):
    import dask
    from distributed import Client, LocalCluster, WorkerPlugin
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    class Quiet(WorkerPlugin):
        """Sends what a worker, its fork server and its kernels write to stderr into a file."""

        def setup(self, worker):
            with open(log, "a") as file:
                os.dup2(file.fileno(), 2)

    if scheduler:
        logging.getLogger("distributed.client").setLevel(
            logging.CRITICAL
        )  # what it would say is said below
        try:
            client = Client(scheduler, timeout=SCHEDULER_SECONDS)
        except (OSError, ValueError) as error:
            raise SweepError(
                f"No Dask scheduler answers at {scheduler} ({error}). Start one with `dask"
                " scheduler`, and workers with `dask worker ADDRESS --nthreads 1`."
            ) from error
        with client:
            threads = client.ncores().values()
            if not threads or max(threads) > 1:  # papermill changes the folder of its whole process
                trouble = "a worker with several threads" if threads else "no workers"
                raise SweepError(
                    f"The scheduler at {scheduler} has {trouble}; each run needs a process of its"
                    f" own. Start workers with `dask worker {scheduler} --nworkers 2 --nthreads 1`."
                )
            try:
                yield client
            except (CommClosedError, FutureCancelledError) as error:
                raise SweepError(
                    f"The Dask scheduler at {scheduler} answers no more. Start it again, and then"
                    " this sweep: finished runs are kept."
                ) from error
        return
    # Any free port: the usual one may be taken, which Dask would warn of. The memory is the
    # kernels', which it does not see.
    with (
        # On a busy machine a killed worker takes longer to come back than the 15 s after which Dask
        # gives it up. And its profiler, which looks at each worker a hundred times a second, would
        # cost the runs some percent.
        dask.config.set(
            {
                "distributed.deploy.lost-worker-timeout": "1 hour",
                "distributed.worker.profile.enabled": False,
            }
        ),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(Quiet())
        yield client


def _prepare(folder):
    with _clear_errors(folder):
        for name in ("runs", "failed", "logs", "checkpoints"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".new_*"):
            if (
                time.time() - left.stat().st_mtime > 3600
            ):  # else it may be of another sweep that is at work
                shutil.rmtree(left, ignore_errors=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder


@contextmanager
def _clear_errors(folder):
    try:
        yield
    except OSError as error:
        raise SweepError(_cannot_write(folder, error)) from error


def _cannot_write(folder, error):
    return (
        f"Cannot write to {folder}: {error.strerror or error}. Free some space or choose another"
        " folder with --out, and run this again: finished runs are kept."
    )


# The tables
# -------------------------------------------------------------------------------------------------


def collect(folder):
    """Bring the experiment's tables up to date with the folders of its runs.

    Returns
    -------
    pandas.DataFrame
        One row a run: key, setting, experiment, arm, seed, parameters (JSON), the metrics, the
        provenance.
    """
    folder = Path(folder)
    runs, histories = _read(folder / "runs.parquet"), _read(folder / "history.parquet")
    before = len(runs), len(histories)
    # Two sweeps that collect at a time may each miss what the other adds; the next one makes up for
    # it.
    known = set(runs["key"]) & set(histories["key"])
    new = [
        path
        for path in sorted((folder / "runs").glob("[!.]*"))
        if path.is_dir() and path.name not in known
    ]
    if new:
        rows, parts = zip(*map(_read_run, new), strict=True)
        runs, histories = _joined(runs, pd.DataFrame(rows)), _joined(histories, *parts)
        runs = runs.drop_duplicates("key").sort_values(["arm", "seed", "key"], ignore_index=True)
        histories = histories.drop_duplicates(["key", "epoch", "split", "mode", "metric"])
        if (
            len(runs),
            len(histories),
        ) != before:  # a run may have no history: it is looked at again each time
            with _clear_errors(folder):
                # The history first: a kill between the two leaves rows to be added again, and none
                # without history.
                _write(histories, folder / "history.parquet")
                _write(runs, folder / "runs.parquet")
    return runs


def _read_run(path):
    """The row of a run, flat, and its history."""
    try:
        row = json.loads((path / ROW).read_text())
        parameters = json.dumps(row["parameters"], sort_keys=True)
        flat = row | {"parameters": parameters} | row.pop("metrics") | row.pop("provenance")
        return flat, pd.read_parquet(path / HISTORY).assign(key=path.name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SweepError(
            f"{path} is damaged ({type(error).__name__}: {error}). Remove this folder: the next"
            " sweep computes the run again."
        ) from error


def _read(path):
    try:
        table = pd.read_parquet(path)
        table["key"]  # what all else hangs on
        return table
    except FileNotFoundError:
        of_runs = ["key", "setting", "experiment", "arm", "seed", "parameters"]
        of_histories = ["epoch", "split", "mode", "metric", "value", "key"]
        return pd.DataFrame(columns=of_histories if path.stem == "history" else of_runs)
    except (OSError, ValueError, KeyError) as error:
        raise SweepError(
            f"{path} is damaged ({type(error).__name__}: {error}). Remove history.parquet and"
            " runs.parquet: they are made again from the folders of the runs; if those are not"
            " there, `git checkout` brings them back."
        ) from error


def _joined(*tables):
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def _write(table, path):
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new_", delete=False) as file:
        try:
            file.write(buffer.getvalue())
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def computed_nowhere(runs, out=RESULTS):
    """Those of some runs of one experiment that no backend of Keras has a result of."""
    known = set(collect(Path(out) / runs[0].experiment)["key"])
    return [run for run in runs if known.isdisjoint(map(run.key_on, experiments.BACKENDS))]


def load(runs, out=RESULTS):
    """What is there of some runs of one experiment.

    Parameters
    ----------
    runs : list of course.experiments.Run
        Such as `experiments.plan("eight")`; of their settings, every seed that is there is taken.
        Where there are none of this backend of Keras, those of another are: the column backend says
        so.
    out : path

    Returns
    -------
    rows, history : pandas.DataFrame
        `history` has the columns arm and seed, too.
    """
    folder = Path(out) / runs[0].experiment
    rows = collect(folder)
    if not len(rows):
        raise SweepError(
            f"There are no results of {runs[0].experiment!r} yet: `course experiment"
            f" {runs[0].experiment}`."
        )
    for backend in (experiments.backend(), *experiments.BACKENDS):
        arms = {run.setting_on(backend): run.arm for run in runs}
        if rows["setting"].isin(arms).any():
            break
    rows = rows[rows["setting"].isin(arms)].assign(arm=lambda table: table["setting"].map(arms))
    history = _read(folder / "history.parquet").merge(rows[["key", "arm", "seed"]], on="key")
    return rows.sort_values(["arm", "seed"], ignore_index=True), history


def table(name, out=RESULTS):
    """All rows there are of an experiment, whatever their parameters; `changed` says where they are
    not its own.
    """
    planned = {run.setting: run for run in experiments.plan(name, seeds=1)}
    rows = collect(Path(out) / name)
    if not len(rows):
        raise SweepError(f"There are no results of {name!r} in {out}: `course experiment {name}`.")
    plain = {run.arm: run.parameters for run in planned.values()}

    def changed(row):
        if row["setting"] in planned:
            return ""
        usual, own = plain.get(row["arm"], {}), json.loads(row["parameters"])
        differences = [
            f"{key}={own[key]}" for key in own if key != "seed" and own[key] != usual.get(key)
        ]
        return ", ".join(differences) or f"backend={row['backend']}"

    return rows.assign(changed=[changed(row) for row in rows.to_dict("records")])


def summary(rows, metrics):
    """One row an arm: the number of seeds, and each metric's mean over them with its 95 % interval."""
    from course import intervals  # not above: SciPy takes seconds, too

    usable = rows.select_dtypes("number").columns
    for metric in metrics:
        if metric not in usable:
            raise SweepError(
                f"There is no metric {metric!r}; there are:"
                f" {', '.join(sorted(usable.drop('seed')))}."
            )
    lines = []
    for (arm, changed, _), group in rows.groupby(["arm", "changed", "setting"], sort=False):
        line = {"arm": arm, "changed": changed, "seeds": len(group)}
        for metric in metrics:
            values = group[metric]
            wrong = int((~np.isfinite(values)).sum())
            if wrong:
                line[metric] = f"not finite in {wrong} of {len(values)}"
            else:
                line[metric] = (
                    str(intervals.mean_interval(values))
                    if len(values) > 1
                    else f"{values.mean():+.3f}"
                )
        lines.append(line)
    return pd.DataFrame(lines)
