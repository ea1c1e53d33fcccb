"""Sweeps, run for real: whatever is killed, what is finished stays, and nothing is computed twice
or left behind.
"""

import errno
import io
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import distributed
import nbformat
import pandas as pd
import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from course.app import cli
from course.app.cli.experiments import rich_table
from course.lab import cluster as cluster_module
from course.lab import many, plan, record, results, sweep, trial

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and sessions as here are POSIX's")

TRAIN = trial.TEMPLATES / "train.ipynb"
# A template without Keras. It notes each start, then waits or fails as the files in `folder` tell
# it to.
PARAMETERS = """
parameters = {}
seeds = [0]
"""
BODY = """
import json, os, shutil, time
from pathlib import Path

folder, order = parameters["folder"], json.loads(os.environ["COURSE_SWEEP"])
for seed in seeds:
    key = order["keys"][str(seed)]
    place = Path(order["folder"], "runs", key)
    if place.exists():
        continue
    name = parameters.get("letter", "a") + str(seed)
    with open(Path(folder, "begun"), "a") as file:
        print(name, os.getpid(), file=file, flush=True)
    print("at work", flush=True)
    while Path(folder, f"hold_{name}").exists() or Path(folder, "hold_all").exists():
        time.sleep(0.05)
    if Path(folder, f"fail_{name}").exists():
        raise ValueError("as asked")
    new = Path(order["folder"], ".new_" + key)
    new.mkdir()
    shutil.copy(Path(folder, "history.parquet"), new)
    row = {"key": key, "setting": order["setting"], "experiment": "tiny", "seed": seed}
    row |= {"arm": parameters["arm"], "parameters": parameters}
    row |= {"metrics": {"score": seed + 0.5}, "provenance": {"backend": "none"}}
    Path(new, "row.json").write_text(json.dumps(row))
    new.rename(place)
"""
# The command `course`, with another template and an experiment more.
DRIVER = """
import sys
from pathlib import Path
from course.lab import catalogue, plan, sweep, trial
from course.app import cli

trial.TEMPLATES = sweep.TEMPLATES = Path(__file__).parent
trial.PARAMETERS["tiny"] = {"dataset": "fashion_mnist", "seed": 0, "letter": "a", "folder": ""}
arms = {"a": {}, "b": {"letter": "b"}}
plan.EXPERIMENTS["tiny"] = catalogue.Experiment("?", arms, looks=(2, 4), template="tiny")
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
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, folder / "tiny.ipynb")
        (folder / "driver.py").write_text(DRIVER)
        history = [
            (0, "validation", "inference", "loss", 2.0),
            (1, "validation", "inference", "loss", 1.0),
        ]
        pd.DataFrame(history, columns=["epoch", "split", "mode", "metric", "value"]).to_parquet(
            folder / "history.parquet"
        )
        self.processes = []

    def tell(self, *names):
        for name in names:
            (self.folder / name).touch()

    def release(self, *names):
        for name in names:
            (self.folder / name).unlink()

    def start(self, *options, prefix=(), **settings):
        """Begin a sweep; its process, with the text of both streams to come."""
        options = (
            "experiment",
            "tiny",
            "-p",
            f"folder={self.folder}",
            "--out",
            str(self.out),
            *options,
        )
        environment = os.environ | {
            "JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner",
            "COLUMNS": "300",
        }
        process = subprocess.Popen(
            [*prefix, sys.executable, str(self.folder / "driver.py"), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment | settings,
        )
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
        """Wait until runs have begun so many times; the process of each one's last start."""
        wait(
            lambda: all(self.starts().get(name, 0) >= count for name, count in starts.items()),
            f"{starts} to begin",
        )
        return {name: pid for name, pid in self.begun() if name in starts}

    def tables(self):
        return pd.read_parquet(self.results / "runs.parquet"), pd.read_parquet(
            self.results / "history.parquet"
        )

    def complete(self):
        """Each of the four runs is there once."""
        runs, history = self.tables()
        assert sorted(zip(runs["arm"], runs["seed"], strict=True)) == [
            ("a", 0),
            ("a", 1),
            ("b", 0),
            ("b", 1),
        ]
        assert sorted(history["key"]) == sorted([*runs["key"]] * 2)
        assert not history.duplicated(["key", "epoch", "split", "mode", "metric"]).any()
        return True


