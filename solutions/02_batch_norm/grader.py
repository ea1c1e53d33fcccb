"""Assignment 02: what is compared, on which inputs, and the mistakes that people make.

A mistake is the right answer with one thing changed, so that the change can be seen.
"""

import numpy as np

from course.grading.tasks import Mistake, Part, Task


def _layer(seed, shape, offset=1.0, spread=2.0, dtype="float64"):
    """An input, channels last, each channel with its own place and spread, and gamma and beta to go with it."""
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

# Hints that serve in several tasks.
NO_ROOT = (
    "You divide by the variance. Its unit is the square of that of x; what has the unit of x? Test with a feature "
    "whose variance is far from 1, and look at the spread of what comes out."
)
EPSILON_OUTSIDE = (
    "Your epsilon stands in the wrong place. For a variance of 1 hardly anybody would notice; for a tiny one it "
    "makes a factor of ten and more. Compare with step 3 of lesson 02, section 1: what stands under the root?"
)
NO_EPSILON = (
    "Your epsilon has no effect. It matters as soon as the variance comes down to its size: a feature that is "
    "(nearly) constant in the batch would be blown up."
)
NO_AFFINE = (
    "Your output has mean 0 and spread 1 whatever gamma and beta are. Step 4 is missing: scale and shift, one pair "
    "a channel."
)
SWAPPED = "Gamma and beta have changed places. One scales, the other shifts: which is 1, and which 0, at the start of training?"

# ---------------------------------------------------------------- 1. batch_norm_train

