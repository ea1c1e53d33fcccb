"""Explorers: pictures with sliders, for trying out what a lesson derives.

An explorer is two functions and a list of controls. `frame(axes)` draws what stays: axes, labels,
legend, curves that no slider moves. `marks(axes, **values)` adds what the sliders move, and returns
it. A move of a slider redraws the marks alone, over a copy of the frame: that takes 5 to 10 ms, and
the whole figure 90. Where there is no kernel, the picture for the default values stands in.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import ipywidgets
import numpy as np
from IPython.display import Markdown, display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from course import plots, reference

BLUE, ORANGE, GREEN = plots.COLOURS[:3]


@dataclass
class Explorer:
    """A picture with controls.

    Parameters
    ----------
    frame : callable
        `frame(*axes)` draws what no control moves, and sets the limits of all axes.
    marks : callable
        `marks(*axes, **values)` adds what depends on the controls and returns a list of artists.
        Pure: the same values give the same marks.
    controls : dict of str to (str, value, choices)
        By the keyword of `marks`: the label, the value at the start, and what to choose from: a
        list, (low, high, step) for a slider, or bool for a button.
    caption, alt : str
        As in `course.plots.show`.
    columns : int
        Number of panels side by side.
    height : float
        Of the picture, in inches; it is 11 wide.
    """

    frame: Callable
    marks: Callable
    controls: dict
    caption: str
    alt: str
    columns: int = 2
    height: float = 4.0
    widgets: dict = field(default_factory=dict, init=False)

    def __post_init__(self):
        figure, axes = plots.panels(1, self.columns, width=11, height=self.height)
        self._axes = list(np.ravel(axes))
        self.frame(*self._axes)
        self._canvas = FigureCanvasAgg(figure)
        self._canvas.draw()
        figure.set_layout_engine("none")  # laid out once: nothing may shift under a slider
        self._background = self._canvas.copy_from_bbox(figure.bbox)

    @property
    def defaults(self):
        """The value of each control at the start."""
        return {name: value for name, (_, value, _) in self.controls.items()}

    def draw(self, **values):
        """The picture for these values, and for the defaults of all others.

        Returns
        -------
        PIL.Image.Image

        Raises
        ------
        TypeError
            If there is no control of that name.
        """
        if unknown := set(values) - set(self.controls):
            raise TypeError(
                f"There is no control {unknown.pop()!r}, only {', '.join(self.controls)}."
            )
        self._canvas.restore_region(self._background)
        for artist in self.marks(*self._axes, **self.defaults | values):
            artist.axes.draw_artist(artist)
            artist.remove()
        size = self._canvas.get_width_height()
        return Image.frombuffer(
            "RGBA", size, self._canvas.buffer_rgba(), "raw", "RGBA", 0, 1
        ).convert("RGB")

    def show(self):
        """Display controls, picture and caption; no controls where the environment says
        COURSE_WIDGETS=0.
        """
        live = os.environ.get("COURSE_WIDGETS") != "0"
        if live:
            self.widgets = {name: _control(*parts) for name, parts in self.controls.items()}
            wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
            display(ipywidgets.HBox(list(self.widgets.values()), layout=wrap))
        # JPEG is packed in a tenth of the time of PNG, which is sharper: the one to move, the other
        # to stay.
        form = {"format": "jpeg", "quality": 95, "subsampling": 0} if live else {"format": "png"}
        # An output of the cell, not an image *widget*: it stays in the notebook when the kernel is
        # gone.
        handle = display(
            self._bundle(form, self.defaults),
            raw=True,
            display_id=True,
            metadata=self._metadata(form),
        )
        display(Markdown(f"*{self.caption}*"))
        for widget in self.widgets.values():
            widget.observe(lambda _: self._redraw(handle, form), "value")

    def _redraw(self, handle, form):
        values = {name: widget.value for name, widget in self.widgets.items()}
        handle.update(self._bundle(form, values), raw=True, metadata=self._metadata(form))

    def _bundle(self, form, values):
        file = io.BytesIO()
        self.draw(**values).save(file, **form)
        return {f"image/{form['format']}": file.getvalue(), "text/plain": self.alt}

    def _metadata(self, form):
        width, height = (
            self._canvas.get_width_height()
        )  # given, so that nothing on the page moves meanwhile
        return {f"image/{form['format']}": {"alt": self.alt, "width": width, "height": height}}


def _control(label, value, choices):
    if choices is bool:
        return ipywidgets.ToggleButton(
            value, description=label, layout=ipywidgets.Layout(width="auto")
        )
    options = {"description": label, "value": value, "style": {"description_width": "initial"}}
    if isinstance(choices, list):
        kind = ipywidgets.RadioButtons if isinstance(value, str) else ipywidgets.SelectionSlider
        options["options"] = choices
    else:
        kind = ipywidgets.IntSlider if isinstance(value, int) else ipywidgets.FloatSlider
        options |= dict(zip(("min", "max", "step"), choices, strict=True))
    return kind(layout=ipywidgets.Layout(width="400px", margin="2px 16px 2px 2px"), **options)


def _text(axes, words, side="left"):
    """Words in an upper corner of the axes."""
    place = {"left": 0.03, "right": 0.97}[side]
    return axes.text(place, 0.97, words, transform=axes.transAxes, fontsize=13, ha=side, va="top")


def _legend(axes, styles, place):
    """A legend, in the frame, for marks that come later: a style by label."""
    for label, style in styles.items():
        axes.plot([], [], label=label, **style)
    axes.legend(loc=place)


# ---------------------------------------------------------------- the batch norm formula


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


# ---------------------------------------------------------------- moving statistics

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
            _legend(axes, styles, "upper right")

    def marks(*both, momentum, steps, batch_size):
        batch, moving = moving_statistics_path(momentum, steps, batch_size)
        artists = []
        for axes, points, line in zip(both, batch.T, moving.T, strict=True):
            artists += axes.plot(np.arange(1, steps + 1), points, ".", color=BLUE, alpha=0.4)
            artists += axes.plot(line, "-", color=ORANGE)
            artists += axes.plot(steps, line[-1], "o", ms=11, color=ORANGE)
            artists.append(_text(axes, f"after {steps} steps: {line[-1]:.2f}"))
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


# ---------------------------------------------------------------- the noise of small batches

SIZES = [2, 4, 8, 16, 32, 64, 128, 256]


@cache
def batch_noise(batch_size):
    """What batch norm makes of one and the same example in 2,000 batches of independent normal
    values.

    Returns
    -------
    array of shape (2000,)
        The normalised value of an example that lies one standard deviation above the mean of all
        data.
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
            _text(left, f"m = {batch_size}: standard\ndeviation {values.std():.2f}"),
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


