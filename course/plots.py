"""Every picture of the course, in one style: colour-blind-safe, and legible on a projector."""

import base64
import io
from html import escape

import matplotlib
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's palette without its yellow, which is too pale on white; lines differ in dash, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (5, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 14,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS) + matplotlib.cycler(linestyle=DASHES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 15,
    "figure.constrained_layout.use": True,
    "figure.dpi": 80,
    # White also in JupyterLab's dark theme: labels stay readable.
    "figure.facecolor": "white",
    "font.size": 13,
    "grid.alpha": 0.3,
    "image.cmap": "gray_r",
    "legend.fontsize": 12,
    "legend.frameon": False,
    "lines.linewidth": 2.5,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
}


def panels(rows=1, columns=1, *, width=10.0, height=4.2, **options):
    """A figure in the style of the course, and its axes: one, or an array.

    `width` and `height` are those of the whole figure, in inches; the options, such as sharey=True,
    are passed on to `Figure.subplots`.
    """
    plt.rcParams.update(STYLE)
    # A Figure of its own, not pyplot's: nothing is shown twice and nothing is left open.
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, **options)


def show(figure, caption, alt, colours=None):
    """Display a figure of `panels` with its caption, and a text for those who cannot see it.

    Parameters
    ----------
    caption : str
        What to see in it, in Markdown; stands below the figure.
    alt : str
        What the figure shows, in one sentence: read aloud by a screen reader.
    colours : int, optional
        Reduce the picture to so many: half the size, for a notebook with many.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    if colours:
        picture = _written(_reduced(picture, colours), "png")
    _display({"image/png": picture.getvalue()}, caption, alt)


def loop(draw, count, caption, alt, *, seconds=0.15, still=-1, **size):
    """Display a short animation, folded away behind one of its pictures, which stands still.

    Without a script: it plays where it is opened, and stops where it is closed.

    Parameters
    ----------
    draw : callable
        Called as draw(figure, axes, number) on fresh axes for each of the pictures 0 to count - 1.
    caption, alt : str
        As for `show`.
    seconds : float
        How long each picture stands; the last one stands ten times as long.
    still : int
        The picture that is seen before it is played: 0 for the first, -1 for the last.
    **size
        For `panels`.
    """
    pictures = []
    for number in range(count):
        figure, axes = panels(**size)
        draw(figure, axes, number)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        pictures.append(_reduced(picture, colours=24))
    times = [int(1_000 * seconds)] * (count - 1) + [int(10_000 * seconds)]
    options = {"save_all": True, "append_images": pictures[1:], "duration": times, "loop": 0}
    both = _written(pictures[still], "png"), _written(pictures[0], "gif", **options)
    still, moving = (base64.b64encode(one.getvalue()).decode() for one in both)
    html = (
        f'<img alt="{escape(alt)}" src="data:image/png;base64,{still}">'
        "<details><summary>Play it; close this to stop.</summary>"
        f'<img alt="{escape(alt)}" src="data:image/gif;base64,{moving}"></details>'
    )
    _display({"text/html": html, "image/png": both[0].getvalue()}, caption, alt)


def _reduced(png, colours):
    return Image.open(png).convert("RGB").quantize(colours)


def _written(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, format=kind, optimize=True, **options)
    return file


def _display(bundle, caption, alt):
    display(bundle | {"text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})
    display(Markdown(f"*{caption}*"))


def line_style(index):
    """Colour, dash and marker of the curve number `index`, as keyword arguments of `Axes.plot`."""
    kinds = {"color": COLOURS, "linestyle": DASHES, "marker": MARKERS}
    return {name: values[index % len(values)] for name, values in kinds.items()}


def curves(axes, arms, metric="loss", split="validation", mode="inference", start=0):
    """Metric over epochs for several arms: the mean over seeds, and a band from lowest to highest.

    `arms` maps names to lists of `Run`; metric, split and mode are as for `Run.curve`, and `start`
    is the first epoch to draw: the loss before training may dwarf what matters.
    """
    for index, (arm, runs) in enumerate(arms.items()):
        lines = [run.curve(metric, split, mode).loc[start:] for run in runs]
        band(axes, pd.concat(lines, axis=1), arm, index)
    _label_epochs(axes, f"{split} {metric}")


def _label_epochs(axes, what):
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{what} (nats)" if what.endswith("loss") else what)
    axes.legend()


def band(axes, values, label, index):
    """A line of means in a band from lowest to highest: a row for each epoch, a column a seed."""
    style = {**line_style(index), "marker": None}
    axes.plot(values.index, values.mean(axis=1), label=label, **style)
    axes.fill_between(
        values.index, values.min(axis=1), values.max(axis=1), color=style["color"], alpha=0.2, lw=0
    )


def gap(axes, runs, metric="loss"):
    """Training and validation curve of one arm in inference mode, the gap between them shaded."""
    sides = {
        split: np.mean([run.curve(metric, split) for run in runs], axis=0)
        for split in ("train", "validation")
    }
    epochs = runs[0].curve(metric, "train").index
    for index, (split, values) in enumerate(sides.items()):
        axes.plot(epochs, values, label=split, **{**line_style(index), "marker": None})
    axes.fill_between(
        epochs, sides["train"], sides["validation"], color="#999999", alpha=0.3, lw=0, label="gap"
    )
    _label_epochs(axes, metric)


def distributions(axes, samples, label, bins=60, limits=None):
    """Several distributions as outlines over one another.

    `samples` maps names to arrays; `label` is that of the horizontal axis, with its unit. Its
    limits are by default the 0.5th and the 99.5th percentile of all samples.
    """
    if limits is None:
        limits = np.percentile(np.concatenate([*map(np.ravel, samples.values())]), [0.5, 99.5])
    edges = np.linspace(*limits, bins + 1)
    for index, (name, values) in enumerate(samples.items()):
        look = {name: line_style(index)[name] for name in ("color", "linestyle")} | {"lw": 2.5}
        axes.hist(np.ravel(values), edges, density=True, histtype="step", label=name, **look)
    axes.set_xlabel(label)
    axes.set_ylabel("density")
    axes.legend()


def images(axes, pictures, titles=None):
    """Grey pictures of shape (height, width) or (height, width, 1), one an axes; black is 1."""
    for index, (one, picture) in enumerate(zip(np.ravel(axes), pictures, strict=True)):
        one.imshow(np.squeeze(picture), vmin=0, vmax=max(1.0, float(np.max(picture))))
        one.set_axis_off()
        if titles is not None:
            one.set_title(titles[index], fontsize=13)


def intervals(axes, named, label, smallest=None):
    """Intervals one under the other, with the line of no difference.

    `named` maps names to `course.intervals.Interval`; `label` is that of the horizontal axis: what
    differs from what, with its unit. `smallest`, the smallest difference that matters, shades the
    band of those that do not.
    """
    for row, interval in enumerate(named.values()):
        sides = [[interval.mean - interval.low], [interval.high - interval.mean]]
        axes.errorbar(
            interval.mean, row, xerr=sides, color=COLOURS[0], fmt="o", ms=9, capsize=6, elinewidth=3
        )
    if smallest:
        axes.axvspan(-smallest, smallest, color="#999999", alpha=0.25, lw=0)
    axes.axvline(0, color="black", lw=1.5, linestyle="-")
    axes.set_yticks(range(len(named)), list(named))
    axes.set_ylim(len(named) - 0.5, -0.5)
    axes.set_xlabel(label)