TRAIN = """def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    mean = x.mean(axis=0)
    variance = ((x - mean) ** 2).mean(axis=0)
    x_hat = (x - mean) / np.sqrt(variance + epsilon)
    return gamma * x_hat + beta, mean, variance
"""

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
    mistakes=(
        Mistake(
            "variance divided by n - 1",
            "Your variance is too large, by the factor n / (n - 1). That is the estimate for a whole population. "
            "Normalisation wants the spread of these n values.",
            TRAIN.replace(
                "((x - mean) ** 2).mean(axis=0)",
                "((x - mean) ** 2).sum(axis=0) / max(len(x) - 1, 1)",
            ),
        ),
        Mistake(
            "statistics of each example",
            "Your statistics run along the features of one example: that is layer norm. Batch norm compares the "
            "examples, feature by feature. How many means should there be, and along which axis must be averaged "
            "to leave that many?",
            TRAIN.replace(".mean(axis=0)", ".mean(axis=1, keepdims=True)"),
        ),
        Mistake(
            "statistics of each example, which do not fit",
            "Shapes (N, F) and (N,) do not go together, hence the error. The shape is not the real trouble: you average "
            "along the features of one example. Batch norm compares the examples, feature by feature: along which axis "
            "must be averaged to leave one mean a feature?",
            TRAIN.replace(".mean(axis=0)", ".mean(axis=1)"),
        ),
        Mistake(
            "one mean and variance for all features",
            "You have one mean and one variance for the whole batch. Each feature gets its own: a mean of shape "
            "(F,).",
            TRAIN.replace(".mean(axis=0)", ".mean()"),
        ),
        Mistake(
            "no square root",
            NO_ROOT,
            TRAIN.replace("np.sqrt(variance + epsilon)", "(variance + epsilon)"),
        ),
        Mistake(
            "epsilon outside the root",
            EPSILON_OUTSIDE,
            TRAIN.replace("np.sqrt(variance + epsilon)", "(np.sqrt(variance) + epsilon)"),
        ),
        Mistake("no epsilon", NO_EPSILON, TRAIN.replace("variance + epsilon", "variance + 1e-30")),
        Mistake(
            "gamma and beta missing", NO_AFFINE, TRAIN.replace("gamma * x_hat + beta", "x_hat")
        ),
        Mistake(
            "gamma and beta swapped",
            SWAPPED,
            TRAIN.replace("gamma * x_hat + beta", "beta * x_hat + gamma"),
        ),
        Mistake(
            "shifted before it is scaled",
            "Your shift is scaled along with the rest. The mean of the output must come out as beta, whatever gamma "
            "is: in which order do scale and shift come?",
            TRAIN.replace("gamma * x_hat + beta", "gamma * (x_hat + beta)"),
        ),
        Mistake(
            "standard deviation returned for the variance",
            "Your output is right, but what you return as the variance is its root. The moving statistics of the "
            "next task need the variance.",
            TRAIN.replace("mean, variance\n", "mean, np.sqrt(variance)\n"),
        ),
        Mistake(
            "the mean is not subtracted",
            "You divide by the spread without having moved the mean to 0 first. Look at the mean of your output for "
            "gamma 1 and beta 0.",
            TRAIN.replace("x_hat = (x - mean)", "x_hat = x"),
        ),
        Mistake(
            "mean of the squares minus square of the mean",
            "On paper your variance is right. In float32, with a mean far from 0, two large and nearly equal "
            "numbers are subtracted, and rounding is all that is left. Subtract the mean before you square.",
            TRAIN.replace(
                "((x - mean) ** 2).mean(axis=0)", "np.maximum((x**2).mean(axis=0) - mean**2, 0)"
            ),
            recognised=False,  # rounding errors are not the same on every machine
        ),
    ),
    alternatives={
        "NumPy's own functions, float32": """def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    x = np.asarray(x, dtype="float32")
    mean, variance = np.mean(x, 0), np.var(x, 0)
    return np.float32(gamma) * (x - mean) / np.sqrt(variance + np.float32(epsilon)) + np.float32(beta), mean, variance
""",
        "einsum": """def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    count = len(x)
    mean = np.einsum("nf->f", x) / count
    centred = x - mean
    variance = np.einsum("nf,nf->f", centred, centred) / count
    slope = gamma * (variance + epsilon) ** -0.5
    return np.einsum("nf,f->nf", centred, slope) + beta, mean, variance
""",
        "loops": """def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    y, means, variances = np.empty(x.shape), [], []
    for feature in range(x.shape[1]):
        column = [float(value) for value in x[:, feature]]
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        for example, value in enumerate(column):
            y[example, feature] = gamma[feature] * (value - mean) / (variance + epsilon) ** 0.5 + beta[feature]
        means.append(mean)
        variances.append(variance)
    return y, np.array(means), np.array(variances)
""",
        "float64, a helper and a warning": """import warnings


def standardise(values, epsilon):
    mean, spread = values.mean(axis=0), values.std(axis=0)
    warnings.warn("a batch is small")
    return (values - mean) / np.hypot(spread, epsilon**0.5), mean, spread


def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    x_hat, mean, spread = standardise(x.astype("float64"), epsilon)
    x[:] = 0  # the caller's array is not needed any more
    return [x_hat * gamma + beta, mean, spread**2]
""",
    },
)

# ---------------------------------------------------------------- 2. update_moving

