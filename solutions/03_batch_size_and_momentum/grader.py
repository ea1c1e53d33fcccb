"""Assignment 03: what is compared, on which inputs, and the mistakes that people make.

A mistake is the right answer with one thing changed, so that the change can be seen.
"""

import numpy as np

from course.grading.tasks import Mistake, Part, Task

# ---------------------------------------------------------------- 1. moving_after

AFTER = """def moving_after(start, target, steps, momentum):
    share = momentum**steps
    return share * start + (1 - share) * target, share
"""


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
    mistakes=(
        Mistake(
            "momentum reversed",
            "You multiply by the share that is taken in each step. Keras's `momentum` is the share that is kept.",
            AFTER.replace("momentum**steps", "(1 - momentum) ** steps"),
        ),
        Mistake(
            "the start fades in a straight line",
            "With you each step takes away the same amount of the start. It takes away the same part of what is "
            "left: go through two steps by hand.",
            AFTER.replace("momentum**steps", "max(0.0, 1 - steps * (1 - momentum))"),
        ),
        Mistake(
            "momentum times steps",
            "You multiply momentum by the number of steps, so that more of the start would be left the longer you "
            "train. What happens to the start in each step?",
            AFTER.replace("momentum**steps", "momentum * steps"),
        ),
        Mistake(
            "start and target swapped",
            "Your value moves away from what the batches give. After a great many steps, where must it be?",
            AFTER.replace(
                "share * start + (1 - share) * target", "share * target + (1 - share) * start"
            ),
        ),
        Mistake(
            "one step too few",
            "You are one step behind. Compare with the update rule for a single step.",
            AFTER.replace("momentum**steps", "momentum ** (steps - 1)"),
        ),
        Mistake(
            "one step too many",
            "You are one step ahead. What is left of the start after no step at all?",
            AFTER.replace("momentum**steps", "momentum ** (steps + 1)"),
        ),
        Mistake(
            "what came from the batches is missing",
            "Your value is what is left of the start, and nothing else: it fades to 0. What the steps took from the "
            "batches has to be added.",
            AFTER.replace("share * start + (1 - share) * target", "share * start"),
        ),
        Mistake(
            "the shares do not add up to 1",
            "Start and batches together count more than 1 with you, so the value overshoots. If a share is left of "
            "the start, how much can have come from the batches?",
            AFTER.replace("(1 - share) * target", "target"),
        ),
        Mistake(
            "the share that is gone",
            "Your share is what has been forgotten of the start. Before the first step, all of it is left.",
            AFTER.replace("target, share", "target, 1 - share"),
        ),
    ),
    alternatives={
        "step by step": """def moving_after(start, target, steps, momentum):
    value, share = np.array(start, dtype=float), 1.0
    for _ in range(steps):
        value = momentum * value + (1 - momentum) * target
        share *= momentum
    return value, share
""",
        "float32": """def moving_after(start, target, steps, momentum):
    share = np.float32(momentum) ** np.float32(steps)
    return np.float32(target) + share * np.float32(start - target), share
""",
        "a helper and a warning": """import warnings


def left(steps, momentum):
    warnings.warn("the start counts for long")
    return np.prod(np.full(steps, momentum))


def moving_after(start, target, steps, momentum):
    start -= target
    start *= left(steps, momentum)
    return [start + target, np.array(left(steps, momentum))]
""",
    },
)

# ---------------------------------------------------------------- 2. steps_needed

