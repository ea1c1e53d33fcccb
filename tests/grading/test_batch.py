"""The batch: what it grades, what it keeps, what it replaces, and what people then read."""

import base64
import copy
import csv
import hashlib
import html.parser
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

pytest.importorskip("nbgrader")

from nbgrader import api, plugins  # noqa: E402

from course.app import cli
from course.app.cli import lessons as commands
from course.grading import assignment, keys, release, report
from course.grading import batch as grading
from course.grading.book import Book, BookError  # noqa: E402
from course.grading.records import Graded
from course.grading.tasks import TaskError
from course.lab.cluster import ClusterError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("bwrap"), reason="there is no bubblewrap here"
)
NAME = "91_tiny"
GRADER = """
import numpy as np
from course.grading.tasks import Part, Task

centred = Task(
    id="centred",
    parts=(Part("value", 2, "the centred values"),),
    cases={"three": {"x": np.array([1.0, 2.0, 6.0])}},
    hidden={"secret case": {"x": np.array([4.25, 8.5, 1.125, 7.0])}},
)
variance = Task(
    id="variance",
    parts=(Part("value", 3, "the variance"),),
    cases={"three": {"x": np.array([1.0, 2.0, 6.0])}},
    hidden={"secret case": {"x": np.array([4.25, 8.5, 1.125, 7.0])}},
)
TASKS = (centred, variance)
"""
MISTAKES = """
[centred."median instead of mean"]
change = [['x.mean()', 'np.median(x)']]
hint = "Is it the MEDIAN-HINT?"

[variance."n - 1"]
change = [['x.var()', 'x.var(ddof=1)']]
hint = "What do you divide by?"
"""
RIGHT = {
    "centred": "def centred(x):\n    return x - x.mean()",
    "variance": "def variance(x):\n    return x.var()",
}


def cell(kind, id, source, **changes):
    """A cell with nbgrader's metadata."""
    metadata = {
        "grade": False,
        "grade_id": id,
        "locked": True,
        "schema_version": 3,
        "solution": False,
        "task": False,
    } | changes
    return kind(source, metadata={"nbgrader": metadata}, id=id.replace("_", "-"))


@pytest.fixture(scope="session")
def solutions(tmp_path_factory):
    """A folder with one small assignment, which needs no Keras."""
    folder = tmp_path_factory.mktemp("solutions")
    cells = [
        cell(new_markdown_cell, "title", "# Tiny"),
        cell(new_code_cell, "setup", "import numpy as np"),
        cell(
            new_code_cell,
            "self_check",
            f'from course.grading.check import checks\ncheck = checks("{NAME}")',
        ),
    ]
    for task, points in (("centred", 2), ("variance", 3)):
        head, body = RIGHT[task].split("\n")
        source = f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
        cells.append(cell(new_code_cell, task, source, locked=False, solution=True))
        cells.append(
            cell(new_code_cell, f"check_{task}", f'check("{task}")', grade=True, points=points)
        )
    (folder / NAME).mkdir()
    nbformat.write(new_notebook(cells=cells), folder / NAME / f"{NAME}.ipynb")
    (folder / NAME / "grader.py").write_text(GRADER)
    (folder / NAME / "mistakes.toml").write_text(MISTAKES)
    return folder


@pytest.fixture(scope="session")
def released(solutions):
    """The notebook that students get."""
    return release.release_notebook(solutions / NAME)


def answered(released, centred=None, variance=None, extra=()):
    """The text of a student's notebook; an answer that is None stays as it was released."""
    notebook = copy.deepcopy(released)
    for task, source in {"centred": centred, "variance": variance}.items():
        (answer,) = [
            one
            for one in notebook.cells
            if one.metadata.get("nbgrader", {}).get("grade_id") == task
        ]
        answer.source = answer.source if source is None else source
    place = len(notebook.cells) - 4  # below the locked cells, above the answers
    notebook.cells[place:place] = [new_code_cell(source) for source in extra]
    return nbformat.writes(notebook)