UPDATE = """def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    mean = momentum * moving_mean + (1 - momentum) * x.mean(axis=0)
    variance = momentum * moving_variance + (1 - momentum) * x.var(axis=0)
    return mean, variance
"""


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
    mistakes=(
        Mistake(
            "momentum reversed",
            "You take from the batch what should be kept, and keep what should be taken: PyTorch's convention. What "
            "does Keras's `momentum` say, and what would a momentum of 1 do to the moving mean?",
            UPDATE.replace("momentum * moving", "(1 - momentum) * moving").replace(
                "(1 - momentum) * x", "momentum * x"
            ),
        ),
        Mistake(
            "unbiased variance",
            "The variance that you put in is the unbiased one, divided by n - 1. PyTorch does so; Keras stores the "
            "variance with which it has normalised the batch.",
            UPDATE.replace("x.var(axis=0)", "x.var(axis=0, ddof=1 if len(x) > 1 else 0)"),
        ),
        Mistake(
            "standard deviation in place of the variance",
            "You average standard deviations into a moving variance. Inference will take the root of it once more.",
            UPDATE.replace("x.var(axis=0)", "x.std(axis=0)"),
        ),
        Mistake(
            "statistics of each example",
            "You average along the features of one example, which leaves one number an example. The moving statistics "
            "hold one number a feature.",
            UPDATE.replace("axis=0", "axis=1"),
        ),
        Mistake(
            "only this batch counts",
            "You replace the old statistics by those of the batch, as momentum 0 would. A single batch is noisy, "
            "and the moving values are there to average over many.",
            UPDATE.replace("momentum * moving_mean + (1 - momentum) * ", "").replace(
                "momentum * moving_variance + (1 - momentum) * ", ""
            ),
        ),
        Mistake(
            "the shares do not add up to 1",
            "You shrink the old value and add the new one in full, so the result grows from step to step, beyond "
            "all data. What must the two shares add up to?",
            UPDATE.replace("(1 - momentum) * x", "x"),
        ),
        Mistake(
            "both count half",
            "You take the plain mean of old and new; `momentum` plays no part.",
            UPDATE.replace("momentum * moving", "0.5 * moving").replace(
                "(1 - momentum) * x", "0.5 * x"
            ),
        ),
        Mistake(
            "deviations from the moving mean",
            "Your variance takes the deviations from the moving mean. As long as that is still on its way, its "
            "distance from the batch is counted as spread. The variance of a batch is about the mean of that batch.",
            UPDATE.replace("x.var(axis=0)", "((x - mean) ** 2).mean(axis=0)"),
        ),
        Mistake(
            "the variance is not updated",
            "You update the mean and leave the variance as it was. Both are moving averages, by the same rule.",
            UPDATE.replace(
                "momentum * moving_variance + (1 - momentum) * x.var(axis=0)", "moving_variance"
            ),
        ),
        Mistake(
            "mean and variance swapped",
            "The two results come in the wrong order. A variance can never be negative: is there a negative number "
            "in yours?",
            UPDATE.replace("return mean, variance", "return variance, mean"),
        ),
    ),
    alternatives={
        "a step towards the batch": """def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    def towards(old, new):
        return old + (new - old) * (1 - momentum)

    mean = np.add.reduce(x) / len(x)
    return towards(moving_mean, mean), towards(moving_variance, np.square(x - mean).mean(0))
""",
        "in place": """def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    moving_mean *= momentum
    moving_mean += (1 - momentum) * x.mean(axis=0)
    moving_variance *= momentum
    moving_variance += (1 - momentum) * x.var(axis=0)
    return moving_mean, moving_variance
""",
        "np.average, float32, a print": """def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    print("momentum", momentum)
    shares = np.float32([momentum, 1 - momentum])
    pairs = [(moving_mean, x.mean(axis=0)), (moving_variance, x.var(axis=0))]
    return tuple(np.average(np.float32(pair), axis=0, weights=shares) for pair in pairs)
""",
        "loops": """def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    means, variances = [], []
    for old_mean, old_variance, column in zip(moving_mean, moving_variance, x.T):
        mean = sum(column) / len(column)
        variance = sum((column - mean) ** 2) / len(column)
        means.append(momentum * old_mean + (1 - momentum) * mean)
        variances.append(momentum * old_variance + (1 - momentum) * variance)
    return np.array(means), np.array(variances)
""",
    },
)

# ---------------------------------------------------------------- 3. batch_norm_infer

