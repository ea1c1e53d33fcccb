"""What can be measured on a trained model, by name: the metrics of a run.

Each measure is a function of a run and its data, and leaves the model as it was. Apart from
"final", "test", "mirrored" and "target" they ask for a chain of layers, as `course.models` builds
them, for they switch single layers.
"""

from contextlib import contextmanager
from itertools import pairwise

import keras
import numpy as np

from course import modes
from course.config import check_choice

BatchNorm, Dropout = (
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
)  # spatial dropout is a Dropout, too
TARGETS = {"fashion_mnist": 0.78, "digits": 0.9}  # validation accuracy that "target" waits for
BATCH_SIZES = (1, 2, 8, 32, 128)
MOST_BATCHES = 250  # of a size: a thousand single images would take longer than the training
MOST_IMAGES = 2_000  # training images that statistics are taken of


def final(run, data):
    """Loss, accuracy and overfitting gaps after the last epoch, all in inference mode; size and
    seconds.
    """
    metrics = {}
    for metric in ("accuracy", "loss"):
        metrics[metric] = run.final(metric)
        metrics[f"train_{metric}"] = run.final(metric, "train")
        metrics[f"gap_{metric}"] = run.gap(metric)
        metrics[f"logged_{metric}"] = run.final(metric, "train", "training")
    return metrics | {"weights": run.model.count_params(), "seconds": run.seconds}


def test(run, data):
    """Loss and accuracy on the test set: to be asked for once, when nothing will be chosen any
    more.
    """
    return {
        f"test_{name}": value
        for name, value in modes.evaluate(run.model, data.x_test, data.y_test).items()
    }


def mirrored(run, data):
    """The mean of two predictions, for an image and for its mirror image: validation, and accuracy
    on the test set.
    """
    scores = {}
    for prefix, x, y in (
        ("", data.x_validation, data.y_validation),
        ("test_", data.x_test, data.y_test),
    ):
        both = (modes.predict(run.model, x) + modes.predict(run.model, x[:, :, ::-1])) / 2
        scores[prefix] = _scores(both, y)
    validation = scores[""]
    return {
        "mirrored_accuracy": validation["accuracy"],
        "mirrored_loss": validation["loss"],
        "test_mirrored_accuracy": scores["test_"]["accuracy"],
    }


def recomputed(run, data):
    """Validation after statistics recomputed on training images, with dropout off
    (`modes.recompute_statistics`).
    """
    with _borrowed(run) as model:
        modes.recompute_statistics(model, data.x_train[:MOST_IMAGES])
        found = modes.evaluate(model, data.x_validation, data.y_validation)
    return {f"recomputed_{name}": value for name, value in found.items()}


