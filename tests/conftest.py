"""What the tests share: quiet Keras, a small data set, two tiers, and the tables at the end."""

import os
import re
import signal
from importlib import metadata
from pathlib import Path

import pytest

from course import data

os.environ["COURSE_PROGRESS"] = "0"
# What a shell runs in the background inherits a Ctrl-C that is ignored, and so would all that the
# tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).resolve().parent
# The rooms in the order in which they are tested: the longest tests begin first, and whoever is
# idle takes from the end.
ORDER = ("lessons", "grading", "lab", "publish", "app", "helper")
LEFT_OUT = []  # how many slow tests each process left out


# Tests that only `--all` runs, beside those marked so where they stand: each proves something that
# a quicker one beside it proves on a smaller scale. As regular expressions of a test's id.
SLOW = (
    "helper/test_backends.py::test_(the_core|a_run)",
    "helper/test_models.py::test_any_size_of_image",
    r"grading/test_exercises.py::.*\[0[578]_",
    "grading/test_class.py::",
    "grading/test_batch.py::test_(a_killed_worker|a_key_may_be_made)",
    "lab/test_sweep.py::test_(a_run_is_a_notebook|a_sweep_on_a_cluster|a_failed_run|ctrl_c|a_full)",
    "lab/test_sweep.py::test_(a_kill_in_mid|the_notebook_of_a_run|a_worker_that_sees)",
    "lab/test_ledger.py::test_(one_claim_is_tested|all_computes)",
    "lab/test_measures.py::test_no_measure_changes_the_model",
    r"lab/test_many.py::test_seeds_at_once_on_jax\[all",
    "lab/test_variants.py::test_on_jax",
    "publish/test_slides.py::test_(presenting|axe)",
    r"publish/test_slides.py::test_a_deck_without_a_network\[(?!02)",
    "publish/test_site.py::test_axe",
    "app/test_browser.py::test_(lesson_00|every_slider)",
    "app/test_warm.py::(?!test_a_warm_kernel_is_a_kernel)",
    "app/test_run.py::test_(set_up_from_nothing|the_course_is_found)",
)


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


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also the tests marked slow")


def room(path):
    """The room of a test file: the folder of `tests/` that it lies in."""
    return path.relative_to(TESTS).parts[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    here = [item for item in items if TESTS in item.path.parents]
    for item in here:
        if re.match(f"(tests/)?({'|'.join(SLOW)})", item.nodeid):
            item.add_marker(pytest.mark.slow)
    slow = [item for item in here if item.get_closest_marker("slow")]
    if slow and not config.getoption("--all") and not named(config, slow):
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
        LEFT_OUT.append(len(slow))
        if hasattr(config, "workeroutput"):
            config.workeroutput["left_out"] = len(slow)
    items.sort(key=lambda item: ORDER.index(room(item.path)) if item in here else -1)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """A worker of pytest-xdist ends: the tests were chosen there."""
    LEFT_OUT.append(getattr(node, "workeroutput", {}).get("left_out", 0))


def named(config, items):
    """Whether the tests were asked for one by one, as `file.py::test`."""
    return any("::" in argument for argument in config.args)


def pytest_terminal_summary(terminalreporter, config):
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if hasattr(report, "duration") and hasattr(report, "nodeid")
    ]
    rooms = dict.fromkeys(ORDER, 0.0)
    for report in reports:
        folder = report.nodeid.removeprefix("tests/").split("/")[0]
        rooms[folder] = rooms.get(folder, 0.0) + report.duration
    terminalreporter.section("seconds by room, in the order of the suite")
    for folder, seconds in rooms.items():
        terminalreporter.write_line(f"{folder:<32} {seconds:7.1f} s")
    if any(LEFT_OUT):
        terminalreporter.write_line(
            f"{max(LEFT_OUT)} slow tests were left out: `python3 run.py test --all` has them, too."
        )
    told = [dict(report.user_properties) for report in reports if report.when == "call"]
    lessons = sorted(record["lesson_seconds"] for record in told if "lesson_seconds" in record)
    if lessons:
        terminalreporter.section("seconds of the cells of each lesson on one core")
        for lesson, value in lessons:
            terminalreporter.write_line(f"{lesson:<32} {value:7.1f} s")
