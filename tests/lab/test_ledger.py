"""The ledger: results become verdicts, a claim can be run and judged, and the command shows it."""

import re
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from course import plots
from course.app import cli
from course.app.cli import experiments
from course.lab import claims, ledger, pictures, plan, results, verdict
from course.lab.catalogue import Experiment
from course.lab.trial import BACKENDS
from course.lab.verdict import Beside, Claim, Contrast

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LEDGER = "13_the_ledger.ipynb"
IDS = [claim.id for claim in (*claims.CLAIMS, *claims.FACTS)]
VERDICTS = {
    *("holds", "holds, perhaps too little to matter", "does not hold", "does not hold as stated"),
    *("open", "holds in most", "does not hold in most", "mixed", verdict.NOT_TESTED),
}


# A ledger of one's own
# ------------------------------------------------------------------------------------------


RATES = ("rate 0.1", "rate 0.3", "rate 0.5")
ARMS = ("plain", "treated", *RATES)
LOOKS = (3, 6)


def less(one, other, metric="loss", expected="lower", smallest=0.02, experiment="made up"):
    terms = {(one, metric): 1.0, (other, metric): -1.0}
    name = f"{'best' if isinstance(one, tuple) else one} - {other} ({metric})"
    return Contrast(name, experiment, terms, expected, smallest)


TREATED = Claim(
    "treated",
    "The treatment lowers the loss and leaves the accuracy.",
    "N",
    (less("treated", "plain"), less("treated", "plain", "accuracy", "same", 0.01)),
    "A paper.",
    scope="dense nets of 2 x 256, 1,000 to 5,000 images",
)
VANISHES = Claim(
    "vanishes",
    "Beside dropout the treatment does nothing.",
    "-",
    (less(RATES, "plain", expected="same"),),
    controls=(less("treated", "plain"),),
    disappears=True,
    afterwards="It depends on the weather.",
)


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    """An experiment of five arms, and its twin on digits; and a console of 100 columns."""
    arms = {arm: {"learning_rate": 0.001 * (index + 1)} for index, arm in enumerate(ARMS)}
    for name in ("made up", "made up digits", "made up again"):
        one = Experiment("What?", arms, {"epochs": 1}, LOOKS, small={"seeds": 2})
        monkeypatch.setitem(plan.EXPERIMENTS, name, one)
    monkeypatch.setattr(experiments, "console", Console(width=100))


def rows(seeds=6, **losses):
    """The rows of the made-up experiment: every metric is the arm's loss, or 0.5."""
    lines = []
    for arm in ARMS:
        loss = losses.get(arm.replace(" ", "_").replace(".", ""), 0.5)
        for seed in range(seeds):
            value = loss[seed] if isinstance(loss, list) else loss
            lines.append({"arm": arm, "seed": seed, "loss": value, "best_loss": value})
    return pd.DataFrame(lines).assign(accuracy=0.9, backend="jax")


def found(claim, **losses):
    return ledger.entry(claim, lambda name: rows(**losses))


@pytest.fixture
def stored(monkeypatch):
    """Rows by experiment, in place of the results of a folder."""
    tables = {}

    def load(trials, out):
        if trials[0].experiment not in tables:
            raise results.SweepError(f"There are no results of {trials[0].experiment!r} yet.")
        return tables[trials[0].experiment], None

    monkeypatch.setattr(results, "load", load)
    return tables


# Results become verdicts
# ------------------------------------------------------------------------------------------


def test_results_become_verdicts():
    entry = found(TREATED, treated=0.3)
    assert (entry.verdict, entry.tally, entry.seeds) == ("holds", "2 of 2 supported", "3")
    entry = found(TREATED, treated=0.5)
    assert entry.verdict == "does not hold as stated"
    assert entry.tally == "1 of 2 supported, 1 refuted"
    assert found(VANISHES, treated=0.3).verdict == "holds"
    assert found(VANISHES, treated=0.3, rate_03=0.2).verdict == "does not hold"
    assert found(VANISHES, treated=0.5).verdict == "cannot be tested here"


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        (
            {"treated": [0.3, float("nan"), 0.3, 0.3, 0.3, 0.3]},
            "'treated' .* is not a number with seed 1",
        ),
        ({"seeds": 1}, "needs two seeds .* there are 1"),
    ],
)
def test_what_cannot_be_judged_is_not_measured_and_says_why(losses, says):
    entry = found(TREATED, **losses)
    assert (entry.verdict, entry.tally) == ("not measured", "") and re.search(says, entry.missing)


def test_the_command_that_is_advised_can_be_pasted_into_a_shell(tmp_path):
    for look in (lambda: results.load(plan.trials("made up", seeds=1), tmp_path), None):
        with pytest.raises(results.SweepError, match="`course experiment 'made up'`"):
            look() if look else results.table("made up", tmp_path)


def test_a_choice_by_too_few_seeds_is_not_measured_yet(stored, monkeypatch):
    for name in ("made up", "made up digits"):
        longer = replace(plan.EXPERIMENTS[name], looks=(24, 48))
        monkeypatch.setitem(plan.EXPERIMENTS, name, longer)
    best = replace(VANISHES, disappears=False, controls=())
    table = rows(seeds=24)
    stored["made up"] = table[~table["arm"].isin(RATES[1:]) | (table["seed"] < 1)]
    (entry,) = ledger.look_up(asked=[best])
    assert (entry.verdict, entry.diverged) == ("not measured", False)
    assert "has a setting with fewer than the 6 seeds that the best is chosen by" in entry.missing
    stored["made up"] = table
    assert ledger.look_up(asked=[best])[0].verdict == "holds"


