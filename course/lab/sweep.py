"""Sweeps: trials executed with papermill on Dask, and kept one folder a run.

A run is done when its folder is there, and a folder appears whole or not at all: whatever is
killed, and whenever, the next sweep computes what is missing and nothing else.
"""

import errno
import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import uuid4

# Dask and papermill are imported where a sweep begins: the kernel of each run imports this file,
# too.
from course.lab import plan
from course.lab.cluster import connect
from course.lab.results import (
    HISTORY,
    NOTEBOOK,
    RESULTS,
    ROW,
    SweepError,
    cannot_write,
    clear_errors,
    collect,
    columns_of,
)
from course.lab.trial import backend

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
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


@dataclass
class Outcome:
    """What a sweep did.

    Attributes
    ----------
    done, present, failed : list
        Trials computed now, trials that were there before, and pairs (trial, message).
    seconds : float
        Wall time so far.
    """

    done: list = field(default_factory=list)
    present: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    seconds: float = 0.0


# In a worker
# ------------------------------------------------------------------------------------------------


def execute(key, parameters, template, out, backend):
    """Execute the template of one trial in a kernel of its own.

    Parameters
    ----------
    key : str
        The trial's; made by the driver, for a worker may not know a template of one's own.
    parameters : mapping
        The trial as `to_dict` gives it.
    template : str
        The notebook's text: the worker may be on another machine.
    out : str
        The sweep's folder; where the worker sees it, the log grows there and checkpoints are kept
        there.
    backend : str
        Keras's: the driver's, which is part of the trial's key.

    Returns
    -------
    dict
        "files": content by name; "error": None, or one line; "seconds". None if another sweep has
        computed it meanwhile.
    """
    import multiprocessing

    import papermill
    from distributed import get_worker

    # Dask's workers are daemons, which may have no children; the fork server of the warm kernels is
    # one.
    multiprocessing.current_process().daemon = False
    os.environ.update(KERNEL_DEFAULTS | os.environ | KERNEL_SETTINGS | {"KERAS_BACKEND": backend})
    start, shared = monotonic(), Path(out)
    if (shared / "runs" / key).is_dir():
        return None
    # In Dask's own folder, which the next worker on this machine clears if this one is killed.
    with tempfile.TemporaryDirectory(dir=get_worker().local_directory, prefix="run_") as scratch:
        scratch = Path(scratch).resolve()
        source = scratch / "template.ipynb"
        source.write_text(template, encoding="utf-8")
        log_folder = shared / "logs" if (shared / "logs").is_dir() else scratch
        plumbing = {"save_to": str(scratch)}
        if (shared / "checkpoints").is_dir():
            plumbing["checkpoint"] = str(shared / "checkpoints" / key)
        log = open(log_folder / f"{key}.log", "w+", encoding="utf-8")
        with log, _kernels_die_if_cancelled(scratch) as stopped:
            what = f"{parameters['experiment']}, {parameters['arm']}"
            print(f"{what}, seed {parameters.get('seed', 0)}", file=log, flush=True)
            for attempt in range(1, KERNEL_DEATHS + 1):
                error = None
                try:
                    papermill.execute_notebook(
                        source,
                        scratch / NOTEBOOK,
                        {"parameters": parameters} | plumbing,
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
            error = "its template ended without saving results (record.save)"
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


def sweep(trials, out=RESULTS, *, workers=None, scheduler=None, begin=None, report=None):
    """Execute what is missing of some trials of one experiment.

    Parameters
    ----------
    trials : list of course.lab.trial.Trial
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
        Called as report(trial, error or None, outcome) after each trial.

    Returns
    -------
    Outcome

    Raises
    ------
    SweepError
        If the folder cannot be written, the disk is full, or the scheduler cannot be reached.
    """
    start = monotonic()
    folder = _prepare(Path(out).resolve() / trials[0].experiment)
    known = set(collect(folder)["key"])
    outcome = Outcome(present=[trial for trial in trials if trial.key in known])
    if begin:
        begin(outcome)
    # Seed by seed, so that a sweep that is stopped leaves whole pairs; the last arms first, because
    # the catalogue lists the long ones last, and a long run that begins last would leave the other
    # workers idle.
    last_first = {trial.arm: -number for number, trial in enumerate(trials)}
    ordered = sorted(trials, key=lambda trial: (trial.seed, last_first[trial.arm]))
    missing = {trial.key: trial for trial in ordered if trial.key not in known}
    if missing:
        from distributed import as_completed

        template = (plan.TEMPLATES / f"{trials[0].template}.ipynb").read_text(encoding="utf-8")
        workers = min(workers or os.cpu_count(), len(missing))
        with connect(workers, scheduler, log=folder / "logs" / "workers.txt") as client:
            futures = {
                client.submit(
                    execute,
                    key,
                    trial.to_dict(),
                    template,
                    str(folder),
                    backend(),
                    key=f"{trial.experiment}-{key}-{uuid4().hex}",
                ): trial
                for key, trial in missing.items()
            }
            for future in as_completed(futures):
                trial = futures[future]
                error = _keep(trial, future, folder)
                if error:
                    outcome.failed.append((trial, error))
                else:
                    outcome.done.append(trial)
                outcome.seconds = monotonic() - start
                if report:
                    report(trial, error, outcome)
                future.release()
        collect(folder)
    outcome.seconds = monotonic() - start
    return outcome


def _keep(trial, future, folder):
    """Write what a trial put out; None, or why it failed."""
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
            raise SweepError(cannot_write(folder, error)) from error
        return f"{type(error).__name__}: {error}"
    if result is None:
        return None
    place = folder / ("failed" if result["error"] else "runs") / trial.key
    files = dict(result["files"])
    if not result["error"]:
        row = columns_of(trial, trial.key, trial.setting) | json.loads(files[ROW])
        # With the kernel's start and all measuring.
        row["provenance"]["wall_seconds"] = round(result["seconds"], 2)
        files[ROW] = json.dumps(row, indent=1).encode()
    with clear_errors(folder):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new_") as scratch:
            new = Path(scratch) / trial.key
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
            shutil.rmtree(folder / "failed" / trial.key, ignore_errors=True)
        # It is in the run's folder now.
        (folder / "logs" / f"{trial.key}.log").unlink(missing_ok=True)
    return result["error"]


def _prepare(folder):
    with clear_errors(folder):
        for name in ("runs", "failed", "logs", "checkpoints"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".new_*"):
            if (
                time.time() - left.stat().st_mtime > 3600
            ):  # else it may be of another sweep that is at work
                shutil.rmtree(left, ignore_errors=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder
