"""Normalisation and dropout in plain NumPy, forward and backward, to be read.

Every function is pure. Common to all of them:

x : float32 or float64, finite, channels last: (N, F) for dense layers, (N, L, C) for sequences,
    (N, H, W, C) for images. Results have the dtype of x.
gamma, beta : scale and shift, one number a channel, shape (C,).
dy : gradient of the loss with respect to the output y, of its shape; dx, dgamma, dbeta likewise.
Raises : TypeError (no float array, no generator) or ValueError; the message says what to do.
    NaN is refused: it would spoil its whole channel, then the moving statistics for ever, silently.

Sources: Ioffe & Szegedy 2015, Batch Normalization (arXiv:1502.03167); Ba, Kiros & Hinton 2016,
Layer Normalization (1607.06450); Ulyanov, Vedaldi & Lempitsky 2016, Instance Normalization
(1607.08022); Wu & He 2018, Group Normalization (1803.08494); Srivastava et al. 2014, Dropout
(JMLR 15, 1929-1958); Tompson et al. 2015, Efficient Object Localization Using Convolutional
Networks (1411.4280).
"""

from typing import NamedTuple

import numpy as np

from course.config import check_number, check_rate

# ---------------------------------------------------------------- normalisation


class NormCache(NamedTuple):
    """What a normalisation remembers for its backward pass, and for the moving statistics."""

    mean: np.ndarray  # (C,) for batch norm, x.shape[:-1] for layer norm, (N, groups) for group norm
    variance: np.ndarray  # likewise; biased (divided by m), in units of x squared
    x_hat: np.ndarray  # the normalised values, like x
    inv_std: np.ndarray  # 1 / sqrt(variance + epsilon), shaped to broadcast
    gamma: np.ndarray
    axes: tuple  # of the values that share a mean and a variance ...
    shape: tuple  # ... in an array of this shape


def _normalize(x, gamma, beta, epsilon, axes, shape):
    """The one mechanism behind batch, layer, group and instance norm (Wu & He 2018, eq. 1, 2, 6).

    They differ only in the set of values that share a mean and a variance: `axes`. Group norm
    splits the channel axis in two first (`shape`), which makes its groups a set of axes too.
    """
    gamma, beta = _per_channel("gamma", gamma, x), _per_channel("beta", beta, x)
    epsilon = _epsilon(epsilon)
    values = x.reshape(shape)
    # Summed in float64: over the 50,000 pixels of a batch of images float32 loses three digits.
    mean = values.mean(axes, keepdims=True, dtype="float64").astype(x.dtype)
    variance = ((values - mean) ** 2).mean(axes, keepdims=True, dtype="float64").astype(x.dtype)
    inv_std = 1.0 / np.sqrt(variance + epsilon)
    x_hat = ((values - mean) * inv_std).reshape(x.shape)
    mean, variance = mean.squeeze(axes), variance.squeeze(axes)
    return gamma * x_hat + beta, NormCache(mean, variance, x_hat, inv_std, gamma, axes, shape)


def batch_norm_train(x, gamma, beta, *, epsilon=1e-3):
    """Batch norm in training: each channel normalised by the statistics of this batch.

    Ioffe & Szegedy 2015, Algorithm 1; section 3.2 for images: one mean and one variance a
    channel, over N, H and W. A dense batch of one is allowed: it is its own mean, so y = beta.

    Parameters
    ----------
    x : array (N, ..., C)
    gamma, beta : array (C,)
    epsilon : float > 0, in units of x squared; Keras uses 1e-3, PyTorch 1e-5

    Returns
    -------
    y : array like x
    cache : NormCache for `batch_norm_backward`; its mean and variance are for `update_moving`
    """
    x = _floats("x", x, min_ndim=2)
    return _normalize(x, gamma, beta, epsilon, axes=tuple(range(x.ndim - 1)), shape=x.shape)


