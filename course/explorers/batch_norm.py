"""Explorers of batch norm: the formula, the moving statistics, the noise of small batches."""

from functools import cache

import numpy as np

from course import reference
from course.explorers.explorer import BLUE, ORANGE, Explorer, legend, text


def batch_norm_columns(batch, spread, gamma, beta, epsilon):
    """Eight values of one feature before, in the middle of and after batch norm.

    Parameters
    ----------
    batch : int
        Which random batch.
    spread : float
        Standard deviation that its values are drawn with.
    gamma, beta, epsilon : float

    Returns
    -------
    array of shape (8, 3)
        Columns x, x hat and y.
    """
    rng = np.random.default_rng(batch)
    x = rng.uniform(-3, 3) + spread * rng.standard_normal((8, 1))
    y, cache = reference.batch_norm_train(x, np.array([gamma]), np.array([beta]), epsilon=epsilon)
    return np.hstack([x, cache.x_hat, y])


def batch_norm_formula():
    """Explorer of the four steps (lesson 02)."""

    def frame(axes):
        axes.set(xlim=(-0.5, 2.5), ylim=(-9, 9), ylabel="value")
        axes.set_xticks(
            [0, 1, 2], ["x", "x hat: normalised", "y = gamma · x hat + beta"], fontsize=14
        )

    def marks(axes, **values):
        columns = batch_norm_columns(**values)
        # One line with gaps: far faster to draw than a line an example.
        gaps = np.hstack([columns, np.full((len(columns), 1), np.nan)]).ravel()
        artists = axes.plot(
            [0, 1, 2, np.nan] * len(columns), gaps, "o-", color=BLUE, lw=1.5, ms=9, alpha=0.8
        )
        for place, column in enumerate(columns.T):
            facts = (  # + 0.0: no "-0.00"
                f"mean {round(column.mean(), 2) + 0.0:.2f}\nvariance {column.var():.3g}"
            )
            artists.append(axes.text(place, 8.6, facts, ha="center", va="top"))
        return artists

    return Explorer(
        frame,
        marks,
        {
            "batch": ("batch number", 3, (1, 20, 1)),
            "spread": ("standard deviation of x", 1.0, [0.01, 0.03, 0.1, 0.3, 1.0, 2.0]),
            "gamma": ("gamma", 2.0, (-3.0, 3.0, 0.1)),
            "beta": ("beta", 0.0, (-3.0, 3.0, 0.1)),
            "epsilon": ("epsilon", 1e-3, [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]),
        },
        "Eight examples of one feature, each a line from left to right through the formula. Find a"
        " batch whose x hat does not have variance 1; then the gamma and beta that turn y back"
        " into x.",
        "Eight values joined by lines through three columns: before batch norm, normalised, scaled"
        " and shifted.",
        columns=1,
    )


MEAN, VARIANCE, LONGEST = 2.0, 4.0, 500


@cache
def _samples():
    return np.random.default_rng(0).normal(MEAN, VARIANCE**0.5, (LONGEST, 256))


def moving_statistics_path(momentum, steps, batch_size):
    """Batch and moving statistics of a feature with mean 2 and variance 4, over training steps.

    Parameters
    ----------
    momentum : float
        Keras's: the part that is kept.
    steps, batch_size : int
        At most 500 and 256.

    Returns
    -------
    batch, moving : arrays of shape (steps, 2) and (steps + 1, 2)
        Mean and variance; the moving ones start from 0 and 1, as Keras's do.
    """
    values = _samples()[:steps, :batch_size]
    batch = np.stack([values.mean(axis=1), values.var(axis=1)], axis=1)
    moving = [np.array([0.0, 1.0])]
    for statistics in batch:
        moving.append(momentum * moving[-1] + (1 - momentum) * statistics)
    return batch, np.stack(moving)


def moving_statistics():
    """Explorer of the running averages of batch norm (lesson 03)."""
    styles = {
        "of the batch": {"color": BLUE, "marker": ".", "linestyle": "", "alpha": 0.5},
        "moving: used at inference": {"color": ORANGE, "linestyle": "-"},
    }

    def frame(*both):
        for axes, name, truth, top in zip(
            both, ("mean", "variance"), (MEAN, VARIANCE), (6, 12), strict=True
        ):
            axes.set(xlim=(0, LONGEST * 1.02), ylim=(0, top), xlabel="training step", ylabel=name)
            axes.axhline(truth, color="black", lw=2, linestyle=":", label="of all the data")
            legend(axes, styles, "upper right")

    def marks(*both, momentum, steps, batch_size):
        batch, moving = moving_statistics_path(momentum, steps, batch_size)
        artists = []
        for axes, points, line in zip(both, batch.T, moving.T, strict=True):
            artists += axes.plot(np.arange(1, steps + 1), points, ".", color=BLUE, alpha=0.4)
            artists += axes.plot(line, "-", color=ORANGE)
            artists += axes.plot(steps, line[-1], "o", ms=11, color=ORANGE)
            artists.append(text(axes, f"after {steps} steps: {line[-1]:.2f}"))
        return artists

    return Explorer(
        frame,
        marks,
        {
            "momentum": (
                "momentum (kept)",
                0.99,
                [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999],
            ),
            "steps": ("training steps", 100, (10, LONGEST, 10)),
            "batch_size": ("batch size", 16, [2, 4, 8, 16, 32, 64, 128, 256]),
        },
        "The moving statistics start from 0 and 1; the large dot is what inference would use if"
        " training ended there. A high momentum forgets its start slowly; a low one copies the"
        " noise of the batches.",
        "Mean and variance of batches over the training steps, and the moving averages that follow"
        " them from 0 and 1.",
    )


