"""The rule of the ledger on made-up sweeps: how often it errs when the truth is known, what it
pairs, and what it can find.
"""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from course.lab import catalogue, claims
from course.lab import verdict as rule
from course.lab.verdict import Claim, Contrast, contrast_values, judge, verdict

ERROR = 0.025  # the rule's, on a side
SWEEPS = 20_000
CHANCE = 3 * np.sqrt(ERROR * (1 - ERROR) / SWEEPS)  # of a simulated share
PLANS = [(5, 10), (8, 16), (24, 48), (64, 128)]
PLAN = (3, 6)
EXAMPLES = {"s": [2, 2, 2], "p": [1.2, 0.8, 1.0], "c": [0, 0, 0], "o": [-1, 1, 3]}


def contrast(expected="higher", smallest=1.0, terms=None, offset=0.0, name="a - b"):
    terms = terms or {("a", "score"): 1, ("b", "score"): -1}
    return Contrast(name, "made up", terms, expected, smallest, offset)


def claim(kind="all of", contrasts=None, **others):
    contrasts = (contrast(),) if contrasts is None else contrasts
    return Claim("id", "More.", "-", contrasts, kind=kind, **others)


def found(letters, looks=PLAN):
    return [judge(contrast(), EXAMPLES[letter], looks) for letter in letters]


# How often it errs
# ------------------------------------------------------------------------------------------


def test_the_numbers_of_seeds_that_are_tried_here_are_those_of_the_ledger():
    asked = {
        catalogue.EXPERIMENTS[one.experiment].looks
        for claim in (*claims.CLAIMS, *claims.FACTS)
        for one in claim.contrasts + claim.controls
    }
    assert asked == set(PLANS)


@pytest.mark.parametrize("noise", ["normal", "heavy tails"])
@pytest.mark.parametrize("plan", PLANS)
def test_both_looks_together_err_as_seldom_as_it_says_where_that_is_hardest(noise, plan):
    """The truth is the boundary itself: there "supports" is barely wrong, and so would
    "contradicts" be a hair beyond.
    """
    both = rule.simulate(plan, noise=noise)
    first = rule.simulate(plan[:1], noise=noise)
    for side in ("supports", "contradicts"):
        assert first[side] < both[side] < ERROR + CHANCE
        assert noise != "normal" or both[side] > 0.02, "it gives nothing away"


@pytest.mark.parametrize("plan", PLANS)
def test_it_finds_in_part_what_is_not_there_as_seldom(plan):
    share = rule.simulate(plan, truth=0.0)
    assert share["supports"] + share["in part"] < ERROR + CHANCE


@pytest.mark.parametrize(("expected", "truth"), [("lower", -1.0), ("same", 1.0), ("same", -1.0)])
def test_each_expectation_errs_alike(expected, truth):
    share = rule.simulate((8, 16), truth, spread=0.3, expected=expected)
    assert 0.02 < share["supports"] < ERROR + CHANCE
    assert 0.02 < share["contradicts"] < ERROR + CHANCE


@pytest.mark.parametrize("plan", PLANS)
def test_what_should_be_the_same_can_err_at_both_boundaries(plan):
    """As lesson 13 says: in at most 5 %, where the noise dwarfs what matters."""
    wrong = rule.simulate(plan, truth=0.0, spread=100.0, expected="same")["contradicts"]
    assert ERROR < wrong < 2 * ERROR


def test_skewed_noise_of_a_single_arm_is_worse_and_the_rule_says_how_much():
    shares = [rule.simulate(plan, noise="skewed") for plan in [(3, 6), *PLANS]]
    worst = max(share["contradicts"] for share in shares)
    assert 0.13 < worst < 0.14 + CHANCE and f"up to {0.14:.0%}".replace("%", " %") in rule.__doc__


def test_the_constant_is_pococks_and_a_little_more():
    correlated = stats.multivariate_normal(cov=[[1, np.sqrt(0.5)], [np.sqrt(0.5), 1]])
    assert 1 - correlated.cdf([2.178, 2.178]) == pytest.approx(ERROR, abs=1e-4)
    assert "2.178" in rule.__doc__ and f"{rule.CONFIDENCE:.1%}".replace("%", " %") in rule.__doc__
    assert rule.QUANTILE == 2.2


