"""Lesson 09 keeps to its promise: no mistake without a symptom, a fix, and the test that would have
caught it.
"""

import re
from pathlib import Path

import nbformat

LESSON = Path(__file__).parents[2] / "notebooks" / "09_common_mistakes.ipynb"


def test_each_case_of_the_clinic_has_its_four_parts():
    """Symptom, diagnosis, fix, and a test that is seen to fail on the broken model and to pass on
    the mended one.
    """
    cases, case = [], None
    for cell in nbformat.read(LESSON, 4).cells:
        if cell.cell_type == "markdown" and re.search(r"^##+ ", cell.source, flags=re.MULTILINE):
            case = [] if "### Case " in cell.source else None
            cases += [case] if case is not None else []
        if case is not None:
            case.append(cell)
    assert len(cases) >= 10
    pictures = 0
    for case in cases:
        words = "\n".join(cell.source for cell in case)
        printed = "\n".join(
            output.get("text", "") for cell in case for output in cell.get("outputs", [])
        )
        pictures += any(
            "image/png" in output.get("data", {})
            for cell in case
            for output in cell.get("outputs", [])
        )
        for part in ("Symptom", "Diagnosis", "Fix", "Test"):
            assert re.search(rf"\*\*{part}\b", words), f"{words.splitlines()[0]}: no {part}"
        assert re.search(r"^def test_", words, flags=re.MULTILINE)
        assert "FAIL" in printed and "PASS" in printed, words.splitlines()[0]
    assert pictures >= 10
