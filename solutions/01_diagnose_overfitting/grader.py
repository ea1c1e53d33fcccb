"""Assignment 01: what is compared, and on which inputs."""

import numpy as np

from course.grading.tasks import Part, Task

# ---------------------------------------------------------------- 1. overfitting_gap


def _curves(seed, epochs, rise, dtype="float64"):
    """Made-up losses of training and validation; with a large `rise` the latter turns up again."""
    rng = np.random.default_rng(seed)
    epoch = np.arange(epochs)
    train = 0.1 + 2.2 * np.exp(-epoch / 3) + 0.03 * rng.normal(size=epochs)
    validation = 0.1 + 2.2 * np.exp(-epoch / 3) + rise * epoch + 0.05 * rng.normal(size=epochs)
    return {"train_loss": train.astype(dtype), "validation_loss": validation.astype(dtype)}


overfitting_gap = Task(
    id="overfitting_gap",
    parts=(Part("gap", 2, "the mean gap over the last epochs, in nats", rtol=1e-4, atol=1e-5),),
    cases={
        "validation turns up": {**_curves(1, 14, 0.06), "last": 4},
        "validation below training": {**_curves(2, 9, -0.02), "last": 3},
    },
    hidden={
        "the last epoch alone": {**_curves(3, 8, 0.03), "last": 1},
        "as many as there are": {**_curves(4, 6, 0.05), "last": 6},
        "float32": {**_curves(5, 40, 0.01, "float32"), "last": 5},
        "the gap changes its sign": {**_curves(6, 10, -0.004), "last": 5},
        "validation far below training": {**_curves(7, 7, -0.04), "last": 2},
    },
)

# ---------------------------------------------------------------- 2. early_stopping


early_stopping = Task(
    id="early_stopping",
    parts=(
        Part("best", 2, "the index of the epoch that is kept", compare="equal"),
        Part("trained", 1, "how many epochs were trained", compare="equal"),
    ),
    cases={
        "a bump, then a rise": {
            "validation_loss": np.array([1.3, 0.9, 0.95, 0.93, 0.7, 0.74, 0.72, 0.76, 0.6, 0.5]),
            "patience": 3,
        },
        "never stopped": {
            "validation_loss": np.array([1.1, 0.8, 0.85, 0.7, 0.66, 0.68]),
            "patience": 4,
        },
        "the same loss again": {
            "validation_loss": np.array([0.9, 0.5, 0.6, 0.5, 0.7, 0.8]),
            "patience": 2,
        },
    },
    hidden={
        "patience 1": {"validation_loss": np.array([0.9, 0.7, 0.6, 0.61, 0.4]), "patience": 1},
        "worse from the start": {
            "validation_loss": np.array([0.5, 0.6, 0.7, 0.8, 0.1]),
            "patience": 3,
        },
        "stopped in the last epoch": {
            "validation_loss": np.array([0.9, 0.4, 0.6, 0.5]),
            "patience": 2,
        },
        "float32": {
            "validation_loss": np.float32(
                [2.0, 1.5, 1.6, 1.2, 1.3, 1.25, 1.1, 1.15, 1.2, 1.3, 1.19, 0.2]
            ),
            "patience": 4,
        },
        "one epoch": {"validation_loss": np.array([0.7]), "patience": 2},
        "a level stretch": {
            "validation_loss": np.array([0.8, 0.6, 0.6, 0.6, 0.6, 0.5]),
            "patience": 3,
        },
    },
)

# ---------------------------------------------------------------- 3. diagnose


def _losses(logged, train, validation, target=0.4, smallest=0.05):
    return {
        "logged": logged,
        "train": train,
        "validation": validation,
        "target": target,
        "smallest": smallest,
    }