def batch_norm_backward(dy, cache):
    """Gradients (dx, dgamma, dbeta) of batch, layer, group and instance norm.

    Ioffe & Szegedy 2015, section 3, the (unnumbered) chain-rule equations, simplified.

    Parameters
    ----------
    dy : array like y
    cache : NormCache of the forward pass
    """
    dy = _like("dy", dy, cache.x_hat)
    dgamma, dbeta = _affine_backward(dy, cache.x_hat)
    dx_hat = (dy * cache.gamma).reshape(cache.shape)
    x_hat = cache.x_hat.reshape(cache.shape)

    # x_i reaches x_hat_j = (x_j - mean) / sqrt(variance + epsilon) on three paths. For each, the
    # paper's term divided by the common factor inv_std:
    # 1. directly, for j = i;
    direct = dx_hat
    # 2. through the mean, to which x_i contributes 1/m. (The paper's second term, the mean
    #    inside the variance, vanishes, because the sum of x - mean is zero.)
    through_mean = -dx_hat.mean(cache.axes, keepdims=True)
    # 3. through the variance: d variance / d x_i = 2 (x_i - mean) / m, and
    #    d x_hat_j / d variance = -(x_j - mean) / 2 * (variance + epsilon)^(-3/2).
    through_variance = -x_hat * (dx_hat * x_hat).mean(cache.axes, keepdims=True)

    dx = cache.inv_std * (direct + through_mean + through_variance)
    return dx.reshape(dy.shape), dgamma, dbeta


# The cache knows which values share their statistics, so one backward serves all four.
layer_norm_backward = group_norm_backward = instance_norm_backward = batch_norm_backward


def update_moving(moving, batch_value, momentum=0.99):
    """One step of a moving mean or variance: momentum * moving + (1 - momentum) * batch_value.

    Keras's convention: `momentum` is the share KEPT, and the variance is the biased one, that
    with which the batch was normalised. PyTorch differs twice: its `momentum` (0.1) is the share
    TAKEN from the batch, so it is Keras's 0.9; and its running variance is unbiased, as in Ioffe
    & Szegedy 2015, Algorithm 2, step 10. PyTorch's step, with m values a channel, is
    `update_moving(running_var, cache.variance * m / (m - 1), momentum=0.9)`.

    Parameters
    ----------
    moving : array (C,); Keras starts means at 0 and variances at 1
    batch_value : array (C,), `cache.mean` or `cache.variance`
    momentum : float in [0, 1]

    Returns
    -------
    array (C,), the new value
    """
    moving = _floats("moving", moving)
    batch_value = _like("batch_value", batch_value, moving)
    momentum = check_number("momentum", momentum, "the share kept, from 0 to 1", least=0, most=1)
    return momentum * moving + (1.0 - momentum) * batch_value


