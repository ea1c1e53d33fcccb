"""Assignment 06: what is compared, and on which inputs."""

import numpy as np

from course.grading.tasks import Part, Task


def _inputs(seed, examples=60, count=6, mean=0.5, shared=0.6, dtype="float64"):
    """Correlated activations, which have a mean other than 0, and weights of one linear unit."""
    rng = np.random.default_rng(seed)
    own, common = rng.normal(size=(examples, count)), rng.normal(size=(examples, 1))
    x = mean + np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    return {"x": x.astype(dtype), "w": rng.normal(0.3, 0.7, size=count).astype(dtype)}


# ---------------------------------------------------------------- 1. two_variances


two_variances = Task(
    id="two_variances",
    parts=(
        Part("in_training", 3, "the variance in training", rtol=1e-4, atol=1e-5),
        Part("at_inference", 1, "the variance at inference", rtol=1e-4, atol=1e-5),
    ),
    cases={
        "six inputs, rate 0.3": {**_inputs(1), "rate": 0.3},
        "one input, rate 0.5": {**_inputs(2, count=1, mean=1.5), "rate": 0.5},
        "nothing is dropped": {**_inputs(3, count=4), "rate": 0.0},
    },
    hidden={
        "twelve inputs, rate 0.7": {**_inputs(4, count=12), "rate": 0.7},
        "mean below 0": {**_inputs(5, count=5, mean=-1.0), "rate": 0.2},
        "float32": {**_inputs(6, examples=200, dtype="float32"), "rate": 0.4},
        "whole numbers": {
            "x": np.array([[1, 0], [2, 3], [3, -1], [6, 2]]),
            "w": np.array([2, -1]),
            "rate": 0.25,
        },
    },
)

# ---------------------------------------------------------------- 2. measured_variance


def _masks(seed, draws, rate, **options):
    """Inputs, and the masks with which they are dropped, one for each draw, example and input."""
    inputs = _inputs(seed, **options)
    kept = np.random.default_rng(seed + 100).random((draws, *inputs["x"].shape)) >= rate
    return {**inputs, "masks": kept.astype(inputs["x"].dtype), "rate": rate}


measured_variance = Task(
    id="measured_variance",
    parts=(Part("variance", 3, "the measured variance", rtol=1e-4, atol=1e-5),),
    cases={
        "seven draws, rate 0.3": _masks(11, 7, 0.3, examples=9, count=4),
        "forty draws, rate 0.5": _masks(12, 40, 0.5, examples=5, count=3),
    },
    hidden={
        "one input, rate 0.8": _masks(13, 12, 0.8, examples=8, count=1),
        "nothing is dropped": _masks(14, 3, 0.0, examples=10, count=3),
        "float32": _masks(15, 6, 0.4, examples=20, count=8, dtype="float32"),
    },
)

# ---------------------------------------------------------------- 3. kappa_and_ratios


kappa_and_ratios = Task(
    id="kappa_and_ratios",
    parts=(
        Part("kappa", 2, "kappa", rtol=1e-4, atol=1e-6),
        Part("ratios", 2, "the ratio for each rate", rtol=1e-4, atol=1e-6),
    ),
    cases={
        "six inputs, three rates": {**_inputs(21), "rates": np.array([0.0, 0.2, 0.5])},
        "one input": {**_inputs(22, count=1, mean=0.8), "rates": np.array([0.1, 0.5, 0.9])},
    },
    hidden={
        "thirty inputs": {**_inputs(23, count=30), "rates": np.array([0.05, 0.3, 0.7, 0.0])},
        "one rate": {**_inputs(24, count=3, mean=-0.6), "rates": np.array([0.25])},
        "float32": {
            **_inputs(25, examples=300, dtype="float32"),
            "rates": np.linspace(0.1, 0.8, 5, dtype="float32"),
        },
    },
)

# ---------------------------------------------------------------- 4. ratio_by_width


def _width(widths, mean, variance, correlation, rate):
    return {
        "widths": np.array(widths),
        "mean": mean,
        "variance": variance,
        "correlation": correlation,
        "rate": rate,
    }


ratio_by_width = Task(
    id="ratio_by_width",
    parts=(Part("ratios", 4, "the ratio for each width", rtol=1e-5, atol=1e-7),),
    cases={
        "three widths": _width([1, 8, 128], 0.4, 0.5, 0.3, 0.5),
        "another rate and mean": _width([2, 16, 64], -1.2, 2.0, 0.6, 0.2),
    },
    hidden={
        "no correlation": _width([1, 32, 512], 0.7, 1.5, 0.0, 0.4),
        "one signal only": _width([1, 10, 100], 0.5, 3.0, 1.0, 0.7),
        "mean 0": _width([4, 40], 0.0, 0.25, 0.1, 0.5),
        "nothing is dropped": _width([3, 30], 1.0, 0.5, 0.2, 0.0),
    },
)

# ---------------------------------------------------------------- 5. shifted_norms


def _network(text):
    """Kinds and rates from "dense norm dropout:0.5 ..."."""
    pairs = [word.split(":") for word in text.split()]
    return {
        "kinds": np.array([pair[0] for pair in pairs]),
        "rates": np.array([float((pair + ["0"])[1]) for pair in pairs]),
    }


shifted_norms = Task(
    id="shifted_norms",
    parts=(Part("shifted", 3, "for each norm, whether its variance is shifted", compare="equal"),),
    cases={
        "dropout at the end of each block": _network(
            "dense norm relu dropout:0.5 dense norm relu dropout:0.5 dense norm relu dropout:0.5"
            " dense"
        ),
        "no linear layer in between": _network(
            "conv norm relu spatial_dropout:0.2 max norm conv norm relu mean dense"
        ),
        "a rate of 0": _network("dense norm relu dropout:0 dense norm relu dropout:0.3 norm dense"),
    },
    hidden={
        "only behind the last norm": _network(
            "conv norm relu conv norm relu mean dense relu dropout:0.5 dense"
        ),
        "dropout on the input": _network("dropout:0.2 dense norm relu dense norm relu dense"),
        "no dropout": _network("dense norm relu dense norm relu dense"),
        "the second dropout counts": _network(
            "conv norm relu dropout:0 conv norm relu spatial_dropout:0.1 max"
            " conv norm relu conv norm relu mean dropout:0.5 dense"
        ),
    },
)

TASKS = (two_variances, measured_variance, kappa_and_ratios, ratio_by_width, shifted_norms)
