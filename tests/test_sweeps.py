"""Sweeps, run for real: whatever is killed, what is finished stays, and nothing is computed twice or left behind."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from course import cli, experiments, sweeps
from typer.testing import CliRunner

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and sessions as here are POSIX's")

TRAIN = experiments.TEMPLATES / "train.ipynb"
# A template without Keras. It notes each start, then waits or fails as the files in `folder` tell it to.
PARAMETERS = """
dataset = "fashion_mnist"  # never loaded
arm = "a"
folder = ""
seed = 0
save_to = ""
checkpoint = ""
"""
BODY = """
import json, os, shutil, time
from pathlib import Path

name = f"{arm}{seed}"
with open(Path(folder, "begun"), "a") as file:
    print(name, os.getpid(), file=file, flush=True)
print("at work", flush=True)
while Path(folder, f"hold_{name}").exists() or Path(folder, "hold_all").exists():
    time.sleep(0.05)
if Path(folder, f"fail_{name}").exists():
    raise ValueError("as asked")
shutil.copy(Path(folder, "history.parquet"), save_to)
Path(save_to, "row.json").write_text(json.dumps({"metrics": {"score": seed + 0.5}, "provenance": {"backend": "none"}}))
"""
# The command `course`, with another template and an experiment more.
DRIVER = """
import sys
from pathlib import Path
from course import catalogue, cli, experiments

experiments.TEMPLATES = Path(__file__).parent
experiments.EXPERIMENTS["tiny"] = catalogue.Experiment("?", {"a": {}, "b": {"arm": "b"}}, seeds=2, template="tiny")
if __name__ == "__main__":
    cli.app(prog_name="course")