def hand_in(folder, released, **students):
    """Put notebooks where nbgrader puts them; of a text its bytes as they are."""
    for student, content in students.items():
        place = folder / student / NAME
        place.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else answered(released, **content)
        (place / f"{NAME}.ipynb").write_text(text)
    return folder


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"
LEAK = """
seen = []
def centred(x):
    seen.append(repr(list(x)))
    return x - x.mean()
"""
# In a cell behind the answer: says what it has seen of hidden cases in every way that there is.
TELL = f"""
print(seen, "{HOSTILE}")
raise type("E" + "".join(seen), (Exception,), {{}})("{HOSTILE}" + "".join(seen))
"""
EXPECTED = {  # student: state, points, of centred, of variance
    "ada": ("ok", 5, 2, 3),
    "bob": ("ok", 3, 0, 3),
    "eve": ("ok", 2, 2, 0),
    "kim": ("crash", 2, 2, 0),
    "tim": ("timeout", 2, 2, 0),
    "zoe": ("ok", 0, 0, 0),
    "ulf": ("unreadable", 0, 0, 0),
    "=1+2": ("ok", 0, 0, 0),
    "<img src=x onerror=alert(1)>": ("unreadable", 0, 0, 0),
}


def the_class(folder, released):
    """One student of each kind; the worst names are those of untouched notebooks."""
    spin = "def variance(x):\n    while True:\n        pass\n"
    hand_in(
        folder,
        released,
        ada=RIGHT,
        zoe={},
        ulf='{"cells": [',
        tim={
            **RIGHT,
            "variance": spin + "try:\n    variance(1)\nexcept BaseException:\n    variance(1)",
        },
        bob={**RIGHT, "centred": "def centred(x):\n    return x - np.median(x)"},
        eve={"centred": LEAK, "variance": TELL},
        kim={**RIGHT, "variance": "import os\nos._exit(0)"},
        **{"=1+2": {}, "<img src=x onerror=alert(1)>": f"{HOSTILE}"},
    )
    return folder


@pytest.fixture(scope="session")
def empty_book(tmp_path_factory):
    """A new grade book: nbgrader makes one in seconds, a copy takes none."""
    path = tmp_path_factory.mktemp("book") / "gradebook.db"
    Book(path).__exit__()
    return path


@pytest.fixture
def out(tmp_path, empty_book):
    """A folder for grades."""
    (tmp_path / "out").mkdir()
    return Path(shutil.copy(empty_book, tmp_path / "out")).parent


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The address of a real Dask scheduler with two workers."""
    scratch = tmp_path_factory.mktemp("dask")
    address = scratch / "address.json"
    common = {"cwd": scratch, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    options = ["--scheduler-file", address, "--no-dashboard"]
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *options], **common
    )
    workers = subprocess.Popen(
        [*dask, "worker", "--nworkers", "2", "--nthreads", "1", *options], **common
    )
    try:
        wait_for(lambda: address.exists() and address.read_text().strip().endswith("}"))
        yield json.loads(address.read_text())["address"]
    finally:
        for process in (workers, scheduler):
            process.terminate()
            process.wait(30)


def wait_for(condition, seconds=120):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def graded(tmp_path_factory, solutions, released, cluster, empty_book):
    """A class graded once, by the command, on the cluster: (submissions, out, what the command
    said).
    """
    folder = tmp_path_factory.mktemp("graded")
    submissions = the_class(folder / "submitted", released)
    (folder / "out").mkdir()
    shutil.copy(empty_book, folder / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = command(
            submissions,
            folder / "out",
            "--scheduler",
            cluster,
            "--timeout",
            "4",
            "--solutions",
            solutions,
        )
    assert result.exit_code == 0, result.output
    return submissions, folder / "out", result.output


def command(*arguments):
    """Run `course grade` in this process."""
    submissions, out, *options = arguments
    return CliRunner().invoke(
        cli.app, ["grade", str(submissions), "--out", str(out), *map(str, options)]
    )


@pytest.fixture
def copied(graded, tmp_path):
    """A copy of the graded class that a test may change: (submissions, out)."""
    for folder in graded[:2]:
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path / graded[0].name, tmp_path / graded[1].name


def rows(out):
    """grades.csv: by student, without the apostrophe that makes a name harmless."""
    with open(out / "grades.csv", newline="") as file:
        return {row["student"].lstrip("'"): row for row in csv.DictReader(file)}


def found(out):
    """(state, points, ...) by student, as EXPECTED has it."""
    return {
        student: (row["state"], *(float(row[name]) for name in ("points", "centred", "variance")))
        for student, row in rows(out).items()
    }


# What a batch makes
# ------------------------------------------------------------------------------------------------


def test_every_kind_of_submission_gets_its_grade(graded):
    assert found(graded[1]) == EXPECTED
    assert {row["max"] for row in rows(graded[1]).values()} == {"5"}


def test_the_command_says_what_it_did_in_one_line(graded):
    assert (
        "9 graded, 0 were graded already: 5 ok, 1 timeout, 1 crash, 2 unreadable"
        in graded[2].splitlines()[-1]
    )


def test_feedback_names_the_mistake_and_the_state(graded):
    page = feedback_of(graded[1], "bob")
    assert "MEDIAN-HINT" in page.text and "3 of 5 points" in page.text
    assert (
        "longer than" in feedback_of(graded[1], "tim").text
        or "time" in feedback_of(graded[1], "tim").text
    )
    assert "cannot be understood" in feedback_of(graded[1], "ulf").text
    assert "not get as far" in feedback_of(graded[1], "kim").text


class Page(html.parser.HTMLParser):
    """Elements, attributes and text of a page as a browser takes them."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.attributes, self.texts = set(), [], []
        self.feed(content)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def feedback_of(out, student):
    return Page((out / "feedback" / student / NAME / f"{NAME}.html").read_text())


