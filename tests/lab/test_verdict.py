"""The rule of the ledger on made-up sweeps: how often it errs when the truth is known, and what it
pairs.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from course.lab import verdict as rule
from course.lab.verdict import Claim, Contrast, contrast_values, judge, verdict

REPEATS = 1_500
ERROR = 0.025  # the rule's, a side
NOISE = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, size=shape) / np.sqrt(3),
    # What a contrast is made of: two arms with skewed noise each.
    "skewed arms": lambda rng, shape: (
        (rng.exponential(size=shape) - rng.exponential(size=shape)) / np.sqrt(2)
    ),
}


def contrast(expected="higher", smallest=1.0, terms=None, offset=0.0):
    return Contrast(
        "a minus b",
        "made up",
        terms or {("a", "score"): 1, ("b", "score"): -1},
        expected,
        smallest,
        offset,
    )


@pytest.fixture
def fast_bootstrap(monkeypatch):
    """SciPy's percentile bootstrap of a mean, with the resamples drawn once for all calls: thirty
    times faster.
    """
    weights = {}
    monkeypatch.setattr(rule, "RESAMPLES", 2_999)

    def bootstrap(data, statistic, *, confidence_level, method, n_resamples, rng):
        (values,) = data
        count = len(values)
        assert statistic is np.mean and method == "percentile"
        if count not in weights:
            drawn = np.random.default_rng(1).multinomial(
                count, [1 / count] * count, size=n_resamples
            )
            weights[count] = drawn / count
        place = round((1 - confidence_level) / 2 * (n_resamples - 1))
        means = np.partition(weights[count] @ values, [place, n_resamples - 1 - place])
        ends = SimpleNamespace(low=means[place], high=means[n_resamples - 1 - place])
        return SimpleNamespace(confidence_interval=ends)

    slow = stats.bootstrap
    monkeypatch.setattr(rule.stats, "bootstrap", bootstrap)
    return slow, bootstrap


def sweeps_of(kind, truth, seeds, seed=0, repeats=REPEATS):
    """Made-up contrasts of shape (repeats, seeds): mean `truth`, standard deviation 1."""
    return truth + NOISE[kind](np.random.default_rng(seed), (repeats, seeds))


def said(one, values):
    """How often the rule says what."""
    found = [judge(one, row).says for row in values]
    return {
        what: found.count(what) / len(found) for what in ("supports", "contradicts", "undecided")
    }


# How often it errs
# ------------------------------------------------------------------------------------------


def test_the_fast_bootstrap_is_scipys(fast_bootstrap):
    slow, fast = fast_bootstrap
    values = sweeps_of("normal", 0, 8)[0]
    options = {"confidence_level": rule.CONFIDENCE, "method": "percentile", "n_resamples": 2_999}
    one, other = (
        f((values,), np.mean, rng=np.random.default_rng(0), **options).confidence_interval
        for f in (slow, fast)
    )
    assert one.low == pytest.approx(other.low, abs=0.1)
    assert one.high == pytest.approx(other.high, abs=0.1)


@pytest.mark.parametrize("seeds", [5, 8, 10, 20])
def test_it_errs_as_seldom_as_it_says_where_that_is_hardest(fast_bootstrap, seeds):
    """The truth is the boundary itself: there "supports" is barely wrong, and so would
    "contradicts" be a hair beyond.
    """
    wrong = []
    for kind in NOISE:
        rates = said(contrast(), sweeps_of(kind, 1.0, seeds))
        assert rates["supports"] < ERROR + 0.01 and rates["contradicts"] < ERROR + 0.01, (
            kind
        )  # chance: 0.004
        wrong.append(rates["supports"] + rates["contradicts"])
    assert np.mean(wrong) < 2 * ERROR


@pytest.mark.parametrize(("first", "second"), [(8, 24), (8, 48), (5, 8), (3, 5)])
def test_a_second_look_errs_more_often_and_the_rule_says_how_much(fast_bootstrap, first, second):
    for kind in NOISE:
        values = sweeps_of(kind, 1.0, second)
        looks = [
            (judge(contrast(), row[:first]).says, judge(contrast(), row).says) for row in values
        ]
        last = [early if early != "undecided" else late for early, late in looks]
        rates = {what: last.count(what) / len(last) for what in ("supports", "contradicts")}
        assert max(rates.values()) < 0.04 + 0.01, kind  # chance: 0.005
        assert sum(rates.values()) > np.mean([early != "undecided" for early, _ in looks]), kind


@pytest.mark.parametrize("expected", rule.EXPECTED)
@pytest.mark.parametrize("seeds", [5, 8])
def test_what_is_far_from_the_boundary_is_told_right(fast_bootstrap, expected, seeds):
    # In standard deviations over seeds: 5 is far, and 0 far inside of plus and minus 5.
    beyond, against = {"higher": (10, 0), "lower": (-10, 0), "same": (0, 10)}[expected]
    one = contrast(expected, smallest=5.0)
    assert said(one, sweeps_of("normal", beyond, seeds, repeats=300))["supports"] > 0.97
    assert said(one, sweeps_of("normal", against, seeds, repeats=300))["contradicts"] > 0.97


@pytest.mark.parametrize("expected", ["lower", "same"])
def test_each_expectation_errs_alike(fast_bootstrap, expected):
    """For "same" there are two boundaries; the interval can lie beyond the nearer one only."""
    truth = {"lower": -3.0, "same": 3.0}[expected]
    rates = said(contrast(expected, smallest=3.0), sweeps_of("normal", truth, 10))
    assert 0.005 < rates["supports"] < ERROR + 0.01
    assert 0.005 < rates["contradicts"] < ERROR + 0.01


def test_skewed_noise_of_a_single_arm_is_worse_and_the_rule_says_how_much(fast_bootstrap):
    noise = np.random.default_rng(2).exponential(size=(REPEATS, 8)) - 1
    rates = said(contrast(), 1 + noise)
    assert 2 * ERROR < max(rates["supports"], rates["contradicts"]) < 0.12


@pytest.mark.parametrize(
    ("expected", "values", "says"),
    [
        ("higher", [2, 2, 2], "supports"),
        ("higher", [1, 1, 1], "contradicts"),  # "by more than the smallest that matters"
        ("higher", [-2, -2, -2], "contradicts"),
        ("lower", [-2, -2, -2], "supports"),
        ("lower", [2, 2, 2], "contradicts"),
        ("same", [0, 0, 0], "supports"),
        ("same", [2, 2, 2], "contradicts"),
        ("same", [-2, -2, -2], "contradicts"),
        ("same", [0.9, 1.0, 1.1], "undecided"),
        ("higher", [0, 1, 2], "undecided"),
    ],
)
def test_the_rule(expected, values, says):
    assert judge(contrast(expected), values).says == says


def test_a_number_that_a_claim_names_is_subtracted():
    rows = pd.DataFrame({"arm": "a", "seed": range(3), "score": [3.0, 3.1, 2.9]})
    one = contrast("same", 0.5, {("a", "score"): 1}, offset=3.0)
    assert contrast_values(one, rows).tolist() == pytest.approx([0, 0.1, -0.1])


@pytest.mark.parametrize(
    ("expected", "smallest", "says"),
    [("bigger", 1, "higher, lower, same"), ("same", 0, "above 0"), ("higher", -1, "-1")],
)
def test_a_contrast_that_cannot_be_judged_is_refused(expected, smallest, says):
    with pytest.raises(ValueError, match=says):
        contrast(expected, smallest)


# Verdicts
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("s", "holds"),
        ("sss", "holds"),
        ("c", "does not hold"),
        ("cc", "does not hold"),
        ("sc", "depends"),
        ("suc", "depends"),
        ("u", "undecided"),
        ("su", "undecided"),
        ("cu", "undecided"),
        ("", "undecided"),
    ],
)
def test_verdicts(says, expected):
    example = {"s": [2, 2, 2], "c": [0, 0, 0], "u": [0, 1, 2]}
    assert verdict([judge(contrast(), example[letter]) for letter in says]) == expected


# How many more seeds
# ----------------------------------------------------------------------------------------


def exactly(mean, sd, count):
    """Values with this mean and standard deviation, as normal as can be."""
    values = stats.norm.ppf((np.arange(count) + 0.5) / count)
    return mean + sd * values / values.std(ddof=1)


@pytest.mark.parametrize("expected", rule.EXPECTED)
@pytest.mark.parametrize(("mean", "seeds"), [(1.5, 5), (1.3, 8), (1.2, 10)])
def test_so_many_seeds_more_decide_if_mean_and_spread_stay(expected, mean, seeds):
    one = contrast(expected)
    mean = -mean if expected == "lower" else mean
    found = judge(one, exactly(mean, 1.0, seeds))
    assert found.says == "undecided"
    assert (
        judge(one, exactly(mean, 1.0, seeds + int(1.15 * found.more_seeds) + 1)).says != "undecided"
    )
    assert judge(one, exactly(mean, 1.0, seeds + int(0.85 * found.more_seeds))).says == "undecided"


def test_the_number_of_seeds_is_about_that_at_which_half_of_all_sweeps_decide(fast_bootstrap):
    pilots = [judge(contrast(), values) for values in sweeps_of("normal", 1.5, 8, repeats=400)]
    advised = np.median(
        [8 + (found.more_seeds or rule.MOST_SEEDS) for found in pilots if found.says == "undecided"]
    )
    decided = {
        seeds: said(contrast(), sweeps_of("normal", 1.5, seeds, repeats=200))["supports"]
        for seeds in (16, 32, 64)
    }
    needed = next(seeds for seeds, rate in decided.items() if rate > 0.45)
    assert needed / 2 <= advised <= 2 * needed


def test_what_no_thousand_seeds_decide_gets_no_number():
    found = judge(contrast(), [0.0, 1.0, 2.0])
    assert found.interval.mean == 1.0 and found.more_seeds is None
    assert judge(contrast(), [5.0, 5.1, 5.2]).more_seeds == 0, "decided"


# Pairing
# ------------------------------------------------------------------------------------------


def rows(effect=2.0, seeds=10):
    """Two arms that share an effect of the seed, a hundred times larger than what differs."""
    rng = np.random.default_rng(3)
    common = 200 * rng.normal(size=seeds)
    arms = {"a": common + effect + 0.1 * rng.normal(size=seeds), "b": common}
    return pd.concat(
        [
            pd.DataFrame({"arm": arm, "seed": range(seeds), "score": values})
            for arm, values in arms.items()
        ]
    )


def test_what_the_seeds_share_cancels_and_only_if_they_are_paired():
    table = rows()
    assert judge(contrast(), contrast_values(contrast(), table)).says == "supports"
    of_b = table["arm"] == "b"
    table.loc[of_b, "seed"] = np.roll(table.loc[of_b, "seed"], 1)
    assert judge(contrast(), contrast_values(contrast(), table)).says == "undecided"


def test_the_order_of_the_rows_does_not_matter():
    table = rows()
    shuffled = table.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(
        contrast_values(contrast(), shuffled), contrast_values(contrast(), table)
    )


def test_terms_are_weighed_and_may_be_of_one_arm():
    table = rows(seeds=4).assign(other=1.0)
    one = contrast(terms={("a", "score"): 1, ("b", "score"): -1, ("a", "other"): -3})
    expected = contrast_values(contrast(), table) - 3
    assert contrast_values(one, table).tolist() == pytest.approx(expected.tolist())


def test_seeds_that_an_arm_lacks_are_left_out():
    table = rows()
    table = table[~((table["arm"] == "b") & (table["seed"] == 4))]
    assert list(contrast_values(contrast(), table).index) == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_a_run_that_diverged_is_refused_not_dropped():
    table = rows().reset_index(drop=True)
    table.loc[3, "score"] = np.nan
    values = contrast_values(contrast(), table)
    assert np.isnan(values[3])
    with pytest.raises(ValueError, match="diverge"):
        judge(contrast(), values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: pd.concat([table, table.iloc[:1]]), "'a' of 'made up' has a seed twice"),
        (lambda table: table[table["arm"] == "a"], "no runs of the arm 'b'"),
        (lambda table: table.drop(columns="score"), "no metric 'score'"),
        (
            lambda table: table[(table["arm"] == "a") | (table["seed"] == 0)],
            "needs two seeds .* there are 1",
        ),
    ],
)
def test_what_cannot_be_paired_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        contrast_values(contrast(), change(rows()))


def test_the_findings_of_a_claim_come_in_the_order_of_its_contrasts():
    asked = []
    claim = Claim("id", "More.", "-", (contrast(), contrast("same")))
    found = rule.findings(claim, lambda name: asked.append(name) or rows())
    assert [finding.says for finding in found] == ["supports", "contradicts"]
    assert set(asked) == {"made up"}
    assert verdict(found) == "depends"