def wait(condition, what, seconds=300):  # much on a free machine; the tests may share theirs
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)


def finish(process):
    output, errors = process.communicate(timeout=600)
    return process.returncode, output, errors


def family(process):
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=30)
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


# A sweep
# ------------------------------------------------------------------------------------------


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
    assert (runs["backend"] == "none").all(), "the provenance"
    arms = [*(place.results / "arms").iterdir()]
    assert len(arms) == 2, "one execution an arm, for all its seeds"
    for arm in arms:
        assert {path.name for path in arm.iterdir()} == {"notebook.ipynb", "log.txt"}
        assert "at work" in (arm / "log.txt").read_text()

    place.release("fail_b0")
    # Two sweeps of one folder at a time: both do the work, or one waits for nothing; no row is
    # doubled.
    both = [place.start("--workers", "1") for _ in range(2)]
    for process in both:
        code, output, errors = finish(process)
        assert (code, errors) == (0, ""), output
        assert "1 runs done, 3 were there already, 0 failed" in output
    assert place.complete()
    assert not list((place.results / "failed").iterdir())
    assert {name: place.starts()[name] for name in ("a0", "a1", "b1")} == {
        "a0": 1,
        "a1": 1,
        "b1": 1,
    }


def test_kills_in_mid_sweep_lose_nothing_finished_and_leave_nothing_behind(place):
    place.tell("hold_a1", "hold_b1")
    driver = place.start("--workers", "2")
    kernels = place.wait_for(a1=1, b1=1)
    wait(lambda: len(list((place.results / "runs").iterdir())) == 2, "the first seed's rows")
    log = next(
        path
        for path in (place.results / "logs").glob("*.log")
        if "a, seeds 0, 1" in path.read_text()
    )
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
    code, output, errors = place.run("--workers", "2")
    assert (code, errors) == (0, ""), output
    assert "2 runs done, 2 were there already, 0 failed" in output
    assert place.complete()
    assert place.starts() == {"a0": 1, "a1": 3, "b0": 1, "b1": 3}
    assert not list((place.results / "checkpoints").iterdir()) and not list(
        place.results.glob(".new_*")
    )


def test_ctrl_c_ends_a_sweep_with_a_sentence(place):
    place.tell("hold_all")
    driver = place.start("--workers", "4")  # more than there are arms: their seeds are shared out
    wait(lambda: len(place.begun()) == 4, "four runs at a time")
    left = family(driver)
    os.killpg(driver.pid, signal.SIGINT)  # as the terminal does it
    code, output, errors = finish(driver)
    assert code == 130
    assert output.endswith(
        "Stopped. What is finished is kept; the same command goes on from there.\n"
    )
    assert errors == ""
    assert_gone(left)