def batch_statistics(run, data):
    """Validation accuracy with the statistics of each batch: batch norm in training mode, dropout
    off.

    `batch_1_accuracy` to `batch_128_accuracy`: shuffled batches, at most 250 of a size.
    `sorted_accuracy`: batches of 128 sorted by class. `polluted_accuracy`: in inference mode, after
    the sorted pass has moved the moving statistics. Images that fill no batch are left out; fewer
    than 128 are one batch.
    """
    order = np.random.default_rng(run.config.seed).permutation(len(data.x_validation))
    largest = BATCH_SIZES[-1]
    by_class = order[: max(1, len(order) // largest) * largest]
    by_class = by_class[np.argsort(data.y_validation[by_class], kind="stable")]
    with _borrowed(run) as model:
        found = {
            f"batch_{size}_accuracy": _accuracy_in_batches(model, data, order, size)
            for size in BATCH_SIZES
        }
    with _borrowed(run) as model:
        found["sorted_accuracy"] = _accuracy_in_batches(model, data, by_class, largest)
        found["polluted_accuracy"] = modes.evaluate(model, data.x_validation, data.y_validation)[
            "accuracy"
        ]
    return found


def dropout_on(run, data, passes=5):
    """Validation with dropout left on and batch norm in inference mode: means over five passes.

    `flips`: the part of the predictions that differ from one pass to the next.
    """
    with _borrowed(run) as model:
        outputs = [_probabilities(model, data.x_validation, Dropout) for _ in range(passes)]
    scores = [_scores(output, data.y_validation) for output in outputs]
    chosen = [output.argmax(axis=1) for output in outputs]
    return {
        "dropout_on_accuracy": np.mean([score["accuracy"] for score in scores]),
        "dropout_on_loss": np.mean([score["loss"] for score in scores]),
        "flips": np.mean([one != other for one, other in pairwise(chosen)]),
    }


def monte_carlo(run, data, passes=30):
    """Validation of the mean probability over 30 passes with dropout on and batch norm in inference
    mode.

    `mc_calibration` and, of the ordinary prediction, `calibration`: expected calibration error.
    """
    with _borrowed(run) as model:
        mean = (
            sum(_probabilities(model, data.x_validation, Dropout) for _ in range(passes)) / passes
        )
        ordinary = _probabilities(model, data.x_validation)
    found = {f"mc_{name}": value for name, value in _scores(mean, data.y_validation).items()}
    return found | {"calibration": _scores(ordinary, data.y_validation)["calibration"]}


def active(run, data):
    """Mean fraction of the outputs of the first hidden activation that are above 0, validation,
    inference mode.
    """
    hidden = keras.Model(run.model.input, run.model.get_layer("activation_1").output)
    return {"active": np.mean(_probabilities(hidden, data.x_validation) > 0)}


def variance_shift(run, data, masks=30):
    """Variance at inference over variance in training, of the input of the first batch norm behind
    a dropout.

    The dropout stands directly before the batch norm, or before one dense layer and then the batch
    norm. Everything in front of it is in inference mode, with fresh statistics. Means over the
    features that vary:

    shift_measured : variances over up to 2,000 training images; that of training over 30 masks an
    image, too. shift_predicted : 1 / (1 + p/q kappa), with the rate p, q = 1 - p, kappa = sum_i
    w_i^2 E[x_i^2] / (variance at
        inference), x the input of the dropout and w the weights of the dense layer; without one, w
        = 1 (lesson 06).
    shift_error : mean absolute difference of the two.
    shift_moving : variance at inference (nothing refreshed) over the moving variance.
    """
    layers, x = run.model.layers, data.x_train[:MOST_IMAGES]
    dropout, tail, norm = _dropout_before_norm(layers)

    watched = keras.Model(run.model.input, [dropout.input, norm.input])
    with _borrowed(run) as model:
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


def drift(run, data):
    """How far the mean input of a hidden layer moves, in standard deviations over images; median
    over the layers.

    The outputs of the activations that feed another hidden layer, of 256 training images in
    training mode, as `train(..., record_every=...)` records them. The measure is D of lesson 01,
    section 3: mean over the features of the movement, over the mean of their standard deviations;
    then the mean over training.

    jump : from one record to the next; with record_every=1, in one step.
    travel : net movement over ten records, divided by ten: jumping to and fro adds up to nothing.
    """
    table = run.statistics
    if table["step"].nunique() < 11:
        raise ValueError(
            "drift needs recorded statistics, eleven records or more: train with record_every=1,"
            " or so."
        )
    names = [layer.name for layer in run.model.layers if layer.name.startswith("activation_")]
    jumps, travels = [], []
    for name in names[:-1] or names:
        rows = table[table["layer"] == name].pivot(
            index=["quantity", "step"], columns="feature", values="value"
        )
        means, deviations = (
            rows.loc["mean"].to_numpy(float),
            np.sqrt(rows.loc["variance"].to_numpy(float)),
        )
        for values, steps in ((jumps, 1), (travels, 10)):
            moved = np.abs(means[steps:] - means[:-steps]).mean(axis=1) / deviations[:-steps].mean(
                axis=1
            )
            values.append(moved.mean() / steps)
    return {"jump": np.median(jumps), "travel": np.median(travels)}


def target(run, data):
    """First measured epoch whose validation accuracy reaches `TARGETS`, and the seconds of training
    until then.

    If it is never reached: the last epoch + 1, and the seconds that this would have taken. That
    understates how much slower the run was.
    """
    check_choice("The data set of the measure 'target'", data.name, TARGETS)
    accuracy, last = run.curve("accuracy"), run.history["epoch"].max()
    seconds = run.curve("seconds", "train", "training").reindex(range(last + 1), fill_value=0.0)
    reached = accuracy[accuracy >= TARGETS[data.name]]
    if len(reached):
        return {
            "epochs_to_target": reached.index[0],
            "seconds_to_target": seconds[reached.index[0]],
        }
    return {
        "epochs_to_target": last + 1,
        "seconds_to_target": seconds[last] * (last + 1) / max(1, last),
    }


MEASURES = {
    "final": final,
    "test": test,
    "mirrored": mirrored,
    "recomputed": recomputed,
    "batch_statistics": batch_statistics,
    "dropout_on": dropout_on,
    "monte_carlo": monte_carlo,
    "active": active,
    "variance_shift": variance_shift,
    "drift": drift,
    "target": target,
}


def measure(run, data, names=()):
    """The metrics of a run in one mapping.

    Parameters
    ----------
    run : course.training.Run
    data : course.data.Data
    names : iterable of str
        Keys of `MEASURES`, besides "final". None of them changes the model.

    Returns
    -------
    dict of str to float
    """
    metrics = {}
    for name in dict.fromkeys(["final", *names]):
        check_choice("A measure", name, MEASURES)
        found = MEASURES[name](run, data)
        clash = set(found) & set(metrics)
        if clash:
            raise ValueError(
                f"The measure {name!r} gives {sorted(clash)}, which another one gives, too."
            )
        metrics |= found
    if not np.isfinite(list(metrics.values())).all():
        print("Not finite:", [name for name, value in metrics.items() if not np.isfinite(value)])
    return metrics


@contextmanager
def _borrowed(run):
    """The model, to be changed: its weights, moving statistics and states of random generators are
    put back.
    """
    variables = [variable for layer in run.model.layers for variable in layer.variables]
    saved = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    try:
        yield run.model
    finally:
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)


def _probabilities(model, x, training_layers=(), batch_size=1_000):
    parts = (x[start : start + batch_size] for start in range(0, len(x), batch_size))
    return np.concatenate([modes.call(model, part, training_layers) for part in parts])


def _accuracy_in_batches(model, data, order, size):
    count = min(max(1, len(order) // size), MOST_BATCHES)
    x, y = data.x_validation[order[: count * size]], data.y_validation[order[: count * size]]
    return np.mean(_probabilities(model, x, BatchNorm, batch_size=size).argmax(axis=1) == y)


def _scores(probabilities, labels):
    """Loss (nats), accuracy and expected calibration error (Guo et al. 2017, eq. 3; lesson 04)."""
    count, confidence, right = modes.confidence_bins(probabilities, labels)
    calibration = np.sum(count * np.abs(confidence - right)) / len(labels)
    return modes.scores(probabilities, labels) | {"calibration": float(calibration)}


def _dropout_before_norm(layers):
    """The first dropout whose batch norm follows directly or behind one dense layer: dropout, dense
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
