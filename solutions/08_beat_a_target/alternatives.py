"""Other right answers, in cells `# %% task: what is other about it`.

Each is run where the answer stands in the notebook. What precedes the first cell is for the linter.
"""

import keras
import numpy as np
from scipy import stats


# %% count_parameters: pairs of widths
def count_parameters(channels, filters, units, classes, norm):
    widths = [channels, *filters]
    trained = sum(3 * 3 * before * after for before, after in zip(widths, widths[1:]))
    trained += sum(filters) * (2 if norm else 1)
    trained += widths[-1] * units + units + units * classes + classes
    return trained, 2 * sum(filters) * bool(norm)


# %% count_parameters: NumPy, a list
def count_parameters(channels, filters, units, classes, norm):
    filters = np.array(filters, dtype=int)
    seen = np.concatenate([[channels], filters])
    kernels = np.sum(9 * seen[:-1] * filters)
    dense = (seen[-1] + 1) * units + (units + 1) * classes
    return [kernels + dense + filters.sum() * (1 + norm), 2 * norm * filters.sum()]


# %% count_parameters: Keras counts, and a warning
import warnings


def count_parameters(channels, filters, units, classes, norm):
    warnings.warn("let Keras count")
    layers = [keras.Input((32, 32, channels))]
    for count in filters:
        layers.append(keras.layers.Conv2D(count, 3, padding="same", use_bias=not norm))
        if norm:
            layers.append(keras.layers.BatchNormalization())
    layers += [
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(units),
        keras.layers.Dense(classes),
    ]
    model = keras.Sequential(layers)
    return tuple(
        sum(int(np.prod(w.shape)) for w in group)
        for group in (model.trainable_weights, model.non_trainable_weights)
    )


# %% learning_rate: a loop
import math


def learning_rate(step, steps, peak, warmup):
    rates = []
    for number in step:
        if number < warmup:
            rates.append(peak * (number + 1) / warmup)
        else:
            rates.append(
                0.5 * peak * (1 + math.cos(math.pi * (number - warmup) / (steps - warmup)))
            )
    return np.array(rates)


# %% learning_rate: square of a cosine, float32
def learning_rate(step, steps, peak, warmup):
    s = np.asarray(step, dtype="float32")
    rates = peak * np.cos(np.pi / 2 * (s - warmup) / (steps - warmup)) ** 2
    rates[: max(warmup, 0)] = peak * np.arange(1, warmup + 1, dtype="float32") / max(warmup, 1)
    return rates


# %% learning_rate: Keras's schedule, and a warning
import warnings


def learning_rate(step, steps, peak, warmup):
    warnings.warn("let Keras do it")
    cosine = keras.optimizers.schedules.CosineDecay(peak, steps - warmup)
    return np.array(
        [
            peak * (n + 1) / warmup
            if n < warmup
            else float(keras.ops.convert_to_numpy(cosine(n - warmup)))
            for n in step
        ]
    )


# %% train_classifier: functional, without norm, logits
def train_classifier(images, labels):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 8, offset=-1)(inputs)
    x = keras.layers.Conv2D(16, 3, activation="relu")(x)
    x = keras.layers.MaxPooling2D(2)(x)
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    model.fit(images, labels, batch_size=75, epochs=15, verbose=0)
    return model


# %% train_classifier: norm behind the activation, shifted images, batches of its own, a warning
import warnings


def shifted(images, rng):
    return np.roll(images, rng.integers(-1, 2, size=2), axis=(1, 2))


def train_classifier(images, labels):
    warnings.warn("training")
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 60)
    model.compile(
        keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", jit_compile=False
    )
    for step in range(60):
        batch = rng.choice(len(images), 100, replace=False)
        model.train_on_batch(
            shifted(images[batch], rng) if step % 4 == 0 else images[batch], labels[batch]
        )
    return model


# %% train_classifier: a class, plain gradient descent, float64 images
class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)
        self.norm = keras.layers.BatchNormalization(momentum=0.8)
        self.flat = keras.layers.Flatten()
        self.last = keras.layers.Dense(10, activation="softmax")
        self.dropout = keras.layers.SpatialDropout2D(0.1)

    def call(self, images, training=None):
        x = keras.ops.relu(self.norm(self.conv(images / 16.0), training=training))
        return self.last(self.flat(self.dropout(x, training=training)))


def train_classifier(images, labels):
    model = Net()
    schedule = keras.optimizers.schedules.CosineDecay(0.2, 60)
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9),
        "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    model.fit(images.astype("float64"), labels, batch_size=100, epochs=20, verbose=0)
    return model


# %% paired_report: SciPy's own
def paired_report(treatment, control, smallest):
    result = stats.ttest_rel(treatment, control)
    interval = np.array(result.confidence_interval(0.95))
    names = {
        (True, False, False): "higher",
        (False, True, False): "lower",
        (False, False, True): "no difference that matters",
    }
    key = interval[0] > smallest, interval[1] < -smallest, bool(np.abs(interval).max() <= smallest)
    return np.mean(treatment - control), interval, names.get(key, "undecided")


# %% paired_report: by hand, a list
import math


def paired_report(treatment, control, smallest):
    pairs = [float(a) - float(b) for a, b in zip(treatment, control)]
    n, mean = len(pairs), math.fsum(pairs) / len(pairs)
    spread = math.sqrt(math.fsum((d - mean) ** 2 for d in pairs) / (n - 1))
    low, high = (
        mean + sign * stats.t(df=n - 1).isf(0.025) * spread / math.sqrt(n) for sign in (-1, 1)
    )
    if low > smallest or high < -smallest:
        return mean, np.array([low, high]), "higher" if low > 0 else "lower"
    within = low >= -smallest and high <= smallest
    return [mean, np.array([low, high]), "no difference that matters" if within else "undecided"]


# %% paired_report: a helper and a warning
import warnings


def interval_of(values):
    warnings.warn("an interval")
    return stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))


def paired_report(treatment, control, smallest):
    low, high = interval_of(treatment - control)
    verdict = "undecided"
    if low > smallest:
        verdict = "higher"
    if high < -smallest:
        verdict = "lower"
    if max(abs(low), abs(high)) <= smallest:
        verdict = "no difference that matters"
    return (low + high) / 2, np.array((low, high)), verdict
