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
SYLLABUS = ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11"]
NEEDS = {
    "10_pytorch": "torch"
}  # what test_pytorch.py sees to is that the lesson stops cleanly without it


def nbval(paths, environment, scratch):
    """Run notebooks, each in a fresh kernel; cells marked NBVAL_CHECK_OUTPUT must put out what is
    committed.

    Returns
    -------
    dict of str to (str, float)
        By the notebook's name: what went wrong ("" if nothing), and the seconds it took.
    """
    report = scratch / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--nbval-current-env",
        f"--nbval-cell-timeout={CELL_SECONDS}",
        "-W",
        "ignore",
        "-q",
        f"--junitxml={report}",
        *map(str, paths),
    ]
    # Warm kernels aside, nothing of this process's settings may help the lesson.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTEST_"))
    }
    warm = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "course-warm", "COURSE_WARM_SECONDS": "300"}
    settings = {**inherited, **warm, **environment}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, cwd=scratch)
    cells = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    results = {}
    for path in paths:
        mine = [cell for cell in cells if path.stem in cell.get("classname", "")]
        wrong = [
            element.text or ""
            for cell in mine
            for element in cell
            if element.tag in ("failure", "error")
        ]
        if not mine:
            wrong = [f"no cell of {path.name} was run", done.stdout[-3_000:], done.stderr[-3_000:]]
        results[path.stem] = "\n".join(wrong), sum(float(cell.get("time")) for cell in mine)
    return results


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """All lessons chosen for this test run, each on one thread."""
    chosen = [
        one.callspec.params["path"]
        for one in request.session.items
        if getattr(one, "originalname", "") == "test_lesson"
    ]
    one_thread = {
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    paths = [path for path in chosen if not missing(path)]
    return nbval(paths, one_thread, tmp_path_factory.mktemp("nbval")) if paths else {}


def missing(path):
    """Why a lesson cannot be run on this machine, or nothing."""
    needed = NEEDS.get(path.stem)
    if needed and not find_spec(needed):
        return f"{needed} is not installed: python3 run.py {needed}"
    return ""


def test_the_syllabus_is_complete():
    assert [path.stem[:2] for path in LESSONS] == SYLLABUS


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path, results, record_property):
    if reason := missing(path):
        pytest.skip(reason)
    wrong, seconds = results[path.stem]
    record_property("lesson_seconds", (path.stem, seconds))
    assert not wrong, wrong[-6_000:]


def test_nbval_notices_a_changed_output(tmp_path):
    """The check of the check: a marked cell that puts out something else must fail."""
    import nbformat

    cell = nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nprint(1 + 1)", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="3\n")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "wrong.ipynb"
    )
    ((wrong, seconds),) = nbval([tmp_path / "wrong.ipynb"], {}, tmp_path).values()
    assert "mismatch" in wrong and seconds > 0


def test_a_lesson_that_does_not_run_is_noticed(tmp_path):
    (tmp_path / "broken.ipynb").write_text("this is no notebook")
    ((wrong, _),) = nbval([tmp_path / "broken.ipynb"], {}, tmp_path).values()
    assert "broken.ipynb" in wrong
