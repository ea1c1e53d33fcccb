"""How sure a model is: calibration, temperature, Monte Carlo dropout, and foreign images."""

from functools import cache

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from course import data as data_sets
from course import modes
from course.lab.switched import borrowed, outputs, passes

FOREIGN = {"fashion_mnist": "digits", "digits": "fashion_mnist"}  # the other data set
MOST_FOREIGN = 1_000  # images; they tell the area under the curve to about a hundredth
COLDEST, HOTTEST = 0.05, 20.0  # temperatures among which the best one is looked for


def monte_carlo(run, data, masks=30):
    """What a model's probabilities are worth: its ordinary ones, those scaled by a temperature, and
    the mean over 30 passes with dropout on and batch norm in inference mode.

    On all validation images: `mc_accuracy`, `mc_loss`, `mc_calibration` and, of the ordinary
    prediction, `calibration`: expected calibration error.

    On every other validation image: `half_loss` and `half_calibration` of the ordinary prediction,
    `mc_half_...`, and `scaled_...` with the `temperature` that has the least loss on the images in
    between (Guo et al. 2017, section 4.2).

    Images of the other data set, brought to the same number of pixels: `foreign_auroc` and
    `mc_foreign_auroc`, how well the largest probability tells validation images from them (0.5: not
    at all, 1: always).
    """
    x, y, foreign = data.x_validation, data.y_validation, _foreign(data.name, data.input_shape)
    with borrowed(run) as model:
        mean, foreign_mean = (sum(passes(model, images, masks)) / masks for images in (x, foreign))
        ordinary, foreign_ordinary = outputs(model, x), outputs(model, foreign)
    fitting, judging = slice(0, None, 2), slice(1, None, 2)
    temperature = best_temperature(ordinary[fitting], y[fitting])
    found = {f"mc_{name}": value for name, value in scores(mean, y).items()}
    found |= {"calibration": scores(ordinary, y)["calibration"], "temperature": temperature}
    kinds = {"half": ordinary, "mc_half": mean, "scaled": at_temperature(ordinary, temperature)}
    for kind, probabilities in kinds.items():
        judged = scores(probabilities[judging], y[judging])
        found |= {f"{kind}_{name}": judged[name] for name in ("loss", "calibration")}
    return found | {
        "foreign_auroc": familiarity(ordinary, foreign_ordinary),
        "mc_foreign_auroc": familiarity(mean, foreign_mean),
    }


def scores(probabilities, y):
    """Loss (nats), accuracy and expected calibration error (Guo et al. 2017, eq. 3; lesson 06)."""
    count, confidence, right = modes.confidence_bins(probabilities, y)
    calibration = np.sum(count * np.abs(confidence - right)) / len(y)
    return modes.scores(probabilities, y) | {"calibration": float(calibration)}


def at_temperature(probabilities, temperature):
    """The softmax of the logits divided by a temperature: above 1, less sure predictions."""
    # Logarithms of probabilities are logits, but for a constant that the softmax takes away.
    logits = np.log(np.maximum(probabilities.astype("float64"), np.finfo("float32").tiny))
    return softmax(logits / temperature, axis=1)


def best_temperature(probabilities, y):
    """The temperature with the least loss on these images; NaN where a probability is."""
    if not np.isfinite(probabilities).all():
        return np.nan

    def loss(logarithm):
        return modes.scores(at_temperature(probabilities, np.exp(logarithm)), y)["loss"]

    bounds = np.log([COLDEST, HOTTEST])
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def familiarity(own, foreign):
    """Area under the ROC curve of the largest probability, own images against foreign ones; NaN
    where a probability is.
    """
    is_own = np.repeat([1, 0], [len(own), len(foreign)])
    largest = np.concatenate([own, foreign]).max(axis=1)
    return float(roc_auc_score(is_own, largest)) if np.isfinite(largest).all() else np.nan


@cache  # the same images for all seeds
def _foreign(name, shape):
    """Images of the other data set in this shape; a pixel is the nearest one of the original."""
    other = FOREIGN[name]
    images = data_sets.load(other, train_size=MOST_FOREIGN).x_train
    rows, columns = (
        np.floor((np.arange(size) + 0.5) * have / size).astype(int)
        for size, have in zip(shape[:2], images.shape[1:3], strict=True)
    )
    return images[:, rows][:, :, columns]