def assert_harmless(page):
    """Nothing of the page is live, or comes from outside."""
    assert not page.elements & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "form",
        "a",
        "base",
        "video",
        "audio",
    }
    assert not [
        name
        for name, _ in page.attributes
        if name.startswith("on") or name in ("src", "href", "srcdoc", "style", "action")
    ]
    policy = next(value for _, value in page.attributes if value and "default-src" in value)
    assert "default-src 'none'" in policy and "unsafe" not in policy


@pytest.mark.parametrize("student", list(EXPECTED))
def test_feedback_is_harmless_and_tells_nothing_hidden(graded, student):
    content = (graded[1] / "feedback" / student / NAME / f"{NAME}.html").read_text()
    assert_harmless(Page(content))
    for hidden in ("secret", "4.25", "8.5", "1.125"):
        assert hidden not in content


def test_the_summary_is_harmless_and_says_who_and_why(graded):
    page = Page((graded[1] / "summary.html").read_text())
    assert_harmless(page)
    assert "<img src=x onerror=alert(1)>" in page.text  # as text
    assert "median instead of mean" in page.text
    assert "9 submissions" in page.text


def test_the_policy_lets_the_style_in():
    page = report.Summary().page()
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page


def test_text_that_a_spreadsheet_would_compute_is_made_harmless(graded):
    with open(graded[1] / "grades.csv", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=1+2" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    "name", ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "\n=1", "\x00=1", "＝1"]
)
def test_no_name_is_a_formula(name):
    row = report.Row(name, "a", "ok", {"task": 1}, 2)
    _, (cell, *_) = csv.reader(io.StringIO(report.table([row])))
    assert not cell.strip().startswith(("=", "+", "-", "@", "＝"))


# nbgrader's own tools
# ------------------------------------------------------------------------------------------------


def test_nbgraders_grade_book_and_exporter_read_it(graded, tmp_path):
    with api.Gradebook(f"sqlite:///{graded[1] / 'gradebook.db'}") as book:
        assert {one.student.id: one.score for one in book.assignment_submissions(NAME)} == {
            name: row[1] for name, row in EXPECTED.items()
        }
        assert book.find_assignment(NAME).max_score == 5
        assert not any(one.needs_manual_grade for one in book.assignment_submissions(NAME))
        assert "MEDIAN-HINT" in book.find_comment("centred", NAME, NAME, "bob").comment
        exporter = plugins.CsvExportPlugin()
        exporter.to = str(tmp_path / "export.csv")
        exporter.export(book)
    exported = {
        row["student_id"]: float(row["score"])
        for row in csv.DictReader((tmp_path / "export.csv").read_text().splitlines())
    }
    assert exported == {name: row[1] for name, row in EXPECTED.items()}


