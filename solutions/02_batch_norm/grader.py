"""Assignment 02: what is compared, and on which inputs."""

import numpy as np

from course.grading.tasks import Part, Task


def _layer(seed, shape, offset=1.0, spread=2.0, dtype="float64"):
    """An input, channels last, with gamma and beta; each channel has its own place and spread."""
    rng = np.random.default_rng(seed)
    channels = shape[-1]
    places = offset * np.linspace(-1, 1.5, channels)
    spreads = spread * np.linspace(0.5, 1.5, channels)
    x = places + spreads * rng.normal(size=shape)
    # The first axis drifts, so that statistics of single examples or rows are not those of all.
    x += spread * np.linspace(-1, 1, shape[0]).reshape((-1,) + (1,) * (len(shape) - 1))
    gamma, beta = (
        rng.uniform(0.5, 2, size=channels) * rng.choice([-1, 1], channels),
        rng.normal(size=channels),
    )
    return {"x": x.astype(dtype), "gamma": gamma.astype(dtype), "beta": beta.astype(dtype)}


OUTPUT = Part("y", 2, "the output y", rtol=1e-3, atol=2e-4)
MEAN = Part("mean", 1, "the mean", rtol=1e-4, atol=1e-5)
VARIANCE = Part("variance", 1, "the variance", rtol=1e-3, atol=1e-7)


# ---------------------------------------------------------------- 1. batch_norm_train


batch_norm_train = Task(
    id="batch_norm_train",
    parts=(OUTPUT, MEAN, VARIANCE),
    cases={
        "six examples": {**_layer(21, (6, 3)), "epsilon": 1e-3},
        "tiny variance": {**_layer(22, (5, 4), spread=0.01), "epsilon": 1e-3},
        "large offset, float32": {
            **_layer(23, (8, 3), offset=1000.0, dtype="float32"),
            "epsilon": 1e-5,
        },
    },
    hidden={
        "one example": {**_layer(24, (1, 3)), "epsilon": 1e-3},
        "two examples": {**_layer(25, (2, 5)), "epsilon": 1e-2},
        "as many examples as features": {**_layer(26, (4, 4)), "epsilon": 1e-3},
        "one feature": {**_layer(27, (9, 1), offset=-4.0), "epsilon": 1e-5},
        "a constant feature": {
            "x": np.array([[1.0, 2.0], [1.0, 4.0], [1.0, -3.0]]),
            "gamma": np.array([2.0, 3.0]),
            "beta": np.array([7.0, -1.0]),
            "epsilon": 1e-3,
        },
        "large spread, float32": {
            **_layer(28, (7, 2), offset=50.0, spread=300.0, dtype="float32"),
            "epsilon": 1e-3,
        },
    },
)

# ---------------------------------------------------------------- 2. update_moving


