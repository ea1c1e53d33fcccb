"""Other right answers, in cells `# %% task: what is other about it`.

Each is run where the answer stands in the notebook. What precedes the first cell is for the linter.
"""

import numpy as np


# %% batch_norm_train: NumPy's own functions, float32
def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    x = np.asarray(x, dtype="float32")
    mean, variance = np.mean(x, 0), np.var(x, 0)
    return (
        np.float32(gamma) * (x - mean) / np.sqrt(variance + np.float32(epsilon)) + np.float32(beta),
        mean,
        variance,
    )


# %% batch_norm_train: einsum
def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    count = len(x)
    mean = np.einsum("nf->f", x) / count
    centred = x - mean
    variance = np.einsum("nf,nf->f", centred, centred) / count
    slope = gamma * (variance + epsilon) ** -0.5
    return np.einsum("nf,f->nf", centred, slope) + beta, mean, variance


# %% batch_norm_train: loops
def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    y, means, variances = np.empty(x.shape), [], []
    for feature in range(x.shape[1]):
        column = [float(value) for value in x[:, feature]]
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        for example, value in enumerate(column):
            y[example, feature] = (
                gamma[feature] * (value - mean) / (variance + epsilon) ** 0.5 + beta[feature]
            )
        means.append(mean)
        variances.append(variance)
    return y, np.array(means), np.array(variances)


# %% batch_norm_train: float64, a helper and a warning
import warnings


def standardise(values, epsilon):
    mean, spread = values.mean(axis=0), values.std(axis=0)
    warnings.warn("a batch is small")
    return (values - mean) / np.hypot(spread, epsilon**0.5), mean, spread


def batch_norm_train(x, gamma, beta, epsilon=1e-3):
    x_hat, mean, spread = standardise(x.astype("float64"), epsilon)
    x[:] = 0  # the caller's array is not needed any more
    return [x_hat * gamma + beta, mean, spread**2]


# %% update_moving: a step towards the batch
def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    def towards(old, new):
        return old + (new - old) * (1 - momentum)

    mean = np.add.reduce(x) / len(x)
    return towards(moving_mean, mean), towards(moving_variance, np.square(x - mean).mean(0))


# %% update_moving: in place
def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    moving_mean *= momentum
    moving_mean += (1 - momentum) * x.mean(axis=0)
    moving_variance *= momentum
    moving_variance += (1 - momentum) * x.var(axis=0)
    return moving_mean, moving_variance


# %% update_moving: np.average, float32, a print
def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    print("momentum", momentum)
    shares = np.float32([momentum, 1 - momentum])
    pairs = [(moving_mean, x.mean(axis=0)), (moving_variance, x.var(axis=0))]
    return tuple(np.average(np.float32(pair), axis=0, weights=shares) for pair in pairs)


# %% update_moving: loops
def update_moving(moving_mean, moving_variance, x, momentum=0.99):
    means, variances = [], []
    for old_mean, old_variance, column in zip(moving_mean, moving_variance, x.T):
        mean = sum(column) / len(column)
        variance = sum((column - mean) ** 2) / len(column)
        means.append(momentum * old_mean + (1 - momentum) * mean)
        variances.append(momentum * old_variance + (1 - momentum) * variance)
    return np.array(means), np.array(variances)


# %% batch_norm_infer: one slope and one offset
def batch_norm_infer(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    slope = gamma / np.sqrt(moving_variance + epsilon)
    return x * slope + (beta - slope * moving_mean)


# %% batch_norm_infer: float32, and a warning
import warnings


def batch_norm_infer(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    warnings.warn("inference mode")
    x, gamma, beta, mean, variance = [
        np.asarray(a, "float32") for a in (x, gamma, beta, moving_mean, moving_variance)
    ]
    return (x - mean) * np.reciprocal(np.sqrt(variance + np.float32(epsilon))) * gamma + beta


# %% batch_norm_infer: example by example
def batch_norm_infer(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    root = (moving_variance + epsilon) ** 0.5
    return np.stack([gamma * (example - moving_mean) / root + beta for example in x])


# %% batch_norm_conv: flattened to (N·H·W, C)
def batch_norm_conv(x, gamma, beta, epsilon=1e-3):
    rows = x.reshape(-1, x.shape[-1])
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    y = gamma * (rows - mean) / np.sqrt(variance + epsilon) + beta
    return y.reshape(x.shape), mean, variance


# %% batch_norm_conv: channels moved to the front, one by one, float32
def batch_norm_conv(x, gamma, beta, epsilon=1e-3):
    results = []
    for channel, scale, shift in zip(np.moveaxis(x, -1, 0).astype("float32"), gamma, beta):
        mean, variance = channel.mean(), channel.var()
        results.append(
            (scale * (channel - mean) / np.sqrt(variance + epsilon) + shift, mean, variance)
        )
    y, mean, variance = map(np.array, zip(*results))
    return np.moveaxis(y, 0, -1), mean, variance


# %% batch_norm_conv: einsum, a print and a warning
import warnings


def per_channel(values):
    return np.einsum("nhwc->c", values) / np.prod(values.shape[:3])


def batch_norm_conv(x, gamma, beta, epsilon=1e-3):
    print(x.shape)
    warnings.warn("einsum")
    centred = x - per_channel(x)
    variance = per_channel(centred**2)
    return (
        np.einsum("nhwc,c->nhwc", centred, gamma / np.sqrt(variance + epsilon)) + beta,
        per_channel(x),
        variance,
    )


# %% batch_norm_backward: the box of the lesson, flattened
def batch_norm_backward(dy, x, gamma, epsilon=1e-3):
    shape = x.shape
    dy, x = dy.reshape(-1, shape[-1]), x.reshape(-1, shape[-1])
    s = np.sqrt(x.var(axis=0) + epsilon)
    x_hat = (x - x.mean(axis=0)) / s
    dgamma, dbeta = (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    dx = gamma / (len(x) * s) * (len(x) * dy - dbeta - x_hat * dgamma)
    return dx.reshape(shape), dgamma, dbeta


# %% batch_norm_backward: the paper's chain rule, term by term
def batch_norm_backward(dy, x, gamma, epsilon=1e-3):
    axes = tuple(range(x.ndim - 1))
    m = np.prod(x.shape[:-1])
    mean, variance = x.mean(axis=axes), x.var(axis=axes)
    dx_hat = dy * gamma
    dvariance = (dx_hat * (x - mean)).sum(axis=axes) * -0.5 * (variance + epsilon) ** -1.5
    dmean = (-dx_hat / np.sqrt(variance + epsilon)).sum(axis=axes) + dvariance * (
        -2 * (x - mean)
    ).sum(axis=axes) / m
    dx = dx_hat / np.sqrt(variance + epsilon) + dvariance * 2 * (x - mean) / m + dmean / m
    return (
        dx,
        np.sum(dy * (x - mean) / np.sqrt(variance + epsilon), axis=axes),
        np.sum(dy, axis=axes),
    )


# %% batch_norm_backward: einsum and float32
import warnings


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


# %% batch_norm_backward: the Jacobian matrix of each channel
def jacobian(column, epsilon):
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
