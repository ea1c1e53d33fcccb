"""From the move of a slider to the new picture, in a real headless browser.

    .venv/bin/python tests/benchmarks/benchmark_sliders.py

Prints, for each explorer, the milliseconds from the key press to the painted picture: through
JupyterLab, the kernel, the drawing, and back. A benchmark and not a test: it depends on the machine
and on what else it does.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).parents[1]))
import browser  # noqa: E402

MOVES = 40
EXPLORERS = (
    "batch_norm_formula",
    "moving_statistics",
    "batch_size_noise",
    "dropout_mask",
    "rates_by_layer",
    "variance_shift",
)


def measure(page, address, name):
    """Milliseconds of each of the moves of one explorer's first slider."""
    browser.open_notebook(page, address, f"{name}.ipynb")
    browser.run_all_cells(page)
    handle = page.locator(".noUi-handle").first
    handle.wait_for()
    page.locator(".jp-OutputArea img").wait_for()
    page.wait_for_timeout(2_000)
    moves = []
    for key in ["ArrowRight", "ArrowLeft"] * (MOVES // 2):
        moves.append(browser.move(handle, key))
        page.wait_for_timeout(50)  # a hand is no faster
    return moves


def main():
    if not browser.find_browser():
        sys.exit(f"No browser: none of {', '.join(browser.BROWSERS)} is on the PATH.")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    everything = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in EXPLORERS:
            cells = [
                nbformat.v4.new_code_cell(
                    f"from course import explorers\nexplorers.{name}().show()"
                )
            ]
            nbformat.write(
                nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / f"{name}.ipynb"
            )
        with browser.start_lab(folder, folder) as address:
            print("milliseconds from key to picture       median   lowest  highest")
            for name in EXPLORERS:
                with browser.open_page() as page:
                    moves = measure(page, address, name)
                print(
                    f"{name:34} {statistics.median(moves):10.1f} {min(moves):8.1f}"
                    f" {max(moves):8.1f}",
                    flush=True,
                )
                everything += moves
    print(
        f"{'all':34} {statistics.median(everything):10.1f} {min(everything):8.1f}"
        f" {max(everything):8.1f}"
    )


if __name__ == "__main__":
    main()