@settings(derandomize=True, deadline=None)
@given(st.text("spco", min_size=1, max_size=3), st.text("spco", max_size=2))
def test_a_second_look_is_wanted_only_where_it_can_change_the_verdict(says, controls):
    """At it, what is not settled may come to say anything."""
    one = less("treated", "plain", smallest=1.0, expected="higher")
    values = {"s": [2, 2, 2], "p": [1.2, 0.8, 1.0], "c": [0, 0, 0], "o": [-1, 1, 3]}
    judged = {letter: verdict.judge(one, values[letter], LOOKS) for letter in values}

    def entry(claim, says, controls):
        found, checked = (tuple(map(judged.get, letters)) for letters in (says, controls))
        return ledger.Entry(claim, found, checked, verdict.verdict(claim, found, checked))

    loose = [place for place, one in enumerate(says + controls) if one in "po"]
    for kind in verdict.KINDS:
        claim = Claim("id", "More.", "-", (one,), kind=kind)
        now, later = entry(claim, says, controls), set()
        for answers in product("spco", repeat=len(loose)):
            letters = list(says + controls)
            for place, answer in zip(loose, answers, strict=True):
                letters[place] = answer
            letters = "".join(letters)
            later.add(entry(claim, letters[: len(says)], letters[len(says) :]).verdict)
        assert not now.unsettled or len(later) > 1
        if now.verdict in ledger.UNSETTLED and not now.unsettled:
            assert later == {now.verdict}


def test_the_second_data_set_is_asked_the_same(stored):
    stored["made up"] = rows(treated=0.3)
    (entry,) = ledger.look_up(asked=[TREATED])
    assert (entry.said, entry.digits) == ("holds", ""), "not measured there"
    stored["made up digits"] = rows(treated=0.5)
    (entry,) = ledger.look_up(asked=[TREATED])
    assert entry.said == "holds; on digits: does not hold as stated"
    (other,) = ledger.look_up(asked=[ledger.twin_of(TREATED)])
    assert other.verdict == entry.digits
    del stored["made up"]
    (entry,) = ledger.look_up(asked=[TREATED])
    assert entry.said == "not measured" and "no results of 'made up'" in entry.missing


def test_a_verdict_on_digits_says_what_differs_there(stored, monkeypatch):
    smaller = replace(plan.EXPERIMENTS["made up digits"], common={"epochs": 1, "train_size": 300})
    monkeypatch.setitem(plan.EXPERIMENTS, "made up digits", smaller)
    alone = less("treated", "plain", "best_loss", experiment="made up again")
    asked = replace(TREATED, contrasts=(*TREATED.contrasts, alone))
    stored["made up"] = stored["made up again"] = rows(treated=0.3)
    stored["made up digits"] = rows(treated=0.5)
    (entry,) = ledger.look_up(asked=[asked])
    assert ledger.report(entry)[1].endswith(
        "On digits (300 images in place of 2,000; without 'made up again'):"
        " does not hold as stated."
    )


def test_what_has_no_twin_is_not_asked_of_the_second_data_set():
    here, alone = less("treated", "plain"), less("plain", "treated", experiment="made up again")
    both = Claim("id", "More.", "-", (here, alone))
    assert [one.experiment for one in ledger.twin_of(both).contrasts] == ["made up digits"]
    assert ledger.twin_of(Claim("id", "More.", "-", (alone,))) is None
    controlled = Claim("id", "More.", "-", (here,), controls=(alone,), disappears=True)
    assert ledger.twin_of(controlled) is None


def test_the_same_question_is_asked_of_another_experiment():
    again = ledger.asked_of(VANISHES, "made up again")
    for one, other in zip(
        VANISHES.contrasts + VANISHES.controls, again.contrasts + again.controls, strict=True
    ):
        assert (one.experiment, other.experiment) == ("made up", "made up again")
        assert (one.name, one.terms, one.expected, one.smallest) == (
            *(other.name, other.terms),
            *(other.expected, other.smallest),
        )
    assert again.disappears and again.id == VANISHES.id


def test_the_looks_are_those_of_each_experiment():
    assert ledger.looks_of("made up") == LOOKS
    settled, again = found(TREATED, treated=0.3), found(TREATED, treated=2 * [0.3, 0.6, 0.3])
    assert [len(finding.values) for finding in settled.findings] == [LOOKS[0], LOOKS[0]]
    assert [len(finding.values) for finding in again.findings] == [LOOKS[1], LOOKS[0]]
    assert (settled.seeds, again.seeds) == ("3", "3 to 6")


# Running
# ------------------------------------------------------------------------------------------


def test_a_claim_plans_the_arms_that_it_needs_and_no_other():
    for claim, arms in ((TREATED, {"plain", "treated"}), (VANISHES, set(ARMS))):
        (trials,) = ledger.trials_of(claim, small=True)
        assert {trial.arm for trial in trials} == arms and len(trials) == 3 * len(arms)
        assert {trial.seed for trial in trials} == {0, 1, 2}
    (trials,) = ledger.trials_of(TREATED, small=False, dataset="digits")
    assert len(trials) == 2 * LOOKS[0] and {trial.dataset for trial in trials} == {"digits"}


@pytest.mark.parametrize("dataset", ["fashion_mnist", "digits"])
@pytest.mark.parametrize("small", [False, True])
def test_every_claim_can_be_planned(dataset, small):
    for claim in (*claims.CLAIMS, *claims.FACTS):
        for trials in ledger.trials_of(claim, small=small, dataset=dataset, seeds=2):
            arms = {trial.arm for trial in trials}
            assert {trial.dataset for trial in trials} == {dataset}
            settings = {trial.setting for trial in trials if trial.seed == trials[0].seed}
            assert len(settings) == len(arms), f"{claim.id}: two arms are the same runs"
            seeds = [{one.seed for one in trials if one.arm == arm} for arm in arms]
            assert all(len(mine) == 2 and mine == seeds[0] for mine in seeds), "whole pairs"


def wanted(claim):
    """How many seeds of each arm the ledger wants next, by experiment."""
    return {
        trials[0].experiment: Counter(trial.arm for trial in trials)
        for trials in ledger.next_trials(asked=[claim])
    }


