"""The rooms of the house: what a lesson imports is short, and knows nothing of the plumbing."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import SLOW

ROOT = Path(__file__).parents[2]
HELPER = sorted((ROOT / "course").glob("*.py"))
ROOMS = sorted(path.parent.name for path in (ROOT / "course").glob("*/__init__.py"))
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
MOST_LINES = 2_000
# From a room to those that it may import from, besides the helper: no arrow leads back.
BELOW = {
    "explorers": set(),
    "lab": set(),
    "grading": {"lab"},
    "publish": {"lab"},
    "app": {"lab", "grading", "publish"},
}
EXPERIMENTS_AND_LEDGER = {"10", "13"}


def imported(source):
    """What a program imports of the course, as dotted names, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "course")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "course":
            yield from (f"{node.module}.{name.name}" for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from (f"relative.{name.name}" for name in node.names)


def rooms_of(names):
    """The folders of `course/` among what is imported."""
    return {name.split(".")[1] for name in names if "." in name} & {*ROOMS, "relative"}


@pytest.mark.parametrize("path", HELPER, ids=lambda path: path.name)
def test_the_helper_imports_from_no_folder(path):
    assert rooms_of(imported(path.read_text(encoding="utf-8"))) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_rooms_flow_one_way(room):
    for path in (ROOT / "course" / room).rglob("*.py"):
        found = rooms_of(imported(path.read_text(encoding="utf-8"))) - {room}
        assert found <= BELOW[room], path.name


def test_the_helper_is_read_in_an_hour():
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in HELPER}
    assert sum(lines.values()) <= MOST_LINES, lines


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_imports_from_the_helper_and_the_explorers(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    imports = re.findall(r"^ *(?:from|import) .*(?:\([^)]*\))?", "\n".join(cells), re.MULTILINE)
    found = rooms_of(name for line in imports for name in imported(line.strip()))
    allowed = {"lab"} if path.stem[:2] in EXPERIMENTS_AND_LEDGER else set()
    assert found <= {"explorers"} | allowed


@pytest.mark.parametrize("source", ["import course.lab.plan", "def f():\n from course import lab"])
def test_the_check_of_imports_notices_a_folder(source):
    assert rooms_of(imported(source)) == {"lab"}


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(command):
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    locked = re.search(r'^name = "ruff"\nversion = "(.+)"', lock, flags=re.MULTILINE)[1]
    if not ruff or subprocess.check_output([ruff, "--version"], text=True).split()[1] != locked:
        pytest.skip(f"ruff {locked} is not in this environment: python3 run.py test")
    done = subprocess.run(
        [ruff, *command, "--no-cache", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("pattern", SLOW)
def test_what_is_left_out_as_slow_is_there(pattern):
    """A test that is renamed must not slip out of the list."""
    file = ROOT / "tests" / pattern.split("::")[0]
    tests = re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    names = [f"{file.parent.name}/{file.name}::{test}" for test in tests]
    without_parameters = pattern.split(r"\[")[0]
    assert any(re.search(without_parameters, name) for name in names)
    chosen = re.search(r"::test_\(?([\w|]+)\)?$", without_parameters)
    for choice in chosen[1].split("|") if chosen else ():
        assert any(name.split("::")[1].startswith(f"test_{choice}") for name in names), choice
