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

import ipywidgets
import numpy as np
from IPython.display import Markdown, display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from course import plots

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
        """Display controls, picture and caption; with COURSE_WIDGETS=0 there are no controls."""
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
        # Given, so that nothing on the page moves meanwhile.
        width, height = self._canvas.get_width_height()
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


def text(axes, words, side="left"):
    """Words in an upper corner of the axes."""
    place = {"left": 0.03, "right": 0.97}[side]
    return axes.text(place, 0.97, words, transform=axes.transAxes, fontsize=13, ha=side, va="top")


def legend(axes, styles, place):
    """A legend, in the frame, for marks that come later: a style by label."""
    for label, style in styles.items():
        axes.plot([], [], label=label, **style)
    axes.legend(loc=place)


class Prediction(Explorer):
    """A question to answer before the measurement is shown.

    Attributes
    ----------
    guess : float or None
        The reader's, once she has asked for the measurement; it cannot be changed afterwards.
    """

    guess = None

    def show(self):
        """Display the question; controls, where there are any, hide the measurement until asked."""
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
