"""Other right answers, in cells `# %% task: what is other about it`.

Each is run where the answer stands in the notebook. What precedes the first cell is for the linter.
"""

import keras
import numpy as np


# %% RepairedDropout: keras.random.dropout
class RepairedDropout(keras.layers.Layer):
    def __init__(self, rate, **options):
        super().__init__(**options)
        self.rate, self.generator = rate, keras.random.SeedGenerator(5)

    def call(self, inputs, training=False):
        return (
            keras.random.dropout(inputs, self.rate, seed=self.generator)
            if training and self.rate
            else inputs
        )


# %% RepairedDropout: a layer of Keras inside
class RepairedDropout(keras.layers.Layer):
    def __init__(self, rate, **options):
        super().__init__(**options)
        self.inside = keras.layers.Dropout(rate)

    def call(self, inputs, training=None):
        return self.inside(inputs, training=training)


# %% RepairedDropout: a heir of Keras's layer, and a warning
import warnings


class RepairedDropout(keras.layers.Dropout):
    def __init__(self, rate, **options):
        warnings.warn("why write what is there")
        super().__init__(rate, **options)


# %% RepairedDropout: normal draws, where, float64
class RepairedDropout(keras.layers.Layer):
    def __init__(self, rate, **options):
        super().__init__(dtype="float64", **options)
        self.rate = rate
        self.seeds = keras.random.SeedGenerator(11)

    def call(self, inputs, training=None):
        if training:
            coins = keras.random.binomial(
                keras.ops.shape(inputs), 1, 1 - self.rate, seed=self.seeds
            )
            inputs = keras.ops.where(
                coins > 0.5, inputs / (1 - self.rate), keras.ops.zeros_like(inputs)
            )
        return inputs


# %% evaluate: all at once
def evaluate(model, images, labels, batch_size=32):
    outputs = model(images)
    losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)
    right = keras.ops.equal(
        keras.ops.argmax(outputs, axis=1), keras.ops.convert_to_tensor(labels, dtype="int64")
    )
    return keras.ops.mean(losses), keras.ops.mean(keras.ops.cast(right, "float32"))


# %% evaluate: metrics of Keras
def evaluate(model, images, labels, batch_size=32):
    loss = keras.metrics.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    for start in range(0, len(images), batch_size):
        some = slice(start, start + batch_size)
        outputs = model(images[some], training=False)
        loss.update_state(labels[some], outputs)
        accuracy.update_state(labels[some], outputs)
    return float(loss.result()), float(accuracy.result())


# %% evaluate: weighted batches, float64, a warning
import warnings


def weight(batch, images):
    warnings.warn("weighing")
    return len(batch) / len(images)


def evaluate(model, images, labels, batch_size=32):
    total = np.zeros(2)
    for start in range(0, len(images), batch_size):
        batch, answers = images[start : start + batch_size], labels[start : start + batch_size]
        z = np.asarray(keras.ops.convert_to_numpy(model(batch)), dtype="float64")
        losses = np.log(np.exp(z).sum(axis=1)) - z[range(len(answers)), answers]
        total += weight(batch, images) * np.array(
            [losses.mean(), (z.argmax(axis=1) == answers).mean()]
        )
    return tuple(total)


# %% evaluate: with a softmax
def evaluate(model, images, labels, batch_size=32):
    p = np.concatenate(
        [
            keras.ops.convert_to_numpy(
                keras.ops.softmax(model(images[start : start + batch_size], training=False))
            )
            for start in range(0, len(images), batch_size)
        ]
    )
    return -np.log(p[np.arange(len(labels)), labels]).mean(), np.mean(
        np.argmax(p, axis=-1) == labels
    )


# %% fine_tuning_model: base as a layer
def fine_tuning_model(base, classes, count):
    base.trainable = True
    number = sum(type(layer) is keras.layers.Dense for layer in base.layers)
    for layer in base.layers:
        if type(layer) is keras.layers.Dense:
            layer.trainable = number <= count
            number -= 1
        else:
            layer.trainable = False
    inputs = keras.Input(base.input_shape[1:])
    return keras.Model(
        inputs, keras.layers.Dense(classes, activation="softmax")(base(inputs, training=False))
    )


