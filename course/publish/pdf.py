"""Pages for people: the mathematics that travels in them, and the browser that prints them."""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from course.lab.errors import UserError
from course.lab.files import write_whole

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
)
PATIENCE = 300  # seconds that a browser may take to print a deck
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


class PublishError(UserError):
    """A deck or page that cannot be made; says why, and what to do."""


def mathjax():
    """The program that sets the formulas, as text; it travels inside the deck."""
    try:
        installed = files("django-static-mathjax") or []
    except PackageNotFoundError:
        installed = []
    programs = [file for file in installed if file.match("es5/tex-svg-full.js")]
    if not programs:
        raise PublishError(
            "A deck carries MathJax for its formulas, which is not installed. Say: uv sync"
            ' --inexact --extra site   or: pip install -e ".[site]"'
        )
    return programs[0].locate().read_text(encoding="utf-8")


def find_browser():
    """The path of a browser that can print without a screen, or None."""
    return next(filter(None, map(shutil.which, (*BROWSERS, *PLACES))), None)


def print_pdf(document):
    """Print a deck, a page for each slide, into a PDF file beside it.

    Raises
    ------
    PublishError
        If there is no browser to do it, or it fails.
    """
    browser = find_browser()
    if not browser:
        raise PublishError(
            "A PDF file needs Chromium, Chrome or Edge, and none was found. Install one, or open"
            " the deck in any browser and print it to a file (Ctrl+P)."
        )
    target = document.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            f"--user-data-dir={scratch}",
            "--no-pdf-header-footer",
            # Chromium does not run as root (in a container) with its sandbox; the document is our
            # own.
            *(["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []),
            # the clock of the page, which stops when nothing is left to do
            "--virtual-time-budget=60000",
            f"--print-to-pdf={scratch}/deck.pdf",
            document.resolve().as_uri(),
        ]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            raise PublishError(
                f"{browser} did not print {document.name} within {PATIENCE} seconds. Open it in"
                " any browser and print it to a file (Ctrl+P)."
            ) from None
        printed = Path(scratch) / "deck.pdf"
        if result.returncode or not printed.is_file():
            raise PublishError(f"{browser} did not print {document.name}:\n{result.stderr[-500:]}")
        write_whole(target, printed.read_bytes())
    return target
