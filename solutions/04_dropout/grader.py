"""Assignment 04: what is compared, and on which inputs.

Random masks are judged by what can be said of any right one (`Part`, compare "dropped"): everybody
may use the generator in another way.
"""

from pathlib import Path

import numpy as np

from course.grading.tasks import Part, Task

PROBES = Path(__file__).with_name("probes.py").read_text(encoding="utf-8")


def _values(seed, shape, dtype="float32"):
    """Small whole numbers, none of them 0 (a dropped 0 could not be told from one that is kept)."""
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 9, size=shape) * rng.choice([-1, 1], shape)).astype(dtype)


# ---------------------------------------------------------------- 1. dropout


def _dropout_reference(student, inputs):
    x, rate = inputs["x"], inputs["rate"]
    twice = np.stack([x, x])
    return {
        "y_training": {"kept": twice / (1 - rate), "rate": rate},
        "mask": {"kept": np.ones(twice.shape), "rate": rate},
        "y_inference": {"kept": x, "rate": 0},
    }


def _input(seed, shape, rate, dtype="float32"):
    return {"x": _values(seed, shape, dtype), "rate": rate, "seed": seed}


dropout = Task(
    id="dropout",
    parts=(
        Part(
            "y_training",
            2,
            "the output in training (two steps, one above the other)",
            compare="dropped",
        ),
        Part("mask", 1, "the mask (of both steps)", compare="dropped"),
        Part("y_inference", 1, "the output at inference", compare="dropped"),
    ),
    cases={"rate 0.2": _input(91, (16, 25), 0.2), "rate 0.7": _input(92, (20, 18), 0.7)},
    hidden={
        "rate 0.5, float64": _input(93, (12, 40), 0.5, "float64"),
        "feature maps": _input(94, (5, 4, 6, 5), 0.3),
        "rate 0": _input(95, (6, 5), 0.0),
        "more features than examples": _input(96, (8, 60), 0.35),
    },
    probe=PROBES + "probe = probe_dropout\n",
    reference=_dropout_reference,
)

# ---------------------------------------------------------------- 2. dropout_backward


def _gradient(seed, shape, rate, mask_shape=None, dtype="float64"):
    rng = np.random.default_rng(seed)
    return {
        "dy": (_values(seed, shape, "float64") / 4).astype(dtype),
        "mask": rng.random(mask_shape or shape) >= rate,
        "rate": rate,
    }


dropout_backward = Task(
    id="dropout_backward",
    parts=(Part("dx", 2, "the gradient dx", rtol=1e-4, atol=1e-6),),
    cases={
        "a dense layer": _gradient(101, (5, 8), 0.3),
        "a mask of whole channels": _gradient(102, (3, 2, 4, 5), 0.6, (3, 1, 1, 5)),
    },
    hidden={
        "rate 0.9": _gradient(103, (6, 7), 0.9),
        "rate 0": _gradient(104, (4, 3), 0.0),
        "float32": _gradient(105, (7, 4), 0.5, dtype="float32"),
        "one example": _gradient(106, (1, 12), 0.25),
    },
)

# ---------------------------------------------------------------- 3. spatial_dropout


def _spatial_reference(student, inputs):
    x, rate = inputs["x"], inputs["rate"]
    return {
        "y_training": {"kept": np.stack([x, x]) / (1 - rate), "rate": rate, "shared": (2, 3)},
        "y_inference": {"kept": x, "rate": 0, "shared": (1, 2)},
    }


spatial_dropout = Task(
    id="spatial_dropout",
    parts=(
        Part(
            "y_training",
            2,
            "the output in training (two steps, one above the other)",
            compare="dropped",
        ),
        Part("y_inference", 1, "the output at inference", compare="dropped"),
    ),
    cases={
        "rate 0.25": _input(111, (10, 2, 3, 14), 0.25),
        "rate 0.7": _input(112, (12, 3, 2, 13), 0.7),
    },
    hidden={
        "rate 0.5": _input(113, (9, 3, 3, 20), 0.5),
        "one pixel": _input(114, (14, 1, 1, 15), 0.4),
        "rate 0, float64": _input(115, (2, 2, 3, 4), 0.0, "float64"),
        "more pixels than channels": _input(116, (50, 4, 5, 3), 0.2),
    },
    probe=PROBES + "probe = probe_spatial_dropout\n",
    reference=_spatial_reference,
)