def test_the_second_look_is_of_what_the_first_one_did_not_settle(stored):
    uneven, twin = [0.3, 0.6, 0.3], {"made up digits": {"plain": 3, "treated": 3}}
    stored["made up digits"] = rows(seeds=3, treated=0.3)
    for losses, count in (({"seeds": 2}, 3), ({"seeds": 3}, 6), ({"treated": 2 * uneven}, 6)):
        stored["made up"] = rows(**{"treated": uneven} | losses)
        assert wanted(TREATED) == {"made up": {"plain": count, "treated": count}} | twin
    stored["made up"] = rows(seeds=3, treated=0.3)
    assert wanted(TREATED) == {"made up": {"plain": 3, "treated": 3}} | twin
    # One contrast is refuted, and with it the claim: the other one may stay open.
    worse = rows(seeds=3, treated=uneven)
    worse.loc[worse["arm"] == "treated", "accuracy"] = 0.5
    stored["made up"] = worse
    (entry,) = ledger.look_up(asked=[TREATED])
    assert entry.tally == "1 of 2 refuted, 1 open"
    assert wanted(TREATED)["made up"] == {"plain": 3, "treated": 3}
    # Of a control that is not settled, too.
    stored["made up"] = rows(seeds=3, treated=uneven)
    assert wanted(VANISHES)["made up"]["treated"] == 6
    # A control that is refuted stays so: a second look would change nothing.
    stored["made up"] = rows(seeds=3, treated=[0.4, 0.7, 0.4], plain=uneven)
    (entry,) = ledger.look_up(asked=[VANISHES])
    assert (entry.verdict, entry.tally) == (verdict.NOT_TESTED, "1 of 1 open")
    assert set(wanted(VANISHES)["made up"].values()) == {3}


def test_of_several_settings_only_the_best_gets_all_seeds(stored, monkeypatch):
    assert [verdict.choosing(looks) for looks in ((3, 6), (5, 10), (24, 48), (64, 128))] == [
        *(3, 5, 6, 16)
    ]
    for name in ("made up", "made up digits"):
        longer = replace(plan.EXPERIMENTS[name], looks=(24, 48))
        monkeypatch.setitem(plan.EXPERIMENTS, name, longer)
    best = replace(VANISHES, disappears=False, controls=())
    first = dict.fromkeys(RATES, 6) | {"plain": 24}
    assert wanted(best)["made up"] == first
    stored["made up"] = rows(seeds=6, **{RATES[1].replace(" ", "_").replace(".", ""): 0.3})
    assert wanted(best)["made up"] == first | {RATES[1]: 24}


def test_power_is_computed_from_the_spreads_that_are_kept(stored):
    (line, _) = ledger.power(TREATED).to_dict("records")
    assert np.isnan(line["spread"]) and np.isnan(line["first look"])
    stored["made up"] = rows(treated=[0.3, 0.4, 0.3, 0.35, 0.3, 0.3])
    (line, same) = ledger.power(TREATED).to_dict("records")
    spread = np.std([0.3, 0.4, 0.3, 0.35, 0.3, 0.3], ddof=1)
    assert line["spread"] == pytest.approx(spread) and line["effect"] == -0.04
    for look, name in zip(LOOKS, ("first look", "second look"), strict=True):
        assert line[name] == pytest.approx(verdict.power(spread, look, 0.02, 0.04))
    assert same["first look"] == 1
    (line, _) = ledger.power(TREATED, lambda name: (50, 100)).to_dict("records")
    assert line["second look"] == pytest.approx(verdict.power(spread, 100, 0.02, 0.04))


def test_the_power_before_the_first_look_is_of_the_seeds_that_chose_the_settings(
    stored, monkeypatch
):
    for name in ("made up", "made up digits"):
        longer = replace(plan.EXPERIMENTS[name], looks=(24, 48))
        monkeypatch.setitem(plan.EXPERIMENTS, name, longer)

    def power():
        return ledger.power_before_first_look("made up", asked=[VANISHES]).to_dict("records")

    assert not power(), "there is nothing yet"
    few, many = rows(seeds=6, rate_01=6 * [0.3, 0.4]), rows(seeds=24)
    plain = many[many["arm"] == "plain"]
    stored["made up"] = pd.concat([few[few["arm"] != "plain"], plain])
    (line, control) = power()
    assert line["contrast"] == VANISHES.contrasts[0].name and line["effect"] == 0
    spread = np.std(3 * [0.3, 0.4], ddof=1)
    assert line["spread"] == pytest.approx(spread)
    inside = 2 * verdict.power(spread, 24, -0.02, 0.0) - 1
    assert line["first look"] == pytest.approx(max(0, inside))
    stored["made up"] = rows(seeds=5)
    assert not power(), "none is chosen"
    stored["made up"] = many
    assert not power(), "it was looked at"


# Tables and words
# ------------------------------------------------------------------------------------------


def test_the_table_has_the_verdict_and_the_number_behind_it(stored):
    stored["made up"] = rows(treated=[0.3, 0.32, 0.31, 0.3, 0.3, 0.3])
    stored["made up digits"] = rows(treated=0.5)
    (row, missing) = ledger.table(
        ledger.look_up(asked=[TREATED, ledger.asked_of(TREATED, "made up again")])
    ).to_dict("records")
    interval = verdict.interval([-0.2, -0.18, -0.19])
    assert row == {
        "id": "treated",
        "claim": TREATED.sentence,
        "source": "N",
        "verdict": "holds; on digits: does not hold as stated",
        "tally": "2 of 2 supported",
        "found": str(interval),
        "seeds": "3",
        "scope": TREATED.scope,
    }
    assert (missing["verdict"], missing["tally"], missing["found"]) == ("not measured", "", "")


