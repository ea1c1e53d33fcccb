"""A class of 100, made of the right and the wrong answers of five exercises, graded from end to
end; then its pages in a browser.
"""

import csv
import re
import shutil
import sys

import browser
import nbformat
import pytest
from typer.testing import CliRunner

pytest.importorskip("nbgrader")

from nbgrader import api  # noqa: E402

from course.app import cli
from course.grading import batch as grading
from course.grading import keys, release
from course.grading.judge import judge  # noqa: E402
from course.grading.records import Graded  # noqa: E402
from course.grading.tasks import load_tasks  # noqa: E402

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("bwrap"), reason="there is no bubblewrap here"
)
EXERCISES = [
    "01_diagnose_overfitting",
    "02_batch_norm",
    "03_batch_size_and_momentum",
    "04_dropout",
    "07_repair",
]  # the last needs Keras
EACH = 20  # students, each with one exercise
LIVE = "<img src=x onerror=document.title=1><script>document.title=2"  # the name of a student


def answers(name):
    """What the students of one exercise hand in: pairs (answer by task, mistake by task).

    Each makes one mistake and leaves the tasks below it alone, since a wrong function may spoil
    what is built on it; what is above the mistake is right, in one way or another. In turn a
    mistake is in each of the tasks, or there is none.
    """
    right = {id: source for id, source in keys.code_cells(release.SOLUTIONS / name) if id}
    tasks = list(load_tasks(release.SOLUTIONS / name).values())
    for number in range(EACH):
        wrong, turn = number % (len(tasks) + 1), number // (len(tasks) + 1)
        given, mistakes = {}, {}
        for place, task in enumerate(tasks[: wrong + 1]):
            if place == wrong:
                mistake = [one for one in task.mistakes if one.recognised][turn]
                given[task.id], mistakes[task.id] = mistake.source, mistake
            else:
                ways = [right[task.id], *task.alternatives.values()]
                given[task.id] = ways[(turn + place) % len(ways)]
        yield given, mistakes


def hand_in(folder, name, student, given):
    notebook = release.release_notebook(release.SOLUTIONS / name)
    for cell in notebook.cells:
        cell.source = given.get(keys.grade_id(cell), cell.source)
    place = folder / student / name
    place.mkdir(parents=True)
    nbformat.write(notebook, place / f"{name}.ipynb")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The folder of the grades, and of each student: exercise, points by task that are to be
    expected, and mistakes.
    """
    folder = tmp_path_factory.mktemp("class")
    submissions, out, expected = folder / "submitted", folder / "out", {}
    for name in EXERCISES:
        for number, (given, mistakes) in enumerate(answers(name)):
            hand_in(submissions, name, f"{name[:2]}-{number:02}", given)
            expected[f"{name[:2]}-{number:02}"] = name, given, mistakes
    hand_in(
        submissions,
        "02_batch_norm",
        LIVE,
        {"batch_norm_train": f"def batch_norm_train(*_):\n    raise ValueError({LIVE!r})"},
    )
    done = CliRunner().invoke(
        cli.app, ["grade", str(submissions), "--out", str(out), "--workers", "2"]
    )
    assert done.exit_code == 0, done.output
    assert len(expected) == 100 and "101 graded" in done.output
    return out, expected


def points_of(out, expected):
    """By student and task, what the judge gives each answer's values, which were computed here and
    in no box.
    """
    settings = {"limits": grading.Limits(), "boxed": True}
    whole = {
        name: grading.Assignment(release.SOLUTIONS / name, settings, out / ".keys").key
        for name in EXERCISES
    }
    for student, (name, given, mistakes) in expected.items():
        points = dict.fromkeys(whole[name].tasks, 0)
        for id in given:
            task = whole[name].tasks[id]
            made = next(
                (one for one in task.mistakes if id in mistakes and one.name == mistakes[id].name),
                None,
            )
            points[id] = judge(task, made.results).points if made else task.points
        yield student, points


def test_every_score_is_as_predicted(graded):
    out, expected = graded
    with open(out / "grades.csv", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file) if row["state"] != "missing"}
    predicted = dict(points_of(out, expected))
    for student, points in predicted.items():
        row = rows[student]
        assert (row["state"], row["assignment"]) == ("ok", expected[student][0])
        assert {id: float(row[id]) for id in points} == points, student
        assert float(row["points"]) == sum(points.values())
    totals = {sum(points.values()) for points in predicted.values()}
    assert len(totals) > 10, "a class of many kinds"
    with api.Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        scores = {
            one.student.id: one.score
            for name in EXERCISES
            for one in book.assignment_submissions(name)
        }
    assert {student: scores[student] for student in predicted} == {
        student: sum(points.values()) for student, points in predicted.items()
    }


def test_every_mistake_is_named(graded):
    out, expected = graded
    for student, (name, _, mistakes) in expected.items():
        graded = Graded.load(out / "results" / student / name / "result.json")
        named = {task.id: task.mistake for task in graded.tasks if task.mistake}
        assert named == {id: mistake.name for id, mistake in mistakes.items()}, student


@pytest.mark.skipif(not browser.find_browser(), reason="no browser is installed")
def test_feedback_and_summary_in_a_browser(graded):
    """They are read as they are, from a file: nothing of a student's is live, and axe finds nothing
    serious.
    """
    out, expected = graded
    wrong = next(student for student, (name, _, mistakes) in expected.items() if mistakes)
    pages = {
        student: out / "feedback" / student / name / f"{name}.html"
        for student, name in [(wrong, expected[wrong][0]), (LIVE, "02_batch_norm")]
    } | {"summary": out / "summary.html"}
    with browser.open_page() as page:
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: errors.append(message.text) if message.type == "error" else None,
        )
        texts = {}
        for what, place in pages.items():
            page.goto(place.as_uri())
            assert (
                page.title() not in ("1", "2") and page.locator("script, img, iframe").count() == 0
            )
            texts[what] = page.locator("body").inner_text()
            assert (
                page.evaluate("getComputedStyle(document.body).fontFamily") != "Times New Roman"
            ), "its style is let in"
            page.evaluate(browser.axe())
            assert page.evaluate(browser.RUN_AXE, {}) == [], what
        assert set(asked) == {place.as_uri() for place in pages.values()}
        assert errors == []
    (mistake,) = expected[wrong][2].values()
    assert " ".join(mistake.hint.split()) in " ".join(texts[wrong].split())
    assert LIVE in texts[LIVE], "as text"
    assert (
        sum(map(int, re.findall(r"(\d+) submissions", texts["summary"]))) == 101
        and mistake.name in texts["summary"]
    )