def test_a_simulated_sweep_is_judged_as_a_real_one_is():
    for expected in rule.EXPECTED:
        share = rule.simulate((4, 8), 1.1, 0.5, expected=expected, sweeps=300, seed=5)
        values = 1.1 + 0.5 * np.random.default_rng(5).normal(size=(300, 8))
        says = [judge(contrast(expected), row, (4, 8)).says for row in values]
        assert share == {what: says.count(what) / 300 for what in share}
    with pytest.raises(ValueError, match="heavy tails"):
        rule.simulate((4, 8), noise="heavy tail")


@pytest.mark.parametrize("expected", rule.EXPECTED)
def test_what_is_far_from_the_boundary_is_told_right(expected):
    beyond, against = {"higher": (2, 0), "lower": (-2, 0), "same": (0, 2)}[expected]
    assert rule.simulate((5, 10), beyond, 0.2, expected=expected)["supports"] > 0.999
    assert rule.simulate((5, 10), against, 0.2, expected=expected)["contradicts"] > 0.999


def chosen_sweeps(plan, settings, others=0, alike=True, noise=1.0, sweeps=SWEEPS):
    """How often the rule errs, on either side, where an arm is the best of settings that are alike.

    The worst case: what it is chosen by is what it is judged by. The other arm is the best of
    `others` with this noise, of which all but one are bad if they are not alike; or a constant.
    """
    first, rng = rule.choosing(plan), np.random.default_rng(1)

    def at_its_best(count, bad=0.0):
        values = rng.normal(size=(sweeps, count, plan[1]))
        values[:, 1:] += bad
        best = values[:, :, :first].mean(axis=2).argmin(axis=1)
        return values[np.arange(sweeps), best]

    values = at_its_best(settings)
    if others:
        values = values - noise * at_its_best(others, 0.0 if alike else 10.0)
    says = rule.says_of_sweeps(contrast("lower", 0.0), values, plan)
    return np.mean(says == "supports"), np.mean(says == "contradicts")


@pytest.mark.parametrize(("settings", "share"), [(3, 0.07), (5, 0.10), (7, 0.12)])
def test_to_choose_is_an_advantage_and_the_rule_says_of_how_much(settings, share):
    errors = [chosen_sweeps(plan, settings) for plan in PLANS]
    assert all(ERROR < supports < share and wrong < ERROR for supports, wrong in errors)
    assert max(errors)[0] > share - 0.01, "it does not say too much"
    said = " ".join(rule.__doc__.split())
    assert f"{100 * share:.0f} % " in said and f"there are {settings}" in said


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("settings", [3, 7])
def test_where_both_arms_choose_among_as_many_alike_settings_the_rule_keeps_its_promise(
    plan, settings
):
    assert max(chosen_sweeps(plan, settings, settings)) < ERROR


@pytest.mark.parametrize("unlike", [{"alike": False}, {"noise": 0.2}])
@pytest.mark.parametrize("plan", PLANS)
def test_where_both_choose_and_are_not_alike_it_errs_in_favour_of_one(plan, unlike):
    supports, contradicts = chosen_sweeps(plan, 3, 3, **unlike)
    assert 0.035 < supports < 0.06 and contradicts < ERROR
    assert "in up to 6 %" in " ".join(rule.__doc__.split())


