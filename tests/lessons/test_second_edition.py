"""What DESIGN's second edition asks of a lesson, as far as a program can see it.

For the lessons that have been rewritten; the others keep to the frame of `test_lessons.py`.
"""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
REWRITTEN = (
    "00_start_here",
    "01_the_problem",
    "02_batch_norm_formula",
    "03_two_modes",
    "04_why_it_works",
    "05_dropout_mechanics",
    "06_dropout_in_practice",
    "07_placement",
    "08_together",
    "13_the_ledger",
)
# What the ledger's lesson prints from its claims stands at its end, to be looked up, not to be read
# through: a claim more or less makes the lesson neither longer nor shorter.
LOOKED_UP = {"13_the_ledger": "## Appendix: every claim (optional)"}
LESSONS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if path.stem in REWRITTEN]
MOST_WORDS, MOST_CODE_CELLS, MOST_LINES, MOST_PREDICTIONS, LEAST_WRITTEN = 5_000, 25, 12, 6, 4
WORDS_A_MINUTE, MINUTES_A_CELL, MINUTES_TO_WRITE, MINUTES_TO_PREDICT = 200, 1, 5, 1
# A text that allows for every outcome tells none.
HEDGES = (
    r"\b[Ii]f (it|this|the \w+) says\b",
    r"\b[Ii]f the (verdict|line|interval|cell)\b",
    r"\b[Ww]here the (verdict|line|interval) (is|says)\b",
    r"\bmay be about as\b",
    r"\beither way\b",
    r'"(higher|lower|open)"[^.\n]{0,40}: ',
)
# Translated, not written.
TRANSLATED = (
    r"\b(once|twice|one|two|three|\d+) \w+ a (step|seed|batch|channel|feature|unit|epoch|run)\b",
    r"\bputs? out\b",
    r"\b(a|one) (mean|variance|mask|value|number|weight)s? a (channel|feature|unit|step|batch)\b",
    r"\bso (is|does|are) it\b",
)

pytestmark = [
    pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem),
    pytest.mark.skipif(not LESSONS, reason="no lesson has been rewritten"),
]


def cells(path, kind=None):
    return [cell for cell in nbformat.read(path, 4).cells if kind is None or cell.cell_type == kind]


def read_through(path):
    """The cells of a lesson before what is only looked up."""
    for cell in cells(path):
        if path.stem in LOOKED_UP and cell.source.startswith(LOOKED_UP[path.stem]):
            return
        yield cell


def prose(path):
    """The text of a lesson without code, formulas, links' addresses and tags."""
    text = "\n\n".join(cell.source for cell in cells(path, "markdown"))
    for pattern in (r"```.*?```", r"\$\$.*?\$\$", r"\$[^$\n]*\$", r"\]\([^)]*\)", r"<[^>]*>"):
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    return text


def told(path):
    """What the code cells print and say below their pictures."""
    outputs = [output for cell in read_through(path) for output in cell.get("outputs", [])]
    for output in outputs:
        yield output.get("text", "")
        data = output.get("data", {})
        yield data.get("text/markdown", "" if "image/png" in data else data.get("text/plain", ""))


def words(text):
    return len(re.findall(r"[^\W\d_]\S*", text))


def core(path):
    """The cells of the sections that are not marked optional, before "Check yourself"."""
    kept, inside = [], True
    for cell in cells(path):
        for heading in re.findall(r"^## (.+)$", cell.source, flags=re.MULTILINE):
            inside = "(optional)" not in heading and heading not in ("Sources", "Next")
        if inside:
            kept.append(cell)
    return kept


def collapsed(cell):
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def writes(path):
    return [cell for cell in cells(path, "code") if "tell.check(" in cell.source]


def test_it_is_short(path):
    count = words(prose(path)) + sum(map(words, told(path)))
    assert count <= MOST_WORDS
    code = [cell for cell in read_through(path) if cell.cell_type == "code" and cell.source.strip()]
    assert len(code) <= MOST_CODE_CELLS
    assert sum(len(cell.source.splitlines()) for cell in code) <= MOST_LINES * len(code)


