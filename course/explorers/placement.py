"""Pictures of blocks, plain and residual, for the lesson on placement."""

import numpy as np

from course.plots import COLOURS, DASHES, MARKERS, intervals

FILL = {"batch norm": "#BBD7EE", "ReLU": "#FBE3C8", "dropout": "#E3E3E3", "+": "white"}
BLOCK = {
    "linear": "no bias: batch norm would subtract it (section 6)",
    "batch norm": "at the start, makes the ReLU cut in the middle (section 1)",
    "ReLU": "or another activation: it acts on what batch norm centres",
    "dropout": "if any: last, so that a dropped unit is silent (section 7)",
}
RESIDUAL = {  # the branch, and what stands in the trunk after the sum
    "post": (("linear", "batch norm", "ReLU", "linear", "batch norm"), ("ReLU",)),
    "pre": (("batch norm", "ReLU", "linear", "batch norm", "ReLU", "linear"), ()),
    "norm of the sum": (("ReLU", "linear", "batch norm", "ReLU", "linear"), ("batch norm",)),
    "from 0, no norm": (("ReLU", "linear", "ReLU", "linear", "× α, from 0"), ()),
}
SUM = 7  # how far below its beginning a branch returns to the trunk
ADDED = 0.68  # by a branch, to the variance of the trunk: 2 (He) * 0.34 (of a ReLU)


def draw_block(axes):
    """The usual block, read from the top, with the reason for each place."""
    axes.set(xlim=(-1.3, 9), ylim=(-3.8, 0.9))
    axes.set_axis_off()
    _arrow(axes, (0, 0.9), (0, -3.8), 3)
    for number, (name, reason) in enumerate(BLOCK.items()):
        _box(axes, 0, -number, name)
        axes.text(1.3, -number, reason, va="center")


def draw_residual_blocks(axes):
    """The blocks of RESIDUAL, one an axes: trunk vertical and thick, branch at its right."""
    for one, (title, (branch, after)) in zip(axes, RESIDUAL.items(), strict=True):
        one.set(xlim=(-1.1, 3.2), ylim=(-9.6, 1), title=title)
        one.set_axis_off()
        _arrow(one, (0, 1), (0, -9.6), 4)
        one.plot([0, 2, 2, 1], [0, 0, -SUM, -SUM], color="black", lw=2, linestyle="-")
        _arrow(one, (1.2, -SUM), (0.25, -SUM), 2)
        for number, name in enumerate(branch, start=1):
            _box(one, 2, -number, name)
        for number, name in enumerate(("+", *after)):
            _box(one, 0, -SUM - 1.2 * number, name)


def draw_trunks(figure, axes, number):
    """A picture of a loop: what a trunk holds after so many blocks, with sums alone and normed."""
    blocks = np.arange(number + 1)
    left = {"only sums": 0 * blocks + 1, "norm of the sum": (1 + ADDED) ** -blocks.astype(float)}
    whole = {"only sums": 1 + ADDED * blocks, "norm of the sum": 0 * blocks + 1}
    for one, title in zip(axes, left, strict=True):
        one.bar(blocks, whole[title], color="#DDDDDD", ec="black")
        one.bar(blocks, left[title], color=COLOURS[0], ec="black", hatch="//")
        share = left[title][-1] / whole[title][-1]
        one.set(xlim=(-1, 13), ylim=(0, 10), xlabel="blocks")
        one.set_title(f"{title}, hatched: {100 * share:.1f} %")
    axes[0].set_ylabel("variance of the trunk")