@pytest.fixture
def cluster(tmp_path):
    """The address of a real scheduler here with two workers, each a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    commands = [
        [*dask, "scheduler", "--host", address, "--dashboard-address", "127.0.0.1:0", "--no-show"]
    ]
    commands += 2 * [
        [
            *dask,
            "worker",
            address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--local-directory",
            str(tmp_path),
        ]
    ]
    environment = os.environ | {
        "JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner",
        "KERAS_BACKEND": "another",
    }
    with open(tmp_path / "cluster.log", "w") as log:
        options = {"stdout": log, "stderr": log, "env": environment, "cwd": tmp_path}
        processes = [subprocess.Popen(command, **options) for command in commands]
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


def test_a_sweep_on_a_cluster_survives_a_worker_and_frees_the_others_when_it_is_killed(
    place, cluster
):
    address, workers = cluster
    place.tell("hold_all")
    time.sleep(5)
    driver = place.start("--scheduler", address)
    kernels = place.wait_for(a0=1, b0=1)
    parents = {name: psutil.Process(pid).ppid() for name, pid in kernels.items()}
    assert sorted(parents.values()) == sorted(worker.pid for worker in workers), "one each"
    killed, kept = (
        next(one for one in workers if one.pid == parents[name]) for name in ("a0", "b0")
    )
    killed.kill()
    assert_gone([psutil.Process(kernels["a0"])] if psutil.pid_exists(kernels["a0"]) else [])
    driver.kill()
    # The worker is the cluster's and stays; what it ran for this driver ends, and it is free for
    # others.
    assert_gone([psutil.Process(kernels["b0"])])
    assert kept.poll() is None

    place.release("hold_all")
    code, output, errors = place.run("--scheduler", address)
    assert (code, errors) == (0, ""), output
    assert "4 runs done" in output
    assert place.complete()
    assert kept.poll() is None


def test_a_run_is_a_notebook_of_a_warm_kernel_that_anyone_can_run_with_papermill(place):
    """The real template, on the digits, through the command; and beside it the same by hand."""
    notebook = nbformat.read(TRAIN, as_version=4)
    notebook.cells.insert(
        0, nbformat.v4.new_code_cell("import sys\nprint('warm:', 'keras' in sys.modules)")
    )
    nbformat.write(notebook, place.folder / "train.ipynb")
    small = {
        "dataset": "digits",
        "train_size": 200,
        "validation_size": 100,
        "epochs": 1,
        "batch_size": 64,
    }
    command = [
        sys.executable,
        place.folder / "driver.py",
        "experiment",
        "eight",
        "--arm",
        "small",
        "--seeds",
        "1",
    ]
    command += ["--dataset", "digits", "--epochs", "1", "--workers", "1", "--out", place.out]
    command += ["-p", "train_size=200", "-p", "validation_size=100"]
    by_hand = [
        sys.executable,
        "-m",
        "papermill",
        TRAIN,
        place.folder / "by_hand.ipynb",
        "--no-progress-bar",
        "-y",
        json.dumps({"parameters": small}),
    ]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "JUPYTER_DEFAULT_PROVISIONER_NAME"
    }
    for one in (command, by_hand):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        place.processes.append(
            subprocess.Popen(
                [str(word) for word in one], env=environment, **pipes, cwd=place.folder
            )
        )
    (code, output, errors), (by_hand, *_) = map(finish, place.processes)
    assert (code, by_hand) == (0, 0), output + errors
    assert "1 runs done" in output
    assert errors == ""

    runs = pd.read_parquet(place.out / "eight" / "runs.parquet")
    (row,) = runs.to_dict("records")
    assert (row["arm"], row["seed"], row["backend"]) == ("small", 0, "tensorflow")
    assert 0 <= row["test_accuracy"] <= 1, "what the arm asks to be measured"
    assert row["revision"] and row["keras"] and row["python"] and "200 training" in row["data"]
    (log,) = (path.read_text() for path in (place.out / "eight" / "arms").glob("*/log.txt"))
    assert "warm: True" in log
    assert "epoch 1 of 1" in log, "a line a measurement"
    by_hand = (place.folder / "by_hand.ipynb").read_text()
    assert "gap_loss" in by_hand and "image/png" in by_hand
    result = CliRunner().invoke(
        cli.app, ["results", "eight", "--out", str(place.out), "--metric", "test_accuracy"]
    )
    assert (
        "small" in result.output
        and f"{row['test_accuracy']:+.3f}" in result.output
        and "digits" in result.output
    )


# First cell of the real template: a checkpoint after each epoch, and a halt after the third.
HALT = """
import os, time
from pathlib import Path
from course.lab import many, record

many.SAVE_SECONDS = 0
record.Checkpoint.__init__.__defaults__ = (0,)
for kind in (many._Saver, record.Checkpoint):
    def epoch_done(saver, state, usual=kind.epoch_done):
        usual(saver, state)
        begun = Path("FOLDER", "begun")
        with open(begun, "a") as file:
            print("epoch", os.getpid(), file=file)
        while Path("FOLDER", "hold_all").exists() and begun.read_text().count("epoch") == 3:
            time.sleep(0.05)
    kind.epoch_done = epoch_done
