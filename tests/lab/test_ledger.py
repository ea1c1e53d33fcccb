"""The ledger: every claim is there, each of its contrasts can be run and judged, and the command
shows it.
"""

import re
from functools import cache
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from course import plots
from course.app import cli
from course.app.cli import experiments
from course.lab import claims, ledger, pictures, plan, results, verdict

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LEDGER = "11_the_ledger.ipynb"
# What texts on the subject say. A claim that turns out badly must not vanish from here.
IDS = """
    formula undo epsilon per-channel ics-cause higher-lr faster initialisation depth
    mild-regulariser inference-deterministic small-batch small-batch-threshold placement-bn
    classic-scaling expectation ensemble overfit co-adaptation rate-sweep data-size conv-dropout
    dropout-off eval-mode eval-mode-afterwards momentum-steps train-loss-mode variance-shift
    bn-before-dropout dropout-last redundant interaction both-solve both-then-more mc-dropout E1
    E2 E3 E4 E5 E6 E7 E8 E8-best E8-number resnet-152 recurrent layer-norm-features leakage
    norm-transformer determinism
""".split()
VERDICTS = {"holds", "does not hold", "depends", "undecided"}


def contrasts():
    return [(claim, one) for claim in claims.CLAIMS for one in claim.contrasts]


@cache
def rows_of(name):
    """The committed results of an experiment; an empty table if there are none."""
    folder = results.RESULTS / name
    if not (folder / "runs.parquet").exists() and not (folder / "runs").is_dir():
        return pd.DataFrame()
    return results.load(plan.trials(name, seeds=1))[0]


# What stands in it
# ------------------------------------------------------------------------------------------


def test_every_claim_is_there_once():
    assert sorted(claim.id for claim in claims.CLAIMS) == sorted(IDS)


def test_each_claim_is_in_one_group():
    assert sorted(id for ids in claims.GROUPS.values() for id in ids) == sorted(IDS)


def test_each_claim_says_what_who_and_how():
    for claim in claims.CLAIMS:
        assert claim.sentence.endswith(".") and len(claim.sentence.split()) > 1, claim.id
        assert set(claim.source.split(", ")) <= {"N", "E", "-"} and claim.source, claim.id
        assert claim.contrasts, claim.id
        names = [one.name for one in claim.contrasts]
        assert len(set(names)) == len(names), f"{claim.id}: two contrasts of one name"


def test_contrasts_compare_arms_that_exist():
    for claim, one in contrasts():
        assert one.experiment in plan.EXPERIMENTS, claim.id
        for arm, _ in one.terms:
            assert arm in plan.EXPERIMENTS[one.experiment].arms, f"{claim.id}: {arm}"


def test_contrasts_weigh_differences():
    """Weights that add up to 0, or a single metric as it is; and no contrast is of one metric with
    itself.
    """
    for claim, one in contrasts():
        weights = list(one.terms.values())
        assert all(weights) and (sum(weights) == 0 or weights == [1.0]), f"{claim.id}: {one.name}"
        assert not (one.offset and len(weights) > 1), f"{claim.id}: {one.name}"


def test_contrasts_compare_metrics_that_exist():
    looked = 0
    for claim, one in contrasts():
        rows = rows_of(one.experiment)
        for arm, metric in one.terms:
            mine = rows[rows["arm"] == arm] if len(rows) else rows
            if len(mine):
                looked += 1
                assert metric in mine and mine[metric].notna().any(), (
                    f"{claim.id}: {arm} has no {metric}"
                )
    if not looked:
        pytest.skip("there are no results yet")


@pytest.mark.parametrize("dataset", ["fashion_mnist", "digits"])
@pytest.mark.parametrize("small", [False, True])
def test_every_claim_can_be_planned(dataset, small):
    for claim in claims.CLAIMS:
        for trials in ledger.trials_of(claim, small=small, dataset=dataset):
            arms = {trial.arm for trial in trials}
            assert {trial.dataset for trial in trials} == {dataset}
            settings = {trial.setting for trial in trials if trial.seed == 0}
            assert len(settings) == len(arms), f"{claim.id}: two arms are the same runs"
            seeds = {arm: [one.seed for one in trials if one.arm == arm] for arm in arms}
            assert all(
                len(mine) >= 2 and mine == seeds[trials[0].arm] for mine in seeds.values()
            ), "whole pairs"
            wanted = {
                arm
                for one in claim.contrasts
                if one.experiment == trials[0].experiment
                for arm, _ in one.terms
            }
            assert arms == wanted, "no arm too many"


# What it shows
# ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(experiments, "console", Console(width=200))


def ask(*words):
    return CliRunner().invoke(cli.app, ["claims", *map(str, words)])