# One contrast
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "values", "word", "says"),
    [
        ("higher", [2, 2, 2], "higher", "supports"),
        ("higher", [1, 1, 1], "no difference that matters", "contradicts"),
        ("higher", [0.8, 1.0, 1.2], "higher, perhaps too little to matter", "in part"),
        ("higher", [0, 1, 2], "open", "open"),
        ("higher", [-2, 0.5, -1], "open", "open"),
        ("higher", [-1.4, -1.2, -0.6, 0.0, 0.2], "open", "contradicts"),
        ("higher", [-0.8, -1.0, -1.2], "lower, perhaps too little to matter", "contradicts"),
        ("higher", [-2, -2, -2], "lower", "contradicts"),
        ("lower", [-2, -2, -2], "lower", "supports"),
        ("lower", [-0.8, -1.0, -1.2], "lower, perhaps too little to matter", "in part"),
        ("lower", [2, 2, 2], "higher", "contradicts"),
        ("same", [0, 0, 0], "no difference that matters", "supports"),
        ("same", [2, 2, 2], "higher", "contradicts"),
        ("same", [-2, -2, -2], "lower", "contradicts"),
        ("same", [0.8, 1.0, 1.2], "higher, perhaps too little to matter", "open"),
    ],
)
def test_the_rule(expected, values, word, says):
    finding = judge(contrast(expected), values, (9, 18))
    assert (finding.word, finding.says, finding.look) == (word, says, 0)


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=2, max_size=12),
    st.sampled_from(["higher", "lower"]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_word_and_saying_agree(values, expected, smallest):
    finding = judge(contrast(expected, smallest), values, PLAN)
    assert (finding.says == "supports") == (finding.word == expected)
    perhaps = f"{expected}, perhaps too little to matter"
    assert (finding.says == "in part") == (finding.word == perhaps)
    mirror = {"higher": "lower", "lower": "higher"}[expected]
    mirrored = judge(contrast(mirror, smallest), [-value for value in values], PLAN)
    assert mirrored.says == finding.says


def test_what_the_first_look_settles_is_settled():
    for early, late in ((2.0, -9.0), (0.0, 9.0)):
        finding = judge(contrast(), [early] * 3 + [late] * 3, PLAN)
        assert finding.look == 1 and list(finding.values) == [early] * 3


def test_the_second_look_is_the_last_and_waits_for_all_its_seeds():
    values = [1.0, 1.5, 2.0, 1.6, 1.7, 1.5, -50.0]
    first = judge(contrast(), values[:3], PLAN)
    assert (first.says, first.look) == ("open", 1)
    waiting = judge(contrast(), values[:5], PLAN)
    assert (waiting.says, waiting.look, len(waiting.values)) == ("open", 1, 3)
    second = judge(contrast(), values, PLAN)
    assert (second.says, second.look, len(second.values)) == ("supports", 2, 6)
    assert first.seeds_needed > 3 and second.seeds_needed == 0


def test_what_supports_in_part_is_looked_at_again():
    values = [0.8, 1.0, 1.3, 1.3, 1.3, 1.3]
    assert judge(contrast(), values[:3], PLAN).says == "in part"
    assert judge(contrast(smallest=0.9), values, PLAN).look == 2


def test_with_fewer_seeds_than_planned_it_judges_what_there_is_and_says_so():
    finding = judge(contrast(), pd.Series([2.0, 2.1, 2.2], index=[0, 2, 5]), (4, 8))
    assert (finding.says, finding.look, list(finding.values.index)) == ("supports", 0, [0, 2, 5])


def test_the_number_of_seeds_needed_is_about_that_at_which_half_of_all_sweeps_decide():
    finding = judge(contrast(), [-0.1, 1.5, 3.0, 1.4, 1.7], (5, 10))
    assert finding.says == "open"
    share = rule.simulate((finding.seeds_needed,), 1.5, finding.values.std())
    assert share["supports"] == pytest.approx(0.5, abs=0.06)
    assert judge(contrast(), [0.0, 1.0, 2.0], PLAN).seeds_needed == np.inf, "on the boundary"
    assert judge(contrast(), [2.0, 2.0, 2.0], PLAN).seeds_needed == 0, "settled"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: contrast("bigger"), "expected is 'bigger'; choose one of 'higher', 'lower', 'sa"),
        (lambda: contrast("same", 0), "above 0 for 'same'"),
        (lambda: contrast("higher", -1), "smallest is -1"),
        (lambda: contrast(smallest=float("nan")), "smallest is nan"),
        (lambda: Contrast("a", "made up", {}, "higher", 1), "compares nothing"),
        (lambda: contrast(terms={(("a", "b"), "score"): 1}), "best of 2: give at least 3"),
        (lambda: contrast(terms={(("a", "b", "b"), "score"): 1}), "best of 2: give at least 3"),
        (lambda: claim("some of"), "The kind of the claim 'id' is 'some of'; choose one of 'all"),
        (lambda: claim(contrasts=()), "'id' has no contrast"),
        (lambda: claim(contrasts=(contrast(), contrast())), "2 contrasts of the name 'a - b'"),
        (lambda: claim(disappears=True), "'id' says that an effect disappears and has no controls"),
    ],
)
def test_what_cannot_be_judged_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# Verdicts
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "all_of", "most_of", "tally"),
    [
        ("s", "holds", "holds in most", "1 of 1 supported"),
        ("sss", "holds", "holds in most", "3 of 3 supported"),
        (
            "ssp",
            "holds, perhaps too little to matter",
            "holds in most",
            "2 of 3 supported, 1 in part",
        ),
        (
            "spc",
            "does not hold as stated",
            "holds, perhaps too little to matter",
            "1 of 3 supported, 1 in part, 1 refuted",
        ),
        ("c", "does not hold", "does not hold in most", "1 of 1 refuted"),
        ("cc", "does not hold", "does not hold in most", "2 of 2 refuted"),
        ("sc", "does not hold as stated", "mixed", "1 of 2 supported, 1 refuted"),
        (
            "ssc",
            "does not hold as stated",
            "holds in most",
            "2 of 3 supported, 1 refuted",
        ),
        ("co", "does not hold as stated", "open", "1 of 2 refuted, 1 open"),
        (
            "cccooo",
            "does not hold as stated",
            "open",
            "3 of 6 refuted, 3 open",
        ),
        ("cco", "does not hold as stated", "does not hold in most", "2 of 3 refuted, 1 open"),
        (
            "spo",
            "open",
            "holds, perhaps too little to matter",
            "1 of 3 supported, 1 in part, 1 open",
        ),
        ("so", "open", "open", "1 of 2 supported, 1 open"),
        ("o", "open", "open", "1 of 1 open"),
    ],
)
def test_verdicts(says, all_of, most_of, tally):
    assert verdict(claim(), found(says)) == all_of
    assert verdict(claim("most of"), found(says)) == most_of
    assert rule.tally(found(says)) == tally


