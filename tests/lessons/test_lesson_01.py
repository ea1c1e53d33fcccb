"""What was wrong in the first edition's lesson 01 and must not return."""

import math
import re
from pathlib import Path

import nbformat

CELLS = nbformat.read(Path(__file__).parents[2] / "notebooks" / "01_the_problem.ipynb", 4).cells
TEXT = "\n\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
PRINTED = "\n".join(
    output.get("text", "") for cell in CELLS if cell.cell_type == "code" for output in cell.outputs
)


def test_levels_are_printed_without_sign():
    """An accuracy of "+0.993 [+0.986, +1.001]" looks like a difference, and goes beyond 1."""
    assert not re.search(r"[+-]\d\.\d+ \[", PRINTED)


def test_covariate_shift_is_left_to_the_lesson_that_tests_it_fairly():
    """At half of He's scale noisy batch norm had to win: no test of why batch norm works."""
    assert "noisy" not in TEXT.lower()
    (paragraph,) = re.findall(r"^.*\*internal covariate shift\*.*$", TEXT, flags=re.MULTILINE)
    assert "disputed" in paragraph and "(04_why_it_works.ipynb)" in paragraph


def test_growth_of_gradients_is_given_for_several_depths_and_after_training():
    """A factor of 1.21 per layer is mild in ten layers, and it does not last."""
    factor = math.sqrt(math.pi / (math.pi - 1))
    assert [float(f"{factor**depth:.0e}") for depth in (10, 30, 100)] == [7, 300, 2e8]
    assert "7 in ten layers, 300 in thirty, and 200 million in a hundred" in TEXT
    start, later = map(float, re.findall(r"growth per layer .*: (\S+); .*: (\S+) SGD", PRINTED)[0])
    assert start > 1.17 and later < 1.1


def test_half_of_the_square_needs_symmetry():
    """That a sum is as often negative as positive does not make ReLU keep half of its square."""
    assert "symmetric" in TEXT and "as often negative" not in TEXT


def test_the_first_layer_is_explained():
    """It has 784 inputs, and is therefore out of line in the pictures of gradients."""
    assert re.search(r"step at layer 1.*784 inputs", TEXT)