SIZES = [2, 4, 8, 16, 32, 64, 128, 256]


@cache
def batch_noise(batch_size):
    """What batch norm makes of the same example in 2,000 batches of independent normal values.

    Returns
    -------
    array of shape (2000,)
        Normalised value of an example one standard deviation above the mean of all data.
    """
    batches = np.random.default_rng(1).standard_normal((2_000, batch_size))
    batches[:, 0] = 1.0
    _, cache = reference.batch_norm_train(batches.T, np.ones(2_000), np.zeros(2_000))
    return cache.x_hat[0]


def batch_size_noise():
    """Explorer of the noise that the company of a batch puts on an example (lesson 03)."""

    def frame(left, right):
        left.set(
            xlim=(-1, 3),
            ylim=(0, 5),
            xlabel="normalised value of the same example",
            ylabel="density",
        )
        left.axvline(1.0, color="black", lw=2, linestyle=":", label="by the statistics of all data")
        left.legend(loc="upper right")
        sds = [batch_noise(size).std() for size in SIZES]
        right.plot(SIZES, sds, color=BLUE, linestyle="-", marker="o")
        right.set(
            xlabel="batch size m",
            ylabel="standard deviation",
            xscale="log",
            yscale="log",
            ylim=(0.05, 1),
        )
        right.set_xticks(SIZES, SIZES)
        right.set_yticks([0.05, 0.1, 0.2, 0.5, 1], [0.05, 0.1, 0.2, 0.5, 1])
        right.minorticks_off()

    def marks(left, right, batch_size):
        values = batch_noise(batch_size)
        heights, edges = np.histogram(values, 80, (-1, 3), density=True)
        return [
            left.stairs(np.minimum(heights, 4.9), edges, color=BLUE, lw=2.5),
            text(left, f"m = {batch_size}: standard\ndeviation {values.std():.2f}"),
            *right.plot(batch_size, values.std(), "s", ms=15, color=ORANGE),
        ]

    return Explorer(
        frame,
        marks,
        {"batch_size": ("batch size", 8, SIZES)},
        "The same example, one standard deviation above the mean, in 2,000 batches of different"
        " neighbours. The smaller the batch, the more its normalised value depends on the company"
        " it is in.",
        "Histogram of the normalised value of one example over many batches; its standard deviation"
        " falls with the batch size.",
    )


def draw_two_modes(axes):
    """Batch norm between a linear layer and ReLU, with the two places its statistics come from."""
    axes.set(xlim=(0, 10), ylim=(-1, 7))
    axes.set_axis_off()
    box = {"ha": "center", "va": "center", "bbox": {"boxstyle": "round,pad=0.5", "fc": "#D6E6F2"}}
    names = "dense or convolution", "subtract mean,\ndivide by sd", "times γ, plus β", "ReLU"
    for height, name in zip((6.4, 4.6, 2.7, 1.0), names, strict=True):
        axes.text(5, height, name, **box)
    axes.text(1.3, 4.6, "training:\nmean, variance\nof this batch", **box)
    axes.text(8.6, 4.6, "inference:\nstored mean,\nstored variance", **box)
    ends = [5, 6, 5, 5.3, 5, 3.9, 5, 3.1, 5, 2.3, 5, 1.4, 2.6, 4.6, 3.8, 4.6, 7.2, 4.6, 6.2, 4.6]
    for *start, x, y in np.reshape(ends, (5, 4)):
        axes.annotate("", (x, y), start, arrowprops={"arrowstyle": "-|>", "lw": 2})
    dashed = {"color": "black", "linestyle": "--"}
    axes.plot([1.3, 1.3, 8.6, 8.6], [3.6, -0.4, -0.4, 3.2], **dashed)
    axes.annotate("", (8.6, 3.65), (8.6, 3.1), arrowprops={"arrowstyle": "-|>", "lw": 2})
    axes.text(
        5, -0.4, "each training step moves the stored ones a little", ha="center", va="center"
    )
    axes.texts[-1].set_bbox({"fc": "white", "ec": "none"})


def draw_moving_variances(figure, axes, number):
    """A picture of a loop: the moving variance over the steps so far, for two momenta."""
    for momentum, side in ((0.9, "bottom"), (0.99, "top")):
        path = moving_statistics_path(momentum, 300, 32)[1]
        axes.plot(path[: 15 * number + 1, 1])
        axes.text(15 * number + 4, path[15 * number, 1], f"momentum {momentum}", va=side)
    axes.axhline(VARIANCE, color="#666666", linestyle=":")
    axes.text(150, 4.8, "dotted: variance of all data")
    axes.set(xlabel="step", ylabel="moving variance", xlim=(0, 400), ylim=(0, 1.5 * VARIANCE))