@settings(derandomize=True, deadline=None)
@given(st.text("spco", min_size=1, max_size=7))
def test_no_answer_to_what_is_open_changes_a_verdict_that_stands(says):
    """It may come to say more or less of how much. What is called open could still be tipped."""

    def bare(said):
        return re.sub(" as stated| in most|, perhaps.*", "", said)

    for kind in rule.KINDS:
        now = verdict(claim(kind), found(says))
        later = {verdict(claim(kind), found(says.replace("o", answer))) for answer in "sc"}
        if now == "open":
            assert len(later) > 1
        else:
            assert set(map(bare, later)) == {bare(now)}


@pytest.mark.parametrize("controls", ["c", "o", "p", "sc"])
def test_what_shows_no_effect_cannot_show_that_it_disappears(controls):
    asked = claim(disappears=True, controls=(contrast(name="control"),))
    assert verdict(asked, found("s"), found(controls)) == "cannot be tested here"
    assert verdict(asked, found("s"), found("ss")) == "holds"
    assert verdict(asked, found("c"), found("ss")) == "does not hold"


# Pairing
# ------------------------------------------------------------------------------------------


def rows(effect=2.0, seeds=10):
    """Two arms that share an effect of the seed, a hundred times larger than what differs."""
    rng = np.random.default_rng(3)
    common = 200 * rng.normal(size=seeds)
    arms = {"a": common + effect + 0.1 * rng.normal(size=seeds), "b": common}
    return pd.concat(
        [
            pd.DataFrame({"arm": arm, "seed": range(seeds), "score": values, "backend": "jax"})
            for arm, values in arms.items()
        ],
        ignore_index=True,
    )


LOOKS = (5, 10)
CPU = "Linux x86_64, 2 cores"


