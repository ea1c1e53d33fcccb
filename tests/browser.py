"""JupyterLab as run.py starts it, and a page of a headless browser: for the tests and the
benchmark.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

from course.app.cli import lessons as commands

BROWSERS = "chromium", "chromium-browser", "google-chrome"


def find_browser():
    """The path of a browser, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def open_page(width=1280, height=720):
    """A page of a headless browser that talks to no one but us."""
    from playwright.sync_api import sync_playwright

    quiet = [
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", *quiet]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_browser(), args=options)
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(60_000)
        try:
            yield page
        finally:
            chromium.close()


@contextmanager
def start_lab(folder: Path, scratch: Path, **environment):
    """JupyterLab with the settings of someone who has never used it; gives its address with the
    token.
    """
    options = [
        "--no-browser",
        "--port-retries=200",
        f"--IdentityProvider.token={secrets.token_hex(8)}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    folders = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    )
    fresh = {name: str(scratch / name.lower()) for name in folders}
    log = scratch / "jupyter.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            commands.lab_command(options, folder),
            cwd=folder,
            env=commands.lab_environment(os.environ | fresh | environment),
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
        ) as server,
    ):
        try:
            yield wait_for_address(server, Path(fresh["JUPYTER_RUNTIME_DIR"]), log)
            if os.name != "nt":  # Ctrl-C, and yes to its question, stops it cleanly
                server.send_signal(signal.SIGINT)
                server.communicate(b"y\n", timeout=120)
                assert server.returncode == 0, log.read_text()
        finally:
            server.kill()


def wait_for_address(server, runtime: Path, log: Path) -> str:
    """The address, with its token, that a starting server writes into its runtime folder."""
    end = time.monotonic() + 240  # a busy machine takes long
    while time.monotonic() < end and server.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            try:
                facts = json.loads(path.read_text())
            except ValueError:  # it is just being written
                break
            return f"{facts['url']}?token={facts['token']}"
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


def open_notebook(page, address: str, name: str) -> None:
    """Open a notebook of the served folder and wait for its kernel."""
    start, token = address.split("?")
    # `reset`: a workspace of its own, without what was open before.
    page.goto(f"{start}lab/tree/{name}?{token}&reset")
    page.get_by_role("tab", name=Path(name).name).first.wait_for()
    ready = page.get_by_text("| Idle")  # in the status bar, after the name of the kernel
    ready.or_(page.locator(".jp-Dialog")).first.wait_for()
    assert_no_dialog(page)


def run_all_cells(page) -> None:
    """Choose Run All Cells from the menu."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def assert_no_dialog(page) -> None:
    """Fail with what JupyterLab asks, as it does when a notebook does not name its kernel."""
    dialog = page.locator(".jp-Dialog")
    assert dialog.count() == 0, f"JupyterLab asks: {dialog.first.inner_text()}"


def move(handle, key: str) -> float:
    """Move a slider by one key, wait for the browser to paint another picture; give the
    milliseconds.
    """
    # The slider comes before its picture: there must be one, and painted, before it can be another.
    handle.wait_for()
    handle.page.wait_for_function(
        """handle => {
            const pictures = [...handle.closest('.jp-OutputArea').querySelectorAll('img')];
            return pictures.length > 0 && pictures.pop().complete;
        }""",
        arg=handle.element_handle(),
    )
    return handle.evaluate(
        """async (handle, key) => {
            const area = handle.closest('.jp-OutputArea');
            const picture = () => [...area.querySelectorAll('img')].pop();
            const frame = () => new Promise(requestAnimationFrame);
            const before = picture().src, start = performance.now();
            handle.focus();
            const pressed = {key, code: key, bubbles: true, cancelable: true};
            handle.dispatchEvent(new KeyboardEvent('keydown', pressed));
            while (!picture() || picture().src === before || !picture().complete) {
                if (performance.now() - start > 60_000)
                    throw new Error('no new picture within 60 s');
                await frame();
            }
            await frame();
            return performance.now() - start;
        }""",
        key,
    )


def axe() -> str:
    """The source of axe, which looks for what keeps people from reading a page."""
    pytest.importorskip("axe_playwright_python", reason="it brings axe along")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


# What axe says of an element depends on its kind: names, classes and attributes of it and of all
# that it stands in, and whether it holds text. One of each kind is enough, and a page of 15,000
# elements would take it a minute.
ONE_OF_EACH_KIND = """() => {
    const seen = new Set();
    const keep = (element, path) => {
        path += '>' + [
            element.tagName, element.getAttribute('class'), element.getAttribute('style'),
            ...element.getAttributeNames(), !!element.textContent.trim()];
        const fresh = !seen.has(path);
        seen.add(path);
        const kept = [...element.children].filter(child => keep(child, path)).length;
        if (!fresh && !kept) element.remove();
        return fresh || kept > 0;
    };
    keep(document.body, '');
    // Nor is axe to see colours on their way from one theme to the other.
    const still = '<style>* { transition: none !important; }</style>';
    document.head.insertAdjacentHTML('beforeend', still);
}"""
RUN_AXE = """async rules => {
    const {violations} = await axe.run({resultTypes: ['violations'], preload: false, ...rules});
    const place = node => node.target.join(' ') + ' ' + node.failureSummary;
    return violations
        .filter(violation => ['serious', 'critical'].includes(violation.impact))
        .map(violation => violation.id + ': ' + violation.nodes.map(place).join('; '));
}"""
