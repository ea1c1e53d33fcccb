"""The poster: all claims on one page, a row each, as SVG and PDF."""

import io
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from course import plots
from course.lab import ledger, pictures, verdict
from course.lab.files import write_whole

# Best news first; what is not known comes last.
ORDER = (
    "holds",
    "holds, perhaps too little to matter",
    "holds in most",
    "mixed",
    "does not hold as stated",
    "does not hold in most",
    "does not hold",
    verdict.NOT_TESTED,
    "open",
    ledger.NOT_MEASURED,
)
FARTHEST = 30  # smallest differences: what lies beyond is drawn there, with an arrowhead
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 16.0, 4.7, 3.0, 1.0, 0.7  # of the page and its margins, in inches
MARK, LINE, GAP = 0.12, 0.15, 0.1  # inches: of a contrast, of a line of text, between two rows
WORDS = {
    "supports": "supports its claim",
    "in part": "in part: perhaps too little to matter",
    "contradicts": "refutes it",
    "open": "open",
}


def drawn(entries):
    """The claims that are measured, best news first: those that the poster draws."""
    measured = [entry for entry in entries if entry.findings]
    return sorted(measured, key=lambda entry: ORDER.index(entry.verdict))


def poster(entries):
    """Draw the claims, sorted by verdict: sentence, contrasts with their intervals, verdict.

    What lies right of the line is where its claim says, whether that is higher, lower or the same.
    The axis is the distance from the smallest difference that matters, which is its unit, too. So
    a contrast that should be higher lies at -1 where there is no difference, and one that should be
    the same lies at 1.

    Parameters
    ----------
    entries : sequence of course.lab.ledger.Entry
        Those that are not measured are counted in the title.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = drawn(entries)
    names = [textwrap.fill(entry.claim.sentence, 62) for entry in rows]
    said = [textwrap.fill(f"{entry.said} ({entry.tally})", 42) for entry in rows]
    heights = [
        GAP + max(MARK * len(entry.findings), LINE * (1 + max(name.count("\n"), word.count("\n"))))
        for entry, name, word in zip(rows, names, said, strict=True)
    ]
    ends = np.cumsum([0.0, *heights])
    middles = (ends[:-1] + ends[1:]) / 2
    height = TOP + ends[-1] + BOTTOM
    figure, axes = plots.panels(width=WIDTH, height=height)
    figure.set_layout_engine("none")  # an inch on the vertical axis is one on paper
    width = WIDTH - LEFT - RIGHT
    axes.set_position((LEFT / WIDTH, BOTTOM / height, width / WIDTH, ends[-1] / height))
    axes.grid(axis="y", visible=False)
    axes.axvspan(-1, 0, color="#999999", alpha=0.2, lw=0)
    axes.axvline(0, color="black", lw=1, linestyle="-")
    for row, entry in enumerate(rows):
        first = middles[row] - MARK * (len(entry.findings) - 1) / 2
        for place, finding in enumerate(entry.findings):
            _draw(axes, finding, first + MARK * place)
        if row:
            new = entry.verdict != rows[row - 1].verdict
            style = {"color": "black", "lw": 1.2} if new else {"color": "#bbbbbb", "lw": 0.5}
            axes.axhline(ends[row], linestyle="-", **style)
    axes.set_xscale("symlog", linthresh=2, linscale=0.7)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlim=(-1.3 * FARTHEST, 1.3 * FARTHEST), ylim=(max(ends[-1], LINE), 0))
    axes.set_xlabel(
        "\u2190 not as its claim says      distance from the smallest difference that matters, in"
        " units of it      as its claim says \u2192",
        fontsize=10,
    )
    axes.set_yticks(middles, names, fontsize=9)
    right = axes.secondary_yaxis("right")
    right.set_yticks(middles, said, fontsize=9)
    for side in (axes, right):
        side.tick_params(axis="y", length=0)
    left = len(entries) - len(rows)
    are = "claim is" if left == 1 else "claims are"
    title = f"The ledger ({left} more {are} not measured yet)" if left else "The ledger"
    figure.suptitle(title, fontsize=15, y=1 - 0.2 / height, va="top")
    figure.legend(
        handles=[
            Line2D([], [], marker=marker, color=colour, fillstyle=fill, lw=0, label=WORDS[says])
            for says, (marker, colour, fill) in pictures.SAYS.items()
        ],
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.5 / height),
        ncols=len(WORDS),
        fontsize=11,
    )
    return figure


def _draw(axes, finding, height):
    """One contrast: its interval, and its mean."""
    low, mean, high = _beyond(finding)
    marker, colour, fill = pictures.SAYS[finding.says]
    last = 1.12 * FARTHEST
    ends = np.clip([low, high], -last, last)
    axes.plot(ends, [height] * 2, color=colour, lw=1.2, linestyle="-")
    for outside, end, arrow in ((low < -FARTHEST, -last, "<"), (high > FARTHEST, last, ">")):
        if outside:
            axes.plot(end, height, arrow, color=colour, ms=5, mew=0)
    mean = np.clip(mean, -FARTHEST, FARTHEST)
    axes.plot(mean, height, marker, color=colour, ms=6, mew=0.8 * (fill == "none"), fillstyle=fill)


def _beyond(finding):
    """By how many smallest differences its low end, mean and high end lie where the claim says."""
    contrast, interval = finding.contrast, finding.interval
    unit = contrast.smallest or verdict.UNIT
    ends = np.array([interval.low, interval.mean, interval.high])
    if contrast.expected == "same":
        low, mean, high = contrast.smallest - np.abs(ends)
        inside = contrast.smallest if ends[0] <= 0 <= ends[2] else max(low, high)
        return np.array([min(low, high), mean, inside]) / unit
    sign = -1 if contrast.expected == "lower" else 1
    return np.sort(sign * ends - contrast.smallest) / unit


def alt(entries):
    """What the poster shows, for those who cannot see it."""
    rows = drawn(entries)
    count = Counter(entry.verdict for entry in rows)
    verdicts = "; ".join(f"{word}: {count[word]}" for word in ORDER if count[word])
    lines = [f"{entry.claim.id}: {entry.said} ({entry.tally})." for entry in rows]
    of = f" of {len(entries)}" if len(rows) < len(entries) else ""
    return f"{len(rows)}{of} claims of the ledger, sorted by verdict. {verdicts}. " + " ".join(
        lines
    )


def save(entries, folder):
    """Write the poster as ledger.svg and ledger.pdf; their paths.

    Parameters
    ----------
    entries : sequence of course.lab.ledger.Entry
    folder : path

    Returns
    -------
    list of pathlib.Path
    """
    figure, text, pdf = poster(entries), alt(entries), io.BytesIO()
    # "Subject" is a line in a viewer's window.
    figure.savefig(pdf, format="pdf", metadata={"Title": "The ledger", "Subject": text[:1_000]})
    paths = []
    for kind, content in (
        ("svg", pictures.svg(figure, "The ledger", text)),
        ("pdf", pdf.getvalue()),
    ):
        paths.append(Path(folder) / f"ledger.{kind}")
        write_whole(paths[-1], content)
    return paths