@pytest.mark.parametrize(
    ("asked", "losses", "decides"),
    [
        (TREATED, {"treated": 0.3, "accuracy": 0.9}, 0),
        (TREATED, {"treated": 0.3, "accuracy": 0.8}, 1),
        (TREATED, {"treated": [0.3, 0.6, 0.3], "accuracy": 0.8}, 1),
        (TREATED, {"treated": [0.3, 0.6, 0.3], "accuracy": 0.9}, 0),
        (TREATED, {"treated": [0.48, 0.485, 0.475], "accuracy": 0.9}, 0),
        (replace(TREATED, kind="most of"), {"treated": 0.6, "accuracy": 0.9}, 0),
        (replace(TREATED, contrasts=TREATED.contrasts[::-1]), {"treated": 0.6, "accuracy": 0.9}, 1),
    ],
)
def test_the_number_behind_a_verdict_is_that_of_the_contrast_that_decides_it(
    asked, losses, decides
):
    table = rows(seeds=3, treated=losses["treated"])
    table.loc[table["arm"] == "treated", "accuracy"] = losses["accuracy"]
    entry = ledger.entry(asked, lambda name: table)
    shown = ledger.table([entry])["found"][0]
    assert entry.deciding is entry.findings[decides] and shown == ledger.digits(entry.deciding)


def test_where_a_claim_cannot_be_tested_the_number_is_that_of_its_control():
    entry = found(VANISHES, treated=0.5)
    assert entry.verdict == verdict.NOT_TESTED and entry.deciding is entry.controls[0]
    assert {word for says in ledger.DECISIVE.values() for word in says} == set(verdict.SAYS)
    assert set(ledger.DECISIVE) == VERDICTS


def test_details_say_what_was_expected_and_what_was_found():
    uneven = [0.5, 0.5, 0.51, 0.5, 0.5, 0.5]
    table = ledger.details(found(VANISHES, treated=[0.3, 0.6, 0.3], rate_03=uneven, seeds=3))
    assert list(table["contrast"]) == [
        "best - plain (loss) (best: rate 0.1)",
        "control: treated - plain (loss)",
    ]
    assert list(table["expected"]) == ["within 0.02", "below -0.02"]
    assert list(table["says"]) == ["supports", "open"]
    assert table["seeds"][0] == "3"
    assert re.fullmatch(r"3; needs about \d+ \(6 are planned\)", table["seeds"][1])
    assert table["word"][1] == "open" and table["found"][0] == "+0.000 [+0.000, +0.000]"


@pytest.mark.parametrize(
    ("values", "smallest", "shown"),
    [
        ([-0.03, -0.03], 0.02, "-0.030 [-0.030, -0.030]"),
        ([-0.0196, -0.0196], 0.02, "-0.0196 [-0.0196, -0.0196]"),  # on which side of -0.02?
        ([2e-7, 2e-7], 1e-4, "+2e-07 [+2e-07, +2e-07]"),
        ([0.001, 0.001], 0.0, "+0.001 [+0.001, +0.001]"),
        ([0.0004, 0.0004], 0.0, "+0.0004 [+0.0004, +0.0004]"),
        ([0.0005, 0.0006, 0.0002], 0.0, "+0.0004 [-0.0003, +0.0011]"),
        ([0.00003, 0.00003], 0.0, "+0.00003 [+0.00003, +0.00003]"),
        ([0.0004, 0.0004], 0.02, "+0.0004 [+0.0004, +0.0004]"),
        ([0.02004, 0.02004], 0.02, "+0.02004 [+0.02004, +0.02004]"),
        ([-0.02, -0.02], 0.02, "-0.020 [-0.020, -0.020]"),
        ([0.0, 0.0], 0.02, "+0.000 [+0.000, +0.000]"),
        ([0.3 - 0.28, 0.3 - 0.28], 0.02, "+0.020 [+0.020, +0.020]"),  # but for the last digit
    ],
)
def test_numbers_show_on_which_side_of_the_boundary_they_lie(values, smallest, shown):
    one = less("treated", "plain", smallest=smallest)
    assert ledger.digits(verdict.judge(one, values, LOOKS)) == shown


def test_the_report_of_a_claim_says_what_was_found():
    above, below = ledger.report(found(TREATED, treated=0.5))
    assert above.startswith("### treated\n") and TREATED.sentence in above and "**N**" in above
    assert TREATED.scope in above and "A paper." in above
    one, other = (contrast.name for contrast in TREATED.contrasts)
    assert below.startswith(
        "Verdict: **does not hold as stated** (1 of 2 supported, 1 refuted; 3 seeds)."
    )
    assert f"For it: {other}. Against it: {one}." in below
    above, below = ledger.report(found(VANISHES, treated=0.5))
    assert "No text's claim" in above
    assert "**cannot be tested here**" in below
    assert "The control *treated - plain (loss)* is refuted" in below
    assert "Added after the results: It depends on the weather." in below
    _, below = ledger.report(found(TREATED, seeds=3, treated=[0.3, 0.6, 0.3]))
    assert re.search(r"At about \d+ seeds there is an even chance of an answer to \*treated", below)
    assert below.endswith("if its mean and spread stay: the 6 that are planned will hardly tell.")
    _, below = ledger.report(found(TREATED, seeds=3, treated=[0.43, 0.45, 0.47]))
    assert below.endswith("if its mean and spread stay."), "so many are planned"
    _, below = ledger.report(found(TREATED, treated=0.3))
    assert below == "Verdict: **holds** (2 of 2 supported; 3 seeds).", "no space at its end"
    missing = ledger.Entry(TREATED, (), (), "not measured", missing="There are no results.")
    assert ledger.report(missing)[1] == "Verdict: **not measured**. There are no results."
    waits = replace(missing, claim=VANISHES)
    assert ledger.report(waits)[1].endswith("There are no results. It depends on the weather.")


# Both editions
# ------------------------------------------------------------------------------------------