def test_what_the_seeds_share_cancels_and_only_if_they_are_paired():
    table = rows()
    assert judge(contrast(), contrast_values(contrast(), table, LOOKS), LOOKS).says == "supports"
    of_b = table["arm"] == "b"
    table.loc[of_b, "seed"] = np.roll(table.loc[of_b, "seed"], 1)
    assert judge(contrast(), contrast_values(contrast(), table, LOOKS), LOOKS).says == "open"


@settings(derandomize=True, deadline=None)
@given(st.permutations(range(20)))
def test_the_order_of_the_rows_does_not_matter(order):
    pd.testing.assert_series_equal(
        contrast_values(contrast(), rows().iloc[order], LOOKS),
        contrast_values(contrast(), rows(), LOOKS),
    )


def test_terms_are_weighed_and_may_be_of_one_arm():
    table = rows(seeds=4).assign(other=1.0)
    one = contrast(terms={("a", "score"): 1, ("b", "score"): -1, ("a", "other"): -3}, offset=0.5)
    expected = contrast_values(contrast(), table, LOOKS) - 3.5
    assert contrast_values(one, table, LOOKS).tolist() == pytest.approx(expected.tolist())


def test_seeds_that_an_arm_lacks_are_left_out_and_so_are_those_beyond_the_second_look():
    table = rows()
    table = table[~((table["arm"] == "b") & (table["seed"] == 4))]
    assert list(contrast_values(contrast(), table, (3, 6)).index) == [0, 1, 2, 3, 5, 6]
    table.loc[8, "score"] = np.nan  # not looked at
    assert len(contrast_values(contrast(), table, (3, 6))) == 6


def diverged(table):
    table.loc[3, "score"] = np.nan
    return table


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (diverged, "score of the arm 'a' of 'made up' is not a number with seed 3, but nan"),
        (
            lambda table: table.replace({"score": table["score"][12]}, np.inf),
            "arm 'b' of 'made up' is not a number with seed 2, but inf: diverged, or never reached",
        ),
        (
            lambda table: pd.concat([table, table.iloc[7:8]]),
            "'a' of 'made up' has the seed 7 twice",
        ),
        (lambda table: table[table["arm"] == "a"], "'made up' has no runs of the arm 'b'"),
        (lambda table: table.drop(columns="score"), "'a' of 'made up' have no metric 'score'"),
        (
            lambda table: table.assign(backend=np.where(table["arm"] == "a", "jax", "tensorflow")),
            "'a - b' would compare runs of jax and tensorflow",
        ),
        (
            lambda table: table.assign(keras=np.where(table["arm"] == "a", "3.14.0", "3.15.1")),
            "'a - b' would compare runs of Keras 3.14.0 and Keras 3.15.1: a seed does not",
        ),
        (
            lambda table: table.assign(
                machine=np.where(table["arm"] == "a", CPU, f"{CPU}, NVIDIA H200")
            ),
            "'a - b' would compare runs of a CPU and a GPU: a seed does not do the same on both",
        ),
        (
            lambda table: table[(table["arm"] == "a") | (table["seed"] == 0)],
            "needs two seeds .* there are 1",
        ),
    ],
)
def test_what_cannot_be_paired_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        contrast_values(contrast(), change(rows()), LOOKS)


def test_two_cpus_are_one_kind_of_device():
    machines = np.where(rows()["arm"] == "a", CPU, "Darwin arm64, 8 cores")
    assert len(contrast_values(contrast(), rows().assign(machine=machines), LOOKS)) == 10


def test_rows_of_two_backends_are_refused_in_a_contrast_that_has_both_only():
    other = rows().assign(arm="c", backend="tensorflow")
    assert len(contrast_values(contrast(), pd.concat([rows(), other]), LOOKS)) == 10


def test_a_number_beside_a_claim_is_of_the_means_over_seeds_and_has_an_interval():
    table = rows().assign(other=0.0)
    one = rule.Beside("the factor", (contrast(),), lambda means: 2 ** means[0])
    found = rule.estimate(one, lambda name: table, lambda name: LOOKS)
    values = contrast_values(contrast(), table, LOOKS)
    near = rule.interval(values)
    assert found.mean == pytest.approx(2**near.mean) and found.count == 10
    assert np.log2([found.low, found.high]) == pytest.approx([near.low, near.high], abs=0.03)
    two = (contrast(), contrast(terms={("a", "other"): 1}, name="nothing"))
    both = rule.Beside("the sum", two, sum)
    found = rule.estimate(both, lambda name: table, lambda name: LOOKS)
    assert found.mean == pytest.approx(near.mean)


