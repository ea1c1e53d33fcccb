"""What was wrong in the first edition's lesson 00 and must not return; its solutions."""

import re
from pathlib import Path

import folded
import keras
import nbformat
import numpy as np
import pytest

from course.intervals import Interval

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CELLS = nbformat.read(NOTEBOOKS / "00_start_here.ipynb", 4).cells
TEXT = "\n\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def solution(name):
    return folded.solution(TEXT, name, np=np)


def test_the_map_has_every_lesson_in_order_with_its_minutes():
    """It left out lessons 08 and 11 of the first edition, and then 10 and 13."""
    rows = re.findall(r"^\| (?:\*\*|\[)(\d\d) .*\| (\d+) \|$", TEXT, flags=re.MULTILINE)
    minutes = [
        re.search(r"\*\*Minutes\*\*:? (\d+)", nbformat.read(path, 4).cells[0].source)[1]
        for path in LESSONS
    ]
    assert rows == [(path.stem[:2], said) for path, said in zip(LESSONS, minutes, strict=True)]
    links = [path.name for path in LESSONS[1:]]
    assert re.findall(r"^\| \[\d\d [^]]*\]\(([^)]+)\)", TEXT, flags=re.MULTILINE) == links


@pytest.mark.parametrize(
    ("low", "high"), [(0.02, 0.03), (0.005, 0.03), (-0.005, 0.006), (-0.004, 0.016), (-0.03, -0.02)]
)
def test_the_five_verdicts_are_those_of_the_rule(low, high):
    verdict = Interval((low + high) / 2, low, high, 5, 0.95).verdict(0.01)
    rows = re.findall(r"^\| (\*.*?) \|", TEXT, flags=re.MULTILINE)
    for word in verdict.split(", "):
        assert any(f"*{word}*" in row for row in rows), f"{word} is not in the table"


def test_an_interval_comes_with_its_assumption_and_its_limit():
    """Student's t wants roughly normal values; seeds do not change the training images."""
    assert "roughly normal" in TEXT and "*not the 4,000 images*" in TEXT


def test_a_whole_network_in_plain_keras_is_in_view():
    shown = [
        cell.source
        for cell in CELLS
        if cell.cell_type == "code" and not cell.metadata.get("jupyter", {}).get("source_hidden")
    ]
    code = "\n".join(shown)
    assert all(word in code for word in ("keras.Sequential(", ".compile(", ".fit("))


def test_no_question_asks_whether_a_short_run_learns_at_all():
    """A plateau after some hundred steps is slow, bad or hopeless: nobody can tell which."""
    assert not re.search(r"learns? at all|more slowly, |or does it not learn", TEXT)


def test_the_ledger_is_introduced_before_it_is_cited():
    assert TEXT.index("**The ledger.**") < TEXT.index("](13_the_ledger.ipynb)")
    assert "*claim*: a sentence, an experiment" in TEXT


def test_the_solutions_are_keras_s():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(6, 10)), rng.integers(10, size=6)
    p = solution("softmax")(z)
    np.testing.assert_allclose(p, keras.ops.softmax(z), rtol=1e-5)
    loss = keras.losses.SparseCategoricalCrossentropy()(labels, p)
    np.testing.assert_allclose(solution("cross_entropy")(p, labels), float(loss), rtol=1e-5)
    weight = keras.Variable(np.ones(3, "float32"))
    gradient = keras.ops.arange(3, dtype="float32")
    keras.optimizers.SGD(0.1).apply([gradient], [weight])
    stepped = solution("sgd_step")(np.ones(3), np.arange(3), 0.1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), stepped, rtol=1e-6)
    layer = keras.layers.BatchNormalization(momentum=0.0)
    layer(z.astype("float32"), training=True)
    mean, deviation = solution("statistics")(z)
    np.testing.assert_allclose([mean, deviation**2], layer.get_weights()[2:], rtol=1e-4)
