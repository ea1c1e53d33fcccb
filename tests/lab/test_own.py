"""A claim of one's own: asked, refused in a sentence, judged by the rule; and the poster."""

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course.data import DataError
from course.lab import ledger, own, pictures, plan, poster, results, sweep, verdict
from course.lab.errors import UserError
from course.lab.own import Question, QuestionError
from course.lab.verdict import Claim, Contrast

GOOD = {
    "sentence": "Dropout helps more than batch norm does.",
    "arms": {"dropout": {"options": {"rate": 0.5}}, "batch norm": {"options": {"norm": "batch"}}},
    "minus": ("dropout", "batch norm"),
    "metric": "best_test_loss",
    "expected": "lower",
    "smallest": 0.02,
    "seeds": 4,
    "common": {"dataset": "digits", "train_size": 100, "validation_size": 50, "epochs": 1},
}
FILE = """
from course.lab.own import Question

mine = Question(
    "Dropout helps a small network.",
    arms={"dropout": {"options": {"width": 8, "rate": 0.5}}, "plain": {"options": {"width": 8}}},
    minus=("dropout", "plain"),
    metric="best_test_loss", expected="lower", smallest=0.02, seeds=2,
    common={"dataset": "digits", "train_size": 100, "validation_size": 50, "epochs": 1},
)
"""


@pytest.fixture(autouse=True)
def experiments_stay(monkeypatch):
    monkeypatch.setattr(plan, "EXPERIMENTS", dict(plan.EXPERIMENTS))


@pytest.fixture
def losses(monkeypatch):
    """Made-up test losses by arm: a function of the seed; and the seeds that were run."""
    made, run = {"dropout": lambda seed: 0.3, "batch norm": lambda seed: 0.5}, []

    def load(trials, out):
        rows = [
            {"arm": one.arm, "seed": one.seed, "backend": "jax", "best_loss": 0.4}
            | {"best_test_loss": made[one.arm](one.seed)}
            for one in trials
        ]
        return pd.DataFrame(rows), None

    def runner(trials, out):
        run.append([one.seed for one in trials])
        return sweep.Outcome(trials)

    monkeypatch.setattr(results, "load", load)
    monkeypatch.setattr(plan, "check", lambda trials: None)
    return made, run, runner


def test_it_is_judged_by_the_rule_of_the_ledger(losses):
    made, run, runner = losses
    entry = Question(**GOOD).run(run=runner)
    assert (entry.verdict, entry.tally) == ("holds", "1 of 1 supported")
    assert run == [[0, 0, 1, 1, 2, 2, 3, 3]], "settled at the first look: no second"
    made["batch norm"] = lambda seed: 0.3 + 0.1 * (seed % 2)
    entry = Question(**GOOD).run(run=runner)
    assert entry.findings[0].look == 2 and len(entry.findings[0].values) == 8
    assert sorted(set(run[-1])) == list(range(8))
    assert Question(**GOOD | {"expected": "higher"}).run(run=runner).verdict == "does not hold"