@pytest.fixture
def both_editions(monkeypatch, stored):
    """Entries: the same verdict, renamed, changed, new in this edition, and not measured."""
    old = {"same": "holds", "renamed": "depends", "changed": "holds", "waits": "holds"}
    monkeypatch.setattr(ledger, "first_edition", lambda: old)
    monkeypatch.setattr(ledger, "REASONS", {"changed": "More seeds."})
    stored["made up"] = rows(treated=0.3)
    stored["made up again"] = rows(treated=0.5)
    good, bad = TREATED, ledger.asked_of(TREATED, "made up again")
    asked = {"same": good, "renamed": bad, "changed": bad, "new": good}
    asked["waits"] = ledger.asked_of(TREATED, "made up digits")
    return [replace(claim, id=id) for id, claim in asked.items()]


def test_the_verdicts_of_both_editions_stand_beside_each_other(both_editions):
    table = ledger.before_and_after(ledger.look_up(asked=both_editions))
    refuted = "does not hold as stated"
    assert table.to_dict("split")["data"] == [
        ["same", "holds", "holds", ""],
        ["renamed", "depends", refuted, "Renamed: another word for the same."],
        ["changed", "holds", refuted, "More seeds."],
    ]
    counts = ledger.verdicts_before_and_after(table)
    assert counts.loc["holds"].tolist() == [2, 1] and counts.loc["depends"].tolist() == [1, 0]
    assert counts.sum().tolist() == [len(table)] * 2


def test_the_command_shows_both_editions_within_a_hundred_columns(monkeypatch, both_editions):
    monkeypatch.setattr(claims, "CLAIMS", both_editions)
    monkeypatch.setattr(claims, "FACTS", [])
    monkeypatch.setattr(ledger, "REASONS", {"changed": "Many long words. " * 9})
    shown = ask("--before")
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.output.splitlines())) <= 100
    for words in ("first edition", "Renamed", "How many verdicts", "does not hold as stated"):
        assert words in " ".join(shown.output.split()), words


def test_each_verdict_that_changed_has_its_reason():
    entries = ledger.look_up(asked=(*claims.CLAIMS, *claims.FACTS))
    table = ledger.before_and_after(entries).set_index("id")
    differ = table["first edition"] != table["now"]
    without = list(table.index[differ & (table["why"] == "")])
    assert not without, f"claims.REASONS lacks a sentence for {', '.join(without)}"
    idle = list(table.index[~differ & (table["why"] != "")])
    assert not idle, f"claims.REASONS has one for {', '.join(idle)}, whose verdict is the same"
    assert set(claims.REASONS) <= set(IDS)
    assert all(why.endswith(".") and len(why) < 200 for why in table["why"][differ])
    counts = ledger.verdicts_before_and_after(table.reset_index())
    measured = [one for one in entries if one.earlier and not one.missing]
    assert counts.sum().tolist() == [len(measured)] * 2


# Numbers beside a claim
# ------------------------------------------------------------------------------------------


def test_numbers_beside_a_claim_are_told_as_far_as_they_are_there(stored):
    number = Beside("the factor", (less("treated", "plain"),), lambda means: 2 ** means[0], ".2f")
    asked = replace(TREATED, beside=(number,))
    assert ledger.beside(asked) == []
    stored["made up"], stored["made up digits"] = rows(treated=1.5), rows(seeds=2)
    assert ledger.beside(asked) == ["the factor: 2.00 [2.00, 2.00]"]
    stored["made up digits"] = rows(seeds=3, treated=2.5)
    assert ledger.beside(asked)[1:] == ["the factor (digits): 4.00 [4.00, 4.00]"]
    needs = [ledger.trials_of(one, small=True) for one in (asked, TREATED)]
    assert needs[0] == needs[1], "it asks for no runs"


def test_a_number_is_told_below_a_claim_that_is_tested_alone(stored, monkeypatch, swept):
    number = Beside("the factor", (less("treated", "plain"),), lambda means: 2 ** means[0], ".2f")
    asked = replace(TREATED, id="formula", beside=(number,))
    monkeypatch.setattr(ledger, "find", lambda id: asked)
    monkeypatch.setattr(ledger, "judge_trials", lambda *others: found(TREATED, treated=0.3))
    stored["made up"] = rows(treated=1.5)
    assert "the factor: 2.00 [2.00, 2.00]" in ask("formula").output


def test_claims_that_need_a_number_beside_them_have_it():
    told = {claim.id: claim.beside for claim in claims.CLAIMS if claim.beside}
    assert set(told) == {"small-batch-threshold", "overfit", "mild-regulariser", "dropout-epochs"}
    for id in ("overfit", "mild-regulariser"):
        (gap, *_) = ledger.find(id).contrasts
        (line, *_) = told[id]
        arms = [arm for arm, _ in gap.terms]
        assert [*line.contrasts[0].terms] == [(arm, "best_train_loss") for arm in arms]
    ((factor,),) = (told["dropout-epochs"],)
    assert factor.of([1.5]) == 2**1.5
    (asked, *_) = ledger.find("dropout-epochs").contrasts
    assert factor.contrasts[0].terms == asked.terms and factor.contrasts[0].offset == 0


# What the command shows
# ------------------------------------------------------------------------------------------


def ask(*words):
    return CliRunner().invoke(cli.app, ["claims", *map(str, words)])


def test_the_ledger_fits_a_hundred_columns(monkeypatch, stored):
    long = {"id": "inference-deterministic", "scope": "dense nets of 2 x 256, 1,000 images"}
    monkeypatch.setattr(claims, "CLAIMS", [Claim(**{**vars(TREATED), **long})])
    monkeypatch.setattr(claims, "FACTS", [VANISHES])
    stored["made up"] = rows(treated=[0.47, 0.5, 0.48, 0.47, 0.48, 0.47])
    stored["made up digits"] = rows(treated=0.5)
    shown = ask()
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(shown.output.split()).count("the intervals of the rule, nominally 97.2 %") == 1
    ledger_lines, facts = shown.output.split("Facts about the software")
    assert "inference-deterministic" in ledger_lines and "vanishes" in facts
    for words in ("verdict", "tally", "found", "scope"):
        assert words in ledger_lines
    number = ledger.table(ledger.look_up(asked=[TREATED]))["found"][0]
    assert number in ledger_lines, "a number and its interval are not broken"
    column = ledger_lines.index("scope") - ledger_lines.rindex("\n", 0, ledger_lines.index("scope"))
    scope = " ".join(line[column - 1 :].strip() for line in ledger_lines.splitlines())
    assert long["scope"] in scope, "nothing is cut off"
    assert TREATED.sentence not in shown.output