# ---------------------------------------------------------------- the dropout mask

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
    """Explorer of the mask, and of classic against inverted dropout (lesson 04)."""
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
        _legend(right, styles, "upper left")

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


# ---------------------------------------------------------------- dropout layer by layer


@cache
def _network():
    """64 inputs, and the weights of three hidden ReLU layers of 64 units and of 10 outputs (He et
    al. 2015).
    """
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal((64, width)) * np.sqrt(2 / 64) for width in (64, 64, 64, 10)]
    return np.abs(rng.standard_normal((50, 64))), weights


def noise_by_layer(*rates):
    """How noisy dropout makes each layer of a random ReLU network.

    Parameters
    ----------
    *rates : float
        Probability of dropping at the input and behind each of the three hidden layers.

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
    """Explorer of what a rate does to the layers behind it (lesson 04)."""
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
        "A random network of three hidden ReLU layers of 64 units. Dropout behind one layer makes"
        " noise in every layer after it; moderate rates everywhere add up. Compare a rate of 0.5 at"
        " the input with the same rate behind the last hidden layer.",
        "Bars: the ratio of noise by dropout to signal in three hidden layers and the output of a"
        " network.",
        columns=1,
    )


# ---------------------------------------------------------------- variance shift

ORDERS = ["dropout, then batch norm", "batch norm, then dropout"]


@cache
def _before_relu():
    """512 examples of 64 inputs, and the weights of a linear unit behind them."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((512, 64)), rng.standard_normal(64) * np.sqrt(2 / 64)


