"""The address of the course stands in CITATION.cff, and all that names it is made from there."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from course.publish import address

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SOMEWHERE = "https://github.com/someone/course"


def text(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture
def published(tmp_path):
    """A folder with the citation of a course that has an address, and one lesson."""
    (tmp_path / "CITATION.cff").write_text(
        text(ROOT / "CITATION.cff") + f'repository-code: "{SOMEWHERE}/"\n', encoding="utf-8"
    )
    (tmp_path / "notebooks").mkdir()
    lesson = tmp_path / "notebooks" / LESSONS[2].name
    lesson.write_text(address.with_colab_cell(text(LESSONS[2]), ""), encoding="utf-8")
    return tmp_path


def test_the_readme_cites_as_the_citation_file_does():
    assert f"```bibtex\n{address.bibtex()}\n```" in text(ROOT / "README.md")
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    entries = address.citation()
    assert (entries["version"], entries["license"]) == (project["version"], project["license"])
    assert {"cff-version", "message", "title", "authors", "type"} <= entries.keys()


def test_an_address_is_cited(published):
    assert address.repository(published) == SOMEWHERE
    assert address.bibtex(published).endswith(f",\n  url    = {{{SOMEWHERE}}}\n}}")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_each_lesson_has_the_cell_for_colab_that_the_citation_file_asks_for(path):
    """If not: `python3 run.py colab`."""
    assert address.with_colab_cell(text(path), address.repository()) == text(path)


def test_the_cell_comes_first_and_goes_again_without_a_trace(published):
    (lesson,) = (published / "notebooks").iterdir()
    before = text(lesson)
    assert address.write_colab_cells(published) == [lesson]
    assert address.write_colab_cells(published) == []
    counts = [
        int(count) for count in re.findall(r'^   "execution_count": (\d+)', text(lesson), re.M)
    ]
    assert counts == list(range(1, len(counts) + 1))
    assert text(lesson).index(SOMEWHERE) < text(lesson).index("from course import")
    assert address.with_colab_cell(text(lesson), "") == before


def test_the_cell_does_nothing_elsewhere(monkeypatch):
    code = TransformerManager().transform_cell(address.COLAB.format(repository=SOMEWHERE))
    before = list(sys.path), os.getcwd(), list(sys.modules)
    exec(code, {})
    assert before == (sys.path, os.getcwd(), list(sys.modules))
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    with pytest.raises(NameError, match="get_ipython"):  # it would ask IPython to run a command
        exec(code, {})


def test_the_command_changes_nothing_where_all_is_as_it_should_be():
    command = [sys.executable, "-m", "course.app.cli", "colab"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "Every lesson is as CITATION.cff asks" in done.stdout