INFER = """def batch_norm_infer(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    x_hat = (x - moving_mean) / np.sqrt(moving_variance + epsilon)
    return gamma * x_hat + beta
"""


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
    mistakes=(
        Mistake(
            "statistics of the batch",
            "You normalise with the statistics of the batch: training mode. At inference an example must get the "
            "same answer whatever its neighbours are, also when it is alone.",
            INFER.replace("x - moving_mean", "x - x.mean(axis=0)").replace(
                "moving_variance + eps", "x.var(axis=0) + eps"
            ),
        ),
        Mistake(
            "variance of the batch",
            "Your mean is the stored one, your variance that of the batch. At inference nothing may come from the "
            "neighbours.",
            INFER.replace("moving_variance + epsilon", "x.var(axis=0) + epsilon"),
        ),
        Mistake(
            "moving statistics updated first",
            "You update the moving statistics before you use them. That is for training only: at inference they "
            "stand still, or else the answer would depend on what was asked before.",
            INFER.replace(
                "    x_hat",
                "    moving_mean = 0.99 * moving_mean + 0.01 * x.mean(axis=0)\n    moving_variance = 0.99 * "
                "moving_variance + 0.01 * x.var(axis=0)\n    x_hat",
            ),
        ),
        Mistake("no square root", NO_ROOT, INFER.replace("/ np.sqrt(", "/ (")),
        Mistake(
            "epsilon outside the root",
            EPSILON_OUTSIDE,
            INFER.replace(
                "np.sqrt(moving_variance + epsilon)", "(np.sqrt(moving_variance) + epsilon)"
            ),
        ),
        Mistake(
            "no epsilon",
            "Your epsilon has no effect. It has to be the same as in training, or inference scales quiet features "
            "in another way than the following layers have learnt.",
            INFER.replace("moving_variance + epsilon", "moving_variance + 1e-30"),
        ),
        Mistake(
            "gamma and beta missing", NO_AFFINE, INFER.replace("gamma * x_hat + beta", "x_hat")
        ),
        Mistake(
            "gamma and beta swapped",
            SWAPPED,
            INFER.replace("gamma * x_hat + beta", "beta * x_hat + gamma"),
        ),
        Mistake(
            "multiplied by the spread",
            "You multiply by the root where you should undo the spread: wide features get wider still.",
            INFER.replace("/ np.sqrt", "* np.sqrt"),
        ),
    ),
    alternatives={
        "one slope and one offset": """def batch_norm_infer(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    slope = gamma / np.sqrt(moving_variance + epsilon)
    return x * slope + (beta - slope * moving_mean)
""",
        "float32, and a warning": """import warnings


def batch_norm_infer(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    warnings.warn("inference mode")
    x, gamma, beta, mean, variance = [np.asarray(a, "float32") for a in (x, gamma, beta, moving_mean, moving_variance)]
    return (x - mean) * np.reciprocal(np.sqrt(variance + np.float32(epsilon))) * gamma + beta
""",
        "example by example": """def batch_norm_infer(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    root = (moving_variance + epsilon) ** 0.5
    return np.stack([gamma * (example - moving_mean) / root + beta for example in x])
""",
    },
)

# ---------------------------------------------------------------- 4. batch_norm_conv

