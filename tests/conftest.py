"""What the tests share: quiet Keras, a small data set, and the table of seconds per lesson."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "0"
# What a shell runs in the background inherits a Ctrl-C that is ignored, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

import course  # noqa: E402, F401  (sets TensorFlow's log level before Keras is imported)
import pytest  # noqa: E402
from course import data  # noqa: E402

ON_JAX = "test_the_core_passes_on_jax"
CORE = ("reference", "models", "training", "plots")
LESSON_SECONDS = pytest.StashKey[dict]()


@pytest.fixture(scope="session")
def digits():
    """400 training images of 8x8 pixels: enough to learn from, small enough for a test."""
    return data.load("digits", train_size=400, validation_size=200)


def pytest_collection_modifyitems(items):
    # Last, because its suite runs beside the others from the start and is then long done.
    items.sort(key=lambda item: item.name == ON_JAX)


@pytest.fixture(scope="session", autouse=True)
def core_on_jax(request, tmp_path_factory):
    """The core of the suite on JAX, in a process of its own, and its log; nothing if no test asks for it."""
    asked = any(item.name == ON_JAX for item in request.session.items)
    if not asked or not find_spec("jax") or os.environ.get("KERAS_BACKEND") == "jax":
        yield None, None
        return
    log = tmp_path_factory.mktemp("jax") / "log"
    tests = [str(Path(__file__).parent / f"test_{name}.py") for name in CORE]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=os.environ | {"KERAS_BACKEND": "jax"}, stdout=file, stderr=file, cwd=Path(__file__).parent.parent
        )  # fmt: skip
        yield process, log
        process.kill()
        process.wait()


def pytest_configure(config):
    config.stash[LESSON_SECONDS] = {}


@pytest.fixture
def lesson_seconds(request):
    """Where a test of a lesson puts down how long it ran: {(lesson, data set): seconds}."""
    return request.config.stash[LESSON_SECONDS]


def pytest_terminal_summary(terminalreporter, config):
    seconds = config.stash[LESSON_SECONDS]
    if seconds:
        terminalreporter.section("seconds per lesson on one core, kernel and Keras ready (their start takes about 10 more)")
        for (lesson, dataset), value in sorted(seconds.items()):
            terminalreporter.write_line(f"{lesson:<32} {dataset:<14} {value:6.1f} s")
