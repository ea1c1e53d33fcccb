"""Kernels forked from a process that has imported Keras: fast, fresh, and gone with their user."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from course import warm

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork: kernels start as ever")

SETTINGS = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "course-warm", "COURSE_WARM_SECONDS": "120"}
# What a user of kernels does; `say` runs code in a kernel and prints what that prints.
PRELUDE = """
import os, signal, sys, time
from jupyter_client.manager import start_new_kernel

def say(client, code):
    lines = []
    def keep(message):
        if message["msg_type"] == "stream":
            lines.append(message["content"]["text"])
    reply = client.execute_interactive(code, output_hook=keep, timeout=120)
    print("".join(lines).strip() or reply["content"]["status"], flush=True)

"""


def user(code, **environment):
    """A process of its own that runs kernels; its output, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
        env=os.environ | SETTINGS | environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one user sees who starts several kernels, by topic: the import is waited for once."""
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "mine.py").write_text("answer = 42")
    lines = user(f"""
        import threading
        from course import warm

        def topic(name, **options):
            print("#", name)
            return start_new_kernel(**options)

        sys.path.insert(0, "/nowhere/of/mine")
        start_new_kernel()[0].shutdown_kernel()
        for name in "first", "second":
            start = time.perf_counter()
            manager, client = topic(name, cwd={str(folder)!r}, env=os.environ | {{"COURSE_DATASET": "digits"}})
            print(time.perf_counter() - start)
            say(client, "import sys; print('keras' in sys.modules, 'course' in sys.modules, 'course.data' in sys.modules)")
            say(client, "import os, mine; print(mine.answer, os.environ['COURSE_DATASET'], '/nowhere/of/mine' in sys.path)")
            say(client, "print(__name__, sys.modules['__main__'].__dict__ is globals())")
            say(client, "import keras, numpy as np; m = keras.Sequential([keras.layers.Dense(2)]); m.compile('adam', 'mse');"
                        "m.fit(np.ones((8, 2)), np.ones((8, 2)), verbose=0); print(len(m.weights))")
            say(client, "import multiprocessing as mp; p = mp.get_context('fork').Process(target=id, args=(0,));"
                        "p.start(); p.join(); print(p.exitcode)")
            say(client, "print(np.random.random())")
            manager.shutdown_kernel()

        manager, client = topic("interrupt")
        threading.Timer(3, manager.interrupt_kernel).start()
        say(client, "import time; time.sleep(60)")
        say(client, "print('alive')")
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        say(client, "import sys; print('time' in globals(), 'keras' in sys.modules)")
        manager.shutdown_kernel()
        print(manager.is_alive())

        asked = "import sys; print('keras' in sys.modules)"
        for name, options in {{
            "backend": {{"env": os.environ | {{"KERAS_BACKEND": "jax"}}}},  # Keras was imported for another
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
    """It has Keras imported and can train; it is in its folder, with its environment, path and main module."""
    assert answers[name][1:6] == ["True False False", "42 digits False", "__main__ True", "2", "0"]
    assert float(answers[name][0]) < 5, "the import is done once"


def test_kernels_draw_random_numbers_of_their_own(answers):
    assert answers["first"][6] != answers["second"][6]


def test_an_interrupt_stops_the_cell_and_not_the_kernel(answers):
    assert answers["interrupt"] == ["error", "alive", "False True", "False"]


@pytest.mark.parametrize("difference", ["backend", "threads", "redirected"])
def test_what_differs_gets_a_normal_kernel(answers, difference):
    assert answers[difference] == ["False"]


def test_a_failure_gives_a_normal_kernel_and_says_why(answers):
    assert answers["failure"] == ["No warm kernel (OSError: no more processes); starting a normal one.", "False"]


def test_another_python_gets_a_normal_kernel():
    command = ["/another/venv/bin/python", "-m", "ipykernel_launcher", "-f", "x.json"]
    assert warm.fork_kernel(command, {"env": {}}) is None
    assert warm.fork_kernel([sys.executable, "-m", "another_kernel", "-f", "x.json"], {"env": {}}) is None


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
        [sys.executable, "-c", code], env=os.environ | SETTINGS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        assert process.stdout.readline() == "started\n"
        left = descendants(psutil.Process(process.pid))
        assert len(left) >= 3, "a fork server and two kernels"
        process.kill()
        process.wait(20)
        gone, alive = psutil.wait_procs(left, timeout=20)
        for one in alive:
            one.kill()
        assert not alive
