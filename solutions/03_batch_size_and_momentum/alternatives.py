"""Other right answers, in cells `# %% task: what is other about it`.

Each is run where the answer stands in the notebook. What precedes the first cell is for the linter.
"""

import numpy as np


# %% moving_after: step by step
def moving_after(start, target, steps, momentum):
    value, share = np.array(start, dtype=float), 1.0
    for _ in range(steps):
        value = momentum * value + (1 - momentum) * target
        share *= momentum
    return value, share


# %% moving_after: float32
def moving_after(start, target, steps, momentum):
    share = np.float32(momentum) ** np.float32(steps)
    return np.float32(target) + share * np.float32(start - target), share


# %% moving_after: a helper and a warning
import warnings


def left(steps, momentum):
    warnings.warn("the start counts for long")
    return np.prod(np.full(steps, momentum))


def moving_after(start, target, steps, momentum):
    start -= target
    start *= left(steps, momentum)
    return [start + target, np.array(left(steps, momentum))]


# %% steps_needed: a loop
def steps_needed(momentum, share):
    steps, left = 0, 1.0
    while left > share:
        left *= momentum
        steps += 1
    return steps


# %% steps_needed: the first of many
def steps_needed(momentum, share):
    left = np.power(momentum, np.arange(100_000))
    return np.flatnonzero(left <= share)[0]


# %% steps_needed: the math module, the other base, a warning
import math
import warnings


def steps_needed(momentum, share):
    warnings.warn("logarithms")
    return -math.floor(-math.log2(share) / math.log2(momentum))


# %% batch_noise: float32
def batch_noise(variance, m):
    variance = np.float32(variance)
    return variance**0.5 * np.float32(m) ** -0.5, variance - variance / np.float32(m)


# %% batch_noise: one by one
import math


def batch_noise(variance, m):
    noise, expected = [], []
    for value in variance:
        noise.append(math.sqrt(value) / math.sqrt(m))
        expected.append((1 - 1 / m) * value)
    return np.array(noise), np.array(expected)


# %% batch_noise: what is left when the noise is taken off
def squared_noise(variance, m):
    print("batches of", m)
    return np.divide(variance, m)


def batch_noise(variance, m):
    lost = squared_noise(variance, m)
    variance -= lost
    return [np.sqrt(lost), variance]


# %% recomputed_statistics: mean of the squares minus square of the mean, in float64
def recomputed_statistics(means, variances, sizes):
    means, variances = means.astype("float64"), variances.astype("float64")
    mean = np.average(means, axis=0, weights=sizes)
    square = np.average(variances + means**2, axis=0, weights=sizes)
    return mean, square - mean**2


# %% recomputed_statistics: one batch after the other
def recomputed_statistics(means, variances, sizes):
    count, mean, total = 0, 0.0, 0.0
    for m, v, n in zip(means, variances, sizes):
        step = m - mean
        total = total + n * v + step**2 * count * n / (count + n)
        mean = mean + step * n / (count + n)
        count += n
    return mean, total / count


# %% recomputed_statistics: einsum, float32, a warning
import warnings


def recomputed_statistics(means, variances, sizes):
    warnings.warn("float32")
    weights = (sizes / np.sum(sizes)).astype("float32")
    mean = np.einsum("b,bc->c", weights, means.astype("float32"))
    within = np.einsum("b,bc->c", weights, variances.astype("float32"))
    return mean, within + np.einsum("b,bc->c", weights, np.float32(means - mean) ** 2)


# %% recomputed_statistics: examples that have these statistics
def recomputed_statistics(means, variances, sizes):
    # Half of a batch one standard deviation above its mean, half of it below: same statistics.
    spread = np.sqrt(variances)
    examples = np.repeat(
        np.concatenate([means - spread, means + spread]), np.tile(sizes, 2), axis=0
    )
    print(examples.shape)
    return examples.mean(axis=0), examples.var(axis=0)


# %% pytorch_step: flattened, ddof
def pytorch_step(running_mean, running_var, x, momentum=0.1):
    rows = x.reshape(-1, x.shape[-1])
    keep = 1.0 - momentum
    return (
        keep * running_mean + momentum * rows.mean(0),
        keep * running_var + momentum * rows.var(0, ddof=1),
        keep,
    )


# %% pytorch_step: a step towards the batch, float32
def pytorch_step(running_mean, running_var, x, momentum=0.1):
    x = np.float32(x)
    axes = tuple(range(x.ndim))[:-1]
    m = np.prod(x.shape[:-1])
    unbiased = ((x - x.mean(axes)) ** 2).sum(axes) / np.float32(m - 1)
    return (
        running_mean + np.float32(momentum) * (x.mean(axes) - running_mean),
        running_var + np.float32(momentum) * (unbiased - running_var),
        np.float32(1 - momentum),
    )


# %% pytorch_step: channel by channel, in place, with a warning
import statistics
import warnings


def pytorch_step(running_mean, running_var, x, momentum=0.1):
    warnings.warn("slow")
    for channel in range(x.shape[-1]):
        values = [float(value) for value in x[..., channel].ravel()]
        running_mean[channel] += momentum * (statistics.fmean(values) - running_mean[channel])
        running_var[channel] += momentum * (statistics.variance(values) - running_var[channel])
    return [running_mean, running_var, np.array(1 - momentum)]
