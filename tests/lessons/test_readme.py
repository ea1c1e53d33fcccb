"""The README and the guides tell the truth about the lessons, the picture and the commands."""

import base64
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
from typer.main import get_command

from course.app import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
EXERCISES = sorted((ROOT / "exercises").glob("*/[0-9][0-9]_*.ipynb"))
GUIDES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CITATION.cff",
    ROOT / "pyproject.toml",
    ROOT / "exercises" / "README.md",
    ROOT / "notebooks" / "STYLE.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FOLDERS = "course|data|docs|exercises|notebooks|results|solutions|tests"
OWN_WORDS = {"test", "torch", "update"}  # of run.py, beside the commands of `course`


def row_of(lesson):
    rows = [
        line
        for line in README.splitlines()
        if line.startswith("|") and f"](notebooks/{lesson.name})" in line
    ]
    assert len(rows) == 1, f"{lesson.name} stands once in the map"
    return [cell.strip() for cell in rows[0].strip("|").split("|")]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_the_map_says_of_each_lesson_what_the_lesson_says(lesson):
    name, _, minutes, seconds = row_of(lesson)
    first = nbformat.read(lesson, 4).cells[0].source
    title = re.match(r"# (.+)", first)[1].replace(" · ", " ")
    assert name.startswith(f"[{title}]")
    said = re.search(r"\*\*Minutes\*\*:? *(\d+)", first)[1]
    assert minutes == said
    assert 5 <= int(seconds) <= 60, "measured seconds; `python3 run.py test` prints them"


def goes_with(text, number):
    """The lessons in the row of an exercise, by their two digits."""
    (row,) = re.findall(rf"^\| \[?{number} .*", text, flags=re.MULTILINE)
    return set(re.findall(r"\b\d\d\b(?!_)", row.split("|")[2]))


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda path: path.stem)
def test_both_tables_of_exercises_name_lessons_that_the_exercise_names(exercise):
    cells = nbformat.read(exercise, 4).cells
    linked = set(re.findall(r"notebooks/(\d\d)_", "\n".join(cell.source for cell in cells)))
    named = goes_with(README.split("## Exercises and grading")[1], exercise.stem[:2])
    guide = (ROOT / "exercises" / "README.md").read_text(encoding="utf-8")
    assert named == goes_with(guide, exercise.stem[:2])
    assert named and named <= linked


def test_links_and_pictures_resolve():
    for link in re.findall(r"\]\(([^)\s]+)\)", README):
        assert link.startswith(("http", "#")) or (ROOT / link).is_file(), link


def test_the_picture_is_the_one_of_lesson_00():
    """Replace it when the lesson changes: copy the output of the cell tagged `overview` to
    docs/overview.png.
    """
    cells = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", 4).cells
    (cell,) = [cell for cell in cells if "overview" in cell.metadata.get("tags", [])]
    (picture,) = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
    assert base64.b64decode(picture) == (ROOT / "docs" / "overview.png").read_bytes()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_a_guide_names_are_there(guide):
    words = re.findall(rf"(?<![\w/.])(?:{FOLDERS})/[\w./*]*\w", guide.read_text(encoding="utf-8"))
    missing = [word for word in words if not list(ROOT.glob(word))]
    # An exercise that the guide invents, and what `course experiment` makes.
    assert [word for word in missing if "/NN_name" not in word and "/NAME" not in word] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_that_a_guide_names_are_there(guide):
    text = guide.read_text(encoding="utf-8")
    words = set(re.findall(r"(?:`|^ *|\./)course ([a-z]+)", text, flags=re.MULTILINE))
    run = set(re.findall(r"python3 run\.py ([a-z]+)", text))
    assert words | (run - OWN_WORDS) <= set(get_command(cli.app).commands)


def test_the_readme_names_every_environment_variable_of_ours():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this copy was not made by git")
    files = [ROOT / name for name in listed.stdout.split() if name.startswith(("course/", "run"))]
    ours = re.compile(r"\bCOURSE_[A-Z_]+")
    read = {name for file in files for name in ours.findall(file.read_text(encoding="utf-8"))}
    table = set(re.findall(r"^\| `(COURSE_\w+)`", README, flags=re.MULTILINE))
    assert read - {"COURSE_SWEEP"} == table, "a sweep sets that one itself"
    for guide in GUIDES:
        assert set(ours.findall(guide.read_text(encoding="utf-8"))) <= table, guide.name


def test_versions_of_python_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "Python 3.11, 3.12 or 3.13" in README
    assert f"version {project['version']}" in README
