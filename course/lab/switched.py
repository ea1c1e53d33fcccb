"""Measures that switch layers, change statistics or train on: all give the model back as it was.

They ask for a chain of layers, as `course.models` builds them; `fine_tuning` alone does not.
"""

from contextlib import contextmanager
from itertools import pairwise
from weakref import WeakKeyDictionary

import keras
import numpy as np

from course import modes, training

BatchNorm, Dropout = (
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
)  # spatial dropout is a Dropout, too
BATCH_SIZES = (1, 2, 8, 32, 128)
MOST_BATCHES = 250  # of a size: a thousand single images would take longer than the training
MOST_IMAGES = 2_000  # training images that statistics are taken of
SORTED_BATCHES = 15  # of the validation images, sorted by class
GAMMA, CONTRAST, BRIGHTNESS = 0.5, 0.4, 0.3  # of the shifted images
TUNING_IMAGES, TUNING_BATCH, TUNING_EPOCHS, TUNING_RATE = 100, 4, 2, 0.01


def recomputed(run, data):
    """Validation after statistics recomputed on training images, with dropout off
    (`modes.recompute_statistics`).
    """
    with borrowed(run) as model:
        modes.recompute_statistics(model, data.x_train[:MOST_IMAGES])
        found = modes.evaluate(model, data.x_validation, data.y_validation)
    return {f"recomputed_{name}": value for name, value in found.items()}