def test_formgrader_finds_its_notebooks(graded):
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory

    folder = CourseDirectory(root=str(graded[1]))
    grader = NbGraderAPI(folder)
    assert grader.get_source_assignments() == {NAME}
    assert grader.get_autograded_students(NAME) == set(EXPECTED)
    assert {
        one["student"]: one["score"] for one in grader.get_notebook_submissions(NAME, NAME)
    } == {n: r[1] for n, r in EXPECTED.items()}


def test_the_autograded_notebook_is_what_was_run(graded):
    notebook = nbformat.read(
        graded[1] / "autograded" / "eve" / NAME / f"{NAME}.ipynb", as_version=4
    )
    nbformat.validate(notebook)
    cells = {
        one.metadata.nbgrader.grade_id: one for one in notebook.cells if "nbgrader" in one.metadata
    }
    assert cells["centred"].source == LEAK and cells["check_centred"].metadata.nbgrader.points == 2
    assert "4.25" in cells["variance"].outputs[0].text  # the instructor sees what was printed
    assert {output.output_type for one in cells.values() for output in one.get("outputs", ())} == {
        "stream",
        "error",
    }


@pytest.mark.filterwarnings("ignore")  # nbgrader's and nbconvert's own
def test_nbgraders_feedback_of_a_hostile_notebook_is_not_live(copied):
    from nbgrader.apps import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory

    shutil.rmtree(copied[1] / "feedback")
    grader = NbGraderAPI(CourseDirectory(root=str(copied[1])))
    assert grader.generate_feedback(NAME, "eve")["success"]
    content = (copied[1] / "feedback" / "eve" / NAME / f"{NAME}.html").read_text()
    assert (
        "alert(1)" in content and "<script>alert(1)" not in content and "<img src=x" not in content
    )


# Again
# ------------------------------------------------------------------------------------------------


def test_nothing_is_graded_twice(copied, solutions):
    submissions, out = copied
    before = (out / "grades.csv").read_bytes()
    outcome = grading.grade(
        submissions, out, solutions=solutions, timeout=4, scheduler="tcp://127.0.0.1:9"
    )  # nobody is asked
    assert (len(outcome.graded), len(outcome.present)) == (0, len(EXPECTED))
    assert (out / "grades.csv").read_bytes() == before


def test_results_of_another_version_are_graded_again_and_that_is_said(copied, solutions, cluster):
    submissions, out = copied
    before = (out / "grades.csv").read_bytes()
    old, damaged = (out / "results" / name / NAME / "result.json" for name in ("ada", "bob"))
    content = json.loads(old.read_text())
    del content["format"]  # as of before there were records
    old.write_text(json.dumps(content))
    damaged.write_text("{")
    options = "--scheduler", cluster, "--timeout", "4", "--solutions", solutions
    done = command(submissions, out, *options)
    assert done.exit_code == 0, done.output
    assert "1 graded again: The result is of another version of the course." in done.output
    assert f"1 graded again: The result {damaged} is damaged" in done.output
    assert "2 graded, 7 were graded already" in done.output
    assert (out / "grades.csv").read_bytes() == before
    assert [Graded.load(path).student for path in (old, damaged)] == ["ada", "bob"]


def test_a_result_is_read_once(copied, solutions, monkeypatch):
    submissions, out = copied
    read = []
    load = Graded.load
    monkeypatch.setattr(Graded, "load", lambda path: read.append(path) or load(path))
    grading.grade(submissions, out, solutions=solutions, timeout=4, scheduler="tcp://127.0.0.1:9")
    assert sorted(read) == sorted(out.glob("results/*/*/result.json"))


