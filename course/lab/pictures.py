"""Pictures of what experiments found: the curves of a table, the contrasts of a claim."""

import io
import textwrap
from xml.sax.saxutils import escape

import numpy as np

from course import plots
from course.lab import verdict

# Marker, colour and filling by what a contrast says; the open ones are hollow.
SAYS = {
    "supports": ("o", plots.COLOURS[0], "full"),
    "in part": ("o", plots.COLOURS[0], "none"),
    "contradicts": ("X", plots.COLOURS[1], "full"),
    "open": ("s", "black", "none"),
}


def bands(axes, table, by):
    """Curves as `plots.curves` draws them, from a tidy table: a line for each value of a column.

    Parameters
    ----------
    axes : Axes
    table : pandas.DataFrame
        Columns epoch, seed, value and `by`; one row for each value of the three others.
    by : str
        Such as "arm" or "split"; its lines come in the order of the table.
    """
    for index, (name, lines) in enumerate(table.groupby(by, sort=False)):
        plots.band(axes, lines.pivot(index="epoch", columns="seed", values="value"), name, index)
    axes.set_xlabel("epoch")


def contrasts(axes, findings, texts):
    """The contrasts of a claim, one under the other: interval, values of the seeds, the side that
    supports it, and in words what it says.

    Parameters
    ----------
    axes : Axes
    findings : sequence of course.lab.verdict.Finding
    texts : sequence of str
        What stands at the right of each, in front of what it says: the numbers.

    The unit of the horizontal axis is the smallest difference that matters; 0.01 where any
    difference does.
    """
    units = [finding.contrast.smallest or verdict.UNIT for finding in findings]
    ends = np.concatenate(
        [
            [*finding.values, finding.interval.low, finding.interval.high] / np.float64(unit)
            for finding, unit in zip(findings, units, strict=True)
        ]
    )
    low, high = min(-2.5, 1.3 * ends.min()), max(2.5, 1.3 * ends.max())
    if max(-low, high) > 12:
        axes.set_xscale("symlog", linthresh=2, linscale=0.7)
    for row, (finding, unit) in enumerate(zip(findings, units, strict=True)):
        least, interval = finding.contrast.smallest / unit, finding.interval
        start, end = {"higher": (least, high), "lower": (low, -least), "same": (-least, least)}[
            finding.contrast.expected
        ]
        axes.fill_betweenx(
            [row - 0.42, row + 0.42], start, end, color=plots.COLOURS[2], alpha=0.2, lw=0
        )
        axes.plot(
            finding.values / unit,
            [row + 0.24] * len(finding.values),
            "|",
            color="#555555",
            alpha=max(0.25, min(1.0, 16 / len(finding.values))),  # a hundred seeds lie close
            ms=9,
            mew=1.2,
        )
        marker, colour, fill = SAYS[finding.says]
        axes.plot(
            [interval.low / unit, interval.high / unit],
            [row - 0.08] * 2,
            color=colour,
            lw=3,
            linestyle="-",
        )
        axes.plot(
            interval.mean / unit,
            row - 0.08,
            marker,
            color=colour,
            ms=10,
            fillstyle=fill,
            mew=0 if fill == "full" else 2,
        )
    axes.axvline(0, color="black", lw=1.2, linestyle="-")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(
        xlim=(low, high),
        ylim=(len(findings) - 0.5, -0.5),
        xlabel="difference / smallest that matters",
    )
    axes.set_yticks(
        range(len(findings)),
        [textwrap.fill(finding.contrast.name, 46) for finding in findings],
        fontsize=11,
    )
    right = axes.secondary_yaxis("right")
    said = [f"{text}  {one.says}" for text, one in zip(texts, findings, strict=True)]
    right.set_yticks(range(len(findings)), said, fontsize=11)
    for side in (axes, right):
        side.tick_params(axis="y", length=0)


def svg(figure, title, text):
    """A figure as SVG that tells a screen reader what it shows.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    title, text : str
        What it is, and what it shows.

    Returns
    -------
    str
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", metadata={"Title": title, "Date": None})
    described = f'<title id="title">{escape(title)}</title>\n <desc id="text">{escape(text)}</desc>'
    return (
        picture.getvalue()
        .decode()
        .replace("<svg ", '<svg role="img" aria-labelledby="title" aria-describedby="text" ', 1)
        .replace(f"<title>{escape(title)}</title>", described, 1)
    )