NEEDED = """def steps_needed(momentum, share):
    return int(np.ceil(np.log(share) / np.log(momentum)))
"""

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
    mistakes=(
        Mistake(
            "rounded down",
            "With your number of steps slightly more than `share` is still left. At most `share` may be left: "
            "which way must be rounded?",
            NEEDED.replace("np.ceil(", "np.floor("),
        ),
        Mistake(
            "rounded to the nearest",
            "Some of your numbers are one too small: the nearest whole number may lie just before the point. Put "
            "your answer into task 1 and look at the share.",
            NEEDED.replace("np.ceil(", "np.round("),
        ),
        Mistake(
            "not rounded",
            "You return a fraction of a step. A number of steps is a whole number (an `int`).",
            NEEDED.replace(
                "int(np.ceil(",
                "float((",
            ),
        ),
        Mistake(
            "one step too many",
            'Where a whole number of steps leaves exactly `share`, you take one more. "At most" includes the '
            "case of equality.",
            NEEDED.replace("np.ceil(", "1 + np.floor("),
        ),
        Mistake(
            "momentum reversed",
            "You have used the share that is taken in each step; then a momentum of 0.99 would be nearly done "
            "after a single step. What is the start multiplied with?",
            NEEDED.replace("np.log(momentum)", "np.log(1 - momentum)"),
        ),
        Mistake(
            "the start fades in a straight line",
            "You divide what has to go by what one step takes at first. But each step takes the same part of what "
            "is left, so it gets less and less.",
            NEEDED.replace("np.log(share) / np.log(momentum)", "(1 - share) / (1 - momentum)"),
        ),
        Mistake(
            "half-life in place of the share asked for",
            "Your number does not depend on `share`: it is the time in which the start halves.",
            NEEDED.replace("np.log(share)", "np.log(0.5)"),
        ),
        Mistake(
            "1 / (1 - momentum)",
            "1 / (1 - momentum) is the memory of the average: after so many steps about 37 % of the start is left, "
            "and not `share`.",
            NEEDED.replace("np.log(share) / np.log(momentum)", "1 / (1 - momentum) - 1e-9"),
        ),
        Mistake(
            "the rule of thumb",
            "5 / (1 - momentum) is the rule of thumb of lesson 03. It serves for a share of about 1 %, and exact it "
            "is not even there.",
            NEEDED.replace("np.log(share) / np.log(momentum)", "5 / (1 - momentum) - 1e-9"),
        ),
    ),
    alternatives={
        "a loop": """def steps_needed(momentum, share):
    steps, left = 0, 1.0
    while left > share:
        left *= momentum
        steps += 1
    return steps
""",
        "the first of many": """def steps_needed(momentum, share):
    left = np.power(momentum, np.arange(100_000))
    return np.flatnonzero(left <= share)[0]
""",
        "the math module, the other base, a warning": """import math
import warnings


def steps_needed(momentum, share):
    warnings.warn("logarithms")
    return -math.floor(-math.log2(share) / math.log2(momentum))
""",
    },
)

# ---------------------------------------------------------------- 3. batch_noise

