"""What an instructor is told: a sentence for what can be mended, a traceback for a fault of ours;
and what runs where there is no box.
"""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

pytest.importorskip("nbgrader")

from course.app import cli
from course.app.cli.grading import explained_grading
from course.grading import batch, book, box, find, keys, records, release, tasks
from course.lab.cluster import ClusterError

OWN = [
    batch.GradeError,
    book.BookError,
    box.BoxError,
    find.IntakeError,
    keys.KeyFilesError,
    records.RecordError,
    release.ReleaseError,
    tasks.TaskError,
    ClusterError,
]


def grade_that_raises(error, monkeypatch, tmp_path):
    """What `course grade` comes to if something in it raises an error."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(batch, "grade", fail)
    return CliRunner().invoke(cli.app, ["grade", str(tmp_path)])


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_each_error_of_our_own_shows_its_sentence(kind, monkeypatch, tmp_path):
    done = grade_that_raises(kind("Mend [this] first."), monkeypatch, tmp_path)
    assert done.exit_code == 1 and done.output.splitlines()[1:] == ["Mend [this] first."]


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, FileNotFoundError, KeyError])
def test_a_fault_of_ours_shows_where_it_is(kind, monkeypatch, tmp_path):
    done = grade_that_raises(kind("a fault"), monkeypatch, tmp_path)
    assert isinstance(done.exception, kind) and "a fault" not in done.output
    frames = []
    trace = done.exception.__traceback__
    while trace:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert frames[-1] == "fail", "the traceback leads to the fault"


def test_without_nbgrader_it_says_how_to_get_it(capsys):
    with pytest.raises(cli.common.typer.Exit) as ended, explained_grading():
        raise ModuleNotFoundError("No module named 'nbgrader'", name="nbgrader")
    assert ended.value.exit_code == 1
    assert "This needs nbgrader" in capsys.readouterr().out
    with pytest.raises(ModuleNotFoundError), explained_grading():
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")


def test_no_assignments_is_said(tmp_path):
    done = CliRunner().invoke(cli.app, ["release", "--solutions", str(tmp_path)])
    assert done.exit_code == 1 and "There are no assignments in" in done.output
    done = CliRunner().invoke(cli.app, ["prove", "92_none", "--solutions", str(tmp_path)])
    assert done.exit_code == 1 and "'92_none' is no assignment" in " ".join(done.output.split())


# ---------------------------------------------------------------- Windows, stood in for

WINDOWS = "import sys\nfor name in ('fcntl', 'resource'):\n    sys.modules[name] = None\n"


def python(source, folder):
    """Run source in a Python that has no modules that only Linux has."""
    return subprocess.run(
        [sys.executable, "-c", WINDOWS + source], cwd=folder, capture_output=True, text=True
    )


@pytest.mark.parametrize("options", [[], ["--unboxed"]])
def test_on_windows_grading_refuses_in_a_sentence(options, tmp_path):
    (tmp_path / "submitted").mkdir()
    arguments = ["grade", "submitted", "--out", "out", *options]
    done = python(f"from course.app.cli import app\napp({arguments!r})", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    progress, *said = done.stdout.splitlines()
    assert progress.startswith("grading") and said == [box.box.ON_WINDOWS]
    assert not (tmp_path / "out").exists()


def test_on_windows_students_check_their_answers(tmp_path):
    source = """
from course.grading.check import checks
check = checks("02_batch_norm")
def batch_norm_train(*arguments):
    raise NotImplementedError()
try:
    check("batch_norm_train", globals())
except Exception as error:
    print(type(error).__name__)
"""
    done = python(source, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not written yet" in done.stdout and done.stdout.splitlines()[-1] == "NotYet"
