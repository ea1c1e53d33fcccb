"""Assignment 03: what is compared, and on which inputs."""

import numpy as np

from course.grading.tasks import Part, Task

# ---------------------------------------------------------------- 1. moving_after


def _way(start, target, steps, momentum):
    return {
        "start": np.array(start),
        "target": np.array(target),
        "steps": steps,
        "momentum": momentum,
    }


moving_after = Task(
    id="moving_after",
    parts=(
        Part("value", 1, "the moving value", rtol=1e-4, atol=1e-6),
        Part("share", 1, "the share of the start that is left", rtol=1e-4, atol=1e-12),
    ),
    cases={
        "five steps": _way([0.0, 1.0], [4.0, 9.0], 5, 0.9),
        "fifty steps": _way([1.0, -2.0, 3.0], [0.2, 7.0, -1.0], 50, 0.99),
    },
    hidden={
        "no step": _way([1.0, 3.0], [0.5, 0.0], 0, 0.9),
        "one step": _way([1.0, 3.0], [0.5, -8.0], 1, 0.8),
        "PyTorch's number typed into Keras": _way([0.0], [5.0], 3, 0.1),
        "momentum 0": _way([1.0], [4.0], 2, 0.0),
        "momentum 1": _way([1.0], [4.0], 100, 1.0),
        "many steps": _way([100.0, -1.0], [1e-3, 1.0], 400, 0.95),
    },
)

# ---------------------------------------------------------------- 2. steps_needed


steps_needed = Task(
    id="steps_needed",
    parts=(Part("steps", 2, "the number of steps", compare="equal"),),
    cases={
        "1 % at momentum 0.9": {"momentum": 0.9, "share": 0.01},
        "1 % at momentum 0.99": {"momentum": 0.99, "share": 0.01},
        "exactly a quarter": {"momentum": 0.5, "share": 0.25},
        "30 % at momentum 0.8": {"momentum": 0.8, "share": 0.3},
    },
    hidden={
        "a half at momentum 0.99": {"momentum": 0.99, "share": 0.5},
        "0.1 % at momentum 0.999": {"momentum": 0.999, "share": 0.001},
        "PyTorch's number typed into Keras": {"momentum": 0.1, "share": 0.02},
        "one step is enough": {"momentum": 0.2, "share": 0.9},
        "exactly an eighth": {"momentum": 0.5, "share": 0.125},
        "35 % at momentum 0.6": {"momentum": 0.6, "share": 0.35},
    },
)

# ---------------------------------------------------------------- 3. batch_noise


batch_noise = Task(
    id="batch_noise",
    parts=(
        Part("noise", 1, "the standard deviation of the batch mean", rtol=1e-4, atol=1e-6),
        Part("expected", 1, "the mean of the batch variance", rtol=1e-4, atol=1e-6),
    ),
    cases={
        "batches of 32": {"variance": np.array([1.0, 0.25, 9.0]), "m": 32},
        "batches of 2": {"variance": np.array([4.0, 0.01]), "m": 2},
    },
    hidden={
        "batches of one": {"variance": np.array([3.0, 0.5]), "m": 1},
        "batches of 7": {"variance": np.array([0.0, 2.0, 1e4]), "m": 7},
        "a convolution": {"variance": np.array([1.7]), "m": 64 * 28 * 28},
        "float32": {"variance": np.float32([0.3, 20.0]), "m": 5},
    },
)

# ---------------------------------------------------------------- 4. recomputed_statistics


def _batches(seed, sizes, channels, drift=1.0, offset=0.0, dtype="float64"):
    """Statistics of the batches that examples were cut into; with a `drift` the batches differ."""
    rng = np.random.default_rng(seed)
    steps, spreads = drift * np.linspace(-1, 1.5, channels), np.linspace(0.5, 2, channels)
    batches = [
        offset + number * steps + spreads * rng.normal(size=(size, channels))
        for number, size in enumerate(sizes)
    ]
    return {
        "means": np.array([batch.mean(axis=0) for batch in batches]).astype(dtype),
        "variances": np.array([batch.var(axis=0) for batch in batches]).astype(dtype),
        "sizes": np.array(sizes),
    }


recomputed_statistics = Task(
    id="recomputed_statistics",
    parts=(
        Part("mean", 1, "the mean of all examples", rtol=1e-4, atol=1e-4),
        Part("variance", 2, "the variance of all examples", rtol=1e-3, atol=1e-5),
    ),
    cases={
        "a small batch at the end": _batches(71, [16, 16, 16, 3], 3),
        "sorted batches": _batches(72, [4, 9, 6], 2, drift=3.0),
    },
    hidden={
        "one batch": _batches(73, [12], 3),
        "batches of one": _batches(74, [1, 1, 1, 1, 1], 2),
        "equal batches": _batches(75, [8, 8, 8], 4, drift=0.0),
        "far from 0, float32": _batches(
            76, [5, 20, 10], 2, drift=0.5, offset=100.0, dtype="float32"
        ),
        "very unequal": _batches(77, [50, 1], 1, drift=4.0),
    },
)

# ---------------------------------------------------------------- 5. pytorch_step


def _running(seed, shape, momentum, dtype="float64"):
    rng = np.random.default_rng(seed)
    channels = shape[-1]
    x = np.linspace(-3, 4, channels) + np.linspace(1, 2.5, channels) * rng.normal(size=shape)
    return {
        "running_mean": rng.normal(size=channels).astype(dtype),
        "running_var": rng.uniform(0.5, 4, size=channels).astype(dtype),
        "x": x.astype(dtype),
        "momentum": momentum,
    }


pytorch_step = Task(
    id="pytorch_step",
    parts=(
        Part("running_mean", 1, "the new running mean", rtol=1e-4, atol=1e-5),
        Part("running_var", 1, "the new running variance", rtol=1e-4, atol=1e-5),
        Part("keras_momentum", 1, "Keras's momentum for the same memory", rtol=1e-4, atol=1e-6),
    ),
    cases={
        "dense, batch of 4": _running(81, (4, 3), 0.1),
        "feature maps": _running(82, (2, 3, 4, 2), 0.3),
    },
    hidden={
        "batch of two": _running(83, (2, 5), 0.1),
        "one image": _running(84, (1, 3, 2, 2), 0.2),
        "Keras's number typed into PyTorch": _running(85, (6, 3), 0.99),
        "float32": _running(86, (7, 4), 0.05, "float32"),
        "all axes alike": _running(87, (3, 3, 3, 3), 0.1),
        "nothing is taken": _running(88, (5, 2), 0.0),
    },
)

TASKS = (moving_after, steps_needed, batch_noise, recomputed_statistics, pytorch_step)