"""


@pytest.mark.parametrize(("backend", "epochs"), [("jax", 4), ("tensorflow", 8)])
def test_a_kill_in_mid_training_changes_no_bit_of_the_results(place, backend, epochs):
    """On JAX both seeds are trained at once; on TensorFlow the first of two is killed."""
    notebook = nbformat.read(TRAIN, as_version=4)
    cell = nbformat.v4.new_code_cell(HALT.replace("FOLDER", str(place.folder)))
    notebook.cells.insert(0, cell)
    nbformat.write(notebook, place.folder / "train.ipynb")
    command = ["two by two", "--arm", "more images, both, rate 0.2", "--dataset", "digits"]
    command += ["--seeds", "2", "--workers", "1", "--epochs", "4", "-p", "train_size=200"]
    command += ["-p", "validation_size=100"]

    def sweep_into(name):
        settings = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner"}
        process = subprocess.Popen(
            [sys.executable, "driver.py", "experiment", *command, "--out", name],
            env=os.environ | settings | {"KERAS_BACKEND": backend},
            cwd=place.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        place.processes.append(process)
        return process

    def found(name):
        folder = place.folder / name / "two by two"
        assert not list((folder / "checkpoints").iterdir())
        rows, history = (pd.read_parquet(folder / f"{one}.parquet") for one in ("runs", "history"))
        return rows.drop(columns="seconds"), history[history["metric"] != "seconds"]

    place.tell("hold_all")
    process = sweep_into("killed")
    wait(lambda: len(place.begun()) == 3, "the third epoch")
    os.kill(place.begun()[-1][1], signal.SIGKILL)
    place.release("hold_all")
    code, output, errors = finish(process)
    assert (code, errors) == (0, ""), output
    assert len(place.begun()) == epochs, "it went on behind the third epoch"
    assert len({pid for _, pid in place.begun()}) == 2, "in another kernel"
    assert finish(sweep_into("undisturbed"))[0] == 0
    for killed, undisturbed in zip(found("killed"), found("undisturbed"), strict=True):
        pd.testing.assert_frame_equal(killed, undisturbed, check_exact=True)


def test_the_notebook_of_a_run_can_be_run_again_by_hand(tmp_path):
    """Of a run that failed, once its value is mended; and of one that is done, to see its model."""
    small = {"dataset": "digits", "train_size": 200, "validation_size": 100, "epochs": 1}
    for name, rate in (("failed", 1.5), ("arms", 0.2)):
        (one,) = plan.trials(
            "transformer",
            arms=["layer, learning rate 0.01"],
            seeds=1,
            parameters=small | {"rate": rate},
        )
        outcome = sweep.sweep([one], tmp_path, workers=1)
        assert len(outcome.failed) == (name == "failed"), outcome.failed
        (path,) = (tmp_path / "transformer" / name).glob(f"{one.setting}-*/notebook.ipynb")
        notebook = nbformat.read(path, as_version=4)
        (cell,) = [
            one for one in notebook.cells if "injected-parameters" in one.metadata.get("tags", ())
        ]
        assert str(rate) in cell.source
        cell.source = cell.source.replace("1.5", "0.2")
        nbformat.write(notebook, path.with_name("mended.ipynb"))
        again = [sys.executable, "-m", "papermill", "mended.ipynb", "out.ipynb"]
        done = subprocess.run(again, cwd=path.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "image/png" in path.with_name("out.ipynb").read_text()


def test_a_worker_that_sees_another_folder_under_the_same_path_is_refused(place):
    """As on another machine, with results of its own: what it would compute, nobody would find."""
    see_all = ["bwrap", "--dev-bind", "/", "/"]
    if not shutil.which("bwrap") or subprocess.run([*see_all, "true"]).returncode:
        pytest.skip("bubblewrap is not installed, or may not be used here")
    assert place.run("--workers", "1")[0] == 0
    view = place.folder / "view"
    place.out.rename(view)
    place.out.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    scheduler = [*dask, "scheduler", "--host", address, "--dashboard-address", "127.0.0.1:0"]
    worker = [*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    worker += ["--local-directory", str(place.folder / "scratch")]
    with open(place.folder / "cluster.log", "w") as log:
        for command in (scheduler, [*see_all, "--bind", str(view), str(place.out), *worker]):
            place.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    with distributed.Client(address, timeout=120) as client:
        client.wait_for_workers(1, timeout=120)
    code, output, errors = place.run("--scheduler", address)
    assert (code, errors) == (1, "")
    assert "does not see the folder" in output and "share with --out" in output
    assert not list((place.results / "runs").iterdir())
    assert len(list((view / "tiny" / "runs").iterdir())) == 4 == len(place.begun())


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """`sweep.execute` in this process, as executed(kernel, order): a function is the kernel."""
    state = SimpleNamespace(tasks={"task": SimpleNamespace(state="executing")})
    worker = SimpleNamespace(local_directory=tmp_path, get_current_task=lambda: "task", state=state)
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    monkeypatch.setattr(sweep, "_set_environment", lambda order: None)
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})

    def executed(kernel, order):
        monkeypatch.setattr(sweep, "_run_notebook", kernel)
        return sweep.execute(order)

    return executed


def an_order(tmp_path, seeds, token=".sweep_token"):
    folder = sweep._prepare(tmp_path / "tiny")
    (folder / token).touch()
    names, keys = {"experiment": "tiny", "arm": "a"}, {seed: f"key {seed}" for seed in seeds}
    return sweep.Order(names, keys, "setting", "none", "", str(folder), token, sweep.versions())


def test_only_the_seed_that_fails_is_blamed(executed, tmp_path, monkeypatch):
    """Trained in several parts: all before it is there, and all behind it is computed, too."""
    order = an_order(tmp_path, range(7))
    one_arm = trial.Trial.from_dict({"dataset": "digits", "train_size": 64, "validation_size": 64})

    class Arm:
        def __init__(self, config, images):
            pass

        def train(self, chunk, batches):
            sizes.append(len(chunk))
            yield from ((one, None, None) for one in chunk)

    def kernel(order, seeds, *_):
        for one, *_ in many.runs(one_arm, seeds):
            if one.seed == 3:
                return "as asked"
            Path(order.folder, "runs", order.keys[one.seed]).mkdir()

    sizes = []
    monkeypatch.setattr(many, "_can_be_vectorised", lambda *_: True)
    monkeypatch.setattr(many, "_Arm", Arm)
    monkeypatch.setattr(many, "AT_ONCE", dict.fromkeys(many.AT_ONCE, 3))
    wanted = {"folder": order.folder, "setting": "setting", "keys": order.keys}
    monkeypatch.setenv("COURSE_SWEEP", json.dumps(wanted))
    assert executed(kernel, order) == {3: "as asked"}
    there = {path.name for path in Path(order.folder, "runs").iterdir()}
    assert there == {f"key {seed}" for seed in range(7) if seed != 3}
    assert sizes == [3, 2, 3], "7 seeds in parts of 3, 2 and 2, and the 3 behind the one that fails"


def test_two_sweeps_that_compute_one_order_have_logs_of_their_own(executed, tmp_path):
    first, second = (an_order(tmp_path, [0], f".sweep_{name}") for name in "ab")

    def kernel(order, *_):
        if order is first:
            assert executed(kernel, second) == {}
        Path(order.folder, "runs", "key 0").mkdir(exist_ok=True)

    assert executed(kernel, first) == {}
    folder = Path(first.folder)
    assert (folder / "arms" / "setting-0" / "log.txt").exists()
    assert not list((folder / "logs").iterdir())


def test_the_driver_waits_for_what_it_sees_late_and_shows_that_it_is_at_work(tmp_path, monkeypatch):
    """On a network's disk the folder of a finished run may come into view later."""
    order = an_order(tmp_path, [0])
    folder, told = Path(order.folder), []

    class Future:
        looks = 0

        def done(self):
            self.looks += 1
            return self.looks == 3

        def result(self):
            return {}  # no seed has failed

        def release(self):
            told.append("released")

    client = SimpleNamespace(submit=lambda *_, **__: Future())
    monkeypatch.setattr(sweep, "LOOK_SECONDS", 0)
    os.utime(folder / order.token, (0, 0))
    sweep._carry_out(client, [order], {"key 0": "trial"}, folder, lambda *what: told.append(what))
    assert told == [("trial", None), "released"]
    sweep._prepare(folder)  # of another sweep
    assert (folder / order.token).exists()


