"""Lesson 13: what its text says beyond what its own cells hold."""

import re
from pathlib import Path

import nbformat
import pytest

from course.lab import claims, ledger, plan, verdict

LESSON = Path(__file__).parents[2] / "notebooks" / "13_the_ledger.ipynb"
CELLS = nbformat.read(LESSON, 4).cells
TEXT = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
CODE = "\n".join(cell.source for cell in CELLS if cell.cell_type == "code")


def solution(name):
    """The folded solution of a Write, as a function."""
    (code,) = re.findall(rf"```python\n(def {name}\(.*?)```", TEXT, flags=re.DOTALL)
    space = {}
    exec(code, space)
    return space[name]


@pytest.mark.parametrize("share", [0.5, 0.25, 0.125])
def test_the_formula_for_the_number_of_seeds(share):
    assert r"\frac{3.5\, s}{\delta}" in TEXT
    assert verdict.seeds_needed(1.0, share) == pytest.approx((3.5 / share) ** 2, rel=0.06)


def test_half_the_distance_takes_four_times_the_seeds():
    assert "four times as many seeds" in TEXT
    near, far = (verdict.seeds_needed(1.0, distance) for distance in (0.15, 0.3))
    assert near / far == pytest.approx(4, rel=0.03)


def test_a_refuted_part_refutes_whatever_is_open():
    """The first edition called that undecided."""
    judge = solution("verdict_of")
    assert judge(["open", "contradicts"]) == "does not hold as stated"
    assert judge(["contradicts"] * 2) == "does not hold"
    assert judge(["supports", "open", "in part"]) == "open"


@pytest.mark.parametrize("expected", verdict.EXPECTED)
@pytest.mark.parametrize("ends", [(1.5, 2), (0.5, 2), (-0.5, 2), (-0.5, 0.5), (-2, -1.5), (-2, 1)])
def test_the_word_of_the_solution_is_the_rules(expected, ends):
    contrast = verdict.Contrast("a", "b", {("c", "d"): 1.0}, expected, 1.0)
    assert solution("says")(*ends, expected, 1.0) == str(verdict._says(contrast, *ends))


def test_the_example_of_a_question_can_be_asked(monkeypatch):
    monkeypatch.setattr(plan, "EXPERIMENTS", dict(plan.EXPERIMENTS))  # it becomes one of them
    (code,) = re.findall(r"```python\n(from course.lab.own import.*?)```", TEXT, flags=re.DOTALL)
    space = {}
    exec(code, space)
    asked = space["mine"]
    assert asked.trials(1) and asked.claim.contrasts[0].smallest == claims.SMALLEST["loss"]


def test_exact_claims_stand_in_one_table_without_pictures():
    """The first edition had a picture of a dot on zero for each."""
    (place,) = [n for n, cell in enumerate(CELLS) if cell.source.startswith("## What the layers")]
    outputs = CELLS[place + 1].outputs
    assert not [one for one in outputs if "image/png" in one.get("data", {})]
    (table,) = [one.data["text/html"] for one in outputs if "text/html" in one.get("data", {})]
    for claim in (*claims.CLAIMS, *claims.FACTS):
        assert (claim.group != claims.LAYERS) or claim.id in table


def test_no_claim_is_named_that_the_ledger_does_not_have():
    named = set(re.findall(r'entries\["([\w-]+)"\]', CODE)) | set(
        re.findall(r'told\["([\w-]+)"\]', CODE)
    )
    assert named and named <= set(ledger.BY_ID)