def draw_lead(axes, curves, steps):
    """Validation loss against steps, norm before and after, one network an axes.

    `curves` maps a network to two series over epochs, `steps` to the steps of its epoch.
    """
    for one, (name, both) in zip(axes, curves.items(), strict=True):
        for index, (curve, label) in enumerate(zip(both, ("before", "after"), strict=True)):
            look = {"color": COLOURS[index], "linestyle": DASHES[index]}
            at = curve.index.to_numpy() * steps[name]
            one.plot(at, curve, **look)
            one.plot(at[curve.argmin()], curve.min(), "o", color=look["color"], ms=9)
            place = {"va": ("top", "bottom")[index], "color": look["color"]}
            one.text(at[-1] * 1.1, curve.iloc[-1], label, **place)
        one.set(title=name, xlabel="steps", xscale="log", xlim=(None, 1_600), ylim=(0.48, 0.98))
        one.set_xticks([30, 100, 300], ["30", "100", "300"])
        one.minorticks_off()
    axes[0].set_ylabel("validation loss (nats)")


def draw_cuts(axes, inputs):
    """How often each unit is on: two sets of inputs of a ReLU, (images, units), by their names."""
    for index, (name, values) in enumerate(inputs.items()):
        look = {"color": COLOURS[index], "hatch": ("", "//")[index], "alpha": 0.5, "ec": "black"}
        axes.hist((values > 0).mean(axis=0), np.linspace(0, 1, 26), **look)
        note = (
            "each unit is on for\nabout half of the images",
            "many units are nearly\nalways on, or off",
        )[index]
        axes.text(0.61, (190, 90)[index], f"{name} the ReLU:\n{note}", color=COLOURS[index])
    axes.set(xlabel="share of the images for which a unit is on (above 0)", ylabel="units")


def draw_carried(axes, lost):
    """Correlation of the trunk with an early one, over blocks, for several kinds of block."""
    for index, (name, values) in enumerate(lost.items()):
        look = {"color": COLOURS[index], "linestyle": DASHES[index], "marker": MARKERS[index]}
        axes.semilogy(values, ms=7, **look)
        axes.text(
            12.3, values[-1], name.replace(" the", "\nthe"), va="center", color=COLOURS[index]
        )
    axes.set(xlabel="blocks", xlim=(0, 14.5), ylim=(0.025, 1.1))
    axes.set_ylabel("correlation with the\ntrunk that entered")
    axes.set_yticks([0.05, 0.1, 0.2, 0.5, 1], ["0.05", "0.1", "0.2", "0.5", "1"])
    axes.minorticks_off()


def draw_gains(axes, losses, accuracies):
    """Intervals of the loss, norm after minus norm before, with the gain in accuracy in words."""
    intervals(axes, losses, "test loss: norm after − norm before (nats)", smallest=0.02)
    for row, gain in enumerate(accuracies.values()):
        words = f"accuracy {100 * gain.mean:+.1f} points".replace("-", "−")
        axes.text(0.09, row, words, va="center", fontsize=12)
    axes.set_xlim(-0.025, 0.13)


def draw_means(axes, u, means):
    """For ReLU, sigmoid and tanh: the mean in training with dropout after them and before them."""
    for one, (name, (after, before)) in zip(axes, means.items(), strict=True):
        one.plot(u, after, linestyle="-", lw=6, alpha=0.4, color=COLOURS[0])
        one.plot(u, before, linestyle="--", color=COLOURS[1])
        one.set(title=name, xlabel="u")
    axes[0].set_ylabel("mean in training, rate 0.5")
    axes[0].text(-2.8, 1.6, "both curves\nare the same")
    axes[1].text(-2.9, 0.83, "dropout after: f(u),\nas at inference")
    axes[1].text(0.2, 0.45, "dropout before")
    axes[2].text(-2.9, 0.4, "dropout before:\nhalf of the range")


def _box(axes, x, y, name):
    look = {"boxstyle": "round,pad=0.35", "fc": FILL.get(name, "#F6F6F6"), "ec": "black"}
    look["lw"] = 3 if name == "batch norm" else 1
    axes.text(x, y, name, ha="center", va="center", bbox=look)


def _arrow(axes, start, end, width):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "lw": width, "color": "black"})