def test_what_a_killed_sweep_left_is_removed_when_it_is_old(tmp_path):
    folder = sweep._prepare(tmp_path / "tiny")
    names = (".new_a", ".sweep_a", "checkpoints/a", "checkpoints/.new_a", "logs/a.log")
    for name in names:
        (folder / name).touch()
    (folder / ".new_gone").symlink_to("nowhere")  # as another sweep has just removed it
    sweep._prepare(folder)
    assert all((folder / name).exists() for name in names)
    for days, left in ((2, names[2:]), (8, ())):
        for name in names:
            if (folder / name).exists():
                os.utime(folder / name, (time.time() - days * 24 * 3600,) * 2)
        sweep._prepare(folder)
        assert [name for name in names if (folder / name).exists()] == list(left)


def test_what_a_kernel_says_of_the_whole_sweep_ends_it(tmp_path):
    order, error = an_order(tmp_path, [0]), "SweepError: The course was changed"
    with pytest.raises(results.SweepError, match="^The course was changed$"):
        sweep._outcome(SimpleNamespace(result=lambda: {0: error}), order)


def test_what_the_user_has_set_changes_no_run(tmp_path, monkeypatch):
    theirs = {
        "KERAS_BACKEND": "torch",
        "KERAS_HOME": "/with/a/keras.json",
        "JAX_ENABLE_X64": "1",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
        "TF_NUM_INTRAOP_THREADS": "7",
        "OMP_NUM_THREADS": "7",
        "NVIDIA_TF32_OVERRIDE": "1",
    }
    left = {"JAX_PLATFORMS": "cpu", "COURSE_WARM_SECONDS": "0", "HOME": "/theirs"}
    order = replace(an_order(tmp_path, [0]), backend="jax")
    monkeypatch.setattr(os, "environ", theirs | left)
    sweep._set_environment(order)
    found = os.environ
    assert {name: found[name] for name in left} == left
    assert not {"JAX_ENABLE_X64", "JAX_DEFAULT_PRNG_IMPL"} & set(found)
    assert found["KERAS_BACKEND"] == "jax"
    assert found["KERAS_HOME"].startswith(order.folder), "no keras.json of theirs"
    assert not Path(found["KERAS_HOME"], "keras.json").exists()
    assert {name: found[name] for name in sweep.KERNEL_SETTINGS} == sweep.KERNEL_SETTINGS
    assert json.loads(found["COURSE_SWEEP"])["keys"] == {"0": "key 0"}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
