"""Sweeps: trials executed with papermill on Dask, an arm with all its missing seeds at a time.

A run is done when its folder is there, and a folder appears whole or not at all: whatever is
killed, and whenever, the next sweep computes what is missing and nothing else. The kernel of an
execution puts each run down itself (`course.lab.record.save`), so all workers must see the folder.
"""

import errno
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import uuid4

# Dask and papermill are imported where a sweep begins: they take a second, and most commands need
# neither.
from course.lab.cluster import connect
from course.lab.results import (
    NOTEBOOK,
    ORDER,
    RESULTS,
    SweepError,
    cannot_write,
    clear_errors,
    collect,
)
from course.lab.trial import TEMPLATES
from course.lab.versions import versions

# One thread a run: two runs beside each other are faster than one run on two threads, and a thread
# of its own makes a run the same whatever runs beside it. oneDNN halves the time of convolutions.
KERNEL_SETTINGS = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # JAX's threads; its own variables are taken away, for some change the random numbers. The flags
    # alone leave it a pool of threads, one a core; NPROC is how many it has.
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "NPROC": "1",
    "NVIDIA_TF32_OVERRIDE": "0",  # float32 on a GPU is that of a CPU, not of 10 bits
    "COURSE_PROGRESS": "lines",
    "COURSE_WIDGETS": "0",
}
# Unless the user has set them.
KERNEL_DEFAULTS = {
    "JUPYTER_DEFAULT_PROVISIONER_NAME": "course-warm",
    "COURSE_WARM_SECONDS": "120",
    # Or the first run takes three quarters of a GPU's memory from the others.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # Else glibc gives the memory of each epoch back to the system, which has to clear it anew: of
    # JAX's runs that took a fifth of the time and more.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TOP_PAD_": str(2**28),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}
LEFT_TO_THE_USER = ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")
LOOK_SECONDS = 0.5
KERNEL_DEATHS = 3  # how often the kernel of a run may die before its runs count as failed
KERNEL_START_SECONDS = 300  # on a busy machine
# What a killed sweep may leave, and after how many days it is of none that is at work.
LEFT_BEHIND = {".new_*": 1, ".sweep_*": 1, "checkpoints/*": 7, "logs/*.log": 7}
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


@dataclass(frozen=True)
class Order:
    """What one execution of a template is to compute: some seeds of an arm.

    Made by the driver, keys included, for a worker may not know a template of one's own.

    Attributes
    ----------
    parameters : mapping
        A trial as `to_dict` gives it, without its seed.
    keys : mapping of int to str
        The trials' keys, by seed.
    setting, backend : str
        Of the trials.
    template : str
        The notebook's text.
    folder : str
        Of the sweep.
    token : str
        Name of a file in it, by which a worker sees that it looks at the same disk.
    versions : str
        Of Keras and of the course: the driver's.
    """

    parameters: dict
    keys: dict
    setting: str
    backend: str
    template: str
    folder: str
    token: str
    versions: str

    @property
    def name(self):
        """Of its log and of its notebook."""
        return f"{self.setting}-{min(self.keys)}"

    def is_there(self, seed):
        """Whether the result of a seed has been put down."""
        return Path(self.folder, "runs", self.keys[seed]).is_dir()

    def __str__(self):
        seeds = ", ".join(map(str, self.keys))
        what = f"{self.parameters['experiment']}, {self.parameters['arm']}"
        return f"{what}, {'seed' if len(self.keys) == 1 else 'seeds'} {seeds}"


def execute(order):
    """Execute a template for some seeds, in a kernel of its own, which puts down what it finds.

    Parameters
    ----------
    order : Order

    Returns
    -------
    dict of int to str
        By seed, why it failed, in one line. The seeds behind it are tried all the same, until two
        executions in a row bring no result.

    Raises
    ------
    StrangerError
        If this worker cannot be trusted with it.
    """
    import multiprocessing

    from distributed import get_worker

    _refuse_stranger(order)
    # Dask's workers are daemons, which may have no children; the fork server of the warm kernels is
    # one.
    multiprocessing.current_process().daemon = False
    folder = Path(order.folder)
    _set_environment(order)
    # Its own: another sweep may compute the same seeds at this time.
    log_path = folder / "logs" / f"{order.name}{order.token}.log"
    # In Dask's own folder, which the next worker on this machine clears if this one is killed.
    with tempfile.TemporaryDirectory(dir=get_worker().local_directory, prefix="run_") as scratch:
        scratch = Path(scratch).resolve()
        (scratch / "template.ipynb").write_text(order.template, encoding="utf-8")
        with (
            open(log_path, "w", encoding="utf-8") as log,
            _kernels_die_if_cancelled(scratch) as stopped,
        ):
            print(order, file=log, flush=True)
            errors, seeds, barren = {}, list(order.keys), 0
            while seeds and barren < 2 and not stopped.is_set():
                error = _run_notebook(order, seeds, scratch, log, stopped)
                left = [seed for seed in seeds if not order.is_there(seed)]
                if left:
                    errors[left[0]] = error or "its template ended without saving results"
                    _put(scratch / NOTEBOOK, folder / "failed" / f"{order.setting}-{left[0]}")
                barren = barren + 1 if left == seeds else 0
                seeds = left[1:]
        _put(scratch / NOTEBOOK, folder / "arms" / order.name)
        os.replace(log_path, folder / "arms" / order.name / "log.txt")
    errors |= dict.fromkeys(seeds, "not tried after the others had failed")
    for seed in set(order.keys) - set(errors):
        shutil.rmtree(folder / "failed" / f"{order.setting}-{seed}", ignore_errors=True)
    return errors


def _put(file, folder):
    folder.mkdir(exist_ok=True)
    if file.exists():
        shutil.copy(file, folder)


def _run_notebook(order, seeds, scratch, log, stopped):
    """Why it failed, or None; begun again if the kernel dies, which goes on where it was."""
    import papermill

    error = None
    for attempt in range(1, KERNEL_DEATHS + 1):
        try:
            papermill.execute_notebook(
                scratch / "template.ipynb",
                scratch / NOTEBOOK,
                {"parameters": order.parameters, "seeds": seeds},
                kernel_name="python3",
                cwd=scratch,
                progress_bar=False,
                stdout_file=log,
                stderr_file=log,
                start_timeout=KERNEL_START_SECONDS,
            )
            return None
        except RuntimeError as death:  # nbclient's, while the kernel starts or later
            error = f"its kernel died {attempt} times (killed, or out of memory?)"
            print(f"Attempt {attempt} of {KERNEL_DEATHS}: {death}", file=log, flush=True)
            if stopped.is_set():
                break
        except papermill.PapermillExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
            print(error, file=log, flush=True)
            break
    return error


def _set_environment(order):
    """What the kernels of this process get: all that could change a result is fixed here."""
    for name in [*os.environ]:
        if name.startswith(("JAX_", "KERAS_")) and name not in LEFT_TO_THE_USER:
            del os.environ[name]
    wanted = {name: getattr(order, name) for name in ("folder", "setting", "keys", "versions")}
    os.environ.update(
        KERNEL_DEFAULTS
        | os.environ
        | KERNEL_SETTINGS
        | {
            "KERAS_BACKEND": order.backend,
            # Not the user's keras.json, which may ask for another precision or order of axes.
            "KERAS_HOME": str(Path(order.folder) / "logs"),
            ORDER: json.dumps(wanted),
        }
    )


class StrangerError(Exception):
    """A worker that has another disk, or another version of what it is to run."""


def _refuse_stranger(order):
    here = f"The worker on {socket.gethostname()}"
    if not Path(order.folder, order.token).exists():
        raise StrangerError(
            f"{here} does not see the folder {order.folder} as this machine does, so its results"
            " would be lost. Give a folder that all workers share with --out."
        )
    if versions() != order.versions:
        raise StrangerError(
            f"{here} has {versions()}; here it is {order.versions}. Equal keys would not be equal"
            " results: install the same on both."
        )


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
        machine; its workers must see the folder.
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
        If the folder cannot be written, the disk is full, the scheduler cannot be reached, or a
        worker has another disk or other versions.
    """
    start = monotonic()
    folder = _prepare(Path(out).resolve() / trials[0].experiment)
    known = set(collect(folder)["key"])
    outcome = Outcome(present=[trial for trial in trials if trial.key in known])
    if begin:
        begin(outcome)
    missing = {trial.key: trial for trial in trials if trial.key not in known}

    def tell(trial, error):
        (outcome.failed if error else outcome.done).append((trial, error) if error else trial)
        outcome.seconds = monotonic() - start
        if report:
            report(trial, error, outcome)

    if missing:
        workers = min(workers or os.cpu_count(), len(missing))
        token = tempfile.NamedTemporaryFile(dir=folder, prefix=".sweep_")
        with token, connect(workers, scheduler, log=folder / "logs" / "workers.txt") as client:
            parts = sum(client.ncores().values()) if scheduler else workers
            orders = _orders(missing.values(), folder, parts, Path(token.name).name)
            _carry_out(client, orders, missing, folder, tell)
        collect(folder)
    outcome.seconds = monotonic() - start
    return outcome


def _orders(trials, folder, workers, token):
    """The executions that compute some trials: one an arm, or several where workers would idle."""
    arms = {}
    for trial in trials:
        arms.setdefault(trial.setting, []).append(trial)
    # The last arms first: the catalogue lists the long ones last, and a long one that begins last
    # would leave the other workers idle.
    orders = []
    for setting, seeds in reversed(arms.items()):
        first = seeds[0]
        template = (TEMPLATES / f"{first.template}.ipynb").read_text(encoding="utf-8")
        count = min(len(seeds), max(1, -(-workers // len(arms))))
        orders += [
            Order(
                {name: value for name, value in first.to_dict().items() if name != "seed"},
                {one.seed: one.key for one in seeds[number::count]},
                setting,
                first.backend,
                template,
                str(folder),
                token,
                versions(),
            )
            for number in range(count)
        ]
    return orders


def _carry_out(client, orders, missing, folder, tell):
    """Have orders executed, and tell of each run as soon as its folder is there."""
    futures = {
        client.submit(execute, order, key=f"{order.name}-{uuid4().hex}", pure=False): order
        for order in orders
    }
    waiting = dict(missing)

    def look():
        for key in [*waiting]:
            if (folder / "runs" / key).is_dir():
                tell(waiting.pop(key), None)

    while futures:
        (folder / orders[0].token).touch()  # else another sweep takes it for one left behind
        time.sleep(LOOK_SECONDS)  # not Dask's `wait`: each call of it costs more than it saves
        finished = [future for future in futures if future.done()]
        look()
        for future in finished:
            order = futures.pop(future)
            errors = _outcome(future, order)
            for seed, key in order.keys.items():
                if key in waiting:
                    # None: it is done, and only not to be seen here yet, as on a network's disk.
                    tell(waiting.pop(key), errors.get(seed))
            future.release()


def _outcome(future, order):
    """By seed, why it failed."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        errors = future.result()
    except KilledWorker:
        return dict.fromkeys(order.keys, "its workers died again and again (out of memory?)")
    except (CommClosedError, FutureCancelledError):  # the scheduler is gone
        raise
    except StrangerError as error:
        raise SweepError(str(error)) from error
    except Exception as error:  # such as a worker that cannot import the course
        if getattr(error, "errno", None) in CANNOT_WRITE:
            raise SweepError(cannot_write(order.folder, error)) from error
        return dict.fromkeys(order.keys, f"{type(error).__name__}: {error}")
    for error in errors.values():
        if error.startswith("SweepError: "):  # of the kernel: a full disk, other code
            raise SweepError(error.removeprefix("SweepError: "))
    return errors


def _prepare(folder):
    with clear_errors(folder):
        for name in ("runs", "arms", "failed", "logs", "checkpoints"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for pattern, days in LEFT_BEHIND.items():
            for left in folder.glob(pattern):
                with suppress(FileNotFoundError):  # another sweep removes it, too
                    if time.time() - left.stat().st_mtime > days * 24 * 3600:
                        shutil.rmtree(left, ignore_errors=True)
                        left.unlink(missing_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder
