"""Other right answers, in cells `# %% task: what is other about it`.

Each is run where the answer stands in the notebook. What precedes the first cell is for the linter.
"""

import numpy as np

softmax = None  # the function of the notebook


# %% dropout: choice
def dropout(x, rate, rng, training):
    mask = rng.choice([0, 1], size=x.shape, p=[rate, 1 - rate]) if training else np.ones_like(x)
    return (x * mask / (1 - rate) if training else x.copy()), mask


# %% dropout: binomial, float32
def dropout(x, rate, rng, training):
    x = x.astype("float32")
    if training:
        mask = rng.binomial(1, 1 - rate, x.shape).astype("float32")
        return np.multiply(mask, x) * np.float32(1 / (1 - rate)), mask
    return x, None


# %% dropout: in place, NumPy's old generator, a warning
import warnings


def coins(shape, rate):
    warnings.warn("NumPy's global generator")
    return np.random.rand(*shape) < 1 - rate


def dropout(x, rate, rng, training):
    if training:
        mask = coins(x.shape, rate)
        x[~mask] = 0
        x /= 1 - rate
        return x, mask
    return x, np.full(x.shape, True)


# %% dropout: value by value
def dropout(x, rate, rng, training):
    y, mask = np.zeros(x.shape), np.zeros(x.shape, dtype=int)
    for place in np.ndindex(x.shape):
        if not training or rng.uniform() > rate:
            mask[place] = 1
            y[place] = x[place] / (1 - rate) if training else x[place]
    return [y, mask]


# %% dropout_backward: where
def dropout_backward(dy, mask, rate):
    return np.where(mask, dy / (1 - rate), 0)


# %% dropout_backward: in place, float32
def dropout_backward(dy, mask, rate):
    dx = np.array(dy, dtype="float32")
    dx[~np.broadcast_to(mask, dy.shape)] = 0
    dx /= np.float32(1 - rate)
    return dx


# %% dropout_backward: einsum, and a warning
import warnings


def dropout_backward(dy, mask, rate):
    warnings.warn("einsum")
    mask = np.broadcast_to(mask, dy.shape).astype(dy.dtype)
    return np.einsum("...,...->...", dy, mask) * (1 - rate) ** -1


# %% dropout_backward: the derivative at work
def forward(x, mask, rate):
    return x * mask / (1 - rate)


def dropout_backward(dy, mask, rate):
    # The forward pass is linear in x, so its derivative is what it does to 1.
    return dy * forward(np.ones_like(dy), mask, rate)


# %% spatial_dropout: repeated over the positions
def spatial_dropout(x, rate, rng, training):
    if training:
        coins = rng.binomial(1, 1 - rate, size=(x.shape[0], x.shape[3]))
        mask = np.repeat(np.repeat(coins[:, None, None, :], x.shape[1], axis=1), x.shape[2], axis=2)
        x = np.where(mask == 1, x / (1 - rate), 0.0)
    return x


# %% spatial_dropout: einsum, float32, a warning
import warnings


def spatial_dropout(x, rate, rng, training):
    if not training:
        warnings.warn("nothing to do")
        return x.copy()
    scales = (rng.random((len(x), x.shape[-1])) >= rate).astype("float32") / np.float32(1 - rate)
    return np.einsum("nhwc,nc->nhwc", x.astype("float32"), scales)


# %% spatial_dropout: map by map
def keep(rate):
    return np.random.uniform() > rate


def spatial_dropout(x, rate, rng, training):
    y = np.array(x)
    if training:
        y /= 1 - rate
        for image in range(y.shape[0]):
            for channel in range(y.shape[-1]):
                if not keep(rate):
                    y[image, :, :, channel] = 0
    return y


# %% mc_dropout: a running sum, float32
def mc_dropout(predict, x, passes):
    total = 0
    for _ in range(passes):
        z = np.exp(predict(x).astype("float32"))
        total = total + z / z.sum(axis=1, keepdims=True)
    mean = total / np.float32(passes)
    return mean, -np.einsum("nc,nc->n", mean, np.log(mean))


# %% mc_dropout: all passes in one batch
def mc_dropout(predict, x, passes):
    logits = predict(np.concatenate([x] * passes))
    mean = softmax(logits).reshape(passes, len(x), -1).mean(axis=0)
    return mean, np.sum(mean * -np.log(np.maximum(mean, 1e-12)), axis=-1)


# %% mc_dropout: example by example, with a warning
import warnings


def entropy_of(p):
    return float(sum(-value * np.log(value) for value in p if value > 0))


def mc_dropout(predict, x, passes):
    warnings.warn("slow")
    means = []
    for example in x:
        answers = [softmax(predict(example[None]))[0] for _ in range(passes)]
        means.append(sum(answers) / passes)
    return np.array(means), np.array([entropy_of(p) for p in means])


# %% calibration_error: bin by bin
def calibration_error(probabilities, labels, bins=10):
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    chosen = np.minimum((confidence * bins).astype(int), bins - 1)
    terms, weights = [], []
    for number in range(bins):
        inside = chosen == number
        if inside.any():
            terms.append(abs(confidence[inside].mean() - right[inside].mean()))
            weights.append(inside.mean())
    return np.dot(terms, weights)


# %% calibration_error: bincount
def calibration_error(probabilities, labels, bins=10):
    confidence, right = np.max(probabilities, axis=-1), np.argmax(probabilities, axis=-1) == labels
    number = np.clip(np.floor(confidence * bins), 0, bins - 1).astype(int)
    return np.abs(np.bincount(number, weights=confidence - right, minlength=bins)).sum() / len(
        right
    )


# %% calibration_error: borders on the right, float32, a warning
import warnings


def calibration_error(probabilities, labels, bins=10):
    probabilities = np.float32(probabilities)
    confidence, right = probabilities.max(1), np.float32(probabilities.argmax(1) == labels)
    error = np.float32(0)
    for low in np.arange(bins) / bins:
        inside = (confidence > low) & (confidence <= low + 1 / bins + 1e-6)
        if not inside.any():
            warnings.warn("an empty bin")
            continue
        error += inside.mean(dtype="float32") * abs(
            right[inside].mean() - confidence[inside].mean()
        )
    return np.array(error)


# %% calibration_error: histogram
def calibration_error(probabilities, labels, bins=10):
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    sums = [
        np.histogram(confidence, bins, range=(0, 1), weights=weights)[0]
        for weights in (confidence, right)
    ]
    print(sums)
    return float(np.abs(np.subtract(*sums)).sum() / confidence.size)