NOISE = """def batch_noise(variance, m):
    return np.sqrt(variance / m), variance * (m - 1) / m
"""

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
    mistakes=(
        Mistake(
            "no square root",
            "Your noise is a variance. Asked for is the standard deviation, in the unit of x.",
            NOISE.replace("np.sqrt(variance / m)", "variance / m"),
        ),
        Mistake(
            "the root does not cover m",
            "Your noise falls with m: twice the batch, half the noise. The lesson measured a slope of -0.5 on "
            "logarithmic axes.",
            NOISE.replace("np.sqrt(variance / m)", "np.sqrt(variance) / m"),
        ),
        Mistake(
            "m - 1 under the root",
            "You divide by m - 1 under the root. The true variance is given here, so nothing has to be corrected "
            "for its estimate; and for a batch of one your noise would be infinite.",
            NOISE.replace("np.sqrt(variance / m)", "np.sqrt(variance / max(m - 1, 1))"),
        ),
        Mistake(
            "the noise of single values",
            "Your noise does not depend on the size of the batch: it is that of single values. The mean of many is "
            "steadier.",
            NOISE.replace("np.sqrt(variance / m)", "np.sqrt(variance) + 0 * variance"),
        ),
        Mistake(
            "biased variance taken for unbiased",
            "You expect the batch variance to be right on average. Its deviations are taken from the batch's own "
            "mean, which lies closer to the values than the true one.",
            NOISE.replace("variance * (m - 1) / m", "variance * 1.0"),
        ),
        Mistake(
            "bias in the wrong direction",
            "With you the batch variance is too large on average. For a batch of one it is always 0: what does "
            "your formula give there?",
            NOISE.replace("variance * (m - 1) / m", "variance * m / max(m - 1, 1)"),
        ),
        Mistake(
            "what is missing in place of what is left",
            "Your second result is by how much the batch variance falls short, not what is left of it. For a large "
            "batch nearly everything is left.",
            NOISE.replace("variance * (m - 1) / m", "variance / m"),
        ),
        Mistake(
            "factor for the variance put on the standard deviation",
            "You have squared the factor of the bias. (m - 1) / m already belongs to the variance.",
            NOISE.replace("variance * (m - 1) / m", "variance * ((m - 1) / m) ** 2"),
        ),
        Mistake(
            "results swapped",
            "The two results come in the wrong order: the noise first.",
            "def batch_noise(variance, m):\n    return variance * (m - 1) / m, np.sqrt(variance / m)\n",
        ),
    ),
    alternatives={
        "float32": """def batch_noise(variance, m):
    variance = np.float32(variance)
    return variance**0.5 * np.float32(m) ** -0.5, variance - variance / np.float32(m)
""",
        "one by one": """import math


def batch_noise(variance, m):
    noise, expected = [], []
    for value in variance:
        noise.append(math.sqrt(value) / math.sqrt(m))
        expected.append((1 - 1 / m) * value)
    return np.array(noise), np.array(expected)
""",
        "what is left when the noise is taken off": """def squared_noise(variance, m):
    print("batches of", m)
    return np.divide(variance, m)


def batch_noise(variance, m):
    lost = squared_noise(variance, m)
    variance -= lost
    return [np.sqrt(lost), variance]
""",
    },
)

# ---------------------------------------------------------------- 4. recomputed_statistics

RECOMPUTED = """def recomputed_statistics(means, variances, sizes):
    weights = sizes / sizes.sum()
    mean = weights @ means
    variance = weights @ (variances + (means - mean) ** 2)
    return mean, variance
"""


