"""The poster: all claims on one page, a row each, as SVG and PDF."""

import io
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np

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
FARTHEST = 30  # smallest differences: what lies beyond is drawn there
ROW = 0.36  # inches


def poster(entries):
    """Draw the claims, sorted by verdict: sentence, contrasts with their intervals, verdict.

    To the right is where the claim says that a contrast is; in units of the smallest difference
    that matters, so that what lies right of 1 supports its claim, and a claim that two things are
    the same is supported between -1 and 1.

    Parameters
    ----------
    entries : sequence of course.lab.ledger.Entry
        Those that are not measured are counted in the title.

    Returns
    -------
    matplotlib.figure.Figure
    """
    left = sum(not entry.findings for entry in entries)
    entries = [entry for entry in entries if entry.findings]
    entries.sort(key=lambda entry: ORDER.index(entry.verdict))
    figure, axes = plots.panels(width=16, height=2 + ROW * len(entries))
    axes.axvspan(-1, 1, color="#999999", alpha=0.2, lw=0)
    axes.axvline(0, color="black", lw=1, linestyle="-")
    for row, entry in enumerate(entries):
        spread = np.linspace(-0.28, 0.28, len(entry.findings)) if len(entry.findings) > 1 else [0]
        for finding, shift in zip(entry.findings, spread, strict=False):
            _draw(axes, finding, row + shift)
        if row and entry.verdict != entries[row - 1].verdict:
            axes.axhline(row - 0.5, color="black", lw=0.8, linestyle="-")
    axes.set_xscale("symlog", linthresh=2, linscale=0.7)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(
        xlim=(-1.2 * FARTHEST, 1.2 * FARTHEST),
        ylim=(len(entries) - 0.4, -0.6),
        xlabel="difference / smallest that matters, in the direction of the claim",
    )
    names = [textwrap.shorten(entry.claim.sentence, 78) for entry in entries]
    axes.set_yticks(range(len(entries)), names, fontsize=9)
    right = axes.secondary_yaxis("right")
    said = [f"{entry.said}  ({entry.tally})" if entry.tally else entry.said for entry in entries]
    right.set_yticks(range(len(entries)), said, fontsize=9)
    for side in (axes, right):
        side.tick_params(axis="y", length=0)
    title = "The ledger: filled circles support their claim, crosses refute it, squares are open"
    title += f"\n{left} claims more are not measured yet" if left else ""
    axes.set_title(title, fontsize=13)
    return figure


def _draw(axes, finding, height):
    """One contrast, mirrored where its claim says "lower"."""
    unit = finding.contrast.smallest or verdict.UNIT
    sign = -1 if finding.contrast.expected == "lower" else 1
    ends = np.array([finding.interval.low, finding.interval.mean, finding.interval.high])
    low, mean, high = np.clip(np.sort(sign * ends / unit), -FARTHEST, FARTHEST)
    marker, colour, fill = pictures.SAYS[finding.says]
    axes.plot([low, high], [height] * 2, color=colour, lw=1.2, linestyle="-")
    axes.plot(mean, height, marker, color=colour, ms=6, mew=0.8 * (fill == "none"), fillstyle=fill)


def alt(entries):
    """What the poster shows, for those who cannot see it."""
    count = Counter(entry.verdict for entry in entries)
    verdicts = "; ".join(f"{word}: {count[word]}" for word in ORDER if count[word])
    lines = [f"{entry.claim.id}: {entry.said}." for entry in entries]
    return f"All {len(entries)} claims of the ledger, sorted by verdict. {verdicts}. " + " ".join(
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
    figure, paths = poster(entries), []
    for kind, text in (
        ("svg", {"Title": "The ledger", "Description": alt(entries), "Date": None}),
        ("pdf", {"Title": "The ledger", "Subject": alt(entries)[:1_000]}),
    ):
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, metadata=text)
        path = Path(folder) / f"ledger.{kind}"
        write_whole(path, picture.getvalue())
        paths.append(path)
    return paths
