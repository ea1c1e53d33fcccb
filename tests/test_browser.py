"""What a newcomer sees: JupyterLab opens on lesson 00, runs all its cells and shows its picture."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from course import cli

ROOT = Path(__file__).resolve().parent.parent
LESSON = Path(cli.FIRST_LESSON)
SECONDS = 240  # a lesson takes about 60 on two cores

sync_api = pytest.importorskip("playwright.sync_api")


def cells_of(notebook: Path) -> list[dict]:
    """The code cells of a saved notebook that hold code."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


@pytest.fixture
def lessons(tmp_path):
    """A copy of the notebooks in which lesson 00 has no outputs yet."""
    assert (ROOT / LESSON).is_file(), f"{LESSON} is missing: the course opens on it"
    shutil.copytree(
        ROOT / "notebooks", tmp_path / "course" / "notebooks", ignore=shutil.ignore_patterns(".*")
    )
    notebook = tmp_path / "course" / LESSON
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    notebook.write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / "course"


@pytest.fixture
def page(request, tmp_path):
    """A page of a headless browser; what it showed last is kept as a picture if the test fails."""
    names = "chromium", "chromium-browser", "google-chrome"
    if not (browser := next(filter(None, map(shutil.which, names)), None)):
        pytest.skip(f"no browser: none of {', '.join(names)} is on the PATH")
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", *quiet]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=options)
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        failures = request.session.testsfailed
        yield page
        if request.session.testsfailed > failures:
            page.screenshot(path=tmp_path / "last.png")
        chromium.close()


@pytest.fixture
def address(lessons, tmp_path):
    """JupyterLab as run.py starts it, with the settings of someone who has never used it."""
    options = ["--no-browser", "--port-retries=200", f"--IdentityProvider.token={secrets.token_hex(8)}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    folders = "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"
    fresh = {name: str(tmp_path / name.lower()) for name in folders}
    log = tmp_path / "jupyter.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            cli.lab_command(options, lessons), cwd=lessons, env=os.environ | fresh,
            stdin=subprocess.PIPE, stdout=file, stderr=file,
        ) as server,
    ):  # fmt: skip
        try:
            yield wait_for_address(server, Path(fresh["JUPYTER_RUNTIME_DIR"]), log)
            if os.name != "nt":  # Ctrl-C, and yes to its question, stops it cleanly
                server.send_signal(signal.SIGINT)
                server.communicate(b"y\n", timeout=20)
                assert server.returncode == 0, log.read_text()
        finally:
            server.kill()


def wait_for_address(server, runtime: Path, log: Path) -> str:
    """The address, with its token, that a starting server writes into its runtime folder."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            try:
                facts = json.loads(path.read_text())
            except ValueError:  # it is just being written
                break
            return f"{facts['url']}?token={facts['token']}"
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


def assert_no_dialog(page) -> None:
    """Fail with what JupyterLab asks, as it does when a notebook does not name its kernel."""
    dialog = page.locator(".jp-Dialog")
    assert dialog.count() == 0, f"JupyterLab asks: {dialog.first.inner_text()}"


def run_all(page, notebook: Path) -> list[dict]:
    """Run all cells from the menu; return the code cells as saved when all have been executed."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        # Saved and read from the disk, because a page holds only the cells that are in sight.
        page.wait_for_timeout(2000)
        page.keyboard.press("Control+s")
        page.wait_for_timeout(500)
        assert_no_dialog(page)
        cells = cells_of(notebook)
        outputs = [output for cell in cells for output in cell["outputs"]]
        errors = ["\n".join(o["traceback"]) for o in outputs if o["output_type"] == "error"]
        assert not errors, errors[0]
        if all(cell["execution_count"] for cell in cells):
            return cells
    raise AssertionError(f"not all cells were executed within {SECONDS} s")


def test_lesson_00_in_a_browser(address, lessons, page):
    page.goto(address)
    page.get_by_role("tab", name=LESSON.name).wait_for()
    ready = page.get_by_text("| Idle")  # in the status bar, after the name of the kernel
    ready.or_(page.locator(".jp-Dialog")).first.wait_for()
    assert_no_dialog(page)
    cells = run_all(page, lessons / LESSON)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))

    table = page.locator(".jp-OutputArea-output table", has_text="write access").first
    table.scroll_into_view_if_needed()
    assert table.get_by_text("OK", exact=True).count() > 0
    picture = page.locator(".jp-OutputArea-output img").first
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
    # Neither a question about news nor any other pop-up stands in a newcomer's way.
    assert page.locator(".Toastify__toast, .jp-Dialog").count() == 0
