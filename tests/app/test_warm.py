"""Kernels forked from a process that has imported Keras: fast, fresh, and gone with their user."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import browser
import psutil
import pytest
import requests
from jupyter_client import BlockingKernelClient

from course.app import warm
from course.app.cli import lessons as commands

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="this system cannot fork: kernels start as ever"
)

SETTINGS = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "course-warm", "COURSE_WARM_SECONDS": "300"}
# What a user of kernels does; `say` runs code in a kernel and prints what that prints.
PRELUDE = """
import os, signal, sys, time
from jupyter_client.manager import start_new_kernel

def say(client, code):
    lines = []
    def keep(message):
        if message["msg_type"] == "stream":
            lines.append(message["content"]["text"])
    reply = client.execute_interactive(code, output_hook=keep, timeout=300)
    print("".join(lines).strip() or reply["content"]["status"], flush=True)

"""


def user(code, **environment):
    """A process of its own that runs kernels; its output, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
        env=os.environ | SETTINGS | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one user sees who starts several kernels, by topic: the import is waited for once."""
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "mine.py").write_text("answer = 42")
    lines = user(f"""
        import threading
        from course.app import warm

        def topic(name, **options):
            print("#", name)
            return start_new_kernel(**options)

        sys.path.insert(0, "/nowhere/of/mine")
        start_new_kernel()[0].shutdown_kernel()
        for name in "first", "second":
            start = time.perf_counter()
            manager, client = topic(name, cwd={str(folder)!r}, env=os.environ | {{"MINE": "yes"}})
            print(time.perf_counter() - start)
            say(client, "import sys; names = 'keras', 'course', 'course.data';"
                        "print(*(name in sys.modules for name in names))")
            say(client, "import os, mine; print(mine.answer, os.environ['MINE'],"
                        "'/nowhere/of/mine' in sys.path)")
            say(client, "print(__name__, sys.modules['__main__'].__dict__ is globals())")
            say(client, "import keras, numpy as np; m = keras.Sequential([keras.layers.Dense(2)]);"
                        "m.compile('adam', 'mse');"
                        "m.fit(np.ones((8, 2)), np.ones((8, 2)), verbose=0); print(len(m.weights))")
            say(client, "import multiprocessing as mp;"
                        "p = mp.get_context('fork').Process(target=id, args=(0,));"
                        "p.start(); p.join(); print(p.exitcode)")
            say(client, "print(np.random.random())")
            manager.shutdown_kernel()

        manager, client = topic("interrupt")
        threading.Timer(3, manager.interrupt_kernel).start()
        say(client, "import time; time.sleep(60)")
        say(client, "print('alive')")
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=300)
        say(client, "import sys; print('time' in globals(), 'keras' in sys.modules)")
        manager.shutdown_kernel()
        print(manager.is_alive())

        asked = "import sys; print('keras' in sys.modules)"
        for name, options in {{
            # Keras was imported for another backend, and for other threads.
            "backend": {{"env": os.environ | {{"KERAS_BACKEND": "jax"}}}},
            "threads": {{"env": os.environ | {{"OMP_NUM_THREADS": "7"}}}},
            "redirected": {{"stderr": open(os.devnull, "w")}},
        }}.items():
            manager, client = topic(name, **options)
            say(client, asked)
            manager.shutdown_kernel()

        def fail(*arguments):
            raise OSError("no more processes")

        warm._server.fork = fail
        sys.stderr = sys.stdout
        manager, client = topic("failure")
        say(client, asked)
        manager.shutdown_kernel()
    """)
    topics = {}
    for line in lines:
        if line.startswith("# "):
            topics[line[2:]] = []
        elif topics:
            topics[[*topics][-1]].append(line)
    return topics


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_warm_kernel_is_a_kernel_like_any_other(answers, name):
    """It has Keras imported and can train; it is in its folder, with its environment, path and main
    module.
    """
    assert answers[name][1:6] == ["True False False", "42 yes False", "__main__ True", "2", "0"]


def test_kernels_draw_random_numbers_of_their_own(answers):
    assert answers["first"][6] != answers["second"][6]


def test_an_interrupt_stops_the_cell_and_not_the_kernel(answers):
    assert answers["interrupt"] == ["error", "alive", "False True", "False"]


@pytest.mark.parametrize("difference", ["backend", "threads", "redirected"])
def test_what_differs_gets_a_normal_kernel(answers, difference):
    assert answers[difference] == ["False"]


def test_a_failure_gives_a_normal_kernel_and_says_why(answers):
    assert answers["failure"] == [
        "No warm kernel (OSError: no more processes); starting a normal one.",
        "False",
    ]


def test_another_python_gets_a_normal_kernel():
    command = ["/another/venv/bin/python", "-m", "ipykernel_launcher", "-f", "x.json"]
    assert asyncio.run(warm.fork_kernel(command, {"env": {}})) is None
    command = [sys.executable, "-m", "another_kernel", "-f", "x.json"]
    assert asyncio.run(warm.fork_kernel(command, {"env": {}})) is None


def test_packages_that_changed_meanwhile_are_not_served_stale(tmp_path, monkeypatch):
    before = warm.imported_by({})
    monkeypatch.setattr(warm.sysconfig, "get_path", lambda kind: str(tmp_path))
    changed = warm.imported_by({})
    assert changed != before
    os.utime(tmp_path, (1, 1))  # as when a package is installed
    assert warm.imported_by({}) != changed


def test_nobody_waits_for_the_import_unless_asked():
    lines = user(
        """
        start = time.perf_counter()
        manager, client = start_new_kernel()
        say(client, "import sys; print('keras' in sys.modules)")
        manager.shutdown_kernel()
    """,
        COURSE_WARM_SECONDS="0",
    )
    assert lines == ["False"]


def descendants(process):
    return [child for child in process.children(recursive=True) if child.is_running()]


def test_nothing_outlives_a_killed_user():
    code = PRELUDE + textwrap.dedent("""
        managers = [start_new_kernel() for _ in range(2)]
        print("started", flush=True)
        time.sleep(300)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | SETTINGS,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "started\n"
        left = descendants(psutil.Process(process.pid))
        assert len(left) >= 3, "a fork server and two kernels"
        process.kill()
        process.wait(20)
        gone, alive = psutil.wait_procs(left, timeout=120)
        for one in alive:
            one.kill()
        assert not alive