@pytest.mark.parametrize("name", ["report.py", "box/runner.py", "box/a_new_room/any.py"])
def test_all_code_of_grading_makes_grades_stale(solutions, tmp_path, monkeypatch, name):
    shutil.copytree(assignment.GRADING, tmp_path / "grading")
    monkeypatch.setattr(assignment, "GRADING", tmp_path / "grading")

    def fingerprint():
        settings = {"limits": grading.Limits(), "boxed": True}
        return grading.Assignment(solutions / NAME, settings, tmp_path).fingerprint

    before = fingerprint()
    assert fingerprint() == before
    place = tmp_path / "grading" / name
    place.parent.mkdir(exist_ok=True)
    with open(place, "a") as file:
        file.write("# another line\n")
    assert fingerprint() != before


def enter_by_hand(out, student):
    """A manual score, extra credit and a comment, as nbgrader's formgrader enters them."""
    with api.Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        grade = book.find_grade("check_centred", NAME, NAME, student)
        grade.manual_score, grade.extra_credit = 1.5, 0.25
        book.find_comment("centred", NAME, NAME, student).manual_comment = f"Nice try {HOSTILE}"
        book.db.commit()


def test_a_regrade_replaces_and_leaves_what_people_entered(copied, solutions, released, cluster):
    submissions, out = copied
    enter_by_hand(out, "bob")
    enter_by_hand(out, "zoe")
    # A resubmission that crashes, one that cannot be read, one that is better, and one that is
    # withdrawn.
    crash = {"extra": ["import os\nos._exit(0)"], **RIGHT}
    hand_in(submissions, released, ada=crash, eve="", zoe=RIGHT)
    shutil.rmtree(submissions / "tim")
    outcome = grading.grade(submissions, out, solutions=solutions, timeout=4, scheduler=cluster)
    assert sorted(student for _, student in outcome.graded) == ["ada", "eve", "zoe"]
    now = found(out)
    assert now["ada"] == ("crash", 0, 0, 0) and now["eve"] == ("unreadable", 0, 0, 0)
    assert now["bob"] == ("ok", 4.75, 1.75, 3) and now["zoe"] == ("ok", 4.75, 1.75, 3)
    assert now["tim"] == ("missing", 0, 0, 0)
    page = feedback_of(out, "bob")
    assert_harmless(page)
    assert "4.75 of 5" in page.text and "Nice try" in page.text
    with api.Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        look = {
            name: book.find_grade("check_centred", NAME, NAME, name).needs_manual_grade
            for name in ("ada", "bob", "zoe")
        }
    assert look == {
        "ada": False,
        "bob": False,
        "zoe": True,
    }  # a person's score for an answer that is no longer there


def test_no_old_score_is_left_while_a_regrade_is_under_way(
    copied, solutions, released, monkeypatch
):
    monkeypatch.setattr("course.lab.cluster.SCHEDULER_SECONDS", 1)
    submissions, out = copied
    hand_in(submissions, released, ada={})
    with pytest.raises(ClusterError, match="No Dask scheduler answers"):
        grading.grade(
            submissions, out, solutions=solutions, timeout=4, scheduler="tcp://127.0.0.1:9"
        )
    assert not (out / "grades.csv").exists() and not (out / "feedback" / "ada" / NAME).exists()
    with api.Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        scores = {one.student.id: one.score for one in book.assignment_submissions(NAME)}
    assert scores["ada"] == 0 and scores["bob"] == 3


def test_a_failure_of_the_grader_is_told_and_mended_by_the_next_call(
    copied, solutions, released, cluster, monkeypatch
):
    submissions, out = copied
    hand_in(submissions, released, ada={**RIGHT, "extra": ["1"]}, zoe={**RIGHT, "extra": ["2"]})
    options = "--scheduler", cluster, "--timeout", "4", "--solutions", solutions
    with monkeypatch.context() as patch:
        counted = iter(range(100))
        judge = grading.judge
        patch.setattr(
            grading, "judge", lambda *arguments: 1 / 0 if next(counted) == 0 else judge(*arguments)
        )
        first = command(submissions, out, *options)
    assert (
        first.exit_code == 1
        and "ZeroDivisionError" in first.output
        and "1 failed by the grader" in first.output
    )
    rows = sorted(row for name, row in found(out).items() if name in ("ada", "zoe"))
    assert rows == [("failed", 0, 0, 0), ("ok", 5, 2, 3)]
    second = command(submissions, out, *options)
    assert second.exit_code == 0 and "1 graded, 8 were graded already" in second.output
    assert found(out)["ada"] == found(out)["zoe"] == ("ok", 5, 2, 3)