def fake(values):
    """The rows of any experiment: every arm with these values for every metric asked for, by arm
    number.
    """
    metrics = {metric for _, one in contrasts() for _, metric in one.terms}

    def rows_of(name):
        arms = plan.EXPERIMENTS[name].arms
        return pd.DataFrame(
            [
                dict.fromkeys(metrics, value) | {"arm": arm, "seed": seed}
                for arm in arms
                for seed, value in enumerate(values)
            ]
        )

    return rows_of


def test_the_table_has_every_claim_and_says_what_is_not_measured(tmp_path):
    shown = ask("--out", tmp_path)
    assert shown.exit_code == 0, shown.output
    for id in IDS:
        assert re.search(rf"[│┃] {re.escape(id)} ", shown.output), id
    assert shown.output.count("not measured") == len(IDS)
    table = ledger.table(ledger.look_up(tmp_path))
    assert list(table["id"]) == [claim.id for claim in claims.CLAIMS]
    assert set(table["verdict"]) == {"not measured"}


def test_results_become_verdicts():
    """All arms alike: what expects "same" is supported, and what expects a difference is
    contradicted.
    """
    entries = {claim.id: ledger._entry(claim, fake([0.5, 0.5, 0.5])) for claim in claims.CLAIMS}
    assert entries["redundant"].verdict == "holds"
    assert entries["E3"].verdict == "does not hold"
    assert entries["E5"].verdict == "depends"
    undecided = ledger._entry(ledger.find("undo"), fake([0.0, 1e-3, 2e-3]))
    assert undecided.verdict == "undecided"
    assert undecided.more_seeds is None
    (row,) = ledger.table([undecided]).to_dict("records")
    assert (row["seeds"], row["more seeds"]) == (3, "over 1,000")


def test_the_same_question_is_asked_of_another_experiment():
    claim = ledger.find("E7")
    again = ledger.asked_of(claim, "eight full")
    assert again.id == claim.id and {one.experiment for one in again.contrasts} == {"eight full"}
    for one, other in zip(claim.contrasts, again.contrasts, strict=True):
        assert (one.name, one.terms, one.expected, one.smallest) == (
            other.name,
            other.terms,
            other.expected,
            other.smallest,
        )
    assert {one.experiment for one in claim.contrasts} == {"eight"}, "the claim itself is as it was"
    (entry,) = ledger.look_up(asked=[again])
    assert entry.verdict != "not measured" and all(
        len(finding.values) >= 5 for finding in entry.findings
    )


def test_a_run_that_diverged_is_named():
    entry = ledger._entry(ledger.find("undo"), fake([0.0, float("nan"), 0.0]))
    assert entry.verdict == "not measured" and "diverge" in entry.missing


def test_details_say_what_was_expected_and_what_was_found():
    table = ledger.details(ledger._entry(ledger.find("E5"), fake([0.5, 0.5, 0.5])))
    assert list(table["says"]) == ["supports", "contradicts"]
    assert list(table["expected"]) == ["within 0.01", "below -0.02"]


def test_an_unknown_claim_gets_one_clear_sentence(tmp_path):
    shown = ask("formulas", "--out", tmp_path)
    assert shown.exit_code == 1
    assert "There is no claim 'formulas'. Did you mean 'formula'?" in shown.output
    assert "Traceback" not in shown.output and not list(tmp_path.iterdir())