# At its best setting
# ------------------------------------------------------------------------------------------


RATES = ("0.1", "0.3", "0.5")


def settings_rows(losses, seeds=6):
    """Arms of three rates with these validation losses, by rate; the score is the loss plus 10."""
    return pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "best_loss": loss[seed], "score": loss[seed] + 10}
            for arm, loss in losses.items()
            for seed in range(seeds)
        ]
    )


def test_an_arm_is_judged_at_the_setting_that_validation_chose_at_the_first_look():
    losses = {"0.1": [3.0] * 6, "0.3": [1, 1, 1, 9, 9, 9], "0.5": [2, 2.0, 2, 0, 0, 0]}
    table = settings_rows(losses | {"plain": [2.0, 2, 2, 4, 5, 6]})
    one = contrast(terms={(RATES, "score"): 1, ("plain", "score"): -1})
    assert one.arms == (*RATES, "plain")
    assert contrast_values(one, table, PLAN).tolist() == [-1, -1, -1, 5, 4, 3], "later seeds too"
    (finding,) = rule.findings([one], lambda name: table, lambda name: PLAN)
    assert finding.settings == {RATES: "0.3"}
    (finding,) = rule.findings([one], lambda name: table, lambda name: (6, 12))
    assert finding.settings == {RATES: "0.5"}
    shuffled = table.assign(seed=100 + table["seed"]).sample(frac=1, random_state=0)
    (finding,) = rule.findings([one], lambda name: shuffled, lambda name: PLAN)
    assert finding.settings == {RATES: "0.3"} and list(finding.values.index) == [100, 101, 102]


def test_it_may_be_chosen_by_another_metric():
    table = settings_rows({rate: [float(rate)] * 6 for rate in RATES})
    table["other"], table["best_accuracy"] = -table["score"], table["score"]
    for metric in ("other", "best_accuracy"):  # the lowest; the highest of an accuracy
        one = Contrast("best", "made up", {(RATES, "score"): 1}, "higher", 1.0, chosen_by=metric)
        assert rule.best_settings(one, table, PLAN) == {RATES: "0.5"}


def test_a_setting_with_a_run_that_diverged_is_not_the_best():
    losses = {"0.1": [3.0] * 6, "0.3": [1, np.nan, 1, 1, 1, 1], "0.5": [2.0] * 6}
    one = contrast(terms={(RATES, "score"): 1})
    assert rule.best_settings(one, settings_rows(losses), PLAN) == {RATES: "0.5"}
    losses = {rate: [np.nan, 1, 1, 1, 1, 1] for rate in RATES}
    with pytest.raises(ValueError, match="cannot choose among '0.1', '0.3', '0.5'"):
        contrast_values(one, settings_rows(losses), PLAN)
    losses = {"0.1": [3.0] * 6, "0.3": [np.nan] * 6, "0.5": [2.0] * 6}
    assert contrast_values(one, settings_rows(losses), PLAN).tolist() == [12.0] * 6
    (finding,) = rule.findings([one], lambda name: settings_rows(losses), lambda name: PLAN)
    assert finding.settings == {RATES: "0.5"}, "none of its runs ended"
    losses = dict.fromkeys(RATES, [np.nan] * 6)
    with pytest.raises(rule.Diverged, match="best_loss is not a number: diverged, or never reac"):
        contrast_values(one, settings_rows(losses), PLAN)
    with pytest.raises(ValueError, match="no runs of the arm '0.5'"):
        contrast_values(one, settings_rows({"0.1": [1] * 6, "0.3": [1] * 6}), PLAN)
    with pytest.raises(ValueError, match="no metric 'best_loss'"):
        contrast_values(one, rows().replace({"a": "0.1"}), PLAN)