# Killed
# ------------------------------------------------------------------------------------------------

SLOW = {**RIGHT, "extra": ["import time\ntime.sleep(1)"]}
DRIVER = """
import sys
from course.grading.batch import grade
if __name__ == "__main__":
    grade(sys.argv[1], sys.argv[2], solutions=sys.argv[3], workers=1)
"""


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_grades(
    tmp_path, out, solutions, released, cluster
):
    wrong = {**SLOW, "variance": "def variance(x):\n    return 0"}
    submissions = hand_in(
        tmp_path / "submitted", released, ada=SLOW, bob=wrong, cal=SLOW, dan=wrong
    )
    (tmp_path / "driver.py").write_text(DRIVER)
    arguments = [sys.executable, tmp_path / "driver.py", submissions, out, solutions]
    with subprocess.Popen(
        arguments,
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(commands.ROOT)},
    ) as driver:
        wait_for(lambda: any(out.glob("results/*/*/result.json")) or driver.poll() is not None)
        os.kill(driver.pid, signal.SIGKILL)
    finished = {path.parts[-3] for path in out.glob("results/*/*/result.json")}
    assert 0 < len(finished) < 4
    outcome = grading.grade(submissions, out, solutions=solutions, scheduler=cluster)
    assert {student for _, student in outcome.present} == finished
    assert found(out) == {
        name: ("ok", 5, 2, 3) if name in ("ada", "cal") else ("ok", 2, 2, 0)
        for name in ("ada", "bob", "cal", "dan")
    }


def test_a_killed_worker_costs_nothing_but_time(tmp_path, out, solutions, released):
    submissions = hand_in(tmp_path / "submitted", released, ada=SLOW, bob=SLOW, cal=SLOW)
    killed = []

    def kill(result, outcome):
        if not killed:
            (worker,) = [
                one
                for one in psutil.Process().children()
                if "spawn_main" in " ".join(one.cmdline())
            ]
            worker.kill()
            killed.append(worker.pid)

    outcome = grading.grade(submissions, out, solutions=solutions, workers=1, report=kill)
    assert killed and not outcome.failed
    assert found(out) == dict.fromkeys(("ada", "bob", "cal"), ("ok", 5, 2, 3))


def test_a_key_may_be_made_in_another_process(solutions, monkeypatch, tmp_path):
    monkeypatch.setattr(grading.Assignment, "box", {"keras": True})
    there = grading.Assignment(solutions / NAME, {}, tmp_path).key
    here = keys.make_key(solutions / NAME, hidden=True)
    assert there.tasks.keys() == here.tasks.keys()
    assert (
        there.tasks["variance"].right["secret case"].values["value"]
        == here.tasks["variance"].right["secret case"].values["value"]
    )
    with pytest.raises(TaskError, match="no assignment"):  # what goes wrong there is said here
        assignment._elsewhere(keys.make_key, solutions / "92_none", True)
    with pytest.raises(grading.GradeError, match="was killed"):
        assignment._elsewhere(os._exit, 1)


def test_a_key_is_kept_for_the_next_batch_and_made_anew_when_it_is_damaged_or_old(
    solutions, monkeypatch, tmp_path
):
    made = []
    monkeypatch.setattr(
        keys, "make_key", lambda *arguments, make=keys.make_key: made.append(1) or make(*arguments)
    )
    folder = tmp_path / NAME
    shutil.copytree(solutions / NAME, folder)

    def right():
        task = grading.Assignment(folder, {}, tmp_path / "kept").key.tasks["variance"]
        assert task.hidden == ("secret case",)
        return task.right["secret case"].values["value"]

    assert right() == right() and len(made) == 1
    ((place,),) = [list((tmp_path / "kept").iterdir())]
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0, "nobody else may look into it"
    (place / "checks.npz").write_bytes(b"half of it")
    assert right() > 0 and len(made) == 2
    text = (folder / "grader.py").read_text()
    (folder / "grader.py").write_text(text.replace("4.25", "5.25"))
    before = right()
    assert len(made) == 3 and [*(tmp_path / "kept").iterdir()] != [place]
    (folder / "mistakes.toml").write_text(MISTAKES.replace("ddof=1", "ddof=2"))
    assert right() == before and len(made) == 4
    monkeypatch.setattr(assignment, "_versions", lambda: {"numpy": "another"})
    assert right() == before and len(made) == 5


