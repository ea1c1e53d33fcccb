"""What people look at, in JupyterLab and a real browser: a lesson runs, a slider moves, a question
answers.
"""

import json
import re
import shutil
import time
from pathlib import Path

import browser
import nbformat
import pytest

from course.app.cli import lessons as commands

ROOT = Path(__file__).resolve().parents[2]
LESSON = Path(commands.FIRST_LESSON)
SECONDS = 240  # a lesson takes about 60 on two cores

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(
    not browser.find_browser(),
    reason=f"no browser: none of {', '.join(browser.BROWSERS)} is on the PATH",
)


def cells_of(notebook: Path) -> list[dict]:
    """The code cells of a saved notebook that hold code."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [
        cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]


@pytest.fixture
def folder(tmp_path):
    """A copy of the notebooks, to be changed at will."""
    shutil.copytree(
        ROOT / "notebooks", tmp_path / "course" / "notebooks", ignore=shutil.ignore_patterns(".*")
    )
    return tmp_path / "course"


@pytest.fixture
def page(request, tmp_path):
    """A page of a headless browser; what it showed last is kept as a picture if the test fails."""
    with browser.open_page(height=900) as page:
        failures = request.session.testsfailed
        yield page
        if request.session.testsfailed > failures:
            page.screenshot(path=tmp_path / "last.png")


@pytest.fixture
def address(folder, tmp_path):
    with browser.start_lab(folder, tmp_path) as address:
        yield address


def run_all(page, notebook: Path) -> list[dict]:
    """Run all cells from the menu; return the code cells as saved when all have been executed."""
    browser.run_all_cells(page)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        # Saved and read from the disk, because a page holds only the cells that are in sight.
        page.wait_for_timeout(2000)
        page.keyboard.press("Control+s")
        page.wait_for_timeout(500)
        browser.assert_no_dialog(page)
        cells = cells_of(notebook)
        outputs = [output for cell in cells for output in cell["outputs"]]
        errors = ["\n".join(o["traceback"]) for o in outputs if o["output_type"] == "error"]
        assert not errors, errors[0]
        if all(cell["execution_count"] for cell in cells):
            return cells
    raise AssertionError(f"not all cells were executed within {SECONDS} s")


def test_lesson_00_in_a_browser(folder, address, page):
    """What a newcomer sees: JupyterLab opens on lesson 00, runs all its cells and shows its
    picture.
    """
    notebook = folder / LESSON
    assert notebook.is_file(), f"{LESSON} is missing: the course opens on it"
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    notebook.write_text(json.dumps(content), encoding="utf-8")

    page.goto(address)
    page.get_by_role("tab", name=LESSON.name).wait_for()
    page.get_by_text("| Idle").or_(page.locator(".jp-Dialog")).first.wait_for()
    browser.assert_no_dialog(page)
    cells = run_all(page, notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))

    table = page.locator(".jp-OutputArea-output", has_text="write access").first
    table.scroll_into_view_if_needed()
    # JupyterLab draws again what comes back into view: for a moment it has no text.
    table.get_by_text("OK", exact=True).first.wait_for()
    assert "Traceback" not in table.inner_text()
    picture = page.locator(".jp-OutputArea-output img").first
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
    # Neither a question about news nor any other pop-up stands in a newcomer's way.
    assert page.locator(".Toastify__toast, .jp-Dialog").count() == 0


def explorers() -> list[str]:
    """The lines of the lessons that show an explorer."""
    found = []
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "code":
                found += re.findall(r"^explorers\.\w+\(.*\)\.show\(\)$", cell.source, re.MULTILINE)
    return found


def test_every_slider_of_every_explorer_draws_a_new_picture(folder, address, page):
    """All explorers of the lessons in one notebook: each slider by keyboard, each radio button by
    mouse.
    """
    sources = [source for source in explorers() if "predict_first" not in source]
    assert len(sources) >= 6
    setup = "from course import explorers, intervals"
    cells = [nbformat.v4.new_code_cell(source) for source in [setup, *sources]]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "explorers.ipynb"
    )
    browser.open_notebook(page, address, "explorers.ipynb")
    browser.run_all_cells(page)
    page.locator(".noUi-handle").first.wait_for()
    areas = page.locator(".jp-OutputArea", has=page.locator(".noUi-handle"))
    for number in range(len(sources)):
        area = areas.nth(number)
        area.scroll_into_view_if_needed()
        picture = area.locator("img").last
        picture.wait_for()
        size = picture.bounding_box()
        for handle in area.locator(".noUi-handle").all():
            forward, back = "ArrowRight", "ArrowLeft"
            at_the_end = handle.get_attribute("aria-valuenow") == handle.get_attribute(
                "aria-valuemax"
            )
            browser.move(handle, back if at_the_end else forward)
        for radio in area.locator("input[type=radio]:not(:checked)").all():
            before = area.locator("img").last.get_attribute("src")
            radio.check()
            page.wait_for_function(
                "([area, before]) => [...area.querySelectorAll('img')].pop().src !== before",
                arg=[area.element_handle(), before],
            )
        after = area.locator("img").last.bounding_box()
        assert (size["width"], size["height"]) == (after["width"], after["height"]), "nothing jumps"


def test_a_guess_then_the_measurement(folder, address, page):
    source = (
        "from course import explorers, intervals\nasked = explorers.predict_first('How much?',"
        " intervals.mean_interval([0.2, 0.3]), 0.0, 1.0, 0.1, 'share')\nasked.show()"
    )
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "guess.ipynb")
    browser.open_notebook(page, address, "guess.ipynb")
    browser.run_all_cells(page)
    handle = page.locator(".noUi-handle")
    browser.move(handle, "ArrowRight")
    before = page.locator(".jp-OutputArea img").last.get_attribute("src")
    button = page.get_by_role("button", name="Show the measurement")
    button.focus()
    page.keyboard.press("Space")
    page.wait_for_function(
        "before => [...document.querySelectorAll('.jp-OutputArea img')].pop().src !== before",
        arg=before,
    )
    # A message of its own, which may come after the picture's.
    page.get_by_role("button", name="Show the measurement", disabled=True).wait_for()


def scroll_to(page, place) -> None:
    """Down by and by, because a page holds only the cells in sight."""
    panel = page.locator(".jp-WindowedPanel-outer")
    for _ in range(100):
        if place.count():
            break
        panel.evaluate("panel => panel.scrollBy(0, 600)")
        page.wait_for_timeout(150)
    place.first.scroll_into_view_if_needed()


def test_without_a_kernel_pictures_stand_in_and_a_question_answers(folder, address, page):
    """Lesson 02 as it comes from the repository: nothing is run."""
    browser.open_notebook(page, address, "notebooks/02_batch_norm_formula.ipynb")
    explorer = page.locator(".jp-CodeCell", has_text="explorers.batch_norm_formula().show()")
    scroll_to(page, explorer)
    picture = explorer.locator(".jp-OutputArea img")
    picture.wait_for()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 800
    assert (
        explorer.locator(".noUi-handle").count()
        == page.get_by_text("Error displaying widget").count()
        == 0
    )
    scroll_to(page, page.locator("h2", has_text="Check yourself"))
    # Solutions and loops are folded, too; a choice begins with its letter.
    letter = page.locator("summary", has_text=re.compile(r"^\s*[A-D]\. "))
    choices = page.locator("details", has=letter)
    choices.first.wait_for()
    for number, open_it in enumerate(
        (lambda one: one.click(), lambda one: (one.focus(), page.keyboard.press("Enter")))
    ):
        choice = choices.nth(number)
        summary = choice.locator("summary")
        summary.scroll_into_view_if_needed()
        explanation = choice.locator("p").first
        assert not explanation.is_visible()
        open_it(summary)
        explanation.wait_for(state="visible")
        assert explanation.inner_text().startswith(("✔ Right.", "✘ Misconception: "))