# ---------------------------------------------------------------- 4. mc_dropout


def _logits(seed, passes, examples, classes, spread=2.0, dtype="float64"):
    rng = np.random.default_rng(seed)
    centre = spread * rng.normal(size=(1, examples, classes))
    return {
        "logits": (centre + spread * rng.normal(size=(passes, examples, classes)))
        .round(2)
        .astype(dtype)
    }


mc_dropout = Task(
    id="mc_dropout",
    parts=(
        Part("probabilities", 2, "the mean probabilities", rtol=1e-3, atol=1e-6),
        Part("entropy", 1, "the entropy", rtol=1e-3, atol=1e-5),
    ),
    cases={"three classes": _logits(121, 6, 4, 3), "five classes": _logits(122, 10, 3, 5, 1.5)},
    hidden={
        "one pass": _logits(123, 1, 5, 4),
        "two classes, float32": _logits(124, 20, 3, 2, dtype="float32"),
        "one example": _logits(125, 8, 1, 6),
        "as many examples as classes": _logits(126, 5, 5, 5),
        "all passes alike": {
            "logits": np.tile(np.array([[[1.0, 0.0, -2.0], [0.5, 3.0, 1.0]]]), (4, 1, 1))
        },
    },
    probe=PROBES + "probe = probe_mc_dropout\n",
)

# ---------------------------------------------------------------- 5. calibration_error


def _predictions(seed, examples, classes, accuracy, bins=10, certain=0, dtype="float64"):
    """Predictions that are not well calibrated; confidences keep clear of the bins' borders."""
    rng = np.random.default_rng(seed)
    confidence = (
        rng.choice(np.arange(bins // classes + 1, bins), examples) + rng.uniform(0.2, 0.8, examples)
    ) / bins
    confidence[:certain] = 1.0
    predicted = rng.integers(classes, size=examples)
    rest = rng.dirichlet(np.ones(classes - 1), examples) * 0.5 + 0.5 / (classes - 1)
    probabilities = np.empty((examples, classes))
    for row, (winner, sure) in enumerate(zip(predicted, confidence, strict=True)):
        probabilities[row, np.arange(classes) != winner] = (1 - sure) * rest[row]
        probabilities[row, winner] = sure
    labels = np.where(rng.random(examples) < accuracy, predicted, (predicted + 1) % classes)
    return {"probabilities": probabilities.astype(dtype), "labels": labels, "bins": bins}


calibration_error = Task(
    id="calibration_error",
    parts=(Part("error", 2, "the expected calibration error", rtol=1e-3, atol=1e-6),),
    cases={
        "over-confident": _predictions(131, 40, 3, 0.5, certain=4),
        "five bins": _predictions(132, 25, 2, 0.75, bins=5, certain=2),
    },
    hidden={
        "under-confident": _predictions(133, 60, 4, 0.97),
        "one example": {
            "probabilities": np.array([[0.25, 0.75]]),
            "labels": np.array([1]),
            "bins": 10,
        },
        "always certain": {
            "probabilities": np.eye(3)[[0, 1, 2, 2]],
            "labels": np.array([0, 1, 2, 1]),
            "bins": 10,
        },
        "many bins, float32": _predictions(134, 80, 5, 0.6, bins=20, certain=3, dtype="float32"),
        "one bin": {**_predictions(135, 30, 3, 0.7), "bins": 1},
    },
)

TASKS = (dropout, dropout_backward, spatial_dropout, mc_dropout, calibration_error)