# Where it stops
# ------------------------------------------------------------------------------------------------


def test_without_a_box_it_refuses(tmp_path, out, solutions, released, monkeypatch):
    submissions = hand_in(tmp_path / "submitted", released, ada=RIGHT)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = command(submissions, out, "--workers", "1", "--solutions", solutions)
    assert result.exit_code == 1 and "bubblewrap" in result.output and "--unboxed" in result.output
    assert not (out / "grades.csv").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--assignment", "92_none"], "There is no assignment '92_none'"),
        (["--out", "/proc/grades"], "cannot be written"),
    ],
)
def test_what_an_instructor_can_mend_is_said_in_a_sentence(
    tmp_path, out, solutions, released, options, said
):
    submissions = hand_in(tmp_path / "submitted", released, ada=RIGHT)
    result = command(submissions, out, "--solutions", solutions, *options)
    assert result.exit_code == 1 and said in result.output and "Traceback" not in result.output


def test_a_damaged_grade_book_is_said(tmp_path):
    (tmp_path / "gradebook.db").write_bytes(b"no data base at all" * 100)
    with pytest.raises(BookError, match="cannot be used"):
        Book(tmp_path / "gradebook.db")


def test_one_batch_at_a_time(out):
    with (
        grading._locked(out),
        pytest.raises(grading.GradeError, match="at work"),
        grading._locked(out),
    ):
        pass


# Layouts and points
# ------------------------------------------------------------------------------------------------


def test_a_flat_folder_and_a_zip(tmp_path, out, solutions, released, cluster):
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / f"ada_{NAME}.ipynb").write_text(answered(released, **RIGHT))
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), flat / "mystery.ipynb")
    grading.grade(flat, out, solutions=solutions, scheduler=cluster)
    assert {name: row["state"] for name, row in rows(out).items()} == {
        "ada": "ok",
        "mystery": "unreadable",
    }
    assert (
        "Neither the name nor"
        in Page((out / "feedback/mystery/unknown/unknown.html").read_text()).text
    )
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(flat / f"ada_{NAME}.ipynb", f"Ada L_42_assignsubmission_file_/{NAME}.ipynb")
    outcome = grading.grade(tmp_path / "export.zip", out, solutions=solutions, scheduler=cluster)
    assert outcome.states == {"ok": 1, "missing": 1}  # the grade book knows the one of before
    assert rows(out)["Ada L_42"]["points"] == "5" and rows(out)["ada"]["state"] == "missing"


def test_points_and_tasks_may_change_after_grading(copied, solutions, released, tmp_path):
    _, out = copied
    enter_by_hand(out, "bob")
    with Book(out / "gradebook.db") as book:
        notebook = copy.deepcopy(released)
        notebook.cells[
            -1
        ].metadata.nbgrader.grade_id = "check_spread"  # one task gone, a new one there
        notebook.cells[-2].metadata.nbgrader.grade_id = "spread"
        book.prepare(NAME, notebook, {"check_centred": 4, "check_spread": 1})
        result = Graded.load(out / "results" / "bob" / NAME / "result.json")
        centred, variance = result.tasks
        book.record([replace(result, tasks=(centred, replace(variance, id="spread")))])
        assert {name: entry.score for name, entry in book.entries(NAME, "bob").items()} == {
            "centred": 1.75,
            "spread": 3,
        }
    with api.Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        assert book.find_assignment(NAME).max_score == 5
        assert book.find_comment("centred", NAME, NAME, "bob").manual_comment
