"""Sweeps: runs executed with papermill on Dask, kept one folder a run, and the tables made of them.

A run is done when its folder is there, and a folder appears whole or not at all: whatever is killed, and
whenever, the next sweep computes what is missing and nothing else.
"""

import io
import json
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import dask
import pandas as pd
from distributed import Client, LocalCluster, WorkerPlugin, as_completed

from course import experiments, intervals

RESULTS = Path(__file__).resolve().parent.parent / "results"
ROW, HISTORY, NOTEBOOK = "row.json", "history.parquet", "notebook.ipynb"
# One thread a run: two runs beside each other are faster than one run on two threads, and a thread of its
# own makes a run the same whatever runs beside it. oneDNN halves the time of convolutions.
KERNEL_SETTINGS = {
    "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "COURSE_PROGRESS": "0", "COURSE_WIDGETS": "0",
    "JUPYTER_DEFAULT_PROVISIONER_NAME": "course-warm", "COURSE_WARM_SECONDS": "120",
}  # fmt: skip
KERNEL_DEATHS = 3  # how often the kernel of a run may die before the run counts as failed


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
        Wall time.
    """

    done: list = field(default_factory=list)
    present: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    seconds: float = 0.0


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
    """Which state of the course computes this: for the provenance."""
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20)
        described = found.stdout.strip() or "unknown"
    except (OSError, subprocess.TimeoutExpired):
        described = "unknown"
    return {"revision": described, "python": platform.python_version()}


# In a worker ------------------------------------------------------------------------------------------------


def execute(run, template, out):
    """Execute the template of one run in a kernel of its own.

    Parameters
    ----------
    run : course.experiments.Run
    template : str
        The notebook's text: the worker may be on another machine.
    out : str
        The sweep's folder; where the worker sees it, the log grows there and checkpoints are kept there.

    Returns
    -------
    dict
        "files": content by name; "error": None, or one line.
    """
    import multiprocessing

    import papermill
    from nbclient.exceptions import DeadKernelError

    # Dask's workers are daemons, which may have no children; the fork server of the warm kernels is one.
    multiprocessing.current_process().daemon = False
    os.environ.update(KERNEL_SETTINGS)
    start = monotonic()
    with tempfile.TemporaryDirectory(prefix="run_") as scratch:
        scratch, shared = Path(scratch), Path(out)
        source = scratch / "template.ipynb"
        source.write_text(template)
        log_path = (shared / "logs" if (shared / "logs").is_dir() else scratch) / f"{run.key}.log"
        plumbing = {"save_to": str(scratch)}
        if (shared / "checkpoints").is_dir():
            plumbing["checkpoint"] = str(shared / "checkpoints" / run.key)
        error = None
        with open(log_path, "w") as log:
            print(f"{run.experiment}, {run.arm}, seed {run.seed}", file=log, flush=True)
            for attempt in range(1, KERNEL_DEATHS + 1):
                error = None
                try:
                    with redirect_stderr(log):
                        papermill.execute_notebook(
                            source, scratch / NOTEBOOK, run.parameters | plumbing, kernel_name="python3",
                            progress_bar=False, stdout_file=log, stderr_file=log, cwd=scratch,
                        )  # fmt: skip
                    break
                except DeadKernelError:
                    error = f"its kernel died {attempt} times (killed, or out of memory?)"
                    print(f"The kernel died; attempt {attempt} of {KERNEL_DEATHS} is over.", file=log, flush=True)
                except papermill.PapermillExecutionError as failure:
                    error = f"{failure.ename}: {failure.evalue}"
                    print(error, file=log)
                    break
        if error is None and not (scratch / ROW).exists():
            error = "its template ended without calling sweeps.save"
        files = {name: (scratch / name).read_bytes() for name in (ROW, HISTORY, NOTEBOOK) if (scratch / name).exists()}
        files["log.txt"] = log_path.read_bytes()
    return {"files": files, "error": error, "seconds": monotonic() - start}


# In the driver ----------------------------------------------------------------------------------------------


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
        Address of a Dask scheduler, such as "tcp://127.0.0.1:8786", instead of workers on this machine.
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
    folder = _prepare(Path(out) / runs[0].experiment)
    known = set(collect(folder)["key"])
    outcome = Outcome(present=[run for run in runs if run.key in known])
    if begin:
        begin(outcome)
    missing = {run.key: run for run in runs if run.key not in known}
    if missing:
        template = (experiments.TEMPLATES / f"{runs[0].template}.ipynb").read_text()
        with _client(workers or os.cpu_count(), scheduler, folder / "logs" / "workers.txt") as client:
            futures = {
                client.submit(execute, run, template, str(folder), key=f"{run.experiment}-{key}", pure=False, retries=0): run
                for key, run in missing.items()
            }  # fmt: skip
            for future in as_completed(futures):
                run = futures[future]
                error = _keep(run, future, folder)
                (outcome.failed.append((run, error)) if error else outcome.done.append(run))
                outcome.seconds = monotonic() - start
                if report:
                    report(run, error, outcome)
                future.release()
        collect(folder)
    outcome.seconds = monotonic() - start
    return outcome


def _keep(run, future, folder):
    """Write what a run put out; None, or why it failed."""
    try:
        result = future.result()
    except Exception as error:  # the worker died too often, or cannot import the course
        return f"{type(error).__name__}: {error}"
    place = folder / ("failed" if result["error"] else "runs") / run.key
    row = {"key": run.key, "setting": run.setting, "experiment": run.experiment, "arm": run.arm, "seed": run.seed}
    row["parameters"] = run.parameters
    files = dict(result["files"])
    if not result["error"]:
        found = json.loads(files[ROW])
        found["provenance"]["wall_seconds"] = round(result["seconds"], 2)  # with the kernel's start and all measuring
        files[ROW] = json.dumps(row | found, indent=1).encode()
    with _clear_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".new_") as scratch:
        new = Path(scratch) / run.key
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
        if result["error"] and place.exists():
            shutil.rmtree(place)  # of an earlier attempt
        if not place.exists():
            os.rename(new, place)
        if not result["error"]:
            shutil.rmtree(folder / "failed" / run.key, ignore_errors=True)
    (folder / "logs" / f"{run.key}.log").unlink(missing_ok=True)  # it is in the run's folder now
    return result["error"]


@contextmanager
def _client(workers, scheduler, log):
    if scheduler:
        try:
            client = Client(scheduler, timeout=15)
        except (OSError, ValueError) as error:
            raise SweepError(
                f"No Dask scheduler answers at {scheduler} ({error}). Start one with `dask scheduler`, and workers "
                "with `dask worker ADDRESS --nthreads 1`."
            ) from error
        with client:
            if not client.scheduler_info()["workers"]:
                raise SweepError(f"The scheduler at {scheduler} has no workers; start some: `dask worker {scheduler}`.")
            yield client
        return
    # No dashboard: it needs a port and a package. The memory is the kernels', which Dask does not see.
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        LocalCluster(
            workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0, silence_logs=50,
            env=KERNEL_SETTINGS,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        client.register_plugin(_Quiet(str(log)))
        yield client


class _Quiet(WorkerPlugin):
    """Sends what a worker, its fork server and its kernels write to stderr into a file."""

    def __init__(self, log):
        self.log = log

    def setup(self, worker):
        with open(self.log, "a") as file:
            os.dup2(file.fileno(), 2)


def _prepare(folder):
    with _clear_errors(folder):
        for name in ("runs", "failed", "logs", "checkpoints"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".new_*"):
            shutil.rmtree(left, ignore_errors=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder


@contextmanager
def _clear_errors(folder):
    try:
        yield
    except OSError as error:
        raise SweepError(
            f"Cannot write to {folder}: {error.strerror or error}. Free some space or choose another folder with "
            "--out, and run this again: finished runs are kept."
        ) from error


# The tables -------------------------------------------------------------------------------------------------


def collect(folder):
    """Bring the experiment's tables up to date with the folders of its runs.

    Returns
    -------
    pandas.DataFrame
        One row a run: key, setting, experiment, arm, seed, parameters (JSON), the metrics, the provenance.
    """
    folder = Path(folder)
    runs, histories = _read(folder / "runs.parquet"), _read(folder / "history.parquet")
    known = set(runs["key"]) if len(runs) else set()
    new = [path for path in sorted((folder / "runs").glob("*")) if path.name not in known]
    if new:
        rows = [json.loads((path / ROW).read_text()) for path in new]
        flat = [
            {**row, "parameters": json.dumps(row["parameters"], sort_keys=True), **row["metrics"], **row["provenance"]}
            for row in rows
        ]
        added = pd.DataFrame(flat).drop(columns=["metrics", "provenance"])
        parts = [pd.read_parquet(path / HISTORY).assign(key=path.name) for path in new]
        runs = pd.concat([part for part in (runs, added) if len(part)], ignore_index=True)
        histories = pd.concat([part for part in (histories, *parts) if len(part)], ignore_index=True)
        runs = runs.sort_values(["arm", "seed", "key"], ignore_index=True)
        with _clear_errors(folder):
            # The history first: a kill between the two leaves rows to be added again, and none without history.
            _write(histories.drop_duplicates(["key", "epoch", "split", "mode", "metric"]), folder / "history.parquet")
            _write(runs, folder / "runs.parquet")
    return runs if len(runs) else pd.DataFrame(columns=["key", "setting", "experiment", "arm", "seed", "parameters"])


def _read(path):
    return pd.read_parquet(path) if path.exists() else pd.DataFrame()


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


def load(runs, out=RESULTS):
    """What is there of some runs of one experiment.

    Parameters
    ----------
    runs : list of course.experiments.Run
        Such as `experiments.plan("eight")`; of their settings, every seed that is there is taken.
    out : path

    Returns
    -------
    rows, history : pandas.DataFrame
        `history` has the columns arm and seed, too.
    """
    folder = Path(out) / runs[0].experiment
    rows = collect(folder) if (folder / "runs").is_dir() else _read(folder / "runs.parquet")
    if not len(rows):
        raise SweepError(f"There are no results of {runs[0].experiment!r} yet: `course experiment {runs[0].experiment}`.")
    arms = {run.setting: run.arm for run in runs}
    rows = rows[rows["setting"].isin(arms)].assign(arm=lambda table: table["setting"].map(arms))
    history = _read(folder / "history.parquet").merge(rows[["key", "arm", "seed"]], on="key")
    return rows.sort_values(["arm", "seed"], ignore_index=True), history


def table(name, out=RESULTS):
    """All rows there are of an experiment, whatever their parameters; `changed` says where they are not its own."""
    planned = {run.setting: run for run in experiments.plan(name, seeds=1)}
    rows = collect(Path(out) / name)
    if not len(rows):
        raise SweepError(f"There are no results of {name!r} in {out}: `course experiment {name}`.")
    plain = {run.arm: run.parameters for run in planned.values()}

    def changed(row):
        if row["setting"] in planned:
            return ""
        usual, own = plain.get(row["arm"], {}), json.loads(row["parameters"])
        return ", ".join(f"{key}={own[key]}" for key in own if key != "seed" and own[key] != usual.get(key))

    return rows.assign(changed=rows.apply(changed, axis=1))


def summary(rows, metrics):
    """One row an arm: the number of seeds, and each metric's mean over them with its 95 % interval."""
    lines = []
    for (arm, changed, _), group in rows.groupby(["arm", "changed", "setting"], sort=False):
        line = {"arm": arm, "changed": changed, "seeds": len(group)}
        for metric in metrics:
            if metric not in group:
                usable = sorted(set(group.columns[group.dtypes == float]))
                raise SweepError(f"There is no metric {metric!r}; there are: {', '.join(usable)}.")
            values = group[metric].dropna()
            line[metric] = str(intervals.mean_interval(values)) if len(values) > 1 else f"{values.mean():+.3f}"
        lines.append(line)
    return pd.DataFrame(lines)
