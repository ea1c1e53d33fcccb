"""Explorers of dropout: the mask, the noise by layer, and the variance shift before batch norm."""

from functools import cache
from itertools import product

import numpy as np

from course import reference
from course.explorers.explorer import BLUE, GREEN, ORANGE, Explorer, legend, text

UNITS = 12


def dropout_outputs(rate, seed, convention):
    """A layer's output under dropout.

    Parameters
    ----------
    rate : float
        Probability of dropping.
    seed : int
    convention : {"inverted", "classic"}

    Returns
    -------
    mask : bool array of shape (20, 12)
        For 20 examples: True is kept.
    first, average, inference : arrays of shape (12,)
        Output for the first example, its mean over 2,000 masks, and the output at inference.
    """
    apply = {"inverted": reference.inverted_dropout, "classic": reference.classic_dropout}[
        convention
    ]
    rng, x = np.random.default_rng(seed), np.linspace(0.5, 3, UNITS)
    outputs, mask = apply(np.tile(x, (2_000, 1)), rate, rng, True)
    inference, _ = apply(x, rate, rng, False)
    return mask[:20], outputs[0], outputs.mean(axis=0), inference


def dropout_mask():
    """Explorer of the mask, and of classic against inverted dropout (lesson 05)."""
    styles = {
        "training: one example": {"color": ORANGE, "marker": "s", "linestyle": "", "ms": 9},
        "training: mean over 2,000 masks": {"color": ORANGE, "linestyle": "-"},
        "inference": {"color": BLUE, "marker": "x", "linestyle": "", "ms": 11, "mew": 3},
    }

    def frame(left, right):
        left.set(
            xlim=(-0.5, UNITS - 0.5),
            ylim=(19.5, -0.5),
            xlabel="unit",
            ylabel="example",
            title="mask (black: kept)",
        )
        left.set_yticks([0, 5, 10, 15])
        left.grid(False)
        right.set(
            xlim=(-0.5, UNITS - 0.5), ylim=(-0.3, 10), xlabel="unit", ylabel="output of the layer"
        )
        right.plot(
            np.linspace(0.5, 3, UNITS), color="black", lw=2, linestyle=":", label="without dropout"
        )
        legend(right, styles, "upper left")

    def marks(left, right, rate, seed, convention):
        mask, *rows = dropout_outputs(rate, seed, convention)
        artists = [left.imshow(mask, vmin=0, vmax=1, aspect="auto", interpolation="nearest")]
        for row, style in zip(rows, styles.values(), strict=True):
            artists += right.plot(np.minimum(row, 9.9), **style)
        return artists

    return Explorer(
        frame,
        marks,
        {
            "rate": ("rate (dropped)", 0.5, (0.0, 0.9, 0.05)),
            "seed": ("seed", 0, (0, 30, 1)),
            "convention": ("convention", "inverted", ["inverted", "classic"]),
        },
        "Left, the masks of 20 examples. Right, the output of the layer. In both conventions the"
        " mean over the masks meets the output at inference: inverted dropout at the values without"
        " dropout, classic dropout below them.",
        "Dropout masks of twenty examples, and the outputs of twelve units in training, on average"
        " over masks, and at inference.",
    )


@cache
def _network():
    """50 examples, and weights (He et al. 2015): three hidden ReLU layers of 64, ten outputs."""
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal((64, width)) * np.sqrt(2 / 64) for width in (64, 64, 64, 10)]
    return np.abs(rng.standard_normal((50, 64))), weights


def noise_by_layer(*rates):
    """How noisy dropout makes each layer of a random ReLU network.

    Parameters
    ----------
    *rates : float
        Probability of dropping at the input and after each of the three hidden layers.

    Returns
    -------
    array of shape (4,)
        For what the three hidden layers and the output compute: standard deviation over 60 masks
        (root mean square over examples and units) over that of the examples without dropout.
    """
    x, weights = _network()
    rng = np.random.default_rng(0)
    clean, noisy, ratios = x, np.tile(x, (60, 1, 1)), []
    for rate, matrix in zip(rates, weights, strict=True):
        noisy = reference.inverted_dropout(noisy, rate, rng, True)[0] @ matrix
        clean = clean @ matrix
        ratios.append(np.sqrt(noisy.var(axis=0).mean() / clean.var(axis=0).mean()))
        noisy, clean = np.maximum(noisy, 0), np.maximum(clean, 0)
    return np.array(ratios)


def rates_by_layer():
    """Explorer of what a rate does to the layers after it (lesson 06)."""
    places = ("input", "hidden_1", "hidden_2", "hidden_3")

    def frame(axes):
        axes.set(xlim=(-0.6, 3.6), ylim=(0, 4), ylabel="noise / signal (standard deviations)")
        axes.set_xticks(range(4), ["hidden 1", "hidden 2", "hidden 3", "output"], fontsize=14)
        axes.axhline(
            1,
            color="black",
            lw=2,
            linestyle=":",
            label="the masks move a unit as much as the choice of example does",
        )
        axes.legend(loc="upper center")

    def marks(axes, **rates):
        ratios = noise_by_layer(*rates.values())
        bars = axes.vlines(range(4), 0, np.minimum(ratios, 3.9), color=BLUE, lw=60)
        return [
            bars,
            *(
                axes.text(x, min(y, 3.5) + 0.06, f"{y:.2f}", ha="center")
                for x, y in enumerate(ratios)
            ),
        ]

    return Explorer(
        frame,
        marks,
        {
            place: (
                f"rate, {place.replace('_', ' ')}",
                0.5 * (place == "hidden_2"),
                (0.0, 0.8, 0.05),
            )
            for place in places
        },
        "A random network of three hidden ReLU layers of 64 units. Dropout after one layer makes"
        " noise in every layer after it; moderate rates everywhere add up. Compare a rate of 0.5 at"
        " the input with the same rate after the second hidden layer.",
        "Bars: the ratio of noise by dropout to signal in three hidden layers and the output of a"
        " network.",
        columns=1,
    )


