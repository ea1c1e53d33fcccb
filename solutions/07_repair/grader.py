"""Assignment 07: what is compared, and on which inputs.

The first mistake of each task is the patient as it was handed out. The others are repairs that
leave something broken.
"""

from pathlib import Path

import numpy as np

from course.grading.tasks import Part, Task

PROBES = Path(__file__).with_name("probes.py").read_text(encoding="utf-8")


# ---------------------------------------------------------------- 1. RepairedDropout


def _values(seed, shape, rate):
    rng = np.random.default_rng(seed)
    return {
        "x": (rng.choice([-1, 1], shape) * rng.uniform(0.5, 2, shape)).astype("float32"),
        "rate": rate,
    }


repaired_dropout = Task(
    id="RepairedDropout",
    parts=(
        Part("in_training", 2, "what it puts out in training", compare="dropped", rtol=1e-4),
        Part("at_inference", 1, "what it puts out at inference", rtol=1e-5),
        Part("anew", 1, "whether two calls in training drop other values", compare="equal"),
    ),
    cases={
        "30 examples, rate 0.3": _values(1, (30, 20), 0.3),
        "8 images, rate 0.75": _values(2, (8, 6, 6, 3), 0.75),
    },
    hidden={
        "200 examples, rate 0.1": _values(3, (200, 6), 0.1),
        "40 sequences, rate 0.6": _values(4, (40, 7, 3), 0.6),
        "nothing is dropped": _values(5, (12, 9), 0.0),
    },
    reference=lambda student, inputs: {
        "in_training": {"kept": inputs["x"] / (1 - inputs["rate"]), "rate": inputs["rate"]}
    },
    probe=PROBES + "probe = probe_RepairedDropout\n",
)

# ---------------------------------------------------------------- 2. evaluate


def _images(seed, count, batch_size, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    return {
        "images": rng.normal(size=(count, 6)).astype("float32") + labels[:, None],
        "labels": labels,
        "batch_size": batch_size,
    }


evaluate = Task(
    id="evaluate",
    parts=(
        Part("loss", 2, "the loss", rtol=1e-3, atol=1e-5),
        Part("accuracy", 1, "the accuracy", rtol=1e-4),
        Part(
            "untouched", 1, "the numbers in the model afterwards, which are to be those from before"
        ),
    ),
    cases={
        "50 images, batches of 16": _images(1, 50, 16),
        "37 images, batches of 12": _images(2, 37, 12),
    },
    hidden={
        "64 images, batches of 16": _images(3, 64, 16),
        "one batch": _images(4, 20, 32),
        "one image left over": _images(5, 41, 10),
    },
    probe=PROBES + "probe = probe_evaluate\n",
)

# ---------------------------------------------------------------- 3. fine_tuning_model


def _base(width, blocks, classes, count):
    return {"width": width, "blocks": blocks, "classes": classes, "count": count}


fine_tuning_model = Task(
    id="fine_tuning_model",
    parts=(
        Part(
            "trained",
            2,
            "which weights of base are trained (one value each), and how many others",
            compare="equal",
        ),
        Part(
            "still",
            2,
            "the numbers in the base after a pass in training mode, which are to be those from"
            " before",
        ),
        Part(
            "outputs",
            1,
            "the outputs at inference, with weights set by the checker",
            rtol=1e-3,
            atol=1e-5,
        ),
    ),
    cases={"one of three": _base(5, 3, 4, 1), "three of four": _base(4, 4, 3, 3)},
    hidden={"two of three": _base(6, 3, 2, 2), "all of two": _base(3, 2, 5, 2)},
    probe=PROBES + "probe = probe_fine_tuning_model\n",
)

# ---------------------------------------------------------------- 4. ported_norm


def _state(seed, shape, momentum, eps):
    rng, count = np.random.default_rng(seed), shape[1]
    return {
        "weight": rng.uniform(0.5, 1.5, count),
        "bias": rng.normal(size=count),
        "running_mean": rng.normal(size=count),
        "running_var": rng.uniform(0.02, 0.3, count),
        "momentum": momentum,
        "eps": eps,
        "x": rng.normal(1, 2, shape).astype("float32"),
    }


ported_norm = Task(
    id="ported_norm",
    parts=(
        Part("at_inference", 2, "the outputs at inference", rtol=1e-3, atol=1e-4),
        Part("in_training", 1, "the outputs in training", rtol=1e-3, atol=1e-4),
        Part("moved", 2, "the moving mean after one step of training", rtol=1e-3, atol=1e-4),
    ),
    cases={
        "maps of 3 x 3": _state(1, (4, 3, 3, 3), 0.1, 1e-5),
        "another momentum": _state(2, (5, 4, 4, 4), 0.25, 1e-2),
    },
    hidden={
        "more channels than pixels": _state(3, (3, 6, 2, 2), 0.05, 1e-5),
        "maps that are not square": _state(4, (4, 2, 3, 5), 0.1, 1e-4),
    },
    probe=PROBES + "probe = probe_ported_norm\n",
)

# ---------------------------------------------------------------- 5. recalibrate


def _batches(seed, number, size):
    rng = np.random.default_rng(seed)
    return {
        "batches": rng.normal(
            rng.normal(1, 1, (number, 1, 5)), rng.uniform(0.5, 2, (number, 1, 5)), (number, size, 5)
        ).astype("float32")
    }


recalibrate = Task(
    id="recalibrate",
    parts=(
        Part("statistics", 3, "the moving statistics afterwards", rtol=1e-3, atol=1e-4),
        Part(
            "settings",
            1,
            "the momentum of each norm and the rate of the dropout afterwards",
            rtol=1e-5,
        ),
        Part("others", 1, "all other weights afterwards, which are to be those from before"),
    ),
    cases={"five batches": _batches(1, 5, 8), "three batches": _batches(2, 3, 12)},
    hidden={"one batch": _batches(3, 1, 16), "nine batches": _batches(4, 9, 6)},
    probe=PROBES + "probe = probe_recalibrate\n",
)

TASKS = (repaired_dropout, evaluate, fine_tuning_model, ported_norm, recalibrate)
