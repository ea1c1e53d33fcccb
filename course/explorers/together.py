"""Pictures for the lesson on batch norm and dropout together."""

import numpy as np

from course import plots
from course.explorers.dropout import ORDERS, variance_shift_values

RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
BLOCK = ("dense", "batch norm", "ReLU")
STACKS = {  # from the top, by the place of dropout
    "after": (*BLOCK, "dropout", *BLOCK, "dropout", "softmax"),
    "before": ("dense", "dropout", "batch norm", "ReLU") * 2 + ("softmax",),
    "last": (*BLOCK, *BLOCK, "dropout", "softmax"),
}


def draw_gains(axis, networks, minus):
    """What each of the two layers adds to a network that has the other.

    `networks` maps names to the losses of "dropout", "batch norm" and "both", a Series over seeds
    each; `minus` makes an `Interval` of two of them.
    """
    labels = {"batch norm": "dropout added to batch norm", "dropout": "batch norm added to dropout"}
    for row, losses in enumerate(networks.values()):
        for index, (kind, label) in enumerate(labels.items()):
            moved, place = minus(losses["both"], losses[kind]), row + 0.3 * index - 0.15
            style = plots.line_style(index) | {"linestyle": "none", "capsize": 5, "ms": 9}
            axis.errorbar(moved.mean, place, xerr=moved.high - moved.mean, **style)
            if not row:
                mark = "●■"[index]
                axis.text(0.021, place, f"{mark} {label}", color=style["color"], va="center")
    axis.axvspan(-0.02, 0.02, color="#999999", alpha=0.2, lw=0)
    axis.axvline(0, color="black", lw=1.5, linestyle="-")
    axis.set_yticks(range(len(networks)), list(networks))
    axis.set(ylim=(4.6, -0.6), xlim=(-0.04, 0.058), xlabel="change of test loss (nats)")
    axis.grid(axis="y", visible=False)


def draw_shift(figure, axes, number):
    """A picture of a loop: one unit's values in both modes, before and after batch norm."""
    modes = variance_shift_values(RATES[number], 0.0, ORDERS[0])
    stored = modes[0].std()
    for axis, scale, label in zip(axes, (1, stored), ("before", "after"), strict=True):
        for index, (values, name) in enumerate(zip(modes, ("training", "inference"), strict=True)):
            z, style = (values - values.mean()) / scale, plots.line_style(index)
            look = {"color": style["color"], "linestyle": style["linestyle"], "lw": 2.5}
            axis.hist(z, np.linspace(-6, 6, 49), density=True, histtype="step", **look)
            note = f"{name}\nvariance {z.var():.2f}"
            axis.text(5.9, 0.62 - 0.2 * index, note, color=look["color"], ha="right")
        axis.set(xlim=(-6, 6), ylim=(0, 0.85), xlabel=f"value {label} batch norm", ylabel="density")
    axes[0].set_title(f"rate {RATES[number]}", loc="left")


def draw_stacks(axes, ratios):
    """The layers of STACKS, one an axes; `ratios` has a number for each batch norm, by place."""
    for axis, (place, stack) in zip(axes, STACKS.items(), strict=True):
        noisy, numbers = False, iter(ratios[place])
        axis.plot([0, 0], [0.4, 1 - len(stack)], "-", color="#777777", lw=2, zorder=0)
        for row, kind in enumerate(stack):
            noisy = noisy or kind == "dropout"
            hit = noisy and kind == "batch norm"
            edge = "#D55E00" if kind == "dropout" else "#333333"
            box = {"facecolor": "#F4C7A8" if hit else "white", "hatch": "///" if hit else ""}
            axis.barh(-row, 1.2, 0.62, left=-0.6, lw=2, edgecolor=edge, **box)
            back = {"facecolor": "white", "edgecolor": "none", "pad": 1} if hit else None
            axis.text(0, -row, kind, ha="center", va="center", bbox=back)
            if kind == "batch norm":
                axis.text(0.68, -row, f"{next(numbers):.2f}", va="center", fontsize=15)
        axis.set(xlim=(-0.7, 1.2), ylim=(-9, 0.6), title=place)
        axis.set_axis_off()


def draw_costs(axis, readings):
    """Change of the loss when the shift is removed, against confidence minus accuracy.

    `readings` maps names to arrays (networks, 3, 3): for the statistics stored, dropout on and
    dropout off: confidence minus accuracy, loss, loss after a temperature.
    """
    for index, name in enumerate(("narrow", "before", "after", "wide")):
        sure, loss, tempered = readings[name].T
        look = {"color": plots.COLOURS[index], "marker": plots.MARKERS[index], "ms": 10, "ls": ""}
        axis.plot(sure[1], loss[2] - loss[1], **look)
        axis.plot(sure[1], tempered[2] - tempered[1], mfc="white", mew=2, **look)
        at = sure[1].mean() + 0.025, (loss[2] - loss[1]).mean() - 0.03
        axis.text(*at, name, color=look["color"])
    axis.axhline(0, color="black", lw=1.5, linestyle="-")
    axis.axvline(0, color="black", lw=1, linestyle=":")
    axis.set(xlim=(-0.37, 0.13), ylim=(-0.22, 0.08), ylabel="change of loss (nats)")
    axis.set_xlabel(
        "confidence - accuracy, with the shift (left: too cautious, right: overconfident)"
    )


def draw_interactions(axes, networks):
    """Test loss without and with dropout, one line without batch norm and one with it."""
    kinds = {
        "without\nbatch norm": ("plain", "dropout"),
        "with\nbatch norm": ("batch norm", "both"),
    }
    for axis, (name, losses) in zip(axes, networks.items(), strict=True):
        for index, (label, ends) in enumerate(kinds.items()):
            means, look = [losses[kind].mean() for kind in ends], plots.line_style(index)
            axis.plot([0, 1], means, ms=10, **look)
            if axis is axes[0]:
                x, y = ((-0.15, -0.0105), (0.45, -0.004))[index]
                axis.text(x, means[0] + y, label, color=look["color"], fontsize=11)
        middle = np.mean([values.mean() for values in losses.values()])
        axis.set(xlim=(-0.25, 1.25), ylim=(middle - 0.025, middle + 0.025))
        axis.set_title(name.replace(", ", "\n"), fontsize=12)
        axis.set_xticks([0, 1], ["without\ndropout", "with"])
        axis.tick_params(axis="y", labelsize=9)
    axes[0].set_ylabel("test loss (nats)")