ORDERS = ["dropout, then batch norm", "batch norm, then dropout"]


@cache
def _before_relu():
    """512 examples of 64 inputs, and the weights of a linear unit after them."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((512, 64)), rng.standard_normal(64) * np.sqrt(2 / 64)


def variance_shift_values(rate, shift, order):
    """What batch norm receives after ReLU, dropout and a linear unit, in either mode.

    Parameters
    ----------
    rate : float
        Probability of dropping.
    shift : float
        Added to normal values before the ReLU: the higher, the larger is E[x^2] beside the
        variance.
    order : {"dropout, then batch norm", "batch norm, then dropout"}
        In the second, dropout acts after the batch norm in question.

    Returns
    -------
    training, inference : arrays of shape (512 * 8,) and (512,)
        In training for 8 masks.
    """
    values, weights = _before_relu()
    x = np.maximum(values + shift, 0)
    if order == ORDERS[1]:
        rate = 0.0
    dropped, _ = reference.inverted_dropout(
        np.tile(x, (8, 1)), rate, np.random.default_rng(0), True
    )
    return dropped @ weights, x @ weights


def variance_ratio(rate, shift, order):
    """Variance at inference over variance in training, as `variance_shift_values`, by the formula.

    Var_train = Var_inference + rate / (1 - rate) * sum of w^2 E[x^2] (Li et al. 2019; lesson 08).
    """
    values, weights = _before_relu()
    x = np.maximum(values + shift, 0)
    extra = np.asarray(rate) / (1 - np.asarray(rate)) * (weights**2 @ (x**2).mean(axis=0))
    before = (x @ weights).var()
    return before / (before + extra * (order == ORDERS[0]))


def variance_shift():
    """Explorer of the shift of variance between training and inference (lesson 08)."""
    styles = {
        "in training": {"color": ORANGE, "linestyle": "-"},
        "at inference": {"color": BLUE, "linestyle": "--"},
    }

    def frame(left, right):
        left.set(
            xlim=(-9, 9),
            ylim=(0, 0.8),
            xlabel="value minus its mean, before batch norm",
            ylabel="density",
        )
        legend(left, styles, "upper right")
        right.set(xlim=(0, 0.82), ylim=(0, 1.25), xlabel="rate (probability of dropping)")
        right.set_ylabel("variance at inference / in training")
        right.axhline(1, color="black", lw=2, linestyle=":", label="no shift")
        measured = {"color": ORANGE, "marker": "o", "linestyle": "", "ms": 12}
        legend(
            right,
            {"formula": {"color": GREEN, "linestyle": "-"}, "measured": measured},
            "lower left",
        )

    def marks(left, right, rate, shift, order):
        training, inference = variance_shift_values(rate, shift, order)
        rates, before = np.linspace(0, 0.82, 60), inference.var()
        artists = [
            left.stairs(
                *np.histogram(values - values.mean(), 60, (-9, 9), density=True), lw=2.5, **style
            )
            for values, style in zip((training, inference), styles.values(), strict=True)
        ]
        artists += right.plot(
            rates, variance_ratio(rates, shift, order), color=GREEN, linestyle="-"
        )
        artists += right.plot(rate, before / training.var(), "o", ms=13, color=ORANGE)
        artists.append(
            text(left, f"variance\ntraining {training.var():.2f}\ninference {before:.2f}")
        )
        return [*artists, text(right, f"measured ratio {before / training.var():.2f}", "right")]

    return Explorer(
        frame,
        marks,
        {
            "rate": ("rate (dropped)", 0.5, (0.0, 0.8, 0.05)),
            "shift": ("shift of the inputs before their ReLU", 0.0, (-1.0, 2.0, 0.1)),
            "order": ("order", ORDERS[0], ORDERS),
        },
        "Left, what batch norm sees in training and at inference. Right, the ratio of the two"
        " variances, by the formula and measured. Shift the inputs up: the further they lie from"
        " zero, the more variance dropping them adds. In the other order there is no shift.",
        "Two histograms of a unit's value, wider in training than at inference, and the ratio of"
        " the variances against the rate.",
    )


def draw_thinned(axes, *kept):
    """A network of 4, 5, 5 and 3 units, input at the bottom; units whose mask is 0 are dropped."""
    on = [np.ones(4), *kept, np.ones(3)]
    spots = [np.linspace(-1, 1, len(one) + 2)[1:-1] for one in on]
    for low, high in ((0, 1), (1, 2), (2, 3)):
        for ends in product(spots[low][on[low] > 0], spots[high][on[high] > 0]):
            axes.plot(ends, (low, high), "-", color="#777777", lw=1, zorder=1)
    for level, (spot, here) in enumerate(zip(spots, on, strict=True)):
        axes.plot(spot[here > 0], 0 * spot[here > 0] + level, "o", ms=17, color=BLUE)
        axes.plot(spot[here == 0], 0 * spot[here == 0] + level, "x", ms=9, mew=2, color="#D55E00")
    axes.set(xlim=(-1, 1), ylim=(-0.4, 3.4))
    axes.set_axis_off()
