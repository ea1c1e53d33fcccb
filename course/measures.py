"""What can be measured on a trained model, by name: the metrics of a run."""

import numpy as np

from course import training


def final(run, data):
    """Loss, accuracy and overfitting gaps after the last epoch, all in inference mode; size and seconds."""
    metrics = {}
    for metric in ("accuracy", "loss"):
        metrics[metric] = run.final(metric)
        metrics[f"train_{metric}"] = run.final(metric, "train")
        metrics[f"gap_{metric}"] = run.gap(metric)
        metrics[f"logged_{metric}"] = run.final(metric, "train", "training")
    return metrics | {"weights": run.model.count_params(), "seconds": run.seconds}


def test(run, data):
    """Loss and accuracy on the test set: to be asked for once, when nothing will be chosen any more."""
    return {f"test_{name}": value for name, value in training.evaluate(run.model, data.x_test, data.y_test).items()}


MEASURES = {"final": final, "test": test}


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
        training.models.check_choice("A measure", name, MEASURES)
        found = MEASURES[name](run, data)
        clash = set(found) & set(metrics)
        if clash:
            raise ValueError(f"The measure {name!r} gives {sorted(clash)}, which another one gives, too.")
        metrics |= found
    if not np.isfinite(list(metrics.values())).all():
        print("Not finite:", [name for name, value in metrics.items() if not np.isfinite(value)])
    return metrics