@pytest.mark.parametrize("columns", [80, 60])
def test_an_id_is_whole_in_a_narrow_terminal(monkeypatch, stored, columns):
    monkeypatch.setattr(experiments, "console", Console(width=columns))
    long = {"id": "inference-deterministic"}
    monkeypatch.setattr(claims, "CLAIMS", [Claim(**{**vars(TREATED), **long})])
    stored["made up"] = rows(treated=[0.47, 0.5, 0.48, 0.47, 0.48, 0.47])
    stored["made up digits"] = rows(treated=0.5)
    shown = ask()
    assert "inference-deterministic" in shown.output, shown.output
    assert max(map(len, shown.output.splitlines())) <= columns


def test_runs_that_diverged_are_told_below_the_table(monkeypatch, stored):
    monkeypatch.setattr(claims, "CLAIMS", [TREATED, VANISHES])
    monkeypatch.setattr(claims, "FACTS", [replace(TREATED, id="nothing yet")])
    stored["made up"] = rows(treated=[0.3, np.nan, 0.3], seeds=3, plain=0.5)
    shown = " ".join(ask().output.split())
    assert (
        "treated: The loss of the arm 'treated' of 'made up' is not a number with seed 1" in shown
    )
    del stored["made up"]
    assert "There are no results" not in ask().output, "that is usual"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("formula", "--draw", "."), "the id of a claim and --draw do not go together: give one"),
        (("formula", "--all"), "the id of a claim and --all do not go together"),
        (("--before", "--all"), "--all and --before do not go together"),
        (("formula", "--file", "mine.py"), "the id of a claim and --file do not go together"),
        (("--file", "mine.py", "--draw", "."), "--file and --draw do not go together"),
        (("--file", "mine.py", "--seeds", 3), "--dataset and --seeds change runs"),
        (("--dataset", "nonsense"), "--dataset and --seeds change runs: give the id of a claim"),
        (
            ("--seeds", 3),
            "--dataset and --seeds change runs: give the id of a claim, too, or --all",
        ),
        (("formula", "--dataset", "nonsense"), "There is no data set 'nonsense'"),
        (("--all", "--dataset", "nonsense"), "There is no data set 'nonsense'"),
        (("--draw", __file__), f"Cannot write to {__file__}: "),
        (("--draw", "/proc/none"), "Cannot write to /proc/none: "),
    ],
)
def test_what_would_be_ignored_or_cannot_be_is_refused(monkeypatch, stored, swept, words, sentence):
    monkeypatch.setattr(ledger, "look_up", lambda *others, **options: [found(TREATED, treated=0.3)])
    shown = ask(*words)
    assert shown.exit_code == 1 and sentence in " ".join(shown.output.split()), shown.output
    assert "Traceback" not in shown.output and isinstance(shown.exception, SystemExit)
    assert not swept


def test_the_small_version_takes_the_settings_that_the_ledger_chose(stored, monkeypatch, swept):
    monkeypatch.setattr(ledger, "find", lambda id: VANISHES)
    monkeypatch.setattr(ledger, "judge_trials", lambda *others: found(VANISHES, treated=0.3))
    arms = {"plain", "treated"}
    assert ask("vanishes").exit_code == 0
    assert {trial.arm for trial in swept["made up"]} == arms | set(RATES), "nothing is chosen yet"
    stored["made up"] = rows(rate_03=0.4)
    assert ask("vanishes").exit_code == 0
    assert {trial.arm for trial in swept["made up"]} == arms | {RATES[1]}
    (one,) = ledger.at_chosen_settings(VANISHES).contrasts
    assert one.name == f"{VANISHES.contrasts[0].name} (at rate 0.3)"


def test_a_single_seed_is_refused_before_it_is_trained(swept):
    for words in (("formula", "--seeds", 1), ("--all", "--seeds", 1)):
        shown = ask(*words)
        assert shown.exit_code == 2 and "--seeds" in shown.output, "a wrong call"
    assert not swept


@pytest.mark.parametrize("commit", ["abc1234", ""])
def test_the_ledger_names_the_commit_of_its_registration(monkeypatch, stored, commit):
    monkeypatch.setattr(claims, "CLAIMS", [TREATED])
    monkeypatch.setattr(claims, "FACTS", [VANISHES])
    monkeypatch.setattr(claims, "REGISTERED", commit)
    shown = " ".join(ask().output.split())
    assert ("were fixed in commit abc1234, before" in shown) == bool(commit)
    assert ("were fixed" in shown) == bool(commit)
    assert all((later in shown) == bool(commit) for later in claims.AMENDED_IN)


def test_the_table_has_every_claim_and_says_what_is_not_measured(tmp_path):
    shown = ask("--out", tmp_path)
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.output.splitlines())) <= 100
    for id in IDS:
        assert re.search(rf"^ {re.escape(id)} .*not measured", shown.output, re.MULTILINE), id
    table = ledger.table(ledger.look_up(tmp_path))
    assert list(table["id"]) == [claim.id for claim in claims.CLAIMS]
    earlier = ledger.first_edition()
    assert 40 < len(earlier) < len(IDS)
    assert ledger.FORMERLY["sparsity"] in earlier and "sparsity" not in earlier
    now = {ledger.FORMERLY.get(id, id) for id in IDS}
    assert set(earlier) <= now, "each old verdict is that of a claim of today"
    for id, verdict_shown in zip(table["id"], table["verdict"], strict=True):
        old = earlier.get(ledger.FORMERLY.get(id, id))
        shown_as = f"not measured yet (first edition: {old})" if old else "not measured"
        assert verdict_shown == shown_as, id