def _batches(seed, sizes, channels, drift=1.0, offset=0.0, dtype="float64"):
    """Statistics of the batches that a set of examples was cut into; with a `drift` the batches differ."""
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
    mistakes=(
        Mistake(
            "mean of the variances alone",
            "Your variance is that within the batches, on average. All examples together scatter more, because "
            "the batches lie in different places. What if every batch held one example?",
            RECOMPUTED.replace("variances + (means - mean) ** 2", "variances"),
        ),
        Mistake(
            "each batch counts the same",
            "A small batch counts as much as a large one with you. Each example has to count the same.",
            RECOMPUTED.replace("sizes / sizes.sum()", "np.ones(len(sizes)) / len(sizes)"),
        ),
        Mistake(
            "unweighted, and the spread between the batches missing",
            "You average means and variances as they are. Two things are missing: how many examples each batch "
            "stands for, and that the batches lie in different places.",
            RECOMPUTED.replace("sizes / sizes.sum()", "np.ones(len(sizes)) / len(sizes)").replace(
                "variances + (means - mean) ** 2", "variances"
            ),
        ),
        Mistake(
            "spread between the batches alone",
            "Your variance is that of the batch means. What the examples of one batch scatter around its mean is "
            "missing.",
            RECOMPUTED.replace("variances + (means - mean) ** 2", "(means - mean) ** 2"),
        ),
        Mistake(
            "moving average",
            "You let a moving average run over the batches: the last ones count most, and the start still counts. "
            "That is what recomputing is to replace.",
            """def recomputed_statistics(means, variances, sizes):
    mean, variance = np.zeros(means.shape[1]), np.ones(means.shape[1])
    for batch in range(len(sizes)):
        mean = 0.9 * mean + 0.1 * means[batch]
        variance = 0.9 * variance + 0.1 * variances[batch]
    return mean, variance
""",
        ),
        Mistake(
            "mean of the squares",
            "Your variance grows with the distance of the data from 0: you have the mean of x squared. From it "
            "something has to be subtracted.",
            RECOMPUTED.replace("(means - mean) ** 2", "means**2"),
        ),
        Mistake(
            "average of the standard deviations",
            "You average standard deviations and square the result. Variances add up, standard deviations do not.",
            RECOMPUTED.replace(
                "weights @ (variances + (means - mean) ** 2)", "(weights @ np.sqrt(variances)) ** 2"
            ),
        ),
        Mistake(
            "not divided by the number of examples",
            "Your results are sums: they grow with the number of examples.",
            RECOMPUTED.replace("sizes / sizes.sum()", "1.0 * sizes").replace(
                "(means - mean)", "(means - mean / sizes.sum())"
            ),
        ),
        Mistake(
            "unbiased variance",
            "You estimate the variance of a population, with n - 1. Asked for is the variance of these examples, "
            "as Keras would compute it if they came as one batch.",
            RECOMPUTED.replace(
                "return mean, variance",
                "return mean, variance * sizes.sum() / max(sizes.sum() - 1, 1)",
            ),
        ),
    ),
    alternatives={
        "mean of the squares minus square of the mean, in float64": """def recomputed_statistics(means, variances, sizes):
    means, variances = means.astype("float64"), variances.astype("float64")
    mean = np.average(means, axis=0, weights=sizes)
    square = np.average(variances + means**2, axis=0, weights=sizes)
    return mean, square - mean**2
""",
        "one batch after the other": """def recomputed_statistics(means, variances, sizes):
    count, mean, total = 0, 0.0, 0.0
    for m, v, n in zip(means, variances, sizes):
        step = m - mean
        total = total + n * v + step**2 * count * n / (count + n)
        mean = mean + step * n / (count + n)
        count += n
    return mean, total / count
""",
        "einsum, float32, a warning": """import warnings


def recomputed_statistics(means, variances, sizes):
    warnings.warn("float32")
    weights = (sizes / np.sum(sizes)).astype("float32")
    mean = np.einsum("b,bc->c", weights, means.astype("float32"))
    within = np.einsum("b,bc->c", weights, variances.astype("float32"))
    return mean, within + np.einsum("b,bc->c", weights, np.float32(means - mean) ** 2)
""",
        "examples that have these statistics": """def recomputed_statistics(means, variances, sizes):
    # Half of a batch one standard deviation above its mean, half of it below: the same mean and variance.
    spread = np.sqrt(variances)
    examples = np.repeat(np.concatenate([means - spread, means + spread]), np.tile(sizes, 2), axis=0)
    print(examples.shape)
    return examples.mean(axis=0), examples.var(axis=0)
""",
    },
)

# ---------------------------------------------------------------- 5. pytorch_step

