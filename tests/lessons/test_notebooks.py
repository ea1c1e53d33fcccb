"""Every lesson runs to its end, and marked outputs are compared (nbval)."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
CELL_SECONDS = 300
FAULTS = ("failure", "error")
SYLLABUS = ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13"]
# What test_pytorch.py sees to is that the lesson stops cleanly without it.
NEEDS = {"12_pytorch": "torch"}
# Two lessons beside each other are faster than one on two threads.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def nbval(path, scratch, **environment):
    """Run a notebook in a fresh kernel; cells marked NBVAL_CHECK_OUTPUT must output what is
    committed.

    Returns
    -------
    wrong : str
        What went wrong; empty if nothing.
    seconds : float
        What the cells took.
    """
    report = scratch / "report.xml"
    options = ["-n", "0", "-p", "no:cacheprovider", "-W", "ignore", "-q", f"--junitxml={report}"]
    options += ["--nbval-lax", "--nbval-current-env", f"--nbval-cell-timeout={CELL_SECONDS}"]
    # Nothing of this process's settings may help the lesson.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTEST_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        env=inherited | ONE_THREAD | environment,
        capture_output=True,
        text=True,
        cwd=scratch,
    )
    cells = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    cells = [cell for cell in cells if path.stem in cell.get("classname", "")]
    wrong = [part.text or "" for cell in cells for part in cell if part.tag in FAULTS]
    if not cells:
        wrong = [f"no cell of {path.name} was run", done.stdout[-3_000:], done.stderr[-3_000:]]
    return "\n".join(wrong), sum(float(cell.get("time")) for cell in cells)


def test_the_syllabus_is_complete():
    assert [path.stem[:2] for path in LESSONS] == SYLLABUS


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path, tmp_path, record_property):
    needed = NEEDS.get(path.stem)
    if needed and not find_spec(needed):
        pytest.skip(f"{needed} is not installed: python3 run.py {needed}")
    wrong, seconds = nbval(path, tmp_path)
    record_property("lesson_seconds", (path.stem, seconds))
    assert not wrong, wrong[-6_000:]


def test_nbval_notices_a_changed_output(tmp_path):
    """The check of the check: a marked cell that outputs something else must fail."""
    import nbformat

    cell = nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nprint(1 + 1)", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="3\n")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "wrong.ipynb"
    )
    wrong, seconds = nbval(tmp_path / "wrong.ipynb", tmp_path)
    assert "mismatch" in wrong and seconds > 0


def test_a_lesson_that_does_not_run_is_noticed(tmp_path):
    (tmp_path / "broken.ipynb").write_text("this is no notebook")
    wrong, _ = nbval(tmp_path / "broken.ipynb", tmp_path)
    assert "broken.ipynb" in wrong
