"""The decision rule of the ledger: from contrasts paired by seed to a verdict.

Written down before the runs. `simulate` shows how often it errs on made-up sweeps whose truth is
known, and tests/lab/test_verdict.py holds it to that.

1. A *contrast* is a sum of metrics of arms with weights, such as "both - batch norm", taken seed by
   seed.
2. Its interval is Student's t, at any number of seeds. There are two *looks* at most, planned
   before the first run: at a number of seeds, and at twice as many. What the first look settles is
   settled; else all seeds of the second are judged once more. Two looks err more often than one, so
   each interval is wider (Pocock 1977, Biometrika 64: 2.178 standard errors in place of 1.96 if
   the second look has twice the seeds; here 2.2, nominally 97.2 %, for t at few seeds needs a
   little more). Then both looks together miss the truth in at most 2.5 % of cases on either side,
   from 5 and 10 seeds on. Noise with heavy tails errs less, skewed noise more: that of an
   exponential distribution in up to 14 % of cases on one side. The difference of two arms whose
   noise is skewed alike has no skew.
3. The interval has one of five words, given the smallest difference that matters:
   `Interval.verdict`. The contrast *supports* its claim if the whole interval lies where the claim
   says, by more than the smallest difference; it *contradicts* it if the whole interval lies where
   the claim does not; it supports it *in part* if it excludes 0 on the right side, but perhaps by
   too little to matter; else it is *open*.
4. A claim with *all of* its contrasts is a conjunction: one that contradicts refutes it. One with
   *most of* them is a tendency, by majority. What supports in part counts for it; if the majority
   needs that, it holds, perhaps too little to matter. The verdict comes with the tally of the
   contrasts.
5. An arm may be several settings: it is judged at its best, the one with the lowest mean validation
   loss over the first seeds (a quarter of the first look, at least 5: `choosing`), which is then
   read in another metric, on test images. Only the chosen one needs the other seeds.
   To choose is an advantage, and the rule errs in favour of the arm that chooses. The worst case is
   a choice among settings that are alike, by the very numbers that are judged, against an arm that
   has no choice and no noise. From 5 and 10 seeds on, the rule then errs in up to 7 % of cases on
   that side if there are 3 settings, in up to 10 % if there are 5, in up to 12 % if there are 7.
   If both arms choose, among equally many settings that are alike and equally noisy, it errs in at
   most 2.5 %. If only one arm's settings are alike, or one arm has most of the noise, in up to 6 %.
6. That an effect disappears can only be seen where there is one: such a claim has *controls*,
   contrasts that show the effect in the same runs. Unless all of them support, the claim cannot be
   tested here.
7. The power is computed before the runs: `power_table`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from course import intervals
from course.config import check_choice, check_number

EXPECTED = ("higher", "lower", "same")
KINDS = ("all of", "most of")
SAYS = {"supports": "supported", "in part": "in part", "contradicts": "refuted", "open": "open"}
SETTLED = ("supports", "contradicts")  # at the first look
NOT_TESTED = "cannot be tested here"
QUANTILE = 2.2  # of the normal distribution: see point 2
CONFIDENCE = float(2 * stats.norm.cdf(QUANTILE) - 1)
FEWEST_SETTINGS = 3
FEWEST_TO_CHOOSE = 5  # seeds
MOST_SEEDS = 1_000
RESAMPLES = 2_000
POWER = 0.9  # that a plan should have
UNIT = 0.01  # of a contrast of which any difference matters
NOISE = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, size=shape) / np.sqrt(3),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
}
ORIGIN = {  # what the runs of a comparison share: columns of their provenance, and words for them
    "backend": str,
    "keras": "Keras {}".format,
    "machine": lambda machine: "a GPU" if machine.count(",") > 1 else "a CPU",
}

Arm = str | tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """One comparison that a claim makes.

    Parameters
    ----------
    name : str
        What is compared, in words: "both - batch norm (dense, 1,000 images)".
    experiment : str
        Key of `catalogue.EXPERIMENTS`.
    terms : mapping of (str or tuple of str, str) to float
        Weight by (arm, metric). A single term with weight 1 is a value in itself. A tuple of at
        least three arms is an arm at its best setting.
    expected : {"higher", "lower", "same"}
        Where the claim says the contrast is: above `smallest`, below -`smallest`, or between them.
    smallest : float
        The smallest difference that matters, in the units of the metric.
    offset : float
        Subtracted from the contrast: the number that a claim names.
    chosen_by : str
        The metric by which the best of several settings is chosen: that with the lowest mean, or,
        of an accuracy, the highest.

    Raises
    ------
    ValueError
        For an unknown word, a smallest difference that cannot be, or fewer than three settings.
    """

    name: str
    experiment: str
    terms: Mapping[tuple[Arm, str], float]
    expected: str
    smallest: float
    offset: float = 0.0
    chosen_by: str = "best_loss"

    def __post_init__(self):
        check_choice("expected", self.expected, EXPECTED)
        if self.expected == "same":
            what = "the least difference that matters, above 0 for 'same'"
            check_number("smallest", self.smallest, what, above=0)
        else:
            check_number(
                "smallest", self.smallest, "the least difference that matters, 0 or more", least=0
            )
        if not self.terms:
            raise ValueError(f"{self.name!r} compares nothing: give at least one arm in terms.")
        for arm, _ in self.terms:
            if isinstance(arm, tuple) and len(set(arm)) < FEWEST_SETTINGS:
                raise ValueError(
                    f"{self.name!r} has an arm at its best of {len(set(arm))}: give at least"
                    f" {FEWEST_SETTINGS} different settings, or one arm by its name."
                )

    @property
    def arms(self):
        """The names of all arms that it needs runs of, each once."""
        named = (arm if isinstance(arm, tuple) else (arm,) for arm, _ in self.terms)
        return tuple(dict.fromkeys(arm for several in named for arm in several))


@dataclass(frozen=True)
class Beside:
    """A number told beside a claim, which does not count for its verdict and asks for no runs.

    Parameters
    ----------
    name : str
        In words.
    contrasts : tuple of Contrast
        Of which it is made; what they expect is not asked.
    of : callable
        The number, from the contrasts' means over seeds.
    form : str
        How it is printed, as `format` takes it.
    """

    name: str
    contrasts: tuple[Contrast, ...]
    of: Callable = lambda means: means[0]
    form: str = "+.3f"


@dataclass(frozen=True)
class Claim:
    """A statement of a teaching text, and how it is tested.

    Parameters
    ----------
    id, sentence, source : str
    contrasts : tuple of Contrast
    known : str
        What theory or literature says, with the paper.
    kind : {"all of", "most of"}
        Whether all contrasts must support it, or most of them.
    controls : tuple of Contrast
        Positive controls: they show, in the same runs, that there is an effect.
    disappears : bool
        Whether the sentence says that an effect vanishes; then it needs controls.
    scope : str
        What the verdict is about, said beside it: "dense nets of 2 x 256, 1,000 to 5,000 images".
    group : str
        Its heading in the ledger.
    afterwards : str
        On what the outcome depends, or why it cannot but stay open, in a sentence: written after
        the results, and said to be.
    beside : tuple of Beside
        Numbers that are told with it.

    Raises
    ------
    ValueError
        For an unknown kind, no or equally named contrasts, or no controls where they are needed.
    """

    id: str
    sentence: str
    source: str
    contrasts: tuple[Contrast, ...]
    known: str = ""
    kind: str = "all of"
    controls: tuple[Contrast, ...] = ()
    disappears: bool = False
    scope: str = ""
    group: str = ""
    afterwards: str = ""
    beside: tuple[Beside, ...] = ()

    def __post_init__(self):
        check_choice(f"The kind of the claim {self.id!r}", self.kind, KINDS)
        if not self.contrasts:
            raise ValueError(f"The claim {self.id!r} has no contrast: nothing can test it.")
        names = Counter(one.name for one in self.contrasts + self.controls)
        name, count = names.most_common(1)[0]
        if count > 1:
            raise ValueError(f"The claim {self.id!r} has {count} contrasts of the name {name!r}.")
        if self.disappears and not self.controls:
            raise ValueError(
                f"The claim {self.id!r} says that an effect disappears and has no controls: give"
                " a contrast that shows the effect in the same runs."
            )


@dataclass(frozen=True, eq=False)  # a table of values is not compared
class Finding:
    """What the seeds say about one contrast.

    Attributes
    ----------
    contrast : Contrast
    values : pandas.Series
        One per seed that was judged.
    interval : course.intervals.Interval
    word : str
        One of the five of `Interval.verdict`.
    says : {"supports", "in part", "contradicts", "open"}
        About the claim.
    look : {0, 1, 2}
        At which look; 0: of fewer seeds than planned for the first, or for the choice of a setting.
    looks : (int, int)
        How many seeds are planned for the two.
    settings : mapping of tuple of str to str
        Of each arm at its best: the setting that was chosen.
    """

    contrast: Contrast
    values: pd.Series
    interval: intervals.Interval
    word: str
    says: str
    look: int
    looks: tuple[int, int]
    settings: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def seeds_needed(self):
        """At how many seeds there is an even chance of an answer, if mean and spread stay.

        Infinite: at no thousand. Of contrasts that may be looked at again; of others 0.
        """
        if self.says != "open" or self.look == 2:
            return 0
        distance = min(abs(self.interval.mean - end) for end in _boundaries(self.contrast))
        return seeds_needed(self.values.std(ddof=1), distance, chance=0.5)


class Diverged(ValueError):
    """Runs that are there, and have no number to judge."""


# From rows to values
# ------------------------------------------------------------------------------------------


def choosing(looks):
    """How many seeds, the first ones, the best of several settings is chosen by."""
    return min(looks[0], max(FEWEST_TO_CHOOSE, looks[0] // 4))


def best_settings(contrast, rows, looks):
    """Of each arm of a contrast that is several settings: the best one (point 5 above).

    Parameters
    ----------
    contrast, rows, looks
        As for `contrast_values`.

    Returns
    -------
    dict of tuple of str to str

    Raises
    ------
    ValueError
        As `contrast_values`; or if no setting can be chosen.
    """
    chosen = {}
    for arms, values in _choices(contrast, rows):
        # A setting with a run that diverged is not the best: its mean is NaN.
        means = values.iloc[: choosing(looks)].mean(skipna=False).dropna()
        names = ", ".join(map(repr, arms))
        if values.empty:
            raise ValueError(
                f"{contrast.name!r} cannot choose among {names}: they have no seed in common."
            )
        if means.empty:
            raise Diverged(
                f"{contrast.name!r} cannot choose among {names}: each has a run whose"
                f" {contrast.chosen_by} is not a number: diverged, or never reached."
            )
        chosen[arms] = means.idxmax() if "accuracy" in contrast.chosen_by else means.idxmin()
    return chosen


def _choices(contrast, rows):
    """Of each arm that is several settings: what they are chosen by, for the seeds they share."""
    for arms in {arm: None for arm, _ in contrast.terms if isinstance(arm, tuple)}:
        columns = [_column(contrast, rows, arm, contrast.chosen_by) for arm in arms]
        yield arms, pd.concat(columns, axis=1, keys=arms, join="inner").sort_index()


def contrast_values(contrast, rows, looks):
    """The contrast seed by seed: of the seeds that every arm in it has, those of the two looks.

    Parameters
    ----------
    contrast : Contrast
    rows : pandas.DataFrame
        With the columns arm, seed and the metrics, and backend if there is any; one row per arm and
        seed.
    looks : (int, int)
        How many seeds the first look has, and the second; they are taken in order.

    Returns
    -------
    pandas.Series
        Indexed by seed.

    Raises
    ------
    ValueError
        If an arm or metric is missing, an arm has a seed twice, the runs are of two backends, kinds
        of device or versions of Keras, or fewer than two seeds are paired; `Diverged` if a value is
        not a number.
    """
    _check_origin(contrast, rows)
    best = best_settings(contrast, rows, looks)
    terms = [(best.get(arm, arm), metric) for arm, metric in contrast.terms]
    columns = [_column(contrast, rows, arm, metric) for arm, metric in terms]
    paired = pd.concat(columns, axis=1, join="inner").sort_index().iloc[: looks[1]]
    for (arm, metric), values in zip(terms, paired.to_numpy().T, strict=True):
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise Diverged(
                f"The {metric} of the arm {arm!r} of {contrast.experiment!r} is not a number with"
                f" seed {paired.index[wrong[0]]}, but {values[wrong[0]]}: diverged, or never"
                " reached. Report that, or choose a metric that it has."
            )
    if len(paired) < 2:
        raise ValueError(
            f"{contrast.name!r} needs two seeds that all its arms have; there are {len(paired)}."
        )
    weights = list(contrast.terms.values())
    return (paired * weights).sum(axis=1) - contrast.offset


def _check_origin(contrast, rows):
    mine = rows[rows["arm"].isin(contrast.arms)] if len(rows) else rows
    for column, word in ORIGIN.items():
        found = sorted(set(map(word, mine[column].dropna()))) if column in mine else ()
        if len(found) > 1:
            raise ValueError(
                f"{contrast.name!r} would compare runs of {' and '.join(found)}: a seed does not do"
                " the same on both, so make all its runs on one."
            )


def _column(contrast, rows, arm, metric):
    """A metric of the runs of an arm, by seed."""
    mine = rows[rows["arm"] == arm] if len(rows) else rows
    if mine.empty:
        raise ValueError(f"{contrast.experiment!r} has no runs of the arm {arm!r}.")
    if metric not in mine:
        raise ValueError(
            f"The runs of the arm {arm!r} of {contrast.experiment!r} have no metric {metric!r}."
        )
    twice = mine["seed"][mine["seed"].duplicated()]
    if len(twice):
        raise ValueError(
            f"The arm {arm!r} of {contrast.experiment!r} has the seed {twice.iloc[0]} twice: its"
            " runs are of two settings."
        )
    return mine.set_index("seed")[metric].astype(float)


# From values to a verdict
# ------------------------------------------------------------------------------------------


def interval(values):
    """The interval of the decision rule (point 2 above).

    Parameters
    ----------
    values : array-like of float, shape (seeds,)

    Returns
    -------
    course.intervals.Interval

    Raises
    ------
    ValueError
        With fewer than two values, or values that are not finite.
    """
    return intervals.mean_interval(values, CONFIDENCE)


def estimate(beside, rows_of, looks_of):
    """The number of a `Beside`, with an interval from seeds drawn with replacement.

    Parameters
    ----------
    beside : Beside
    rows_of, looks_of : callable
        As for `findings`.

    Returns
    -------
    course.intervals.Interval

    Raises
    ------
    ValueError
        As `contrast_values`.
    """
    columns = [
        contrast_values(one, rows_of(one.experiment), looks_of(one.experiment))
        for one in beside.contrasts
    ]
    values = pd.concat(columns, axis=1, join="inner").to_numpy()
    count = len(values)
    drawn = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    numbers = [beside.of(values[seeds].mean(axis=0)) for seeds in drawn]
    low, high = np.quantile(numbers, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    number = beside.of(values.mean(axis=0))
    return intervals.Interval(*map(float, (number, low, high)), count, CONFIDENCE)


def judge(contrast, values, looks, settings=None, chosen=True):
    """What the values of a contrast, one per seed, say about it (points 2 and 3 above).

    Parameters
    ----------
    contrast : Contrast
    values : pandas.Series or sequence of float
        By seed, in order; a sequence is of seeds 0, 1, ...
    looks : (int, int)
        How many seeds the first look has, and the second. The later ones are not looked at if the
        first look settles it, or before all of them are there.
    settings : mapping, optional
        As `best_settings` gives them.
    chosen : bool
        Whether they were chosen by as many seeds as planned. If not, there was no look yet.

    Returns
    -------
    Finding
    """
    values, settings = pd.Series(values, dtype=float), settings or {}
    first, both = (values.iloc[:count] for count in looks)
    if len(first) < looks[0] or not chosen:
        return _judge(contrast, first, 0, looks, settings)
    finding = _judge(contrast, first, 1, looks, settings)
    if len(both) == looks[1] and finding.says not in SETTLED:
        return _judge(contrast, both, 2, looks, settings)
    return finding


def _judge(contrast, values, look, looks, settings):
    found = interval(values)
    says = str(_says(contrast, found.low, found.high))
    word = found.verdict(contrast.smallest)
    return Finding(contrast, values, found, word, says, look, looks, settings)


def _says(contrast, low, high):
    """What intervals say about a contrast; `low` and `high` may be arrays."""
    least = contrast.smallest
    if contrast.expected == "same":
        supports = (-least <= low) & (high <= least)
        contradicts = (low > least) | (high < -least)
        in_part = np.zeros_like(supports)
    else:
        if contrast.expected == "lower":  # mirrored, it is "higher"
            low, high = -high, -low
        supports, contradicts, in_part = low > least, high <= least, low > 0
    return np.select(
        [supports, contradicts, in_part], ["supports", "contradicts", "in part"], "open"
    )


def _boundaries(contrast):
    least = contrast.smallest
    return {"higher": [least], "lower": [-least], "same": [-least, least]}[contrast.expected]


def findings(contrasts, rows_of, looks_of):
    """What was found on each contrast.

    Parameters
    ----------
    contrasts : iterable of Contrast
        Of a claim, or its controls.
    rows_of : callable
        Gives the rows of an experiment by its name.
    looks_of : callable
        Gives the two numbers of seeds of an experiment by its name.

    Returns
    -------
    tuple of Finding
    """
    found = []
    for one in contrasts:
        rows, looks = rows_of(one.experiment), looks_of(one.experiment)
        values = contrast_values(one, rows, looks)
        chosen = all(len(shared) >= choosing(looks) for _, shared in _choices(one, rows))
        found.append(judge(one, values, looks, best_settings(one, rows, looks), chosen))
    return tuple(found)


def verdict(claim, findings, control_findings=()):
    """The verdict on a claim (points 4 and 6 above).

    Parameters
    ----------
    claim : Claim
    findings, control_findings : iterable of Finding
        On its contrasts, and on its controls.

    Returns
    -------
    str
        Of "all of": holds; holds, perhaps too little to matter; does not hold as stated; does not
        hold; open. Of "most of": holds in most; holds, perhaps too little to matter; does not hold
        in most; mixed; open. Of either: cannot be tested here.
    """
    if any(finding.says != "supports" for finding in control_findings):
        return NOT_TESTED
    count = Counter(finding.says for finding in findings)
    total = count.total()
    if claim.kind == "most of":
        if count["supports"] > total / 2:
            return "holds in most"
        if count["supports"] + count["in part"] > total / 2:
            return "holds" + intervals.PERHAPS
        if count["contradicts"] > total / 2:
            return "does not hold in most"
        return "open" if count["open"] else "mixed"
    if count["contradicts"]:
        return "does not hold" if count["contradicts"] == total else "does not hold as stated"
    if count["open"]:
        return "open"
    return "holds" + intervals.PERHAPS if count["in part"] else "holds"


def tally(findings):
    """How many contrasts say what: "3 of 6 supported, 2 refuted, 1 open"."""
    count = Counter(finding.says for finding in findings)
    parts = [(count[says], word) for says, word in SAYS.items() if count[says]]
    first, *others = [f"{many} {word}" for many, word in parts] or [""]
    return ", ".join([first.replace(" ", f" of {count.total()} ", 1), *others])


# Before the runs: power, and how often the rule errs
# ------------------------------------------------------------------------------------------


def power(spread, count, smallest, effect):
    """How likely a true effect is to be found beyond the smallest difference that matters.

    By the noncentral t distribution, at one look of the rule.

    Parameters
    ----------
    spread : float
        Standard deviation of the contrast over seeds.
    count : int or array of int
        Seeds.
    smallest, effect : float
        In the units of the contrast, in the direction of the claim.
    """
    count = np.asarray(count)
    if spread == 0:
        return np.where(effect > smallest, 1.0, 0.0) * np.ones(count.shape)
    # Beyond 100 standard errors the answer is 0 or 1 to the last digit.
    away = np.clip((effect - smallest) / spread * np.sqrt(count), -100, 100)
    return stats.nct.sf(_quantile(count), count - 1, away)


def _quantile(count):
    return stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)


def seeds_needed(spread, distance, chance=POWER):
    """At how many seeds an effect so far beyond a boundary is found with that chance; infinite if
    a thousand are too few.
    """
    counts = np.arange(2, MOST_SEEDS + 1)
    enough = np.flatnonzero(power(spread, counts, 0.0, distance) >= chance)
    return int(counts[enough[0]]) if len(enough) else np.inf


def power_table(claim, rows_of, looks_of):
    """What the planned seeds can find, before they are run.

    Parameters
    ----------
    claim : Claim
    rows_of : callable
        Gives the rows that the spread over seeds is taken from, by the name of the experiment: of
        a pilot, or of earlier runs. An empty table if there are none.
    looks_of : callable
        Gives the two numbers of seeds that are planned.

    Returns
    -------
    pandas.DataFrame
        One row per contrast and control: contrast; spread, over the seeds that are there; effect,
        assumed to be true: twice the smallest difference that matters, none for "same", 0.01 where
        any difference matters; power at the first look and at the second; the number of seeds at
        which it would be 90 %. NaN where there are no runs yet.
    """
    lines = []
    for one in claim.contrasts + claim.controls:
        looks, least = looks_of(one.experiment), one.smallest
        try:
            rows = rows_of(one.experiment)
            spread = contrast_values(one, rows, (len(rows), len(rows))).std(ddof=1)
        except ValueError:
            spread = np.nan
        effect = 0.0 if one.expected == "same" else 2 * least or UNIT
        if one.expected == "same":
            # Inside both boundaries: at least 1 minus the chances of missing either.
            at = [
                float(np.maximum(0.0, 2 * power(spread, count, -least, 0.0) - 1)) for count in looks
            ]
            distance, chance = least, (1 + POWER) / 2
        else:
            at = [float(power(spread, count, least, effect)) for count in looks]
            distance, chance = effect - least, POWER
        lines.append(
            {
                "contrast": one.name,
                "spread": spread,
                "effect": -effect if one.expected == "lower" else effect,
                "first look": at[0],
                "second look": at[1],
                "seeds needed": seeds_needed(spread, distance, chance) if at[0] >= 0 else np.nan,
            }
        )
    return pd.DataFrame(lines)


def simulate(
    looks, truth=1.0, spread=1.0, noise="normal", expected="higher", sweeps=20_000, seed=0
):
    """What the rule says of made-up sweeps, the smallest difference that matters being 1.

    Parameters
    ----------
    looks : tuple of int
        How many seeds each look has; one look is (8,).
    truth : float
        The true contrast. At 1, "supports" would be wrong for "higher", and a hair beyond
        "contradicts" would be.
    spread : float
        Standard deviation over seeds.
    noise : {"normal", "heavy tails", "skewed"}
    expected : {"higher", "lower", "same"}
    sweeps, seed : int

    Returns
    -------
    dict of str to float
        Share of the sweeps in which it says what.
    """
    check_choice("noise", noise, NOISE)
    contrast = Contrast("made up", "made up", {("arm", "metric"): 1.0}, expected, 1.0)
    shape = (sweeps, max(looks))
    values = truth + spread * NOISE[noise](np.random.default_rng(seed), shape)
    says = says_of_sweeps(contrast, values, looks)
    return {what: float(np.mean(says == what)) for what in SAYS}


def says_of_sweeps(contrast, values, looks):
    """What `judge` says of many sweeps at once.

    Parameters
    ----------
    contrast : Contrast
    values : array of float, shape (sweeps, seeds)
    looks : tuple of int

    Returns
    -------
    array of str, shape (sweeps,)
    """
    says = np.full(len(values), "open", dtype="<U11")
    settled = np.zeros(len(values), dtype=bool)
    for count in looks:
        seen = values[:, :count]
        half = _quantile(count) * seen.std(axis=1, ddof=1) / np.sqrt(count)
        now = _says(contrast, seen.mean(axis=1) - half, seen.mean(axis=1) + half)
        says = np.where(settled, says, now)
        settled |= np.isin(now, SETTLED)
    return says