def test_what_is_measured_does_not_speak_of_the_first_edition(stored):
    known = replace(TREATED, id="depth")
    (entry,) = ledger.look_up(asked=[known])
    assert entry.said == "not measured yet (first edition: does not hold)"
    assert f"Verdict: **{entry.said}**. There are no results" in ledger.report(entry)[1]
    stored["made up"] = rows(treated=0.3)
    (entry,) = ledger.look_up(asked=[known])
    assert entry.said == "holds" and "first edition" not in ledger.report(entry)[1]


def test_an_unknown_claim_gets_one_clear_sentence(tmp_path):
    shown = ask("formulas", "--out", tmp_path)
    assert shown.exit_code == 1
    assert "There is no claim 'formulas'. Did you mean 'formula'?" in shown.output
    assert "Traceback" not in shown.output and not list(tmp_path.iterdir())


def test_one_claim_is_tested_here_and_now(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_WARM_SECONDS", "60")
    shown = ask("formula", "--dataset", "digits", "--seeds", 2, "--workers", 1, "--out", tmp_path)
    assert shown.exit_code == 0, shown.output
    asked = ledger.find("formula")
    assert asked.sentence in " ".join(shown.output.split())
    before, after = shown.output.split("runs done")
    assert "Before the run" in before and "2 seeds" in before
    count = len(asked.contrasts)
    assert len(re.findall(r"\bsupports\b", after)) == count
    said = f"Here, on a small scale: holds ({count} of {count} supported)."
    assert said in " ".join(after.split())
    rows = results.collect(tmp_path / "exact")
    assert sorted(rows["seed"]) == [0, 1] and set(rows["parameters"].str.contains("digits")) == {
        True
    }
    # Another seed in the same folder is none of its business.
    groups = ledger.trials_of(asked, small=True, seeds=1, dataset="digits")
    assert "there are 1" in ledger.judge_trials(asked, groups, tmp_path).missing


def test_power_is_shown_before_a_run(stored, capsys):
    experiments.show_power(TREATED, 3)
    out = " ".join(capsys.readouterr().out.split())
    assert " ? " in out
    assert "how likely so many seeds are to find a true effect, if the spread is that of the" in out
    assert "of the full runs" in out and "pilot" not in out
    why = "A question mark: no spread is known yet. There are no results of 'made up' yet."
    assert why in out
    stored["made up"] = rows(treated=[0.3, 0.4, 0.3, 0.35, 0.3, 0.3])
    experiments.show_power(TREATED, 3)
    out = capsys.readouterr().out
    power = verdict.power(np.std([0.3, 0.4, 0.3, 0.35, 0.3, 0.3], ddof=1), 3, 0.02, 0.04)
    assert f"{power:.3g}" in out and "3 seeds" in out and "6 seeds" in out
    assert "A question mark" not in out


@pytest.fixture
def swept(monkeypatch):
    runs = {}
    monkeypatch.setattr(
        experiments,
        "run_sweep",
        lambda trials, *others: runs.update({trials[0].experiment: trials}),
    )
    return runs


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_all_computes_what_no_backend_has_computed(tmp_path, monkeypatch, swept, backend):
    """The large network took a GPU and JAX: on TensorFlow it is not trained again, which would take
    hours.
    """
    monkeypatch.setenv("KERAS_BACKEND", backend)
    shown = ask("--all")
    assert shown.exit_code == 0, shown.output
    assert re.search(r"large: all \d+ runs are there.", shown.output)
    for name, runs in swept.items():
        known = set(results.collect(results.RESULTS / name)["key"])
        assert all(known.isdisjoint(map(run.key_on, BACKENDS)) for run in runs)
    swept.clear()
    assert ask("--all", "--out", tmp_path).exit_code == 0
    assert set(swept) == set(plan.EXPERIMENTS), "also what no claim asks about"
    assert len(swept["cost"]) == len(plan.trials("cost"))


def test_all_goes_on_to_the_second_look(tmp_path, monkeypatch, swept, stored):
    monkeypatch.setattr(ledger.next_trials, "__defaults__", (results.RESULTS, [TREATED]))
    stored["made up"] = rows(seeds=3, treated=[0.3, 0.6, 0.3])
    assert ask("--all", "--out", tmp_path).exit_code == 0
    assert {trial.arm for trial in swept["made up"]} == {"plain", "treated"}
    assert {trial.seed for trial in swept["made up"]} == set(range(LOOKS[1]))
    assert {trial.seed for trial in swept["made up digits"]} == set(range(LOOKS[0]))
    assert ask("--all", "--seeds", 2, "--out", tmp_path).exit_code == 0
    assert {trial.seed for trial in swept["made up"]} == {0, 1}, "none, with a number of one's own"


def test_all_prints_the_power_once_the_settings_are_chosen(tmp_path, monkeypatch, swept, stored):
    asked = [replace(VANISHES, disappears=False, controls=())]
    monkeypatch.setattr(ledger.next_trials, "__defaults__", (results.RESULTS, asked))
    monkeypatch.setattr(ledger.power_before_first_look, "__defaults__", (results.RESULTS, asked))
    names = ("made up", "made up digits")
    longer = {name: replace(plan.EXPERIMENTS[name], looks=(24, 48)) for name in names}
    monkeypatch.setattr(plan, "EXPERIMENTS", longer)
    title = "if the spread is that of the seeds that chose the settings of 'made up'"
    assert title not in " ".join(ask("--all", "--out", tmp_path).output.split())
    stored["made up"] = rows(seeds=6, rate_01=6 * [0.3, 0.4])
    shown = " ".join(ask("--all", "--out", tmp_path).output.split())
    assert title in shown and "24 seeds" in shown and "48 seeds" in shown


GPU = {"eight full", "large, frozen"}  # experiments whose runs may have to wait for one


def unfinished(asked):
    """Of the experiments that some claims ask of: those that the ledger wants more runs of."""
    return {
        trials[0].experiment
        for trials in ledger.next_trials(asked=asked)
        if results.computed_nowhere(trials, results.RESULTS)
    }


def wrongly_judged(entries, unfinished):
    """What is wrong with the entries of a ledger; `unfinished` says by claim what lacks runs."""
    for entry in entries:
        doubtful = entry.missing or entry.verdict == "open"
        lacks = unfinished([entry.claim]) if doubtful else set()
        if entry.missing and not lacks:
            yield f"{entry.claim.id} has all its runs, and cannot be judged: {entry.missing}"
        if doubtful and lacks <= GPU and not entry.claim.afterwards:
            yield f"{entry.claim.id} stays {entry.verdict}: say in `afterwards` why"
        if doubtful and lacks and lacks <= GPU and "GPU" not in entry.claim.afterwards:
            yield f"{entry.claim.id} waits for a GPU: say so in `afterwards`"
        if re.search("diverged|would compare|twice", entry.missing):
            yield f"{entry.claim.id}: {entry.missing}"
        if not entry.missing and entry.verdict not in VERDICTS:
            yield f"{entry.claim.id} is said to be {entry.verdict!r}"


def test_every_claim_is_measured_or_its_runs_are_missing():
    asked = (*claims.CLAIMS, *claims.FACTS)
    assert not list(wrongly_judged(ledger.look_up(asked=asked), unfinished))


def test_what_is_wrong_with_a_ledger_is_noticed(stored):
    def wrong(lacks=(), claim=TREATED):
        return " ".join(wrongly_judged(ledger.look_up(asked=[claim]), lambda asked: set(lacks)))

    assert "has all its runs, and cannot be judged" in wrong() and not wrong(["made up"])
    stored["made up"] = rows(seeds=2, treated=0.3)
    assert "2 of the 3 seeds" in wrong() and not wrong(["made up"])
    stored["made up"] = rows(seeds=3, treated=float("nan"))
    assert "diverged" in wrong(["made up"])
    stored["made up"] = rows(seeds=3, treated=0.3)
    assert not wrong()
    stored["made up"] = rows(treated=2 * [0.3, 0.6, 0.3])
    told = replace(TREATED, afterwards="The effect is what matters, by a hair.")
    assert "treated stays open: say in `afterwards` why" in wrong() and not wrong(claim=told)
    assert not wrong(["made up"]), "its second look is still to come"
    assert "treated waits for a GPU" in wrong(["eight full"], told)


# The picture
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "scale"), [([0.5, 0.5, 0.51], "linear"), ([0.5, 0.5, 2.5], "symlog")]
)
def test_the_picture_shades_where_the_claim_says_it_is(values, scale):
    asked = (less("treated", "plain", expected="same"), less("treated", "plain"))
    findings = verdict.findings(
        asked, lambda name: rows(seeds=3, treated=values), lambda name: LOOKS
    )
    figure, axes = plots.panels()
    pictures.contrasts(axes, findings, [ledger.digits(finding) for finding in findings])
    low, high = axes.get_xlim()
    shaded = [band.get_paths()[0].vertices[:, 0] for band in axes.collections]
    assert [(side.min(), side.max()) for side in shaded] == [
        pytest.approx(side) for side in ((-1, 1), (low, -1))
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


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([-0.1, -0.1], "supports"),
        ([-0.03, -0.02, -0.01, -0.02, -0.02], "in part"),
        ([0.1, 0.1], "contradicts"),
        ([0.1, -0.1], "open"),
    ],
)
def test_the_picture_says_in_words_what_a_contrast_says(values, says):
    finding = verdict.judge(less("treated", "plain", smallest=0.02), values, (9, 18))
    figure, axes = plots.panels()
    pictures.contrasts(axes, [finding], ["number"])
    (right,) = axes.child_axes
    assert [label.get_text() for label in right.get_yticklabels()] == [f"number  {says}"]
    marker, _, fill = pictures.SAYS[says]
    mean = axes.lines[2]
    assert mean.get_marker() == marker and mean.get_fillstyle() == fill
    assert (fill == "full") == (says in verdict.SETTLED), "what is not settled is hollow"
    assert len({(marker, fill) for marker, _, fill in pictures.SAYS.values()}) == 4