def batch_statistics(run, data):
    """Validation accuracy with the statistics of each batch: batch norm in training mode, dropout
    off.

    `batch_1_accuracy` to `batch_128_accuracy`: shuffled batches, at most 250 of a size.
    `sorted_accuracy`: 15 batches, sorted by class. `polluted_accuracy`: in inference mode, after
    the sorted pass has moved the moving statistics. Images that fill no batch are left out; fewer
    than 128 are one batch.
    """
    order = np.random.default_rng(run.config.seed).permutation(len(data.x_validation))
    size_of_sorted = max(1, len(order) // SORTED_BATCHES)
    by_class = order[: SORTED_BATCHES * size_of_sorted]
    by_class = by_class[np.argsort(data.y_validation[by_class], kind="stable")]
    with borrowed(run) as model:
        found = {
            f"batch_{size}_accuracy": _accuracy_in_batches(model, data, order, size)
            for size in BATCH_SIZES
        }
    with borrowed(run) as model:
        found["sorted_accuracy"] = _accuracy_in_batches(model, data, by_class, size_of_sorted)
        found["polluted_accuracy"] = modes.evaluate(model, data.x_validation, data.y_validation)[
            "accuracy"
        ]
    return found


def dropout_on(run, data, masks=5):
    """Validation with dropout left on and batch norm in inference mode: means over five passes.

    `flips`: the part of the predictions that differ from one pass to the next.
    """
    with borrowed(run) as model:
        found = list(passes(model, data.x_validation, masks))
    scores = [modes.scores(probabilities, data.y_validation) for probabilities in found]
    chosen = [probabilities.argmax(axis=1) for probabilities in found]
    return {
        "dropout_on_accuracy": np.mean([score["accuracy"] for score in scores]),
        "dropout_on_loss": np.mean([score["loss"] for score in scores]),
        "flips": np.mean([one != other for one, other in pairwise(chosen)]),
    }


def shifted(x):
    """Images of less contrast, and brighter, along a curve: another camera, or fog.

    Bent, because a straight line is what recomputed statistics take away by construction.
    """
    return CONTRAST * x**GAMMA + np.float32(BRIGHTNESS)


def adapted(run, data):
    """Validation accuracy on shifted images (see `shifted`), before and after statistics recomputed
    on up to 2,000 training images, shifted likewise, whose labels nobody needs (Li et al. 2016,
    AdaBN): `shifted_accuracy`, `adapted_accuracy`.
    """
    x, y = shifted(data.x_validation), data.y_validation
    with borrowed(run) as model:
        before = modes.evaluate(model, x, y)["accuracy"]
        modes.recompute_statistics(model, shifted(data.x_train[:MOST_IMAGES]))
        after = modes.evaluate(model, x, y)["accuracy"]
    return {"shifted_accuracy": before, "adapted_accuracy": after}


def fine_tuning(run, data):
    """Validation accuracy after 50 steps of SGD on 100 test images, four at a time.

    `tuned_accuracy` : batch norm in training mode, as `fit` has it.
    `tuned_frozen_accuracy` : batch norm frozen: inference mode, gamma and beta fixed.
    `tuned_shifted_accuracy`, `tuned_shifted_frozen_accuracy` : the same on shifted images (see
        `shifted`), to tune and to judge.

    All start from the same weights and see the same batches and masks. The images to tune on are
    those that the network has not seen and that nothing here is judged on.
    """
    count = min(TUNING_IMAGES, len(data.x_test)) // TUNING_BATCH * TUNING_BATCH
    rng = np.random.default_rng(run.config.seed)
    order = np.concatenate([rng.permutation(count) for _ in range(TUNING_EPOCHS)])
    found = {}
    for kind, images in (("", np.asarray), ("_shifted", shifted)):
        x, y = images(data.x_test[:count]), data.y_test[:count]
        for name, frozen in (("", False), ("_frozen", True)):
            twin = _twin(run.model, frozen)
            for variable, start in zip(_variables(twin), _variables(run.model), strict=True):
                variable.assign(_as_numpy(start))
            for batch in order.reshape(-1, TUNING_BATCH):
                twin.train_on_batch(x[batch], y[batch])
            logits = modes.predict(twin, images(data.x_validation))
            accuracy = np.mean(logits.argmax(axis=1) == data.y_validation)
            found[f"tuned{kind}{name}_accuracy"] = accuracy
    return found


# Clones that are fine-tuned, by the model and whether its batch norm is frozen. The seeds of an arm
# share one model, so they share the step compiled for its clone, too.
_TWINS = WeakKeyDictionary()


def _twin(model, frozen):
    twins = _TWINS.setdefault(model, {})
    if frozen not in twins:
        twin = keras.models.clone_model(model)
        for layer in twin.layers:
            layer.trainable = not (frozen and isinstance(layer, BatchNorm))
        twin.compile(keras.optimizers.SGD(TUNING_RATE), loss=training.LOSS)
        twins[frozen] = training.stop_before_softmax(twin)
    return twins[frozen]


def variance_shift(run, data, masks=30):
    """Variance at inference over variance in training, of the input of the first batch norm after
    a dropout.

    The dropout stands directly before the batch norm, or before one dense layer and then the batch
    norm. Everything in front of it is in inference mode, with fresh statistics. Means over the
    features that vary:

    shift_measured : variances over up to 2,000 training images; that of training over 30 masks an
    image, too. shift_predicted : 1 / (1 + p/q kappa), with the rate p, q = 1 - p, kappa = sum_i
    w_i^2 E[x_i^2] / (variance at
        inference), x the input of the dropout and w the weights of the dense layer; without one, w
        = 1 (lesson 08).
    shift_error : mean absolute difference of the two.
    shift_moving : variance at inference (nothing refreshed) over the moving variance.
    """
    layers, x = run.model.layers, data.x_train[:MOST_IMAGES]
    dropout, tail, norm = dropout_before_norm(layers)

    watched = keras.Model(run.model.input, [dropout.input, norm.input])
    with borrowed(run) as model:
        moving = _variance(_means(watched(x)[1])) / keras.ops.convert_to_numpy(norm.moving_variance)
        modes.recompute_statistics(model, x)
        before, behind = watched(x)
        noisy = (dropout(before, training=True) for _ in range(masks))
        in_training = _variance(np.mean([_means(tail(y) if tail else y) for y in noisy], axis=0))
    variance, mean_square = _variance(_means(behind)), _means(before)[1]
    weights = keras.ops.convert_to_numpy(tail.kernel) if tail else np.eye(len(mean_square))
    noise = dropout.rate / (1 - dropout.rate) * (mean_square @ weights**2)
    varies = variance > 1e-9 * _means(behind)[1]  # not the dead units
    if not varies.any():
        raise ValueError(
            f"The input of {norm.name} is constant, so it has no ratio of variances: the units are"
            " dead."
        )
    measured, predicted = (
        variance[varies] / one[varies] for one in (in_training, variance + noise)
    )
    return {
        "shift_measured": measured.mean(),
        "shift_predicted": predicted.mean(),
        "shift_error": np.abs(measured - predicted).mean(),
        "shift_moving": moving[varies].mean(),
    }


@contextmanager
def borrowed(run):
    """The model, to be changed: its weights, moving statistics and states of random generators are
    put back.
    """
    saved = [_as_numpy(variable) for variable in _variables(run.model)]
    try:
        yield run.model
    finally:
        for variable, value in zip(_variables(run.model), saved, strict=True):
            variable.assign(value)


def _variables(model):
    return [variable for layer in model.layers for variable in layer.variables]


def _as_numpy(variable):
    # A copy: on a CPU the array may be the variable's own memory.
    return np.array(keras.ops.convert_to_numpy(variable))


def outputs(model, x, training_layers=(), batch_size=1_000):
    """A chain's outputs with some kinds of layers in training mode, as `modes.call` has them."""
    found = [modes.call(model, part, training_layers) for part in modes.parts(x, batch_size)]
    return np.concatenate(found)


def passes(model, x, masks, batch_size=1_000):
    """A chain's outputs with dropout on and all else in inference mode, once for each mask."""
    layers = [one for one in model.layers if not isinstance(one, keras.layers.InputLayer)]
    # What stands before the first dropout gives the same each time, and is most of the work.
    first = next((n for n, one in enumerate(layers) if isinstance(one, Dropout)), len(layers))

    def through(layers, x):
        for layer in layers:
            x = layer(x, training=isinstance(layer, Dropout))
        return x

    before = [through(layers[:first], part) for part in modes.parts(x, batch_size)]
    for _ in range(masks):
        after = [keras.ops.convert_to_numpy(through(layers[first:], part)) for part in before]
        yield np.concatenate(after)


def _accuracy_in_batches(model, data, order, size):
    count = min(max(1, len(order) // size), MOST_BATCHES)
    x, y = data.x_validation[order[: count * size]], data.y_validation[order[: count * size]]
    return np.mean(outputs(model, x, BatchNorm, batch_size=size).argmax(axis=1) == y)


def dropout_before_norm(layers):
    """The first dropout whose batch norm follows directly or after one dense layer: dropout, dense
    or None, norm.
    """
    for first, second, third in zip(layers, layers[1:], [*layers[2:], None], strict=False):
        if isinstance(first, Dropout) and isinstance(second, BatchNorm):
            return first, None, second
        if (
            isinstance(first, Dropout)
            and isinstance(second, keras.layers.Dense)
            and isinstance(third, BatchNorm)
        ):
            return first, second, third
    raise ValueError(
        "variance_shift needs a dropout directly before a batch norm, or before a dense layer and a"
        " batch norm: give the model a norm, a rate above 0 and two hidden blocks."
    )


def _means(values):
    """Mean and mean square of each feature (channel) over everything else, summed in float64."""
    values = keras.ops.convert_to_numpy(values).reshape(-1, values.shape[-1])
    return np.array(
        [values.mean(axis=0, dtype="float64"), np.mean(values**2, axis=0, dtype="float64")]
    )


def _variance(means):
    return means[1] - means[0] ** 2
