"""Assignment 08: what is compared, and on which inputs.

Task 3 trains a network on the images of the case. The labels of the images on which it is then
judged are in `reference` only, which never runs beside a student's code. All digits and their
labels come with scikit-learn, so in the hidden case the digits are mirrored at a diagonal, and the
classes numbered otherwise: whoever looks the answers up instead of learning them finds wrong ones.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from course.grading.tasks import Part, Task

PROBES = Path(__file__).with_name("probes.py").read_text(encoding="utf-8")

# ---------------------------------------------------------------- 1. count_parameters


def _design(channels, filters, units, classes, norm):
    return {
        "channels": channels,
        "filters": filters,
        "units": units,
        "classes": classes,
        "norm": norm,
    }


count_parameters = Task(
    id="count_parameters",
    parts=(
        Part("trained", 2, "how many numbers are trained", compare="equal"),
        Part("stored", 1, "how many numbers are stored without being trained", compare="equal"),
    ),
    cases={
        "with norm": _design(1, [8, 16], 32, 10, True),
        "without norm": _design(3, [4, 4, 6], 20, 7, False),
    },
    hidden={
        "one block, with norm": _design(2, [5], 12, 3, True),
        "no block": _design(4, [], 6, 2, True),
        "four blocks": _design(3, [16, 16, 32, 32], 64, 10, True),
    },
)

# ---------------------------------------------------------------- 2. learning_rate


def _schedule(steps, peak, warmup):
    return {"step": np.arange(steps), "steps": steps, "peak": peak, "warmup": warmup}


learning_rate = Task(
    id="learning_rate",
    parts=(Part("rates", 3, "the learning rate of each step", rtol=1e-4, atol=1e-9),),
    cases={"20 steps, 5 of warm-up": _schedule(20, 0.1, 5), "no warm-up": _schedule(12, 0.02, 0)},
    hidden={
        "100 steps, 10 of warm-up": _schedule(100, 1.0, 10),
        "one step of warm-up": _schedule(30, 0.003, 1),
    },
)

# ---------------------------------------------------------------- 3. train_classifier

TARGET = 0.86  # share of the new images


def _digits(seed, turned):
    """Images and labels for training, and images and labels for the judge."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images, labels = digits.images[order, :, :, None].astype("float32"), digits.target[order]
    if turned:
        images = np.swapaxes(images, 1, 2)
        labels = np.random.default_rng(seed + 1).permutation(10)[labels]
    given = {"images": images[:300], "labels": labels[:300], "new_images": images[300:800]}
    return given, labels[300:800]


PUBLIC, PUBLIC_LABELS = _digits(8, False)  # the seed is that of the notebook
HIDDEN, HIDDEN_LABELS = _digits(1_618, True)


def _right_classes(student, inputs):
    known = ((PUBLIC, PUBLIC_LABELS), (HIDDEN, HIDDEN_LABELS))
    labels = next(
        labels for case, labels in known if np.array_equal(case["new_images"], inputs["new_images"])
    )
    return {"classes": {"labels": labels, "least": TARGET}}


train_classifier = Task(
    id="train_classifier",
    parts=(
        Part(
            "parameters",
            1,
            "whether the model has at most 3,000 numbers, trained and stored",
            compare="equal",
        ),
        Part("steps", 1, "whether it was trained, for at most 60 steps", compare="equal"),
        Part(
            "steady",
            1,
            "whether predictions are the same when asked twice, and for an image alone and in"
            " company",
            compare="equal",
        ),
        Part(
            "learnt",
            1,
            "three readings on the training images, at inference: right for 90 % of them; loss not"
            " far above that in training mode; better than chance",
            compare="equal",
        ),
        Part("classes", 4, "the classes of new images", compare="accuracy"),
    ),
    cases={"the images of this notebook": PUBLIC},
    hidden={"other images": HIDDEN},
    reference=_right_classes,
    probe=PROBES + "probe = probe_train_classifier\n",
)

# ---------------------------------------------------------------- 4. paired_report


def _arms(seed, count, effect, noise, smallest):
    """Accuracies of two arms, with what a seed does to both of them."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0.9, 0.03, count)
    treatment, control = (shared + rng.normal(shift, noise, count) for shift in (effect, 0))
    return {"treatment": treatment.round(4), "control": control.round(4), "smallest": smallest}


paired_report = Task(
    id="paired_report",
    parts=(
        Part("mean", 1, "the mean difference", rtol=1e-4, atol=1e-7),
        Part("interval", 2, "both ends of the interval", rtol=1e-3, atol=1e-6),
        Part("verdict", 1, "the verdict", compare="equal"),
    ),
    cases={
        "higher": _arms(1, 6, 0.05, 0.01, 0.01),
        "not far enough": _arms(2, 5, 0.013, 0.006, 0.01),
        "too small to matter": _arms(3, 10, 0.002, 0.002, 0.01),
        "lower": _arms(4, 4, -0.06, 0.01, 0.01),
        "undecided": _arms(5, 5, 0.01, 0.03, 0.01),
    },
    hidden={
        "no smallest": _arms(6, 8, 0.02, 0.01, 0.0),
        "lower, many": _arms(7, 20, -0.02, 0.01, 0.005),
        "nearly": _arms(10, 5, -0.014, 0.003, 0.01),
    },
)

TASKS = (count_parameters, learning_rate, train_classifier, paired_report)