"""


class Place:
    """A folder with the template, a driver, and the results of its sweeps."""

    def __init__(self, folder):
        self.folder, self.out = folder, folder / "results"
        self.results = self.out / "tiny"
        tagged = nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]})
        notebook = nbformat.v4.new_notebook(cells=[tagged, nbformat.v4.new_code_cell(BODY.strip())])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / "tiny.ipynb")
        (folder / "driver.py").write_text(DRIVER)
        history = [(0, "validation", "inference", "loss", 2.0), (1, "validation", "inference", "loss", 1.0)]
        pd.DataFrame(history, columns=["epoch", "split", "mode", "metric", "value"]).to_parquet(folder / "history.parquet")
        self.processes = []

    def tell(self, *names):
        for name in names:
            (self.folder / name).touch()

    def release(self, *names):
        for name in names:
            (self.folder / name).unlink()

    def start(self, *options, prefix=(), **settings):
        """Begin a sweep; its process, with the text of both streams to come."""
        options = "experiment", "tiny", "-p", f"folder={self.folder}", "--out", str(self.out), *options
        environment = os.environ | {"JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner", "COLUMNS": "300"}
        process = subprocess.Popen(
            [*prefix, sys.executable, str(self.folder / "driver.py"), *options], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment | settings,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, *options, **settings):
        return finish(self.start(*options, **settings))

    def begun(self):
        """The starts of runs so far: pairs (name, process of the kernel)."""
        path = self.folder / "begun"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    def starts(self):
        names = [name for name, _ in self.begun()]
        return {name: names.count(name) for name in sorted(set(names))}

    def wait_for(self, **starts):
        """Wait until runs have begun so many times; the kernel's process of each one's last start."""
        wait(lambda: all(self.starts().get(name, 0) >= count for name, count in starts.items()), f"{starts} to begin")
        return {name: pid for name, pid in self.begun() if name in starts}

    def tables(self):
        return pd.read_parquet(self.results / "runs.parquet"), pd.read_parquet(self.results / "history.parquet")

    def complete(self):
        """Each of the four runs is there once."""
        runs, history = self.tables()
        assert sorted(zip(runs["arm"], runs["seed"], strict=True)) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
        assert sorted(history["key"]) == sorted([*runs["key"]] * 2)
        assert not history.duplicated(["key", "epoch", "split", "mode", "metric"]).any()
        return True


def wait(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)


def finish(process):
    output, errors = process.communicate(timeout=240)
    return process.returncode, output, errors


def family(process):
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=20)
    alive = [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    for one in alive:
        one.kill()
    assert not alive


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    for process in place.processes:
        if process.poll() is None:
            left = family(process)
            process.kill()
            for one in left:
                one.kill()
        process.communicate()


# A sweep ----------------------------------------------------------------------------------------------------


def test_a_failed_run_stops_no_other_and_is_tried_again(place):
    place.tell("fail_b0")
    code, output, errors = place.run("--workers", "2")
    assert code == 1
    assert "3 runs done, 0 were there already, 1 failed" in output
    assert "b, seed 0: ValueError: as asked" in output
    assert "left: 0:00:00" in output
    assert errors == "", "nothing of zmq, asyncio or Dask"
    (failed,) = (place.results / "failed").iterdir()
    assert str(failed / "notebook.ipynb") in output
    assert '"evalue": "as asked"' in (failed / "notebook.ipynb").read_text(), "with the error in it"

    runs, history = place.tables()
    assert list(runs["score"]) == [0.5, 1.5, 1.5]
    assert set(history.columns) == {"key", "epoch", "split", "mode", "metric", "value"}
    assert len(history) == 6
    assert json.loads(runs["parameters"][0])["folder"] == str(place.folder)
    assert (runs["backend"] == "none").all() and (runs["wall_seconds"] > 0).all(), "the provenance"
    for key in runs["key"]:
        names = {path.name for path in (place.results / "runs" / key).iterdir()}
        assert names == {"row.json", "history.parquet", "notebook.ipynb", "log.txt"}
        assert "at work" in (place.results / "runs" / key / "log.txt").read_text()

    place.release("fail_b0")
    # Two sweeps of one folder at a time: both do the work, or one waits for nothing; no row is doubled.
    both = [place.start("--workers", "1") for _ in range(2)]
    for process in both:
        code, output, errors = finish(process)
        assert (code, errors) == (0, ""), output
        assert "1 runs done, 3 were there already, 0 failed" in output
    assert place.complete()
    assert not list((place.results / "failed").iterdir())
    assert {name: place.starts()[name] for name in ("a0", "a1", "b1")} == {"a0": 1, "a1": 1, "b1": 1}

    summary = CliRunner().invoke(cli.app, ["results", "tiny", "--out", str(place.out)])
    assert summary.exit_code == 1 and "There is no experiment 'tiny'" in summary.output, "it is the driver's own"


def test_kills_in_mid_sweep_lose_nothing_finished_and_leave_nothing_behind(place):
    place.tell("hold_a1", "hold_b1")
    driver = place.start("--workers", "2")
    kernels = place.wait_for(a1=1, b1=1)
    wait(lambda: len(list((place.results / "runs").iterdir())) == 2, "the first seed's rows")
    log = next(path for path in (place.results / "logs").glob("*.log") if "a, seed 1" in path.read_text())
    assert "at work" in log.read_text(), "it grows while the run goes on"

    os.kill(kernels["a1"], signal.SIGKILL)
    place.wait_for(a1=2)  # begun again, in a new kernel
    psutil.Process(kernels["b1"]).parent().kill()  # the worker
    kernels = place.wait_for(b1=2)
    assert place.starts() == {"a0": 1, "a1": 2, "b0": 1, "b1": 2}

    left = family(driver)
    assert kernels["b1"] in {one.pid for one in left}
    driver.kill()
    assert_gone(left)

    place.release("hold_a1", "hold_b1")
    code, output, errors = place.run("--workers", "5")  # more than there are cores
    assert (code, errors) == (0, ""), output
    assert "2 runs done, 2 were there already, 0 failed" in output
    assert place.complete()
    assert place.starts() == {"a0": 1, "a1": 3, "b0": 1, "b1": 3}
    assert not list((place.results / "checkpoints").iterdir()) and not list(place.results.glob(".new_*"))


def test_ctrl_c_ends_a_sweep_with_a_sentence(place):
    place.tell("hold_all")
    driver = place.start("--workers", "1")
    place.wait_for(a0=1)
    left = family(driver)
    os.killpg(driver.pid, signal.SIGINT)  # as the terminal does it
    code, output, errors = finish(driver)
    assert code == 130
    assert output.endswith("Stopped. What is finished is kept; the same command goes on from there.\n")
    assert errors == ""
    assert_gone(left)


@pytest.fixture
def cluster(tmp_path):
    """The address of a real scheduler on this machine with two workers, each a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--host", address, "--dashboard-address", "127.0.0.1:0", "--no-show"]]
    commands += 2 * [[*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)]]
    environment = os.environ | {"JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner", "KERAS_BACKEND": "another"}
    with open(tmp_path / "cluster.log", "w") as log:
        options = {"stdout": log, "stderr": log, "env": environment, "cwd": tmp_path}
        processes = [subprocess.Popen(command, **options) for command in commands]
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


def test_a_sweep_on_a_cluster_survives_a_worker_and_frees_the_others_when_it_is_killed(place, cluster):
    address, workers = cluster
    place.tell("hold_all")
    time.sleep(5)
    driver = place.start("--scheduler", address)
    kernels = place.wait_for(a0=1, b0=1)
    parents = {name: psutil.Process(pid).ppid() for name, pid in kernels.items()}
    assert sorted(parents.values()) == sorted(worker.pid for worker in workers), "one each"
    killed, kept = (next(one for one in workers if one.pid == parents[name]) for name in ("a0", "b0"))
    killed.kill()
    assert_gone([psutil.Process(kernels["a0"])] if psutil.pid_exists(kernels["a0"]) else [])
    driver.kill()
    # The worker is the cluster's and stays; what it ran for this driver ends, and it is free for others.
    assert_gone([psutil.Process(kernels["b0"])])
    assert kept.poll() is None

    place.release("hold_all")
    code, output, errors = place.run("--scheduler", address)
    assert (code, errors) == (0, ""), output
    assert "4 runs done" in output
    assert place.complete()
    assert kept.poll() is None