def batch_norm_infer(x, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    """Batch norm at inference, y alone: moving statistics, so each sample stands by itself.

    Ioffe & Szegedy 2015, Algorithm 2, step 11. moving_mean, moving_variance: arrays (C,), see
    `update_moving`. epsilon: the same as in training. The rest: as `batch_norm_train`.
    """
    x = _floats("x", x, min_ndim=2)
    gamma, beta = _per_channel("gamma", gamma, x), _per_channel("beta", beta, x)
    x_hat, _ = _standardize(x, moving_mean, moving_variance, epsilon)
    return gamma * x_hat + beta


def batch_norm_infer_backward(dy, x, gamma, moving_mean, moving_variance, epsilon=1e-3):
    """Gradients (dx, dgamma, dbeta) of `batch_norm_infer`, whose parameters it shares.

    Its statistics are constants, which leaves the direct path. In training, where they are not,
    this dx would be wrong: the silent bug of "detached statistics".
    """
    x = _floats("x", x, min_ndim=2)
    dy, gamma = _like("dy", dy, x), _per_channel("gamma", gamma, x)
    x_hat, inv_std = _standardize(x, moving_mean, moving_variance, epsilon)
    return dy * gamma * inv_std, *_affine_backward(dy, x_hat)


def layer_norm(x, gamma, beta, *, epsilon=1e-3):
    """Layer norm over the last axis, the default of keras.layers.LayerNormalization.

    Ba et al. 2016, eq. 3 (section 3) for the statistics, eq. 4 (section 3.1) with gain gamma and
    bias beta; the paper has no epsilon. The batch plays no part: training equals inference. On
    images this takes each pixel by itself; the layer norm over (H, W, C) of Wu & He 2018 is
    `group_norm` with one group. Parameters and results: as `batch_norm_train`.
    """
    x = _floats("x", x, min_ndim=2)
    return _normalize(x, gamma, beta, epsilon, axes=(x.ndim - 1,), shape=x.shape)


def group_norm(x, gamma, beta, groups, *, epsilon=1e-3):
    """Group norm: each sample and each group of neighbouring channels, over all positions.

    Wu & He 2018, section 3.1, eq. 7. `groups` is an int that divides C: 1 is layer norm over
    (H, W, C), C is instance norm. Other parameters and results: as `batch_norm_train`.
    """
    x = _floats("x", x, min_ndim=2)
    channels = x.shape[-1]
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    if not isinstance(groups, (int, np.integer)) or groups not in divisors:
        raise ValueError(f"groups={groups!r} must divide the {channels} channels: {divisors}.")
    axes = (*range(1, x.ndim - 1), x.ndim)  # all but sample and group
    shape = (*x.shape[:-1], groups, channels // groups)
    return _normalize(x, gamma, beta, epsilon, axes, shape)


def instance_norm(x, gamma, beta, *, epsilon=1e-3):
    """Instance norm: each sample and channel, over all positions (Ulyanov et al. 2016).

    Group norm with one channel a group. (N, F) data have one position only, so there y = beta.
    Parameters and results: as `batch_norm_train`.
    """
    x = _floats("x", x, min_ndim=2)
    return group_norm(x, gamma, beta, groups=x.shape[-1], epsilon=epsilon)


# ---------------------------------------------------------------- dropout
# `rate` is the probability of DROPPING, as in Keras and PyTorch. The p of Srivastava et al. 2014
# is the probability of KEEPING, 1 - rate. Keras accepts rate=1 too and returns zeros; here it is
# refused: 1 / (1 - rate) does not exist, and a layer that drops everything is a mistake.


def dropout_mask(shape, rate, rng):
    """Independent coin throws of that shape: True (keep) with probability 1 - rate.

    rng is a numpy.random.Generator, made once for all calls, e.g. np.random.default_rng(0).
    """
    rate = check_rate("rate", rate)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng={rng!r} must be a generator, made once: rng = np.random.default_rng(0). (A seed "
            "at each call would draw the same mask each time.)"
        )
    return rng.random(shape) >= rate


def inverted_dropout(x, rate, rng, training):
    """Dropout as in Keras and PyTorch: scaled in TRAINING, the identity at inference.

    In training y = x * mask / (1 - rate), which has expectation x and variance
    rate / (1 - rate) * x**2. Named as an alternative in Srivastava et al. 2014, section 10.

    Parameters
    ----------
    x : array of any shape
    rate : float in [0, 1), probability of dropping
    rng : numpy.random.Generator, not used at inference
    training : bool

    Returns
    -------
    y : array like x
    mask : bool array like x (True: kept) for `dropout_backward`; None at inference
    """
    x, rate = _floats("x", x), check_rate("rate", rate)
    if not training:
        return x.copy(), None
    mask = dropout_mask(x.shape, rate, rng)
    return np.where(mask, x, 0) / (1.0 - rate), mask  # x * mask, without its -0.0


def spatial_dropout(x, rate, rng, training):
    """Inverted dropout of whole channels: one throw a sample and channel (Tompson et al. 2015).

    x is (N, L, C) or (N, H, W, C) and the mask (N, 1, C) or (N, 1, 1, C): neighbouring pixels
    are alike, so to drop single ones would hide little. Otherwise as `inverted_dropout`.
    """
    x, rate = _floats("x", x, min_ndim=3), check_rate("rate", rate)
    if not training:
        return x.copy(), None
    mask = dropout_mask((len(x), *[1] * (x.ndim - 2), x.shape[-1]), rate, rng)
    return np.where(mask, x, 0) / (1.0 - rate), mask


def dropout_backward(dy, mask, rate):
    """dx of `inverted_dropout` and `spatial_dropout`: the same mask, the same scale.

    Parameters
    ----------
    dy : array like y
    mask : bool array of the forward pass; None at inference
    rate : float in [0, 1), probability of dropping
    """
    dy, rate = _floats("dy", dy), check_rate("rate", rate)
    return dy.copy() if mask is None else np.where(_mask(mask, dy), dy, 0) / (1.0 - rate)


def classic_dropout(x, rate, rng, training):
    """Dropout as first published: unscaled in training, times 1 - rate at INFERENCE.

    Srivastava et al. 2014, section 4. (They scale the outgoing weights, which for the next layer
    is the same.) Neither Keras nor PyTorch does this. Parameters, results: as `inverted_dropout`.
    """
    x, rate = _floats("x", x), check_rate("rate", rate)
    if not training:
        return x * (1.0 - rate), None
    mask = dropout_mask(x.shape, rate, rng)
    return np.where(mask, x, 0), mask


# ---------------------------------------------------------------- small helpers, then checks


def _affine_backward(dy, x_hat):
    """dgamma and dbeta: all positions of a channel share its gamma and beta."""
    positions = tuple(range(dy.ndim - 1))
    return (dy * x_hat).sum(positions), dy.sum(positions)


def _standardize(x, moving_mean, moving_variance, epsilon):
    mean = _per_channel("moving_mean", moving_mean, x)
    variance = _per_channel("moving_variance", moving_variance, x)
    if (variance < 0).any():
        raise ValueError("moving_variance has a negative entry. Is it swapped with moving_mean?")
    inv_std = 1.0 / np.sqrt(variance + _epsilon(epsilon))
    return (x - mean) * inv_std, inv_std


def _floats(name, value, min_ndim=0):
    value = np.asarray(value)
    if value.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{name} has dtype {value.dtype}; convert it: {name}.astype('float32'). (Half "
            "precision overflows in a variance; Keras computes it in float32, too.)"
        )
    if value.ndim < min_ndim or value.size == 0:
        layout = "(N, L, C) or (N, H, W, C)" if min_ndim == 3 else "(N, F) or (N, H, W, C)"
        raise ValueError(f"{name} has shape {value.shape}; it needs the form {layout}, not empty.")
    if not np.isfinite(value).all():
        bad = np.count_nonzero(~np.isfinite(value))
        raise ValueError(
            f"{bad} of the {value.size} values of {name} are NaN or infinite; they would spread. "
            f"Find them: np.argwhere(~np.isfinite({name}))."
        )
    return value


def _per_channel(name, value, x):
    value = _floats(name, np.asarray(value, dtype=x.dtype))
    if value.shape != x.shape[-1:]:
        raise ValueError(
            f"{name} has shape {value.shape}, but the last axis of x, of shape {x.shape}, has "
            f"{x.shape[-1]} channels. Are its channels first? Then np.moveaxis(x, 1, -1)."
        )
    return value


def _like(name, value, array):
    value = _floats(name, value)
    if value.shape != array.shape:
        raise ValueError(f"{name} has shape {value.shape}; expected {array.shape}.")
    return value.astype(array.dtype, copy=False)


def _mask(mask, dy):
    mask = np.asarray(mask)
    fits = mask.ndim == dy.ndim and all(
        m in (1, d) for m, d in zip(mask.shape, dy.shape, strict=True)
    )
    if mask.dtype != bool or not fits:
        raise ValueError(
            f"mask of shape {mask.shape} and dtype {mask.dtype} is not a boolean one for dy of "
            f"shape {dy.shape}; pass the mask that the forward pass returned."
        )
    return mask


def _epsilon(value):
    what = "a number above 0 (a variance of zero would divide by zero)"
    return check_number("epsilon", value, what, above=0)