def variance_shift_values(rate, shift, order):
    """What batch norm receives behind ReLU, dropout and a linear unit, in training and at
    inference.

    Parameters
    ----------
    rate : float
        Probability of dropping.
    shift : float
        Added to normal values before the ReLU: the higher, the larger is E[x^2] beside the
        variance.
    order : {"dropout, then batch norm", "batch norm, then dropout"}
        In the second, dropout acts behind the batch norm in question.

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

    Var_train = Var_inference + rate / (1 - rate) * sum of w^2 E[x^2] (Li et al. 2019; lesson 06).
    """
    values, weights = _before_relu()
    x = np.maximum(values + shift, 0)
    extra = np.asarray(rate) / (1 - np.asarray(rate)) * (weights**2 @ (x**2).mean(axis=0))
    before = (x @ weights).var()
    return before / (before + extra * (order == ORDERS[0]))


def variance_shift():
    """Explorer of the shift of variance between training and inference (lesson 06)."""
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
        _legend(left, styles, "upper right")
        right.set(xlim=(0, 0.82), ylim=(0, 1.25), xlabel="rate (probability of dropping)")
        right.set_ylabel("variance at inference / in training")
        right.axhline(1, color="black", lw=2, linestyle=":", label="no shift")
        measured = {"color": ORANGE, "marker": "o", "linestyle": "", "ms": 12}
        _legend(
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
            _text(left, f"variance\ntraining {training.var():.2f}\ninference {before:.2f}")
        )
        return [*artists, _text(right, f"measured ratio {before / training.var():.2f}", "right")]

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


# ---------------------------------------------------------------- predict first


class Prediction(Explorer):
    """A question to answer before the measurement is shown.

    Attributes
    ----------
    guess : float or None
        The reader's, once she has asked for the measurement; it cannot be changed afterwards.
    """

    guess = None

    def show(self):
        """Display the question; the measurement is hidden until asked for, but where there are no
        controls.
        """
        super().show()
        if self.widgets:
            self.widgets["shown"].observe(self._record, "value")

    def _record(self, _):
        if self.guess is None:
            self.guess = self.widgets["guess"].value
            for widget in self.widgets.values():
                widget.disabled = True


def predict_first(question, measured, low, high, step, unit):
    """A number line on which to guess a measurement before seeing it.

    Parameters
    ----------
    question : str
    measured : course.intervals.Interval
    low, high, step : float
        Of the slider; the measurement must lie between low and high.
    unit : str
        Label of the axis.

    Raises
    ------
    ValueError
        If the slider does not reach the measurement.
    """
    if not low <= measured.mean <= high:
        raise ValueError(
            f"The measurement, {measured.mean:.3g}, lies outside the slider's {low} to {high};"
            " widen it."
        )
    live = os.environ.get("COURSE_WIDGETS") != "0"

    def frame(axes):
        axes.set(xlim=(low, high), ylim=(0, 1), xlabel=unit, title=question)
        axes.set_yticks([])

    def marks(axes, guess, shown):
        artists = []
        if live:
            side = "left" if guess < (low + high) / 2 else "right"
            artists += axes.plot(guess, 0.7, "v", ms=16, color=ORANGE)
            artists.append(
                axes.text(guess, 0.8, f"  your guess: {guess:g}  ", ha=side, fontsize=14)
            )
        if shown:
            artists += axes.plot(
                [measured.low, measured.high], [0.3, 0.3], "-|", color=BLUE, ms=16, mew=3
            )
            artists += axes.plot(measured.mean, 0.3, "o", ms=13, color=BLUE)
        return artists

    return Prediction(
        frame,
        marks,
        {
            "guess": ("your guess", (low + high) / 2, (low, high, step)),
            "shown": ("Show the measurement", not live, bool),
        },
        f"{question} The dot is the mean over {measured.count} seeds, the bar its 95 % interval.",
        f"A number line with the measured answer to the question: {question}",
        columns=1,
        height=2.2,
    )