def test_contrasts_of_one_picture_may_have_different_numbers_of_seeds():
    """After a second look at one of them."""
    one, other = TREATED.contrasts
    findings = [
        verdict.judge(one, [0.02, 0.03, 0.02], LOOKS),
        verdict.judge(other, [-0.1, 0.3, -0.2, -0.1, -0.3, 0.1], LOOKS),
    ]
    figure, axes = plots.panels()
    pictures.contrasts(axes, findings, [ledger.digits(finding) for finding in findings])
    strokes = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    assert [len(stroke) for stroke in strokes] == [3, 6]
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


def test_lessons_link_only_to_claims_that_exist():
    found = {path.stem: links(path) for path in LESSONS if path.name != LEDGER}
    assert sum(map(len, found.values())) > 50
    for lesson, ids in found.items():
        assert set(ids) <= set(IDS), lesson


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
    said = {
        entry.claim.id: entry.said if entry.missing else entry.verdict
        for entry in ledger.look_up(asked=(*claims.CLAIMS, *claims.FACTS))
    }
    for part in parts:
        id = part.splitlines()[0]
        assert f"Verdict: **{said[id]}**" in part, f"{id}: execute the lesson again"
    pictures_shown = [one for one in outputs if "image/png" in one.get("data", {})]
    exact = {claim.id for claim in (*claims.CLAIMS, *claims.FACTS) if claim.group == claims.LAYERS}
    # What is exact stands in a table: its picture would be a dot on a line.
    drawn = [id for id in said if id not in exact and "not measured" not in said[id]]
    alts = " ".join(one["metadata"]["image/png"]["alt"] for one in pictures_shown)
    assert re.findall(r"Contrasts of the claim (\S+)", alts) == [
        part.splitlines()[0] for part in parts if part.splitlines()[0] in drawn
    ]
