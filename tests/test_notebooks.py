"""Every lesson runs to its end, on Fashion-MNIST and on digits; marked outputs are compared (nbval)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from course import data

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
CELL_SECONDS = 300
SYLLABUS = ["00", "01", "02", "03", "04"]


def nbval(path, environment):
    """Run one notebook in a fresh kernel; cells marked NBVAL_CHECK_OUTPUT must put out what is committed."""
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env",
        f"--nbval-cell-timeout={CELL_SECONDS}", "-W", "ignore", "-q", str(path),
    ]  # fmt: skip
    # Warm-up lines of a kernel aside, nothing of this process's settings may help the lesson.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTEST_"))}
    return subprocess.run(
        command, env={**inherited, **environment}, capture_output=True, text=True, cwd=path.parent
    )  # fmt: skip


def test_the_syllabus_is_complete():
    assert [path.stem[:2] for path in LESSONS] == SYLLABUS


@pytest.mark.parametrize("dataset", ["fashion_mnist", "digits"])
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path, dataset, tmp_path, lesson_seconds):
    if dataset == "fashion_mnist":
        if data.cache_status() != "cached":
            pytest.skip("Fashion-MNIST is not cached: set KERAS_HOME to a folder that holds it, or load it once")
        environment = {"COURSE_DATASET": ""}
    else:
        # As on a machine without data and without a network: `auto` must find its own way to the digits.
        dead_end = "http://127.0.0.1:9"
        environment = {"COURSE_DATASET": "", "KERAS_HOME": str(tmp_path)} | dict.fromkeys(
            ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), dead_end
        )
    start = time.perf_counter()
    done = nbval(path, environment)
    lesson_seconds[path.stem, dataset] = time.perf_counter() - start
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout


def test_nbval_notices_a_changed_output(tmp_path):
    """The check of the check: a marked cell that puts out something else must fail."""
    import nbformat

    cell = nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nprint(1 + 1)", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="3\n")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "wrong.ipynb")
    done = nbval(tmp_path / "wrong.ipynb", {})
    assert done.returncode == 1 and "1 failed" in done.stdout