# %% fine_tuning_model: Sequential, and a softmax layer
def fine_tuning_model(base, classes, count):
    rest, base.trainable = count, True
    for layer in reversed(base.layers):
        is_dense = isinstance(layer, keras.layers.Dense)
        layer.trainable = is_dense and rest > 0
        rest -= is_dense
    return keras.Sequential([base, keras.layers.Dense(classes), keras.layers.Softmax()])


# %% fine_tuning_model: compiled, a helper and a warning
import warnings


def freeze(layers):
    warnings.warn("freezing")
    for layer in layers:
        layer.trainable = False


def fine_tuning_model(base, classes, count):
    freeze(base.layers)
    for layer in [layer for layer in base.layers if "kernel" in dir(layer)][-count:]:
        layer.trainable = True
    model = keras.Sequential(
        [*base.layers, keras.layers.Dense(classes, "softmax", kernel_initializer="zeros")]
    )
    model.build((None, *base.input_shape[1:]))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


# %% ported_norm: initialisers
def ported_norm(weight, bias, running_mean, running_var, momentum, eps):
    def these(values):
        return lambda shape, dtype=None: keras.ops.convert_to_tensor(
            np.reshape(values, shape), dtype=dtype
        )

    return keras.layers.BatchNormalization(
        axis=1,
        momentum=1 - momentum,
        epsilon=eps,
        gamma_initializer=these(weight),
        beta_initializer=these(bias),
        moving_mean_initializer=these(running_mean),
        moving_variance_initializer=these(running_var),
    )


# %% ported_norm: axes exchanged around it
def ported_norm(weight, bias, running_mean, running_var, momentum, eps):
    norm = keras.layers.BatchNormalization(momentum=1.0 - momentum, epsilon=eps)
    channels = len(weight)
    model = keras.Sequential(
        [
            keras.Input((channels, None, None)),
            keras.layers.Permute((2, 3, 1)),
            norm,
            keras.layers.Permute((3, 1, 2)),
        ]
    )
    norm.set_weights(
        [np.float32(weight), np.float32(bias), np.float32(running_mean), np.float32(running_var)]
    )
    return model


# %% ported_norm: assigned one by one, float64, a warning
import warnings


def ported_norm(weight, bias, running_mean, running_var, momentum, eps):
    warnings.warn("porting")
    layer = keras.layers.BatchNormalization(
        axis=-3, momentum=1 - momentum, epsilon=eps, dtype="float64"
    )
    layer.build((1, weight.size, 4, 4))
    layer.gamma.assign(weight)
    layer.beta.assign(bias)
    layer.moving_mean.assign(running_mean)
    layer.moving_variance.assign(running_var)
    return layer


# %% recalibrate: layer by layer
def recalibrate(model, batches):
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momentums = [layer.momentum for layer in norms]
    for number, batch in enumerate(batches):
        x = keras.ops.convert_to_tensor(batch)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 1 - 1 / (number + 1)
                x = layer(x, training=True)
            elif not isinstance(layer, (keras.layers.InputLayer, keras.layers.Dropout)):
                x = layer(x)
    for layer, momentum in zip(norms, momentums):
        layer.momentum = momentum
    return model


# %% recalibrate: each batch alone, then the mean
def recalibrate(model, batches):
    settings = [
        (layer, "momentum", layer.momentum) for layer in model.layers if hasattr(layer, "momentum")
    ]
    settings += [(layer, "rate", layer.rate) for layer in model.layers if hasattr(layer, "rate")]
    for layer, name, _ in settings:
        setattr(layer, name, 0.0)
    found = []
    for batch in batches:
        model(batch, training=True)
        found.append(model.get_weights())
    model.set_weights([np.mean(values, axis=0, dtype="float64") for values in zip(*found)])
    for layer, name, value in settings:
        setattr(layer, name, value)


# %% recalibrate: a copy without dropout, a warning
import warnings


def recalibrate(model, batches):
    warnings.warn("this changes the model")
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.Dropout)]
    same = keras.Sequential([keras.Input(model.input_shape[1:]), *layers])
    kept = {
        layer: layer.momentum
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    try:
        for step, batch in enumerate(batches, 1):
            for layer in kept:
                layer.momentum = (step - 1) / step
            same(batch, training=True)
    finally:
        for layer, momentum in kept.items():
            layer.momentum = momentum
