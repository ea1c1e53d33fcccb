"""One model in two modes: what it computes in training, what at inference, and the step between."""

import keras
import numpy as np

BatchNorm = keras.layers.BatchNormalization
LOSS = "sparse_categorical_crossentropy"


def evaluate(model, x, y, *, training=False, batch_size=1_000):
    """Mean cross-entropy loss and accuracy of a softmax classifier, in either mode.

    Parameters
    ----------
    model : keras.Model
        Outputs probabilities of shape (N, classes).
    x : array of shape (N, height, width, channels)
    y : array of int, shape (N,)
    training : bool
        Mode of dropout, batch norm and augmentation. True moves the moving statistics.
    batch_size : int
        Images at a time; in training mode, the batches that batch norm sees.

    Returns
    -------
    dict
        "loss" (nats) and "accuracy" (0 to 1).
    """
    return scores(predict(model, x, training=training, batch_size=batch_size), y)


def predict(model, x, *, training=False, batch_size=1_000):
    """A model's outputs of shape (N, classes), in either mode; arguments as for `evaluate`."""
    # Called directly: Keras's own `predict` compiles a graph first, which costs more than it saves.
    outputs = [model(part, training=training) for part in parts(x, batch_size)]
    return np.concatenate([keras.ops.convert_to_numpy(output) for output in outputs])


def call(model, x, training_layers=()):
    """Run a chain of layers with some of them in training mode and the rest in inference mode.

    `model(x, training=True)` switches batch norm *and* dropout; this, one kind at a time.

    `training_layers` are the layer classes to run in training mode: one, such as
    keras.layers.Dropout, or a tuple. Returns outputs of shape (N, classes).
    """
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):  # a Sequential lists none
            x = layer(x, training=isinstance(layer, training_layers))
    return keras.ops.convert_to_numpy(x)


def recompute_statistics(model, x, batch_size=500):
    """Replace the moving statistics of every batch norm by averages over `x`, with dropout off.

    "Precise BN" (Wu and Johnson 2021, section 3): the weights stay as they are, and each batch
    counts the same, where the moving average of training favours the last ones and still holds its
    start. The model, a chain of layers, is changed in place; `x` are training images, of which a
    left-over batch is left out.
    """
    norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    before = [(layer.momentum, layer.trainable) for layer in norms]
    try:
        for layer in norms:
            layer.trainable = True  # a frozen layer would not take the new statistics
        for number in range(max(1, len(x) // batch_size)):
            for layer in norms:
                # Keeping number / (number + 1) of the old average weighs all batches alike.
                layer.momentum = number / (number + 1)
            call(model, x[number * batch_size : (number + 1) * batch_size], BatchNorm)
    finally:
        for layer, (momentum, trainable) in zip(norms, before, strict=True):
            layer.momentum, layer.trainable = momentum, trainable


def gradients(model, x, y):
    """Gradient of the mean cross-entropy loss in training mode, by trainable variable.

    It is read from the momentum after one step of an optimizer, and not from the change of the
    weights, in which rounding would swallow a small gradient. The model itself is left as it was;
    arguments as for `evaluate`. Returns arrays by the path of the variable, "dense_1/kernel".
    """
    check_precision(model)
    probe = keras.models.clone_model(model)
    probe.set_weights(model.get_weights())
    # Keras's momentum after the first step is minus the learning rate times the gradient.
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    probe.compile(optimizer, loss=LOSS)
    stop_before_softmax(probe).run_eagerly = True
    probe.train_on_batch(x, y)
    return {
        variable.path: -keras.ops.convert_to_numpy(momentum)
        for variable, momentum in zip(probe.trainable_variables, optimizer.momentums, strict=True)
    }


def stop_before_softmax(model):
    """Make a model put out logits, and its loss take them; `probabilities` are their softmax.

    But for TensorFlow, Keras takes the loss of probabilities, and clips them at 1e-7: a network
    that is quite wrong had no gradient. A loss of a builder's own stays, and the model as it is.
    """
    last = model.layers[-1]
    if model.loss == LOSS and getattr(last, "activation", 0) is keras.activations.softmax:
        last.activation = keras.activations.linear
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(model.optimizer, loss=loss, metrics=["accuracy"])
    return model


def check_precision(model=None):
    """Refuse settings of Keras that the numbers of the course do not hold for."""
    config = keras.config
    found = {config.floatx(), config.dtype_policy().name, config.image_data_format()}
    found |= {layer.compute_dtype for layer in model.layers} if model else set()
    if wrong := found - {"float32", "channels_last"}:
        raise ValueError(
            "The course computes in float32, with images whose channels come last. Undo what"
            " keras.config or .keras/keras.json says else (set_dtype_policy, set_floatx,"
            f" set_image_data_format): {', '.join(sorted(wrong))} was found."
        )


def parts(x, size):
    """An array in pieces of so many images."""
    return (x[start : start + size] for start in range(0, len(x), size))


def scores(probabilities, y):
    """ "loss" (cross-entropy, nats) and "accuracy" of probabilities of shape (N, classes)."""
    chosen = np.clip(probabilities[np.arange(len(y)), y], keras.config.epsilon(), 1.0)
    return {
        "loss": float(-np.log(chosen).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == y).mean()),
    }


def confidence_bins(probabilities, y, bins=10):
    """Sort predictions into equally wide bins of confidence, the probability of the chosen class.

    Returns three arrays, a number for each bin: how many predictions it has, their mean confidence,
    and the fraction that is right; 0 where a bin is empty. What a diverged run predicts is in the
    first, with confidence NaN.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    chosen = np.minimum((np.nan_to_num(confidence, posinf=0) * bins).astype(int), bins - 1)
    count = np.bincount(chosen, minlength=bins)
    sums = (np.bincount(chosen, values, minlength=bins) for values in (confidence, right))
    return count, *(total / np.maximum(count, 1) for total in sums)
