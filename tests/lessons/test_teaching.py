"""The instructor's guide fits the lessons: their sections, their questions, their minutes."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ROW = re.compile(r"^\| ([^|]+?), (\d+)(?:: [^|]*)? \|([^|]*)\|", flags=re.MULTILINE)


def rows_of(path):
    """Section, minutes and question of each row about a lesson."""
    title = re.search(r"^# (.+)", nbformat.read(path, 4).cells[0].source)[1]
    (part,) = re.findall(
        rf"^## Lesson {re.escape(title)}.*?(?=^## |\Z)", GUIDE, flags=re.MULTILINE | re.DOTALL
    )
    assert "**Aim.**" in part and "**When late**" in part
    return [(name, int(minutes), ask.strip()) for name, minutes, ask in ROW.findall(part)]


def covers(row, title):
    """Whether a row, such as "3" or "4 to 9", is about a section."""
    first, _, last = row.partition(" to ")
    number = re.match(r"\d+", title)
    if not number or not first.isdigit():
        return row == title
    return int(first) <= int(number[0]) <= int(last or first)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_each_section_that_asks_has_its_question_in_the_guide(path):
    rows = rows_of(path)
    text = "\n".join(
        cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"
    )
    sections = re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    for title, words in sections:
        if "**Predict.**" in words:
            assert [ask for name, _, ask in rows if covers(name, title) and ask], (
                f"no question for section {title!r}"
            )
    for name, _, _ in rows:
        assert any(covers(name, title) for title, _ in sections), f"there is no section {name!r}"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lecture_fits_its_hour_and_takes_less_than_the_lesson_by_oneself(path):
    alone = int(re.search(r"\*\*Minutes\*\*:? (\d+)", nbformat.read(path, 4).cells[0].source)[1])
    lecture = sum(minutes for _, minutes, _ in rows_of(path))
    assert alone / 2 < lecture <= alone


def test_its_links_resolve():
    links = re.findall(r"\]\(([^)#]+)", GUIDE)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
