"""What the tests share: quiet Keras, a small data set, and the table of seconds per lesson."""

import os
import re
import signal
from importlib import metadata
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "0"
# What a shell runs in the background inherits a Ctrl-C that is ignored, and so would all that the
# tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402

import course  # noqa: E402, F401  (sets TensorFlow's log level before Keras is imported)
from course import data

LONG = ["test_notebooks", "test_exercises", "test_sweep", "test_backends", "test_warm"]


def versions_are_locked(lock):
    """Whether what the course depends on has the versions of uv.lock.

    PyTorch, which `run.py torch` adds in the newest version, may have another.
    """
    locked = set(re.findall(r'^name = "(.+)"\nversion = "(.+)"', lock, flags=re.MULTILINE))
    for requirement in metadata.requires("batchnorm-dropout-course"):
        name = re.match(r"[\w.-]+", requirement)[0]
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:  # of an extra, or of another platform
            continue
        if name != "torch" and (name, version) not in locked:
            return False
    return True


def pytest_configure(config):
    # What a dependency deprecates in a version that the course was not tested with is news for
    # whoever maintains the course, not a failure in the hands of whoever runs it.
    lock = Path(__file__).resolve().parent.parent / "uv.lock"
    if not versions_are_locked(lock.read_text(encoding="utf-8")):
        for category in "DeprecationWarning", "PendingDeprecationWarning", "FutureWarning":
            config.addinivalue_line("filterwarnings", f"default::{category}")


@pytest.fixture(scope="session")
def digits():
    """400 training images of 8x8 pixels: enough to learn from, small enough for a test."""
    return data.load("digits", train_size=400, validation_size=200)


def pytest_collection_modifyitems(items):
    # The long files first: whoever takes one of them last works alone at the end.
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_terminal_summary(terminalreporter):
    told = [dict(report.user_properties) for report in terminalreporter.getreports("passed")]
    seconds = sorted(one["lesson_seconds"] for one in told if "lesson_seconds" in one)
    if seconds:
        terminalreporter.section(
            "seconds per lesson on one core, kernel and Keras ready (their start takes about 10"
            " more)"
        )
        for lesson, value in seconds:
            terminalreporter.write_line(f"{lesson:<32} {value:6.1f} s")
