"""Intervals over seeds: how far a few repetitions support a statement."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

PERHAPS = ", perhaps too little to matter"  # beyond 0, and perhaps not beyond what matters


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its confidence interval, in the units of the values."""

    mean: float
    low: float
    high: float
    count: int  # of seeds
    confidence: float  # such as 0.95

    def __str__(self):
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"

    def verdict(self, smallest=0.0):
        """What the interval says about a difference, `smallest` being the least that matters.

        "higher" or "lower": the whole interval lies beyond 0 on that side; with ", perhaps too
        little to matter" behind it if not all of it lies beyond `smallest`. "no difference that
        matters": the whole interval lies within plus or minus `smallest`. Else "open".
        """
        if -smallest <= self.low and self.high <= smallest:
            return "no difference that matters"
        if self.low <= 0 <= self.high:
            return "open"
        side = "higher" if self.low > 0 else "lower"
        return side if self.low > smallest or self.high < -smallest else side + PERHAPS


def mean_interval(values, confidence=0.95):
    """Student's t interval of a mean, as an `Interval`.

    With the three to ten seeds of a lesson a bootstrap interval is too narrow (at five seeds a
    nominal 95 % percentile interval covers the truth in about 83 % of cases); Student's t allows
    for the small number, given values that are roughly normal. `values` has one number a seed: a
    ValueError if there are fewer than two, or some are not finite.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            f"An interval needs at least two seeds, one value each; got shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "A value is NaN or infinite: did a run diverge? Report it apart from the interval."
        )
    if not 0 < confidence < 1:
        raise ValueError(
            f"confidence is {confidence}; give a number between 0 and 1, such as 0.95."
        )
    mean, half = values.mean(), 0.0
    if values.std() > 0:
        error = values.std(ddof=1) / np.sqrt(len(values))
        half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * error
    return Interval(float(mean), float(mean - half), float(mean + half), len(values), confidence)


def paired_interval(treatment, control, confidence=0.95):
    """`Interval` of the mean difference treatment - control, paired by seed.

    Both have one value a seed, in the same order of seeds: a ValueError if their lengths differ, or
    as for `mean_interval`.
    """
    treatment, control = np.asarray(treatment, dtype=float), np.asarray(control, dtype=float)
    if treatment.shape != control.shape:
        shapes = f"{treatment.shape} and {control.shape}"
        raise ValueError(f"Pairs need one value a seed on both sides; got shapes {shapes}.")
    return mean_interval(treatment - control, confidence)