def test_a_run_has_one_thread(tmp_path):
    """Two runs beside each other would share their threads, and wait for each other."""
    names = "/proc/self/task/*/comm"
    code = f"""
import glob, jax
jax.numpy.ones((300, 300)).dot(jax.numpy.ones((300, 300))).block_until_ready()
print([open(name).read().strip() for name in glob.glob({names!r})].count("tf_XLAEigen"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | sweep.KERNEL_SETTINGS | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1\n", done.stderr


# What goes wrong
# ------------------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(word) for word in arguments])


def test_a_full_disk_ends_the_sweep_with_one_sentence(place):
    """A limit on the size of files is the nearest to a full disk that needs no rights: write()
    fails midway.
    """
    limit = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500));"
        " os.execv(sys.argv[1], sys.argv[1:])"
    )
    code, output, errors = finish(
        place.start("--workers", "1", prefix=(sys.executable, "-c", limit))
    )
    assert (code, errors) == (1, "")
    (line,) = [line for line in output.splitlines() if "Cannot write" in line]
    assert "File too large. Free some space" in line and "finished runs are kept" in line
    assert place.starts() == {}
    assert not list((place.results / "runs").iterdir())


def put(folder, *planned, score=1.0):
    """What a kernel puts down of some trials."""
    history = pd.DataFrame(
        [(0, "train", "inference", "loss", 1.0)],
        columns=["epoch", "split", "mode", "metric", "value"],
    )
    for one in planned:
        order = {"folder": str(folder), "setting": one.setting, "keys": {one.seed: one.key}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COURSE_SWEEP", json.dumps(order))
            patch.setattr(record, "provenance", lambda images: {"backend": "none"})
            record.save(one, {"score": score}, history, None)


@pytest.fixture
def kept(tmp_path):
    """The folder of an experiment as a sweep keeps the runs of one seed; and their trials."""
    folder = sweep._prepare(tmp_path / "eight")
    trials = plan.trials("eight", seeds=1)
    put(folder, *trials)
    return folder, trials


def test_a_disk_that_fills_up_leaves_no_half_run(kept, monkeypatch):
    folder, trials = kept
    before = len(results.collect(folder))

    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    (one,) = plan.trials("eight", seeds=[9], arms=["small"])
    with pytest.raises(results.SweepError, match="No space left on device. Free some space"):
        put(folder, one)
    assert len(results.collect(folder)) == before == len(trials)
    assert not list(folder.glob(".new_*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """Below a file, because root may write into any folder."""
    (tmp_path / "file").touch()
    result = invoke("experiment", "eight", "--out", tmp_path / "file" / "results")
    assert result.exit_code == 1
    assert (
        "Cannot write to" in result.output
        and "--out" in result.output
        and "Traceback" not in result.output
    )


def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "SCHEDULER_SECONDS", 1)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        result = invoke("experiment", "eight", "--out", tmp_path, "--scheduler", address)
        assert result.exit_code == 1
        assert f"No Dask scheduler answers at {address}" in result.output


@pytest.mark.parametrize(
    "name", ["runs.parquet", "history.parquet", "runs/*/row.json", "runs/*/history.parquet"]
)
def test_what_is_damaged_is_named_and_can_be_made_again(kept, name):
    folder, trials = kept
    if name.startswith("runs/"):
        damaged = next(iter(sorted(folder.glob(name))))
    else:
        results.collect(folder)
        damaged = folder / name
    damaged.write_bytes(damaged.read_bytes()[:50])
    result = invoke("results", "eight", "--out", folder.parent)
    assert result.exit_code == 1
    assert "is damaged" in result.output and "Traceback" not in result.output
    assert str(damaged if name.endswith("s.parquet") else damaged.parent) in result.output
    if not name.startswith("runs/"):
        damaged.unlink()
        assert len(results.collect(folder)) == len(trials)
        assert len(pd.read_parquet(folder / "history.parquet")) == len(trials)


def test_tables_alone_are_results(kept):
    """As in a fresh clone: the folders of the runs are not committed."""
    folder, trials = kept
    results.collect(folder)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    outcome = sweep.sweep(trials, folder.parent)
    assert (len(outcome.present), outcome.done, outcome.failed) == (len(trials), [], [])
    rows, history = results.load(trials, folder.parent)
    assert set(rows["arm"]) == set(history["arm"]) == {trial.arm for trial in trials}
    assert sorted(rows["trial"], key=lambda trial: trial.arm) == sorted(
        trials, key=lambda trial: trial.arm
    )


def test_what_two_sweeps_collect_at_a_time_is_made_up_for(kept):
    folder, trials = kept
    results.collect(folder)
    history = pd.read_parquet(folder / "history.parquet")
    history[history["key"] != trials[0].key].to_parquet(
        folder / "history.parquet"
    )  # as an overtaken writer leaves it
    assert len(results.collect(folder)) == len(trials)
    assert sorted(pd.read_parquet(folder / "history.parquet")["key"]) == sorted(
        trial.key for trial in trials
    )


def test_results_are_shown_by_arm_and_a_wrong_metric_is_named(kept, tmp_path):
    folder, trials = kept
    put(folder, *plan.trials("eight", seeds=[1], arms=["small"]))
    put(folder, *plan.trials("eight", seeds=1, arms=["small"], parameters={"epochs": 7}))
    table = results.summary(results.table("eight", folder.parent), ["score"])
    small = table[table["arm"] == "small"].to_dict("records")
    assert {"arm": "small", "changed": "", "seeds": 2, "score": "+1.000 [+1.000, +1.000]"} in small
    assert {"arm": "small", "changed": "epochs=7", "seeds": 1, "score": "+1.000"} in small
    for metric in ("scores", "arm"):
        result = invoke("results", "eight", "--out", folder.parent, "--metric", metric)
        assert result.exit_code == 1
        assert f"There is no metric '{metric}'; there are: score." in result.output
    assert "eight" in invoke("results", "--out", tmp_path / "empty").output
    assert (
        "There are no results of 'eight'"
        in invoke("results", "eight", "--out", tmp_path / "empty").output
    )
    assert "Did you mean 'eight'?" in invoke("results", "eigth", "--out", folder.parent).output


def test_a_long_word_in_a_table_is_folded_and_not_cut():
    """Two settings may differ at their end."""
    frame = pd.DataFrame({"arm": "large", "changed": ["options.initial_scale=0.25"], "seeds": 3})
    console = Console(width=30, record=True, file=io.StringIO())
    console.print(rich_table(frame, "results"))
    columns = [line.split("│")[2].strip() for line in console.export_text().splitlines()[4:-1]]
    assert "".join(columns) == "options.initial_scale=0.25"


def test_a_metric_never_overwrites_another_column(kept):
    folder, _ = kept
    path = next((folder / "runs").glob("*/row.json"))
    row = json.loads(path.read_text())
    for name in ("seed", "data", "key", "wall_seconds", "trial"):
        row["provenance"] |= {"data": "digits"}
        path.write_text(json.dumps(row | {"metrics": {"score": 1, name: 2}}))
        with pytest.raises(results.SweepError, match=f"A metric is called '{name}'.*another name"):
            results.collect(folder)


@pytest.mark.parametrize(
    "name", [name for name in sorted(plan.EXPERIMENTS) if (results.RESULTS / name).is_dir()]
)
def test_the_results_of_every_experiment_can_be_shown(name, monkeypatch):
    """Also of the one that trains nothing, and so has none of the usual metrics."""
    monkeypatch.setenv("COLUMNS", "250")
    shown = invoke("results", name)
    assert shown.exit_code == 0, shown.output
    assert ("formula_error" if name == "exact" else "accuracy") in shown.output


def test_the_tables_of_all_results_stay_small():
    """They are in the repository, and in every clone of it."""
    sizes = [path.stat().st_size for path in results.RESULTS.glob("*/*.parquet")]
    assert sizes and sum(sizes) < 30e6


def test_results_that_the_course_cannot_plan_are_named(kept):
    folder, trials = kept
    runs = results.collect(folder)
    runs["parameters"] = [
        json.dumps(trial.to_dict() | {"options": {"sice": "small"}}) for trial in trials
    ]
    runs.to_parquet(folder / "runs.parquet")
    with pytest.raises(results.SweepError, match="Did you mean"):
        results.load(trials, folder.parent)


def test_a_run_that_diverged_is_not_averaged_away():
    rows = pd.DataFrame(
        {
            "arm": "a",
            "changed": "",
            "setting": "s",
            "seed": range(3),
            "loss": [1.0, float("nan"), 1.0],
        }
    )
    assert list(results.summary(rows, ["loss"])["loss"]) == ["not finite in 1 of 3"]


def test_a_worker_with_another_disk_or_other_versions_is_refused(tmp_path, monkeypatch):
    folder = sweep._prepare(tmp_path / "tiny")
    (folder / "token").touch()
    order = sweep.Order({}, {0: "key"}, "setting", "none", "", str(folder), "token", "keras 1")
    with pytest.raises(sweep.StrangerError, match="has keras .* here it is keras 1. Equal keys"):
        sweep._refuse_stranger(order)
    (folder / "token").unlink()
    with pytest.raises(sweep.StrangerError, match="does not see the folder .*share with --out"):
        sweep._refuse_stranger(order)

    # And the whole way: the workers are processes of their own, and know nothing of this patch.
    monkeypatch.setattr(sweep, "versions", lambda: "keras 1")
    result = invoke("experiment", "exact", "--seeds", "1", "--out", tmp_path, "--workers", "1")
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert "here it is keras 1" in result.output.replace("\n", " ")
    assert not list((tmp_path / "exact" / "runs").iterdir())
