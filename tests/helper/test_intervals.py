"""Intervals over seeds: their coverage on data with a known truth, and the verdicts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from course.intervals import Interval, mean_interval, paired_interval


@pytest.mark.parametrize("count", [3, 5, 10])
def test_covers_the_truth_as_often_as_it_says(count):
    samples = np.random.default_rng(0).normal(0.3, 2.0, size=(4_000, count))
    intervals = [mean_interval(values) for values in samples]
    covered = np.mean([interval.low <= 0.3 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.95, abs=0.012)


def test_a_bootstrap_would_be_too_narrow_at_five_seeds():
    """The figure in the docstring of `mean_interval`."""
    samples = np.random.default_rng(0).normal(size=(400, 5))
    bootstrap = [
        stats.bootstrap(
            (values,), np.mean, method="percentile", n_resamples=999, rng=1
        ).confidence_interval
        for values in samples
    ]
    assert np.mean([low <= 0 <= high for low, high in bootstrap]) == pytest.approx(0.83, abs=0.04)


def test_false_alarms_on_noise_are_rare():
    noise = np.random.default_rng(1).normal(size=(2_000, 2, 5))
    verdicts = [paired_interval(treatment, control).verdict() for treatment, control in noise]
    assert np.mean([verdict in ("higher", "lower") for verdict in verdicts]) == pytest.approx(
        0.05, abs=0.015
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.02, 0.05, "higher"),
        (-0.05, -0.02, "lower"),
        (-0.005, 0.008, "no difference that matters"),
        (-0.01, 0.01, "no difference that matters"),
        (0.002, 0.01, "no difference that matters"),
        (0.005, 0.05, "higher, perhaps too little to matter"),
        (-0.05, -0.005, "lower, perhaps too little to matter"),
        (-0.02, 0.05, "open"),
        (-0.02, 0.005, "open"),
    ],
)
def test_verdict(low, high, verdict):
    assert Interval((low + high) / 2, low, high, 5, 0.95).verdict(smallest=0.01) == verdict


def test_where_any_difference_matters_there_is_no_perhaps():
    assert Interval(0.03, 0.01, 0.05, 5, 0.95).verdict() == "higher"
    assert Interval(-0.03, -0.05, -0.01, 5, 0.95).verdict() == "lower"
    assert Interval(0.0, -0.01, 0.01, 5, 0.95).verdict() == "open"
    assert Interval(0.0, 0.0, 0.0, 5, 0.95).verdict() == "no difference that matters"


@settings(derandomize=True, deadline=None)
@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_verdicts_of_mirrored_intervals_are_mirror_images(low, width, smallest):
    def verdict(low, high):
        return Interval((low + high) / 2, low, high, 5, 0.95).verdict(smallest)

    mirrored = verdict(-low - width, -low)
    swapped = mirrored.replace("higher", "side").replace("lower", "higher").replace("side", "lower")
    assert verdict(low, low + width) == swapped


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20), st.floats(-5, 5))
def test_pairing_removes_what_the_seeds_share(values, effect):
    control = np.array(values)
    interval = paired_interval(control + effect, control)
    assert interval.low == pytest.approx(effect, abs=1e-9)
    assert interval.high == pytest.approx(effect, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_interval([1.0]), "at least two seeds"),
        (lambda: mean_interval([[1.0, 2.0]]), "one value each"),
        (lambda: mean_interval([1.0, np.nan]), "did a run diverge"),
        (lambda: mean_interval([1.0, 2.0], confidence=95), "between 0 and 1"),
        (lambda: paired_interval([1.0, 2.0], [1.0, 2.0, 3.0]), "one value a seed on both sides"),
    ],
)
def test_bad_input_is_explained(call, says):
    with pytest.raises(ValueError, match=says):
        call()
