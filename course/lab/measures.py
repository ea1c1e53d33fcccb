"""What can be measured on a trained model, by name: the metrics of a run.

Each measure is a function of a run and its data, and leaves the model as it was. Those that switch
single layers are in `course.lab.switched`, those of probabilities in `course.lab.confidence`: both
ask for a chain of layers, as `course.models` builds them.
"""

from itertools import pairwise

import keras
import numpy as np

from course import modes
from course.config import check_choice
from course.lab import confidence, switched
from course.lab.metrics import EQUAL_LOSS

TARGETS = {"fashion_mnist": 0.78, "digits": 0.9}  # validation accuracy that "target" waits for


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


def best(run, data):
    """The epoch with the least validation loss, which is where early stopping ends up; 0 is before
    training.

    `best_epoch`, `best_epoch_log2` (of at least 1: factors become differences), `best_loss` and
    `best_accuracy` (validation), `best_train_loss`, and, with the weights of that epoch,
    `best_test_loss` and `best_test_accuracy`. All in inference mode.
    """
    if run.best is None:
        raise ValueError(
            "This run has not kept the weights of its best epoch, which the measure 'best' asks"
            " for: train it with course.lab.many.runs."
        )
    epoch = int(run.curve("loss").idxmin())
    with switched.borrowed(run) as model:
        model.set_weights(run.best)
        on_test = modes.evaluate(model, data.x_test, data.y_test)
    return {
        "best_epoch": epoch,
        "best_epoch_log2": np.log2(max(1, epoch)),
        "best_loss": run.curve("loss")[epoch],
        "best_accuracy": run.curve("accuracy")[epoch],
        "best_train_loss": run.curve("loss", "train")[epoch],
        "best_test_loss": on_test["loss"],
        "best_test_accuracy": on_test["accuracy"],
    }


def equal_training(run, data):
    """Validation loss where the training loss, measured in inference mode, first falls to 0.4:
    between two epochs by a straight line; not a number if it never does.
    """
    training, validation = run.curve("loss", "train"), run.curve("loss")
    reached = np.flatnonzero(training <= EQUAL_LOSS)
    if not len(reached) or reached[0] == 0:
        return {f"loss_at_train_{EQUAL_LOSS}": np.nan}
    (high, low), (before, after) = (
        curve.iloc[reached[0] - 1 : reached[0] + 1] for curve in (training, validation)
    )
    share = (high - EQUAL_LOSS) / (high - low)
    return {f"loss_at_train_{EQUAL_LOSS}": before + share * (after - before)}


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
        scores[prefix] = confidence.scores(both, y)
    validation = scores[""]
    return {
        "mirrored_accuracy": validation["accuracy"],
        "mirrored_loss": validation["loss"],
        "test_mirrored_accuracy": scores["test_"]["accuracy"],
    }


def sparsity(run, data):
    """The units of the first hidden activation on the validation images, in inference mode; of a
    convolution a unit is a feature map, in all its places.

    `dead` : the part of the units that are never above 0.
    `active_alive` : how often one of the others is, on average (0 if there are none).
    """
    hidden = keras.Model(run.model.input, run.model.get_layer("activation_1").output)
    values = modes.predict(hidden, data.x_validation)
    often = np.mean(values.reshape(-1, values.shape[-1]) > 0, axis=0)
    alive = often > 0
    return {"active_alive": often[alive].mean() if alive.any() else 0.0, "dead": 1 - alive.mean()}


def effective_rate(run, data):
    """`log2_effective_rate`: log2 of the angle that a step turns a unit's weights by, up to a
    constant.

    Batch norm takes the scale of these weights away, and their gradient falls as it grows. So the
    angle is as the learning rate over the squared length (van Laarhoven 2017, section 3), and with
    Adam, whose steps do not shrink with the gradient, over the length (section 4). The squared
    lengths are averaged over the units of a layer; of the layers before a batch norm it is the
    mean, so that of the rates is geometric. The learning rate is that of the start.
    """
    kernels = [
        keras.ops.convert_to_numpy(layer.kernel)
        for layer, following in pairwise(run.model.layers)
        if isinstance(following, switched.BatchNorm) and hasattr(layer, "kernel")
    ]
    if not kernels:
        raise ValueError(
            "effective_rate needs a batch norm after a dense or convolutional layer: give the"
            " model norm='batch', placement='before'."
        )
    lengths = [np.sum(kernel**2) / kernel.shape[-1] for kernel in kernels]
    power = 0.5 if run.config.optimizer.startswith("adam") else 1.0
    turns = run.config.learning_rate / np.array(lengths) ** power
    return {"log2_effective_rate": np.mean(np.log2(turns))}


def drift(run, data):
    """How far the mean input of a hidden layer moves, in standard deviations over images; median
    over the layers.

    The outputs of the activations that feed another hidden layer, of 256 training images in
    training mode, as `course.lab.recorder` records them. The measure is D of lesson 01,
    section 3: mean over the features of the movement, over the mean of their standard deviations;
    then the mean over training.

    jump : from one record to the next; if each step is recorded, in one step.
    travel : net movement over ten records, divided by ten: jumping to and fro adds up to nothing.
    """
    table = run.statistics
    if table is None or table["step"].nunique() < 11:
        raise ValueError(
            "drift needs recorded statistics, eleven records or more: set record_every=1, or so, or"
            " train with hooks=[Recorder(1)]."
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
    "best": best,
    "equal_training": equal_training,
    "test": test,
    "mirrored": mirrored,
    "recomputed": switched.recomputed,
    "batch_statistics": switched.batch_statistics,
    "adapted": switched.adapted,
    "fine_tuning": switched.fine_tuning,
    "dropout_on": switched.dropout_on,
    "monte_carlo": confidence.monte_carlo,
    "sparsity": sparsity,
    "effective_rate": effective_rate,
    "variance_shift": switched.variance_shift,
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