CONV = """def batch_norm_conv(x, gamma, beta, epsilon=1e-3):
    mean = x.mean(axis=(0, 1, 2))
    variance = ((x - mean) ** 2).mean(axis=(0, 1, 2))
    y = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta
    return y, mean, variance
"""

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
    mistakes=(
        Mistake(
            "per pixel",
            "Every pixel of a channel has a mean of its own with you, as if the maps had been flattened. The same "
            "filter slides over all positions, so all positions share the statistics of their channel.",
            CONV.replace("(axis=(0, 1, 2))", "(axis=0)"),
        ),
        Mistake(
            "per image",
            "Each image is normalised by itself with you: that is instance norm. Batch norm takes the statistics "
            "over the batch as well.",
            CONV.replace("(axis=(0, 1, 2))", "(axis=(1, 2), keepdims=True)"),
        ),
        Mistake(
            "per image, which does not fit",
            "Your means have the shape (N, C), one for each image and channel, and that does not fit the maps, hence the "
            "error. Batch norm has one for each channel: over which axes does that leave you to average?",
            CONV.replace("(axis=(0, 1, 2))", "(axis=(1, 2))"),
        ),
        Mistake(
            "channels taken to be first",
            "Your statistics belong to the rows of pixels: axis 1 is the channel in PyTorch (N, C, H, W), but here "
            "the channel comes last.",
            CONV.replace("(axis=(0, 1, 2))", "(axis=(0, 2, 3), keepdims=True)"),
        ),
        Mistake(
            "over the channels of an image as well",
            "You have one mean an image, over all its channels: that is layer norm as Wu and He draw it. Batch norm "
            "keeps the channels apart and puts the images together.",
            CONV.replace("(axis=(0, 1, 2))", "(axis=(1, 2, 3), keepdims=True)"),
        ),
        Mistake(
            "over the channels of a pixel",
            "You average over the last axis, the channels, so that each pixel is normalised by itself. Which axis "
            "must be left over?",
            CONV.replace("(axis=(0, 1, 2))", "(axis=-1, keepdims=True)"),
        ),
        Mistake(
            "one mean for everything",
            "You have a single mean for all channels. Each channel is a filter of its own, with a scale of its own.",
            CONV.replace("(axis=(0, 1, 2))", "()"),
        ),
        Mistake(
            "mean of the variances of the images",
            "Your mean is right, your variance too small: you average the variances within the images. What is "
            "missing is how much the images differ from one another.",
            CONV.replace(
                "((x - mean) ** 2).mean(axis=(0, 1, 2))", "x.var(axis=(1, 2)).mean(axis=0)"
            ),
        ),
        Mistake(
            "variance divided by m - 1",
            "Your variance is a little too large: it is the estimate for a population. Normalisation wants the "
            "spread of these m = N·H·W values.",
            CONV.replace("((x - mean) ** 2).mean(axis=(0, 1, 2))", "x.var(axis=(0, 1, 2), ddof=1)"),
        ),
        Mistake(
            "sum over the images in place of the mean",
            "You have divided the sums by H·W alone, so your statistics grow with the number of images. How many "
            "values share one mean?",
            CONV.replace(
                "x.mean(axis=(0, 1, 2))", "x.sum(axis=(0, 1, 2)) / (x.shape[1] * x.shape[2])"
            ).replace(
                "** 2).mean(axis=(0, 1, 2))",
                "** 2).sum(axis=(0, 1, 2)) / (x.shape[1] * x.shape[2])",
            ),
        ),
        Mistake(
            "no square root",
            NO_ROOT,
            CONV.replace("np.sqrt(variance + epsilon)", "(variance + epsilon)"),
        ),
        Mistake(
            "gamma and beta missing", NO_AFFINE, CONV.replace("gamma * ", "").replace(" + beta", "")
        ),
    ),
    alternatives={
        "flattened to (N·H·W, C)": """def batch_norm_conv(x, gamma, beta, epsilon=1e-3):
    rows = x.reshape(-1, x.shape[-1])
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    y = gamma * (rows - mean) / np.sqrt(variance + epsilon) + beta
    return y.reshape(x.shape), mean, variance
""",
        "channels moved to the front, one by one, float32": """def batch_norm_conv(x, gamma, beta, epsilon=1e-3):
    results = []
    for channel, scale, shift in zip(np.moveaxis(x, -1, 0).astype("float32"), gamma, beta):
        mean, variance = channel.mean(), channel.var()
        results.append((scale * (channel - mean) / np.sqrt(variance + epsilon) + shift, mean, variance))
    y, mean, variance = map(np.array, zip(*results))
    return np.moveaxis(y, 0, -1), mean, variance
""",
        "einsum, a print and a warning": """import warnings


def per_channel(values):
    return np.einsum("nhwc->c", values) / np.prod(values.shape[:3])


def batch_norm_conv(x, gamma, beta, epsilon=1e-3):
    print(x.shape)
    warnings.warn("einsum")
    centred = x - per_channel(x)
    variance = per_channel(centred**2)
    return np.einsum("nhwc,c->nhwc", centred, gamma / np.sqrt(variance + epsilon)) + beta, per_channel(x), variance
""",
    },
)