diagnose = Task(
    id="diagnose",
    parts=(
        Part("verdict", 2, "the verdict", compare="equal"),
        Part("misleads", 1, "whether the log misleads", compare="equal"),
    ),
    cases={
        "a wide gap": _losses(0.20, 0.15, 0.50),
        "dropout hides the gap": _losses(0.44, 0.30, 0.46),
        "much dropout": _losses(0.52, 0.33, 0.47),
        "a small network": _losses(0.95, 0.90, 1.10),
        "nothing to complain about": _losses(0.36, 0.34, 0.37),
        "easy validation examples": _losses(0.43, 0.40, 0.32),
        "easy validation examples, and dropout": _losses(0.60, 0.42, 0.33),
        "validation above the target": _losses(0.39, 0.38, 0.48),
    },
    hidden={
        "other units": _losses(1.65, 1.20, 1.70, target=1.5, smallest=0.1),
        "far from the target": _losses(2.2, 2.0, 1.9, target=0.3, smallest=0.2),
        "a gap that does not matter": _losses(0.12, 0.10, 0.25, target=0.2, smallest=0.3),
        "no log to speak of": _losses(0.10, 0.10, 0.90, target=0.2, smallest=0.02),
        "far from the target, with a gap": _losses(1.3, 1.2, 1.6, target=0.5, smallest=0.1),
        "log below the honest loss": _losses(0.31, 0.38, 0.41, target=0.3, smallest=0.05),
        "validation much the lower": _losses(0.35, 0.34, 0.10, target=0.4, smallest=0.05),
    },
)

# ---------------------------------------------------------------- 4. paired_interval


def _seeds(seed, count, effect, spread=0.05, between=0.2, dtype="float64"):
    """Two arms over the same seeds: the seeds differ much, and in the same way in both arms."""
    rng = np.random.default_rng(seed)
    common = 0.6 + between * rng.normal(size=count)
    return {
        "a": (common + effect + spread * rng.normal(size=count)).astype(dtype),
        "b": (common + spread * rng.normal(size=count)).astype(dtype),
    }


paired_interval = Task(
    id="paired_interval",
    parts=(
        Part("mean", 1, "the mean difference", rtol=1e-3, atol=1e-5),
        Part("low", 1, "the lower end of the interval", rtol=1e-3, atol=1e-5),
        Part("high", 1, "the upper end of the interval", rtol=1e-3, atol=1e-5),
    ),
    cases={
        "five seeds": _seeds(11, 5, 0.08),
        "three seeds": _seeds(12, 3, -0.1),
    },
    hidden={
        "ten seeds": _seeds(13, 10, 0.02),
        "two seeds": _seeds(14, 2, 0.3),
        "b varies more than a": {
            "a": np.array([0.50, 0.51, 0.49, 0.50]),
            "b": np.array([0.1, 0.9, 0.4, 0.3]),
        },
        "float32": _seeds(15, 7, -0.04, dtype="float32"),
        "the same difference for all seeds": {
            "a": np.array([2.5, 3.5, 1.25]),
            "b": np.array([2.0, 3.0, 0.75]),
        },
    },
)

# ---------------------------------------------------------------- 5. verdict


def _interval(low, high, smallest=0.01):
    return {"low": low, "high": high, "smallest": smallest}


verdict = Task(
    id="verdict",
    parts=(Part("verdict", 2, "the verdict", compare="equal"),),
    cases={
        "far above": _interval(0.03, 0.08),
        "far below": _interval(-0.09, -0.02),
        "close to 0": _interval(-0.006, 0.004),
        "wide": _interval(-0.03, 0.02),
        "above 0 but not by much": _interval(0.004, 0.05),
        "above 0 and close to it": _interval(0.002, 0.008),
        "mostly below": _interval(-0.05, 0.003),
    },
    hidden={
        "wide, other units": _interval(-3.0, 4.0, 0.5),
        "below 0 but not by much": _interval(-0.2, -0.01, 0.02),
        "below 0 and close to it": _interval(-0.018, -0.001, 0.02),
        "every difference matters, above": _interval(0.001, 0.002, 0.0),
        "every difference matters, around 0": _interval(-0.001, 0.002, 0.0),
        "wide and centred": _interval(-0.06, 0.06, 0.05),
        "far below, other units": _interval(-9.0, -2.0, 1.0),
        "close to 0, other units": _interval(-0.7, 0.9, 1.0),
    },
)

TASKS = (overfitting_gap, early_stopping, diagnose, paired_interval, verdict)