def test_one_claim_is_tested_here_and_now(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_WARM_SECONDS", "60")
    shown = ask("formula", "--dataset", "digits", "--seeds", 2, "--workers", 1, "--out", tmp_path)
    assert shown.exit_code == 0, shown.output
    assert ledger.find("formula").sentence in shown.output
    assert len(re.findall(r"\bsupports\b", shown.output)) == len(ledger.find("formula").contrasts)
    assert "Here, on a small scale: holds." in shown.output
    rows = results.collect(tmp_path / "exact")
    assert sorted(rows["seed"]) == [0, 1] and set(rows["parameters"].str.contains("digits")) == {
        True
    }
    # Another seed in the same folder is none of its business.
    groups = ledger.trials_of(ledger.find("formula"), small=True, seeds=1, dataset="digits")
    assert "there are 1" in ledger.judge_trials(ledger.find("formula"), groups, tmp_path).missing


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_all_computes_what_no_backend_has_computed(tmp_path, monkeypatch, backend):
    """The large network took a GPU and JAX: on TensorFlow it is not trained again, which would take
    hours.
    """
    monkeypatch.setenv("KERAS_BACKEND", backend)
    swept = {}
    monkeypatch.setattr(
        experiments, "run_sweep", lambda runs, *others: swept.update({runs[0].experiment: runs})
    )
    shown = ask("--all")
    assert shown.exit_code == 0, shown.output
    assert not {"large", "eight full"} & set(swept)
    assert "large: all 3 runs are there." in shown.output
    assert all(
        run.key not in set(results.collect(results.RESULTS / name)["key"])
        for name, runs in swept.items()
        for run in runs
    )
    swept.clear()
    assert ask("--all", "--out", tmp_path).exit_code == 0
    assert {name: len(runs) for name, runs in swept.items()} == {
        name: len(plan.trials(name)) for name in plan.EXPERIMENTS
    }


def test_every_claim_is_measured():
    table = ledger.table(ledger.look_up()).set_index("id")["verdict"]
    assert table.isin(VERDICTS).all(), table[~table.isin(VERDICTS)]
    measured = [
        entry for entry in ledger.look_up() if entry.findings and not entry.claim.id.startswith("E")
    ]
    assert (
        min(len(finding.values) for entry in measured for finding in entry.findings)
        >= verdict.ENOUGH_SEEDS
    )


def test_the_report_of_a_claim_says_what_was_found():
    entry = ledger._entry(ledger.find("E5"), fake([0.5, 0.5, 0.5]))
    above, below = ledger.report(entry)
    assert above.startswith("### E5\n") and entry.claim.sentence in above and "**E**" in above
    assert "**depends**" in below and "3 seeds" in below
    supporting, against = [finding.contrast.name for finding in entry.findings]
    assert re.search(rf"For it: {supporting}.*Against it: {against}", below)
    assert entry.claim.depends_on in below
    _, below = ledger.report(ledger._entry(ledger.find("undo"), fake([0.0, 1.1e-3, 1e-3])))
    assert re.search(r"\*\*undecided\*\*.* stay, about \d+ seeds more", below)
    _, below = ledger.report(ledger._entry(ledger.find("undo"), fake([1e-3 - 1e-4, 1e-3 + 1e-4])))
    assert "stay, over 1,000 seeds more" in below, "the mean is on the boundary"
    missing = ledger.Entry(entry.claim, (), "not measured", "There are no results.")
    assert ledger.report(missing)[1] == "Verdict: **not measured**. There are no results."


@pytest.mark.parametrize(
    ("values", "scale"), [([0.5, 0.5, 0.51], "linear"), ([0.5, 0.5, 2.5], "symlog")]
)
def test_the_picture_shades_where_the_claim_says_it_is(values, scale):
    claim = ledger.find("E6")  # same, lower, same, lower
    rows = fake([0.5, 0.5, 0.5])("eight")
    rows.loc[rows["arm"] == "both", "loss"] = values
    findings = verdict.findings(claim, lambda name: rows)
    figure, axes = plots.panels()
    pictures.contrasts(axes, findings, [ledger.digits(finding) for finding in findings])
    low, high = axes.get_xlim()
    shaded = [band.get_paths()[0].vertices[:, 0] for band in axes.collections]
    same, lower = (-1, 1), (low, -1)
    assert [(side.min(), side.max()) for side in shaded] == [
        pytest.approx(side) for side in (same, lower, same, lower)
    ]
    assert axes.get_xscale() == scale
    strokes = [line for line in axes.lines if line.get_marker() == "|"]
    expected = [(value - 0.5) / 0.02 for value in values]
    assert list(strokes[1].get_xdata()) == pytest.approx(expected), (
        "the seeds, in units of what matters"
    )
    assert low < min(0, *expected) and max(expected) < high
    assert len(axes.get_yticklabels()) == len(findings)
    figure.draw_without_rendering()


def test_contrasts_of_one_picture_may_have_different_numbers_of_seeds():
    """After a second look at one of them."""
    one, other = ledger.find("E5").contrasts
    findings = [
        verdict.judge(one, [0.02, 0.03, 0.02]),
        verdict.judge(other, [-0.1, 0.3, -0.2, -0.1, -0.3]),
    ]
    figure, axes = plots.panels()
    pictures.contrasts(axes, findings, [ledger.digits(finding) for finding in findings])
    strokes = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    assert [len(stroke) for stroke in strokes] == [3, 5]
    assert (
        min(map(min, strokes)) > axes.get_xlim()[0] and max(map(max, strokes)) < axes.get_xlim()[1]
    )


# The lessons and the ledger
# ---------------------------------------------------------------------------------


def links(path):
    text = "\n".join(
        cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"
    )
    return re.findall(rf"\]\({re.escape(LEDGER)}#([^)\s]+)\)", text)


def test_lessons_link_to_claims_that_exist_and_every_claim_is_linked_from_one():
    found = {path.stem: links(path) for path in LESSONS if path.name != LEDGER}
    for lesson, ids in found.items():
        assert set(ids) <= set(IDS), lesson
    assert set(IDS) - {id for ids in found.values() for id in ids} == set()


def test_each_claim_has_its_heading_and_verdict_in_the_lesson():
    """JupyterLab makes anchors of headings in outputs, too."""
    cells = nbformat.read(ROOT / "notebooks" / LEDGER, 4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    shown = "\n".join(
        output["data"]["text/markdown"]
        for output in outputs
        if "text/markdown" in output.get("data", {})
    )
    _, *parts = re.split(r"^### ", shown, flags=re.MULTILINE)
    assert sorted(part.splitlines()[0] for part in parts) == sorted(IDS)
    assert all("Verdict: **" in part for part in parts)