STEP = """def pytorch_step(running_mean, running_var, x, momentum=0.1):
    axes = tuple(range(x.ndim - 1))
    m = x.size // x.shape[-1]
    mean = (1 - momentum) * running_mean + momentum * x.mean(axis=axes)
    variance = (1 - momentum) * running_var + momentum * x.var(axis=axes) * m / (m - 1)
    return mean, variance, 1 - momentum
"""


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
    mistakes=(
        Mistake(
            "Keras's convention",
            "You keep the share `momentum`, as Keras does. PyTorch's `momentum` is the share that is taken from "
            "the batch: with its default 0.1 nine tenths stay.",
            STEP.replace("momentum * x", "(1 - momentum) * x").replace(
                "(1 - momentum) * running", "momentum * running"
            ),
        ),
        Mistake(
            "biased variance",
            "Your running variance takes in the biased variance of the batch. PyTorch normalises with it, but "
            "stores another one: see the table of lesson 03, section 3.",
            STEP.replace(" * m / (m - 1)", ""),
        ),
        Mistake(
            "momentum not translated",
            "You hand PyTorch's momentum to Keras as it is. Then Keras would keep in each step only what PyTorch "
            "takes.",
            STEP.replace("variance, 1 - momentum", "variance, momentum"),
        ),
        Mistake(
            "correction on the old value as well",
            "You correct the whole sum for the bias, the old running variance included, which has been corrected "
            "before. It would grow from step to step.",
            STEP.replace(
                "(1 - momentum) * running_var + momentum * x.var(axis=axes) * m / (m - 1)",
                "((1 - momentum) * running_var + momentum * x.var(axis=axes)) * m / (m - 1)",
            ),
        ),
        Mistake(
            "written for dense layers only",
            "For a dense layer all is right. For feature maps you average over the images alone, so that every pixel gets "
            "statistics of its own. A channel has one mean and one variance.",
            STEP.replace("axes = tuple(range(x.ndim - 1))", "axes = 0").replace(
                "x.size // x.shape[-1]", "len(x)"
            ),
        ),
        Mistake(
            "m counts the images only",
            "For a dense layer your variance is right, for feature maps it is not. How many values of a channel are "
            "there in the batch?",
            STEP.replace("m = x.size // x.shape[-1]", "m = max(len(x), 2)"),
        ),
        Mistake(
            "correction in the wrong direction",
            "Your correction makes the variance smaller. The biased one is too small already.",
            STEP.replace("* m / (m - 1)", "* (m - 1) / m"),
        ),
        Mistake(
            "standard deviation in place of the variance",
            "What you take in is a standard deviation. It is a variance that is stored.",
            STEP.replace("x.var(axis=axes) * m / (m - 1)", "x.std(axis=axes, ddof=1)"),
        ),
        Mistake(
            "the shares do not add up to 1",
            "You keep the old statistics in full and add a part of the new ones, so they grow without end. What "
            "must the two shares add up to?",
            STEP.replace("(1 - momentum) * running", "running"),
        ),
        Mistake(
            "only this batch counts",
            "You replace the running statistics by those of the batch; `momentum` plays no part.",
            STEP.replace("(1 - momentum) * running_mean + momentum *", "").replace(
                "(1 - momentum) * running_var + momentum *", ""
            ),
        ),
    ),
    alternatives={
        "flattened, ddof": """def pytorch_step(running_mean, running_var, x, momentum=0.1):
    rows = x.reshape(-1, x.shape[-1])
    keep = 1.0 - momentum
    return keep * running_mean + momentum * rows.mean(0), keep * running_var + momentum * rows.var(0, ddof=1), keep
""",
        "a step towards the batch, float32": """def pytorch_step(running_mean, running_var, x, momentum=0.1):
    x = np.float32(x)
    axes = tuple(range(x.ndim))[:-1]
    m = np.prod(x.shape[:-1])
    unbiased = ((x - x.mean(axes)) ** 2).sum(axes) / np.float32(m - 1)
    return (
        running_mean + np.float32(momentum) * (x.mean(axes) - running_mean),
        running_var + np.float32(momentum) * (unbiased - running_var),
        np.float32(1 - momentum),
    )
""",
        "channel by channel, in place, with a warning": """import statistics
import warnings


def pytorch_step(running_mean, running_var, x, momentum=0.1):
    warnings.warn("slow")
    for channel in range(x.shape[-1]):
        values = [float(value) for value in x[..., channel].ravel()]
        running_mean[channel] += momentum * (statistics.fmean(values) - running_mean[channel])
        running_var[channel] += momentum * (statistics.variance(values) - running_var[channel])
    return [running_mean, running_var, np.array(1 - momentum)]
""",
    },
)

TASKS = (moving_after, steps_needed, batch_noise, recomputed_statistics, pytorch_step)
