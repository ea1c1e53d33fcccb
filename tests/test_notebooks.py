"""Every lesson runs to its end, on Fashion-MNIST and on digits; marked outputs are compared (nbval)."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from course import data

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
CELL_SECONDS = 300
SYLLABUS = ["00", "01", "02", "03", "04", "05", "06", "07", "09", "10"]
NEEDS = {"10_pytorch": "torch"}  # what test_pytorch.py sees to is that the lesson stops cleanly without it


def nbval(path, environment):
    """Run one notebook in a fresh kernel; cells marked NBVAL_CHECK_OUTPUT must put out what is committed."""
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env",
        f"--nbval-cell-timeout={CELL_SECONDS}", "-W", "ignore", "-q", str(path),
    ]  # fmt: skip
    # Warm-up lines of a kernel aside, nothing of this process's settings may help the lesson.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTEST_"))}
    start = time.perf_counter()
    done = subprocess.run(
        command, env={**inherited, **environment}, capture_output=True, text=True, cwd=path.parent
    )  # fmt: skip
    return done, time.perf_counter() - start


def environment_for(dataset, scratch):
    """Settings under which `auto` takes this data set."""
    if dataset == "fashion_mnist":
        return {"COURSE_DATASET": ""}
    # As on a machine without data and without a network: it must find its own way to the digits.
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return {"COURSE_DATASET": "", "KERAS_HOME": str(scratch)} | proxies


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """The lessons chosen for this test run, by lesson and data set, two or more at a time: a thread each."""
    chosen = [one.callspec.params for one in request.session.items if getattr(one, "originalname", "") == "test_lesson"]
    one_thread = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        yield {
            (one["path"], one["dataset"]): pool.submit(
                nbval, one["path"], one_thread | environment_for(one["dataset"], tmp_path_factory.mktemp("keras"))
            )
            for one in chosen
            if one["dataset"] == "digits" or data.cache_status() == "cached"
        }
    finally:
        pool.shutdown(cancel_futures=True)


def test_the_syllabus_is_complete():
    assert [path.stem[:2] for path in LESSONS] == SYLLABUS


@pytest.mark.parametrize("dataset", ["fashion_mnist", "digits"])
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path, dataset, runs, lesson_seconds):
    needed = NEEDS.get(path.stem)
    if needed and not find_spec(needed):
        pytest.skip(f"{needed} is not installed: python3 run.py {needed}")
    if (path, dataset) not in runs:
        pytest.skip("Fashion-MNIST is not cached: set KERAS_HOME to a folder that holds it, or load it once")
    done, lesson_seconds[path.stem, dataset] = runs[path, dataset].result()
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout


def test_nbval_notices_a_changed_output(tmp_path):
    """The check of the check: a marked cell that puts out something else must fail."""
    import nbformat

    cell = nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nprint(1 + 1)", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="3\n")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "wrong.ipynb")
    done, _ = nbval(tmp_path / "wrong.ipynb", {})
    assert done.returncode == 1 and "1 failed" in done.stdout