def test_a_choice_by_fewer_seeds_than_planned_is_no_look():
    plan = (8, 16)  # the choice is by 5 seeds
    one = contrast(terms={(RATES, "score"): 1})
    losses = {"0.1": [3.0] * 16, "0.3": [4.0] * 16, "0.5": [2.0] * 16}
    table = settings_rows(losses, seeds=16)
    for kept, look in ((1, 0), (4, 0), (5, 1), (16, 1)):
        early = table[(table["arm"] == "0.5") | (table["seed"] < kept)]
        (finding,) = rule.findings([one], lambda name, rows=early: rows, lambda name: plan)
        assert (finding.look, len(finding.values)) == (look, 8), kept
        assert finding.settings == {RATES: "0.5"}


# Before the runs
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "effect"), [(5, 3.0), (8, 2.0), (24, 1.5), (64, 1.3)])
def test_the_power_is_the_share_of_sweeps_that_find_it(count, effect):
    share = rule.simulate((count,), effect, spread=1.0)["supports"]
    assert rule.power(1.0, count, 1.0, effect) == pytest.approx(share, abs=0.011)


@settings(derandomize=True, deadline=None)
@given(st.floats(1e-3, 100), st.floats(0.3, 3))
def test_with_so_many_seeds_an_effect_is_found_in_nine_of_ten_sweeps(spread, part):
    count = rule.seeds_needed(spread, part * spread)
    assert rule.power(spread, count, 0.02, 0.02 + part * spread) >= 0.9 - 1e-9
    assert rule.power(spread, count - 1, 0.02, 0.02 + part * spread) < 0.9 + 1e-9


def test_without_spread_all_is_found():
    assert rule.power(0.0, 3, 1.0, 1.1) == 1 and rule.power(0.0, 3, 1.0, 0.9) == 0
    assert rule.seeds_needed(0.0, 0.1) == 2
    assert rule.power(1e-12, 8, 0.0, 1.0) == 1
    assert rule.seeds_needed(1.0, 0.01) == np.inf


def test_the_table_of_power_has_a_row_for_each_contrast_and_control():
    table = rows()
    spread = contrast_values(contrast(), table, LOOKS).std()
    asked = claim(
        contrasts=(
            contrast(smallest=0.1),
            contrast("lower", 0.1, name="lower"),
            contrast("same", 0.2, name="same"),
            contrast(smallest=0.0, name="any"),
            contrast(terms={("c", "score"): 1}, name="not run"),
        ),
        controls=(contrast(smallest=0.05, name="control"),),
    )
    planned = rule.power_table(asked, lambda name: table, lambda name: (5, 10))
    planned = planned.set_index("contrast")
    assert list(planned.index) == ["a - b", "lower", "same", "any", "not run", "control"]
    assert planned["effect"].tolist() == [0.2, -0.2, 0.0, 0.01, 0.2, 0.1][:4] + [2.0, 0.1]
    known = planned.drop("not run")
    assert (known["spread"] == spread).all() and planned.loc["not run"].isna().sum() == 4
    for name, least in (("a - b", 0.1), ("lower", 0.1), ("control", 0.05)):
        assert planned["first look"][name] == rule.power(spread, 5, least, 2 * least)
        assert planned["second look"][name] == rule.power(spread, 10, least, 2 * least)
        needed = planned["seeds needed"][name]
        assert rule.power(spread, needed, least, 2 * least) >= 0.9
        assert rule.power(spread, needed - 1, least, 2 * least) < 0.9
    within = rule.simulate((10,), 0.0, spread / 0.2, expected="same")["supports"]
    assert planned["second look"]["same"] == pytest.approx(within, abs=0.02)
    empty = rule.power_table(asked, lambda name: pd.DataFrame(), lambda name: (5, 10))
    assert empty["spread"].isna().all() and empty["first look"].isna().all()


def test_the_findings_come_in_the_order_of_the_contrasts():
    asked = []
    contrasts = (contrast(), contrast("same", name="same"))
    found = rule.findings(contrasts, lambda name: asked.append(name) or rows(), lambda name: LOOKS)
    assert [finding.says for finding in found] == ["supports", "contradicts"]
    assert set(asked) == {"made up"}