# ---------------------------------------------------------------- 5. batch_norm_backward

BACKWARD = """def batch_norm_backward(dy, x, gamma, epsilon=1e-3):
    axes = tuple(range(x.ndim - 1))
    m = x.size // x.shape[-1]
    s = np.sqrt(x.var(axis=axes) + epsilon)
    x_hat = (x - x.mean(axis=axes)) / s
    dgamma = (dy * x_hat).sum(axis=axes)
    dbeta = dy.sum(axis=axes)
    dx = gamma / s * (dy - dbeta / m - x_hat * dgamma / m)
    return dx, dgamma, dbeta
"""


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
    mistakes=(
        Mistake(
            "detached statistics",
            "Your dx takes the mean and the variance of the batch for constants: the silent bug of lesson 02, "
            "section 9. They depend on every x, so two of the three paths are missing.",
            BACKWARD.replace("(dy - dbeta / m - x_hat * dgamma / m)", "dy"),
        ),
        Mistake(
            "no path through the variance",
            "In your dx one path is missing. The sum of dx over a channel is 0, as it must be; is the sum of dx·x̂ "
            "(nearly) 0, too? What changes when one x moves, besides itself and the mean?",
            BACKWARD.replace(" - x_hat * dgamma / m", ""),
        ),
        Mistake(
            "no path through the mean",
            "In your dx one path is missing: the sum of dx over a channel must be 0, because a shift of the whole "
            "channel has no effect. Look at yours.",
            BACKWARD.replace(" - dbeta / m", ""),
        ),
        Mistake(
            "sign of the path through the variance",
            "The term through the variance has the wrong sign. Stretching the batch makes the root larger, and x̂ "
            "smaller.",
            BACKWARD.replace("- x_hat * dgamma / m", "+ x_hat * dgamma / m"),
        ),
        Mistake(
            "gamma missing in dx",
            "Your dx does not depend on gamma. On its way back the gradient passes step 4 first.",
            BACKWARD.replace("dx = gamma / s *", "dx = 1 / s *"),
        ),
        Mistake(
            "1 / s missing in dx",
            "Your dx is not divided by the root. Step 3 divides by it on the way forward, and so must the gradient "
            "on its way back.",
            BACKWARD.replace("dx = gamma / s *", "dx = gamma *"),
        ),
        Mistake(
            "sums not divided by m",
            "In your dx the two subtracted terms are too large, and the more so the larger the batch: each x has "
            "only a share of 1/m in the mean and in the variance.",
            BACKWARD.replace("dbeta / m", "dbeta").replace("dgamma / m", "dgamma"),
        ),
        Mistake(
            "written for dense layers only",
            "For a dense layer all is right. For feature maps your sums run over the images alone, so that every pixel has "
            "a mean, a variance, a gamma and a beta of its own. Which axes must the sums run over there?",
            BACKWARD.replace("axes = tuple(range(x.ndim - 1))", "axes = 0").replace(
                "x.size // x.shape[-1]", "len(x)"
            ),
        ),
        Mistake(
            "m counts the images only",
            "For a dense layer your dx is right, for images it is not. How many values share one mean there: N, or "
            "more?",
            BACKWARD.replace("m = x.size // x.shape[-1]", "m = len(x)"),
        ),
        Mistake(
            "means for dgamma and dbeta",
            "Your dgamma and dbeta are means. Every position of a channel uses the same gamma and beta, so what the "
            "positions contribute adds up. (Where a loss is a mean, dy holds the 1/m already.)",
            BACKWARD.replace("return dx, dgamma, dbeta", "return dx, dgamma / m, dbeta / m"),
        ),
        Mistake(
            "dgamma with x in place of x̂",
            "Your dgamma multiplies dy with x. What is it that gamma is multiplied with on the way forward?",
            BACKWARD.replace("return dx, dgamma,", "return dx, (dy * x).sum(axis=axes),"),
        ),
        Mistake(
            "gamma in dgamma",
            "There is a gamma too many in your dgamma: from y = gamma·x̂ + beta, what is the derivative with "
            "respect to gamma?",
            BACKWARD.replace("return dx, dgamma,", "return dx, gamma * dgamma,"),
        ),
        Mistake(
            "dgamma and dbeta swapped",
            "The last two results come in the wrong order. Which of them does not depend on x at all?",
            BACKWARD.replace("return dx, dgamma, dbeta", "return dx, dbeta, dgamma"),
        ),
    ),
    alternatives={
        "the box of the lesson, flattened": """def batch_norm_backward(dy, x, gamma, epsilon=1e-3):
    shape = x.shape
    dy, x = dy.reshape(-1, shape[-1]), x.reshape(-1, shape[-1])
    s = np.sqrt(x.var(axis=0) + epsilon)
    x_hat = (x - x.mean(axis=0)) / s
    dgamma, dbeta = (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    dx = gamma / (len(x) * s) * (len(x) * dy - dbeta - x_hat * dgamma)
    return dx.reshape(shape), dgamma, dbeta
""",
        "the paper's chain rule, term by term": """def batch_norm_backward(dy, x, gamma, epsilon=1e-3):
    axes = tuple(range(x.ndim - 1))
    m = np.prod(x.shape[:-1])
    mean, variance = x.mean(axis=axes), x.var(axis=axes)
    dx_hat = dy * gamma
    dvariance = (dx_hat * (x - mean)).sum(axis=axes) * -0.5 * (variance + epsilon) ** -1.5
    dmean = (-dx_hat / np.sqrt(variance + epsilon)).sum(axis=axes) + dvariance * (-2 * (x - mean)).sum(axis=axes) / m
    dx = dx_hat / np.sqrt(variance + epsilon) + dvariance * 2 * (x - mean) / m + dmean / m
    return dx, np.sum(dy * (x - mean) / np.sqrt(variance + epsilon), axis=axes), np.sum(dy, axis=axes)
""",
        "einsum and float32": """import warnings


def batch_norm_backward(dy, x, gamma, epsilon=1e-3):
    warnings.warn("float32")
    dy, x, gamma = np.float32(dy), np.float32(x), np.float32(gamma)
    rows, back = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
    centred = rows - rows.mean(axis=0)
    inverse = 1 / np.sqrt((centred**2).mean(axis=0) + np.float32(epsilon))
    x_hat = centred * inverse
    dgamma = np.einsum("mc,mc->c", back, x_hat)
    dx = gamma * inverse * (back - back.mean(axis=0) - x_hat * (dgamma / len(rows)))
    return dx.reshape(x.shape), dgamma, np.einsum("mc->c", back)
""",
        "the Jacobian matrix of each channel": """def jacobian(column, epsilon):
    m = len(column)
    s = np.sqrt(column.var() + epsilon)
    x_hat = (column - column.mean()) / s
    return (np.eye(m) - 1 / m - np.outer(x_hat, x_hat) / m) / s, x_hat


def batch_norm_backward(dy, x, gamma, epsilon=1e-3):
    columns, back = x.reshape(-1, x.shape[-1]).T, dy.reshape(-1, x.shape[-1]).T
    dx, dgamma = [], []
    for column, gradient, scale in zip(columns, back, gamma):
        matrix, x_hat = jacobian(column, epsilon)
        dx.append(scale * matrix @ gradient)
        dgamma.append(gradient @ x_hat)
    return np.array(dx).T.reshape(x.shape), np.array(dgamma), back.sum(axis=1)
""",
    },
)

TASKS = (batch_norm_train, update_moving, batch_norm_infer, batch_norm_conv, batch_norm_backward)