def _moving(seed, shape, momentum, offset=2.0, spread=2.0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return {
        "moving_mean": rng.normal(size=shape[-1]).astype(dtype),
        "moving_variance": rng.uniform(0.5, 3, size=shape[-1]).astype(dtype),
        "x": _layer(seed, shape, offset, spread, dtype)["x"],
        "momentum": momentum,
    }


update_moving = Task(
    id="update_moving",
    parts=(
        Part("moving_mean", 1, "the new moving mean", rtol=1e-4, atol=1e-5),
        Part("moving_variance", 2, "the new moving variance", rtol=1e-4, atol=1e-5),
    ),
    cases={
        "momentum 0.9": _moving(31, (4, 3), 0.9),
        "momentum 0.6": _moving(32, (6, 2), 0.6, spread=0.7),
    },
    hidden={
        "the first step": {
            "moving_mean": np.zeros(3),
            "moving_variance": np.ones(3),
            "x": _layer(33, (5, 3), offset=6.0)["x"],
            "momentum": 0.99,
        },
        "two examples, float32": _moving(34, (2, 4), 0.8, dtype="float32"),
        "one example": _moving(35, (1, 3), 0.7),
        "momentum 0": _moving(36, (5, 2), 0.0),
        "momentum 1": _moving(37, (5, 2), 1.0),
        "as many examples as features": _moving(38, (3, 3), 0.75),
    },
)

# ---------------------------------------------------------------- 3. batch_norm_infer


def _stored(seed, shape, epsilon, variance=3.0, offset=2.0, dtype="float64"):
    rng = np.random.default_rng(seed + 100)
    return {
        **_layer(seed, shape, offset, dtype=dtype),
        "moving_mean": rng.normal(size=shape[-1]).astype(dtype),
        "moving_variance": (variance * rng.uniform(0.3, 1, size=shape[-1])).astype(dtype),
        "epsilon": epsilon,
    }


batch_norm_infer = Task(
    id="batch_norm_infer",
    parts=(Part("y", 2, "the output y", rtol=1e-3, atol=2e-4),),
    cases={
        "five examples": _stored(41, (5, 3), 1e-3),
        "small moving variance": _stored(42, (4, 2), 1e-2, variance=0.02),
        "one example": _stored(43, (1, 4), 1e-3),
    },
    hidden={
        "as many examples as features": _stored(44, (3, 3), 1e-3),
        "images": _stored(45, (2, 3, 4, 2), 1e-3),
        "float32": _stored(46, (6, 2), 1e-5, dtype="float32"),
        "the start of training": {
            **_layer(47, (3, 2), offset=5.0),
            "moving_mean": np.zeros(2),
            "moving_variance": np.ones(2),
            "epsilon": 1e-3,
        },
        "a moving variance of 0": {
            **_stored(48, (3, 2), 1e-3),
            "moving_variance": np.array([0.0, 2.0]),
        },
    },
)

# ---------------------------------------------------------------- 4. batch_norm_conv


batch_norm_conv = Task(
    id="batch_norm_conv",
    parts=(OUTPUT, MEAN, VARIANCE),
    cases={
        "three images": {**_layer(51, (3, 4, 5, 2)), "epsilon": 1e-3},
        "quiet maps": {**_layer(52, (2, 5, 2, 3), spread=0.02), "epsilon": 1e-3},
    },
    hidden={
        "one image": {**_layer(53, (1, 3, 4, 2)), "epsilon": 1e-3},
        "one pixel": {**_layer(54, (6, 1, 1, 3)), "epsilon": 1e-3},
        "one channel, float32": {
            **_layer(55, (4, 3, 2, 1), offset=100.0, dtype="float32"),
            "epsilon": 1e-5,
        },
        "all axes alike": {**_layer(56, (3, 3, 3, 3)), "epsilon": 1e-2},
        "more channels than pixels": {**_layer(57, (2, 2, 3, 8)), "epsilon": 1e-3},
    },
)

# ---------------------------------------------------------------- 5. batch_norm_backward


def _backward(seed, shape, epsilon, spread=2.0, dtype="float64"):
    rng = np.random.default_rng(seed + 200)
    layer = _layer(seed, shape, spread=spread, dtype=dtype)
    # Not centred: a gradient of mean 0 would hide the path through the mean.
    dy = (0.7 + rng.normal(size=shape) + 0.4 * layer["x"] / spread).astype(dtype)
    return {"dy": dy, "x": layer["x"], "gamma": layer["gamma"], "epsilon": epsilon}


batch_norm_backward = Task(
    id="batch_norm_backward",
    parts=(
        Part("dx", 3, "the gradient dx", rtol=1e-3, atol=2e-4),
        Part("dgamma", 1, "the gradient dgamma", rtol=1e-3, atol=2e-4),
        Part("dbeta", 1, "the gradient dbeta", rtol=1e-3, atol=2e-4),
    ),
    cases={
        "a dense layer": _backward(61, (6, 3), 1e-3),
        "a convolution": _backward(62, (2, 3, 4, 2), 1e-3),
        "small variance": _backward(63, (5, 2), 1e-2, spread=0.2),
    },
    hidden={
        "one example": _backward(64, (1, 3), 1e-2),
        "two examples": _backward(65, (2, 4), 1e-3),
        "as many examples as features": _backward(66, (4, 4), 1e-3),
        "one image": _backward(67, (1, 3, 2, 3), 1e-3),
        "float32": _backward(68, (7, 3), 1e-3, dtype="float32"),
        "all axes alike": _backward(69, (2, 2, 2, 2), 1e-3),
    },
)

TASKS = (batch_norm_train, update_moving, batch_norm_infer, batch_norm_conv, batch_norm_backward)