def test_the_power_is_of_a_pilot_with_seeds_of_its_own(losses):
    made, run, runner = losses
    made["batch norm"] = lambda seed: 0.3 + 0.1 * (seed % 2)
    (line,) = Question(**GOOD).power(run=runner).to_dict("records")
    assert set(run[0]) == set(own.PILOT) and min(own.PILOT) >= 1_000
    assert line["spread"] == pytest.approx(np.std([0, 0.1, 0, 0.1], ddof=1))
    assert 0 < line["first look"] < line["second look"] < 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"expected": "hihger"}, "Did you mean 'higher'"),
        ({"minus": ("dropout", "batchnorm")}, "Did you mean 'batch norm'"),
        ({"minus": "dropout"}, "names of two arms"),
        ({"metric": "best_test_lost"}, "Did you mean 'best_test_loss'"),
        ({"smallest": -1}, "smallest is -1"),
        ({"seeds": 1}, "seeds is 1"),
        ({"arms": GOOD["arms"] | {"dropout": {"epoch": 3}}}, "Did you mean 'epochs'"),
        ({"arms": GOOD["arms"] | {"dropout": {"options": {"rat": 3}}}}, "Did you mean 'rate'"),
        ({"minus": ("dropout", "dropout")}, "names of two different arms"),
        (
            {"arms": GOOD["arms"] | {"dropout": {"options": {"norm": "batch", "rate": 0.0}}}},
            "'dropout' and 'batch norm' are the same runs",
        ),
        ({"seeds": 1_001}, "seeds is 1001; give a whole number of at least 2 and below 1001"),
        ({"seeds": None}, "seeds is None"),
        ({"sentence": 5}, "sentence is 5; give a text with Latin letters"),
        ({"sentence": ""}, "sentence is ''; give a text with Latin letters"),
        ({"sentence": "辍学"}, "give a text with Latin letters"),
        ({"arms": ["dropout", "batch norm"]}, "arms is ['dropout', 'batch norm']; give the par"),
        ({"arms": GOOD["arms"] | {"dropout": None}}, "dropout is None; give parameters by their"),
        ({"arms": GOOD["arms"] | {"dropout": "rate"}}, "dropout is 'rate'; give parameters by"),
        ({"arms": GOOD["arms"] | {"dropout": {"options": None}}}, "options is None; give a mapp"),
        ({"arms": GOOD["arms"] | {"dropout": {5: 3}}}, "dropout is {5: 3}; give parameters"),
        ({"common": None}, "common is None; give parameters by their names"),
        ({"common": {"seed": 3}}, "seed is a parameter in common; leave it out"),
        ({"common": {"measure": "best"}}, "measure of common is 'best'; give a list"),
        ({"common": {"measure": ["bset"]}}, "Did you mean 'best'"),
        (
            {"arms": GOOD["arms"] | {"dropout": {"measure": ["final"]}}},
            "'dropout' has a measure of its own, which does not give 'best_test_loss'",
        ),
        ({"arms": {5: {}, "b": {}}}, "arms is {5: {}, 'b': {}}; give the parameters of each arm"),
        ({"common": {"options": {"rate": "x"}}}, "rate"),
        ({"common": {"dataset": 5}}, "dataset is 5; give text"),
        ({"template": "trian"}, "Did you mean 'train'"),
        ({"template": None}, "template is None; choose one of"),
        ({"minus": 5}, "minus is 5; give the names of two arms"),
        ({"minus": (["dropout"], 3)}, "An arm of minus is ['dropout']; choose one of"),
        ({"metric": None}, "metric is None; choose one of"),
        ({"expected": 5}, "expected is 5; choose one of"),
        ({"smallest": "0.1"}, "smallest is '0.1'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(QuestionError, match=f"This claim cannot be asked.*{re.escape(sentence)}"):
        Question(**GOOD | change)


@pytest.mark.parametrize(
    ("common", "sentence"),
    [
        ({"options": {"width": 0}}, "width is 0"),
        ({"options": {"norm": "bacth"}}, "Did you mean 'batch'"),
        ({"options": {"rate": 1.5}}, "rate is 1.5"),
        ({"train_size": -5}, "-5"),
        ({"batch_size": 200}, "batch_size is 200, but there are only 100 images"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(tmp_path, common, sentence):
    arms = {"dropout": {"epochs": 1}, "batch norm": {"epochs": 2}}
    asked = Question(**GOOD | {"arms": arms, "common": GOOD["common"] | common})
    for start in (asked.power, asked.run):
        with pytest.raises((UserError, DataError), match=re.escape(sentence)):
            start(tmp_path, run=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("metric", "arms", "sentence"),
    [
        ("shift_measured", {"plain": {}}, "needs a dropout directly before a batch norm"),
        ("jump", {"plain": {}}, "drift needs eleven records of 2 steps, and record_every is 0"),
        (
            *("jump", {"plain": {"record_every": 1}}),
            "drift needs eleven records of 2 steps, and record_every is 1",
        ),
    ],
)
def test_a_metric_that_an_arm_cannot_have_is_refused_before_any_run(
    tmp_path, metric, arms, sentence
):
    arms = {"plain": arms["plain"], "wide": arms["plain"] | {"options": {"width": 32}}}
    common = GOOD["common"] | {"epochs": 2}
    change = {"metric": metric, "arms": arms, "minus": tuple(arms), "common": common}
    asked = Question(**GOOD | change)
    for start in (asked.power, asked.run):
        with pytest.raises(UserError, match=re.escape(sentence)):
            start(tmp_path, run=None)
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_is_told(losses, tmp_path):
    asked = Question(**GOOD)
    (trial, *_) = asked.trials([3])
    failed = sweep.Outcome(failed=[(trial, "ValueError: no more paper.")])
    for start in (asked.power, asked.run):
        with pytest.raises(QuestionError, match="of 'dropout' with seed 3 failed: Val.* paper"):
            start(run=lambda trials, out: failed)


def test_it_leaves_the_committed_results_alone(losses):
    places, (_, _, runner) = [], losses
    asked = Question(**GOOD)
    for start in (asked.power, asked.run):
        start(run=lambda trials, out: places.append(out) or runner(trials, out))
    assert set(places) == {results.RESULTS / "live"}


def test_a_file_is_read_and_a_mistake_in_it_is_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    assert own.read(path).sentence == "Dropout helps a small network."
    for text, sentence in (
        ("x = 1", "holds no questions; give one"),
        (FILE + "other = mine.__class__(**vars(mine))", "holds 2 questions"),
        ("mine = Question(", "line 1: "),
        ("mine = [1 2]", "Perhaps you forgot a comma?"),
        ("open('/no/such/file')", "ends in FileNotFoundError: "),
        ("exit()", "ends in SystemExit"),
        ("x = '\0'", "null byte"),
        ("1 / 0", "ends in ZeroDivisionError"),
        (FILE.replace('"lower"', '"lowr"'), "Did you mean 'lower'"),
    ):
        path.write_text(text)
        with pytest.raises(QuestionError, match=re.escape(sentence)) as refused:
            own.read(path)
        assert not str(refused.value).endswith(("..", "?."))
    path.write_text(FILE + "again = mine")
    assert own.read(path).seeds == 2, "one question with two names"
    path.write_bytes(b"x = '\xff'")
    with pytest.raises(QuestionError, match="mine.py.*utf-8"):
        own.read(path)
    with pytest.raises(QuestionError, match="cannot be read: No such file"):
        own.read(tmp_path / "none.py")


def test_it_runs(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    entry = own.read(tmp_path / "mine.py").run(tmp_path, workers=1)
    assert entry.findings[0].contrast.name == "dropout - plain (best test loss)"
    assert len(entry.findings[0].values) in (2, 4) and entry.verdict in poster.ORDER


# The poster
# ------------------------------------------------------------------------------------------


def made_up(contrasts, values, id="made up", kind="all of", digits=""):
    """An entry with one contrast after the other: pairs (expected, smallest), and the seeds."""
    asked = tuple(
        Contrast(f"{place}", "made up", {("a", "loss"): 1.0}, *one)
        for place, one in enumerate(contrasts)
    )
    claim = Claim(id, f"The sentence of {id}.", "-", asked, kind=kind)
    found = [verdict.judge(one, of, (3, 6)) for one, of in zip(asked, values, strict=True)]
    return ledger.Entry(claim, tuple(found), (), verdict.verdict(claim, found), digits)


HIGHER = ("higher", 0.02)


@pytest.fixture
def entries():
    """One of each kind, in no order, and one that is not measured."""
    return [
        made_up([HIGHER], [[-1, 0, 1]], "open"),
        made_up([HIGHER], [[0, 0, 0]], "wrong"),
        made_up([HIGHER] * 9, [[1, 1, 1]] * 9, "right", digits="mixed"),
        ledger.Entry(ledger.CLAIMS[0], (), (), "not measured", missing="Nothing."),
        made_up([HIGHER, HIGHER], [[1, 1, 1], [0, 0, 0]], "half"),
    ]


def test_every_claim_that_is_measured_is_on_the_poster(entries, tmp_path):
    axes = poster.poster(entries).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"The sentence of {id}." for id in ("right", "half", "wrong", "open")]
    places = list(axes.get_yticks())
    assert places == sorted(places) and axes.yaxis_inverted(), "from above to below"
    assert axes.figure.get_suptitle() == "The ledger (1 more claim is not measured yet)"
    alt = poster.alt(entries)
    assert alt == (
        "4 of 5 claims of the ledger, sorted by verdict."
        " holds: 1; does not hold as stated: 1; does not hold: 1; open: 1."
        " right: holds; on digits: mixed (9 of 9 supported)."
        " half: does not hold as stated (1 of 2 supported, 1 refuted)."
        " wrong: does not hold (1 of 1 refuted). open: open (1 of 1 open)."
    )
    svg, pdf = poster.save(entries, tmp_path)
    assert pdf.read_bytes().startswith(b"%PDF")
    root = ElementTree.parse(svg).getroot()
    names = {one.get("id"): one.text for one in root[:2]}
    assert root.get("role") == "img" and names[root.get("aria-labelledby")] == "The ledger"
    assert names[root.get("aria-describedby")] == alt


def test_all_verdicts_of_the_ledger_have_a_place_on_the_poster():
    assert set(poster.ORDER) == {*ledger.DECISIVE, ledger.NOT_MEASURED}
    entries = ledger.look_up()
    measured = [entry for entry in entries if not entry.missing]
    assert len(poster.drawn(entries)) == len(measured) > 9


def test_on_the_poster_nothing_overlaps_and_nothing_is_cut(entries):
    long = replace(entries[0].claim, sentence=50 * "Long words. ")
    entries.append(replace(entries[0], claim=long))
    figure = poster.poster(entries)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    inch = axes.get_window_extent().height / axes.get_ylim()[0]
    assert inch == pytest.approx(figure.dpi), "a unit is an inch"
    kinds = [marker for marker, _, _ in pictures.SAYS.values()]
    marks = [line for line in axes.lines if line.get_marker() in kinds]
    heights = sorted(line.get_ydata()[0] for line in marks)
    assert len(heights) == 14
    assert min(np.diff(heights)) * 72 > marks[0].get_markersize(), "in points"
    texts = [label for side in (axes, *axes.child_axes) for label in side.get_yticklabels()]
    sentences = {" ".join(label.get_text().split()) for label in texts}
    assert long.sentence.strip() in sentences, "it is wrapped"
    page = figure.bbox
    boxes = [label.get_window_extent() for label in texts]
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 for box in boxes)
    for column in (boxes[: len(boxes) // 2], boxes[len(boxes) // 2 :]):
        tops = sorted((box.y0, box.y1) for box in column)
        assert all(one[1] < other[0] for one, other in pairwise(tops))
    assert axes.get_window_extent().width > page.width / 2
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(legend) == 4 and "in part: perhaps too little to matter" in legend


@pytest.mark.parametrize(
    ("contrast", "values", "ends"),
    [  # low end, mean, high end: how far on the claim's side of its boundary, in its units
        (("higher", 0.02), [0.06, 0.06], (2, 2, 2)),
        (("lower", 0.02), [0.06, 0.06], (-4, -4, -4)),
        (("lower", 0.02), [-0.06, -0.06], (2, 2, 2)),
        (("higher", 0.0), [0.03, 0.03], (3, 3, 3)),
        (("same", 0.02), [0.0, 0.0], (1, 1, 1)),
        (("same", 0.02), [0.06, 0.06], (-2, -2, -2)),
        (("same", 0.02), [-0.06, -0.06], (-2, -2, -2)),
        (("same", 0.02), [-1e-3, 1e-3], (-0.144, 1, 1)),
    ],
)
def test_right_of_the_line_is_where_a_claim_says(contrast, values, ends):
    entry = made_up([contrast], [values])
    axes = poster.poster([entry]).axes[0]
    interval, mean = axes.lines[1:3]
    drawn = (interval.get_xdata()[0], mean.get_xdata()[0], interval.get_xdata()[1])
    assert drawn == pytest.approx(ends, abs=1e-3)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-3, 3), min_size=2, max_size=6),
    st.sampled_from(["higher", "lower", "same"]),
)
def test_an_interval_right_of_the_line_supports_and_one_left_of_it_contradicts(values, expected):
    (finding,) = made_up([(expected, 1.0)], [values]).findings
    low, mean, high = poster._beyond(finding)
    assert low <= mean <= high
    near = min(abs(low), abs(high)) < 1e-9  # the last digit decides
    assert near or (finding.says == "supports") == (low > 0)
    assert near or (finding.says == "contradicts") == (high < 0)


def test_what_lies_beyond_the_axis_has_an_arrowhead():
    entry = made_up(
        [HIGHER, HIGHER, ("lower", 0.02), HIGHER],
        [[9, 9, 9], [-9, -9, -9], [0.1, 0.1, 0.1], [-9, 0, 9]],
    )
    axes = poster.poster([entry]).axes[0]
    low, high = axes.get_xlim()
    arrows = [line for line in axes.lines if line.get_marker() in "<>"]
    assert [line.get_marker() for line in arrows] == [">", "<", "<", ">"]
    assert all(low < line.get_xdata()[0] < high for line in arrows)


def test_the_command_draws_the_poster_and_names_a_mistake_in_a_file(tmp_path):
    from typer.testing import CliRunner

    from course.app import cli

    done = CliRunner().invoke(cli.app, ["claims", "--draw", str(tmp_path)])
    assert done.exit_code == 0 and (tmp_path / "ledger.pdf").exists(), done.output
    (tmp_path / "mine.py").write_text("x = 1")
    done = CliRunner().invoke(cli.app, ["claims", "--file", str(tmp_path / "mine.py")])
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert "holds no questions; give one" in " ".join(done.output.split())


def test_the_command_says_that_a_run_of_ones_own_claim_diverged(losses, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from course.app import cli
    from course.app.cli import experiments

    made, _, runner = losses
    made["plain"] = lambda seed: np.nan if seed % 2 else 0.3
    monkeypatch.setattr(experiments, "run_sweep", lambda trials, out, *others: runner(trials, out))
    (tmp_path / "mine.py").write_text(FILE)
    done = CliRunner().invoke(cli.app, ["claims", "--file", str(tmp_path / "mine.py")])
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit), done.output
    said = " ".join(done.output.split())
    assert "The best_test_loss of the arm 'plain'" in said and "with seed 1, but nan" in said
    assert "Verdict" not in said and not (tmp_path / "mine.svg").exists()


def test_the_command_draws_a_claim_of_ones_own_with_a_description(losses, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from course.app import cli
    from course.app.cli import experiments

    made, _, runner = losses
    made["plain"] = made["batch norm"]
    monkeypatch.setattr(experiments, "run_sweep", lambda trials, out, *others: runner(trials, out))
    (tmp_path / "mine.py").write_text(FILE)
    done = CliRunner().invoke(cli.app, ["claims", "--file", str(tmp_path / "mine.py")])
    assert done.exit_code == 0 and "of the pilot" in " ".join(done.output.split()), done.output
    root = ElementTree.parse(tmp_path / "mine.svg").getroot()
    assert [one.text for one in root[:2]] == [
        "Dropout helps a small network.",
        "dropout - plain (best test loss), with its interval: -0.200 [-0.200, -0.200], supports.",
    ]
