"""The decision rule of the ledger: from contrasts paired by seed to a verdict.

Written down before the runs, and tested on made-up sweeps whose truth is known
(tests/lab/test_verdict.py).

1. A *contrast* is a sum of metrics of arms with weights, such as "both - batch norm", taken seed by
   seed.
2. Its interval is SciPy's bootstrap of the mean over seeds. With few seeds a bootstrap interval is
   too narrow, hence a nominal 99.5 %: with eight seeds or more, and noise that is as likely up as
   down, normal or with heavy tails, it misses the truth in at most 2.5 % of cases on either side.
   (At a nominal 99 % it was 2.7 to 3.0 %.) With fewer seeds it is Student's t interval at 95 %.
   Skewed noise is another matter: with that of an exponential distribution either misses in up to
   12 % of cases on one side. The difference of two arms whose noise is skewed alike has no skew.
3. The contrast *supports* its claim if the whole interval lies where the claim says, by more than
   the smallest difference that matters; it *contradicts* it if the whole interval lies where the
   claim does not; else it is *undecided*, and says how many more seeds it would probably take.
4. The claim *holds* if all its contrasts support it, *does not hold* if all contradict it,
   *depends* if some support and some contradict it. If no such pair settles it and one is
   undecided, the claim is *undecided*.
5. An undecided contrast may get one *second look*: more seeds for the arms it compares, their
   number fixed before they run. Two looks err more often than one: first at 8 seeds and, if
   undecided, at 24 or 48, in at most 4 % of cases on either side. (This point is younger: written
   after the first looks, and before the second ones.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from course import intervals

EXPECTED = ("higher", "lower", "same")
CONFIDENCE = 0.995  # nominal, of the bootstrap: see point 2
NORMAL_QUANTILE = stats.norm.ppf((1 + CONFIDENCE) / 2)
ENOUGH_SEEDS = 8
RESAMPLES = 9_999
MOST_SEEDS = 1_000


@dataclass(frozen=True)
class Contrast:
    """One comparison that a claim makes.

    Parameters
    ----------
    name : str
        What is compared, in words: "accuracy, both minus batch norm alone".
    experiment : str
        Key of `catalogue.EXPERIMENTS`.
    terms : mapping of (str, str) to float
        Weight by (arm, metric). A single term with weight 1 is a value in itself.
    expected : {"higher", "lower", "same"}
        Where the claim says the contrast is: above `smallest`, below -`smallest`, or between them.
    smallest : float
        The smallest difference that matters, in the units of the metric.
    offset : float
        Subtracted from the contrast: the number that a claim names.
    """

    name: str
    experiment: str
    terms: Mapping[tuple[str, str], float]
    expected: str
    smallest: float
    offset: float = 0.0

    def __post_init__(self):
        if self.expected not in EXPECTED:
            raise ValueError(f"expected is {self.expected!r}; choose one of {', '.join(EXPECTED)}.")
        if self.smallest < 0 or (self.expected == "same" and not self.smallest):
            raise ValueError(
                f"smallest is {self.smallest}; give the least difference that matters, above 0 for"
                " 'same'."
            )


@dataclass(frozen=True)
class Finding:
    """What the seeds say about one contrast.

    Attributes
    ----------
    contrast : Contrast
    values : pandas.Series
        One a seed.
    interval : course.intervals.Interval
    says : {"supports", "contradicts", "undecided"}
    more_seeds : int or None
        If undecided: about how many more seeds would decide it, if mean and spread stay; None: more
        than a thousand.
    """

    contrast: Contrast
    values: pd.Series
    interval: intervals.Interval
    says: str
    more_seeds: int | None = 0


@dataclass(frozen=True)
class Claim:
    """A statement of a teaching text, and how it is tested.

    Parameters
    ----------
    id, sentence, source : str
    contrasts : tuple of Contrast
    known : str
        What theory or literature says, with the paper.
    depends_on : str
        What the outcome depends on, said if the verdict is "depends".
    """

    id: str
    sentence: str
    source: str
    contrasts: tuple[Contrast, ...]
    known: str = ""
    depends_on: str = ""


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
    checked = intervals.mean_interval(values)  # also refuses what cannot be averaged
    values = np.asarray(values, dtype=float)
    if len(values) < ENOUGH_SEEDS or values.std() == 0:
        return checked
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=CONFIDENCE,
        method="percentile",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return intervals.Interval(
        checked.mean, float(found.low), float(found.high), len(values), CONFIDENCE
    )


def judge(contrast, values):
    """What the values of a contrast, one a seed, say about it (point 3 above).

    Returns
    -------
    Finding
    """
    values = pd.Series(values, dtype=float)
    found, least = interval(values), contrast.smallest
    # Mirrored, "lower" is "higher".
    low, high = (
        (-found.high, -found.low) if contrast.expected == "lower" else (found.low, found.high)
    )
    if contrast.expected == "same":
        supports, contradicts = -least <= low and high <= least, low > least or high < -least
    else:
        supports, contradicts = low > least, high < least or high == low <= least
    says = "supports" if supports else "contradicts" if contradicts else "undecided"
    return Finding(
        contrast,
        values,
        found,
        says,
        _more_seeds(contrast, found, values) if says == "undecided" else 0,
    )


def _more_seeds(contrast, found, values):
    """How many seeds more until the interval no longer crosses the boundary next to the mean."""
    distance = min(abs(found.mean - boundary) for boundary in _boundaries(contrast))
    spread = values.std(ddof=1)
    count = np.arange(len(values) + 1, len(values) + MOST_SEEDS + 1)
    # A resample varies less than a new sample, by the root.
    half = NORMAL_QUANTILE * np.sqrt((count - 1) / count) * spread / np.sqrt(count)
    few = count < ENOUGH_SEEDS
    half[few] = stats.t.ppf(0.975, count[few] - 1) * spread / np.sqrt(count[few])
    enough = np.flatnonzero(half < distance)
    return int(enough[0]) + 1 if len(enough) else None


def p_value(finding):
    """How surprising the finding would be if the truth lay on the nearest boundary, by Student's t;
    two-sided.

    For corrections over many contrasts only: the verdicts go by intervals. Without spread between
    seeds it is 0.
    """
    count = len(finding.values)
    distance = min(
        abs(finding.interval.mean - boundary) for boundary in _boundaries(finding.contrast)
    )
    error = finding.values.std(ddof=1) / np.sqrt(count)
    return float(2 * stats.t.sf(distance / error, count - 1)) if error > 0 else 0.0


def _boundaries(contrast):
    least = contrast.smallest
    return {"higher": [least], "lower": [-least], "same": [-least, least]}[contrast.expected]


def verdict(findings):
    """The verdict on a claim (point 4 above).

    Parameters
    ----------
    findings : iterable of Finding

    Returns
    -------
    {"holds", "does not hold", "depends", "undecided"}
    """
    says = {finding.says for finding in findings}
    if {"supports", "contradicts"} <= says:
        return "depends"
    if "undecided" in says or not says:
        return "undecided"
    return "holds" if says == {"supports"} else "does not hold"


def contrast_values(contrast, rows):
    """The contrast seed by seed: only seeds that every arm in it has.

    Parameters
    ----------
    contrast : Contrast
    rows : pandas.DataFrame
        With the columns arm, seed and the metrics; one row an arm and seed.

    Returns
    -------
    pandas.Series
        Indexed by seed.

    Raises
    ------
    ValueError
        If an arm or metric is missing, an arm has a seed twice, or fewer than two seeds are paired.
    """
    parts = []
    for (arm, metric), weight in contrast.terms.items():
        mine = rows[rows["arm"] == arm]
        if not len(mine):
            raise ValueError(f"{contrast.experiment!r} has no runs of the arm {arm!r}.")
        if metric not in mine or mine[metric].isna().all():
            raise ValueError(
                f"The runs of the arm {arm!r} of {contrast.experiment!r} have no metric {metric!r}."
            )
        if mine["seed"].duplicated().any():
            raise ValueError(
                f"The arm {arm!r} of {contrast.experiment!r} has a seed twice: its runs are of two"
                " settings."
            )
        parts.append(weight * mine.set_index("seed")[metric].astype(float))
    # Seeds that every arm has; a run that diverged stays, as NaN, and is refused by the interval.
    paired = (
        pd.concat(parts, axis=1, join="inner").sum(axis=1, skipna=False).sort_index()
        - contrast.offset
    )
    if len(paired) < 2:
        raise ValueError(
            f"{contrast.name!r} needs two seeds that all its arms have; there are {len(paired)}."
        )
    return paired


def findings(claim, rows_of):
    """All findings on a claim.

    Parameters
    ----------
    claim : Claim
    rows_of : callable
        Gives the rows of an experiment by its name.

    Returns
    -------
    list of Finding
    """
    return [judge(one, contrast_values(one, rows_of(one.experiment))) for one in claim.contrasts]