def test_the_answer_stands_on_the_first_screen(path):
    """The question, what a practitioner can use, and a picture, before the first section."""
    start = []
    for cell in cells(path):
        if re.search(r"^## ", cell.source, flags=re.MULTILINE):
            break
        start.append(cell)
    assert "?" in start[0].source and "**In short**" in start[0].source
    usable = start[0].source.split("**In short**")[1].split("\n\n**")[0]
    assert len(re.findall(r"^\d\. ", usable, flags=re.MULTILINE)) == 3
    assert any("image/png" in o.get("data", {}) for c in start for o in c.get("outputs", []))


def test_the_reader_writes(path):
    assert len(writes(path)) >= LEAST_WRITTEN
    for cell in writes(path):
        assert any("Not written yet" in output.get("text", "") for output in cell.outputs), (
            f"committed with its answer: {cell.source[:200]}"
        )
    everything = prose(path)
    assert everything.count("**Write") >= LEAST_WRITTEN
    assert "**Open task" in everything
    assert "<details><summary>A solution" in "".join(c.source for c in cells(path, "markdown"))


def test_predictions_are_few_and_have_choices(path):
    asked = [cell.source for cell in cells(path, "markdown") if "**Predict" in cell.source]
    assert 2 <= len(asked) <= MOST_PREDICTIONS
    for source in asked:
        choices = re.findall(
            r"^\s*[-*] |\(a\)|\bhow many\b|\bwhich (number|value)\b|\bby which\b",
            source.split("**Predict", 1)[1],
            flags=re.MULTILINE | re.IGNORECASE,
        )
        assert choices, f"a prediction without choices: {source[:200]}"


def test_results_are_told(path):
    text = prose(path)
    found = [match[0] for pattern in HEDGES for match in re.finditer(pattern, text)]
    assert not found, "text that allows for every outcome"
    facts = [cell for cell in cells(path, "code") if "tell.facts(" in cell.source]
    assert facts, "no cell says what the text relies on"
    for cell in facts:
        assert collapsed(cell) and not cell.outputs, cell.source[:200]
        assert cell.source.startswith("# NBVAL_CHECK_OUTPUT"), "nbval sees to it that it is silent"


def test_what_only_draws_is_collapsed(path):
    for cell in cells(path, "code"):
        if re.search(r"^(plots\.(show|loop)\(|explorers\.)", cell.source, flags=re.MULTILINE):
            lines = len(cell.source.splitlines())
            assert collapsed(cell) or lines <= 8, f"not collapsed: {cell.source[:200]}"


def test_the_english_is_no_translation(path):
    text = prose(path)
    found = [match[0] for pattern in TRANSLATED for match in re.finditer(pattern, text)]
    assert not found


def test_the_minutes_are_counted(path):
    """As readers took them: who did every Write needed half as long again as by three minutes."""
    said = int(re.search(r"\*\*Minutes\*\*:? (\d+)", cells(path)[0].source)[1])
    kept = core(path)
    text = " ".join(cell.source for cell in kept if cell.cell_type == "markdown")
    text = re.sub(r"\$\$.*?\$\$", " ", text, flags=re.DOTALL)  # solutions and quiz are read, too
    code = [cell for cell in kept if cell.cell_type == "code" and not collapsed(cell)]
    to_write = sum("tell.check(" in cell.source for cell in code)
    counted = words(text) / WORDS_A_MINUTE + MINUTES_TO_PREDICT * text.count("**Predict")
    counted += MINUTES_A_CELL * (len(code) - to_write) + MINUTES_TO_WRITE * to_write
    assert abs(said - counted) <= 5, f"{counted:.0f} minutes"
    assert 20 <= said <= 60


def test_optional_sections_are_marked(path):
    """What may be skipped is said in the heading, and on the first screen."""
    optional = [
        heading
        for cell in cells(path, "markdown")
        for heading in re.findall(r"^## (.+\(optional\))$", cell.source, flags=re.MULTILINE)
    ]
    assert not optional or "optional" in cells(path)[0].source


def test_loops_are_small_enough_for_a_notebook(path):
    loops = [
        html
        for cell in nbformat.read(path, 4).cells
        for output in cell.get("outputs", [])
        if "image/gif" in (html := output.get("data", {}).get("text/html", ""))
    ]
    assert len(loops) <= 2
    assert all(len(html) < 300_000 for html in loops)