# --- JupyterLab as `course lab` starts it
# ---------------------------------------------------------------


def test_course_lab_asks_for_warm_kernels_but_the_user_decides(monkeypatch):
    monkeypatch.setattr(commands, "WARM_SYSTEM", True)
    assert commands.lab_environment({"A": "b"}) == {
        "A": "b",
        "JUPYTER_DEFAULT_PROVISIONER_NAME": "course-warm",
        "COURSE_WARM_SECONDS": "60",
    }
    off = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner", "COURSE_WARM_SECONDS": "0"}
    assert commands.lab_environment(off) == off
    monkeypatch.setattr(
        commands, "entry_points", lambda **which: ()
    )  # installed before there were warm kernels
    assert commands.lab_environment({"A": "b"}) == {"A": "b"}
    monkeypatch.undo()
    monkeypatch.setattr(commands, "WARM_SYSTEM", False)
    assert commands.lab_environment({"A": "b"}) == {"A": "b"}
    assert "warm" not in " ".join(commands.lab_command([], ROOT))


@pytest.mark.parametrize(
    ("chosen", "begins"), [("course-warm", True), ("local-provisioner", False), (None, False)]
)
def test_the_import_begins_with_the_server_only_where_it_is_wanted(monkeypatch, chosen, begins):
    begun = []
    monkeypatch.setattr(warm._server, "start", lambda: begun.append(True))
    monkeypatch.delenv(warm.CHOICE, raising=False)
    if chosen:
        monkeypatch.setenv(warm.CHOICE, chosen)
    warm._load_jupyter_server_extension(None)
    assert bool(begun) == begins


def test_a_failed_import_is_said_once_and_no_kernel_waits_for_it(monkeypatch, capsys):
    def fail(*arguments):
        raise EOFError("the import died")

    server = warm._Server()
    monkeypatch.setattr(server, "fork", fail)
    monkeypatch.setattr(warm, "_server", server)
    monkeypatch.setenv(warm.PATIENCE, "60")
    start = time.monotonic()
    assert asyncio.run(warm.fork_kernel([sys.executable, "-m", "ipykernel_launcher"], {})) is None
    assert time.monotonic() - start < 50
    assert capsys.readouterr().err.count("No warm kernel (EOFError: the import died)") == 1


@contextmanager
def course_lab(scratch, **environment):
    """`course lab` in a session of its own: its process, its address, the headers that it wants."""
    folders = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    )
    fresh = {name: str(scratch / name.lower()) for name in folders}
    token = secrets.token_hex(8)
    options = [
        "--no-browser",
        "--port-retries=200",
        f"--IdentityProvider.token={token}",
        "--allow-root",
    ]
    plain = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    with (scratch / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "course.app.cli", "lab", *options],
            cwd=ROOT,
            env=plain | fresh | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        address = browser.wait_for_address(
            process, scratch / "jupyter_runtime_dir", scratch / "log"
        )
        yield process, address.split("?")[0], {"Authorization": f"token {token}"}
    finally:
        started = (
            [process, *psutil.Process(process.pid).children(recursive=True)]
            if process.poll() is None
            else []
        )
        for one in started:
            one.kill()
        process.wait(20)


def nothing_is_left(processes, seconds):
    """Wait for processes to end, however they were told to; those that stay are killed and are a
    failure.
    """
    gone, alive = psutil.wait_procs(processes, timeout=seconds)
    for one in alive:
        one.kill()
    return not alive


@pytest.mark.skipif(
    not commands.WARM_SYSTEM, reason="`course lab` starts warm kernels on Linux only"
)
def test_course_lab_starts_warm_kernels_and_leaves_nothing_when_killed(tmp_path):
    with course_lab(tmp_path, COURSE_WARM_SECONDS="300") as (process, address, headers):

        def post(path):
            answer = requests.post(f"{address}api/kernels{path}", headers=headers, timeout=400)
            answer.raise_for_status()
            return answer.json() if answer.content else None

        def connect(kernel):
            client = BlockingKernelClient(
                connection_file=str(tmp_path / "jupyter_runtime_dir" / f"kernel-{kernel}.json")
            )
            client.load_connection_file()
            client.start_channels()
            client.wait_for_ready(timeout=300)
            return client

        def answer(client, code):
            lines = []

            def hook(message):
                lines.append(message["content"].get("text", ""))

            reply = client.execute_interactive(code, output_hook=hook, timeout=300)
            return (
                "".join(lines).strip()
                if reply["content"]["status"] == "ok"
                else reply["content"]["ename"]
            )

        asked = "import sys; print('keras' in sys.modules, 'before' in globals())"
        first = connect(post("")["id"])
        assert answer(first, asked) == "True False", "the first kernel waited for the import"
        kernel = post("")["id"]
        second = connect(kernel)
        assert answer(second, asked) == "True False"

        # What is asked right behind an error is thrown away with it unless one says otherwise.
        number = second.execute("import time; before = 1; time.sleep(60)", stop_on_error=False)
        time.sleep(2)
        post(f"/{kernel}/interrupt")
        reply = second.get_shell_msg(timeout=120)
        assert (reply["parent_header"]["msg_id"], reply["content"].get("ename")) == (
            number,
            "KeyboardInterrupt",
        )
        assert answer(second, asked) == "True True"
        post(f"/{kernel}/restart")
        second.wait_for_ready(timeout=300)
        assert answer(second, asked) == "True False"

        left = descendants(psutil.Process(process.pid))
        assert len(left) >= 3, "a fork server and two kernels"
        process.kill()
        process.wait(20)
        assert nothing_is_left(left, 120)
        first.stop_channels()
        second.stop_channels()


@pytest.mark.skipif(
    not commands.WARM_SYSTEM, reason="`course lab` starts warm kernels on Linux only"
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_course_lab_is_stopped_quietly_while_it_imports(tmp_path, number):
    """Ctrl-C reaches every process of a terminal, the fork server, too."""
    with course_lab(tmp_path) as (process, _, _):
        end = time.monotonic() + 30
        while not (left := descendants(psutil.Process(process.pid))) and time.monotonic() < end:
            time.sleep(0.1)
        assert left, "the import has begun"
        time.sleep(1)
        left = descendants(psutil.Process(process.pid))
        for _ in range(2 if number == signal.SIGINT else 1):  # twice: it does not ask
            os.killpg(process.pid, number)
            time.sleep(0.5)
        process.wait(30)
        assert nothing_is_left(left, 60)
        log = (tmp_path / "log").read_text()
        assert "Traceback" not in log and "KeyboardInterrupt" not in log
