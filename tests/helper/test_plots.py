"""Pictures: what they show, how they are displayed, and whether they can be told apart."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image, ImageChops

from course import plots, training
from course.intervals import Interval


@pytest.fixture(scope="module")
def runs(digits):
    config = training.Config(options={"width": 16}, epochs=2, batch_size=50)
    return training.repeat(config, digits, seeds=[0, 1])


@pytest.fixture
def shown(monkeypatch):
    """What would be displayed, as a list of (data, metadata)."""
    published = []

    def display(content, raw=False, metadata=None):
        published.append((content if raw else content._repr_markdown_(), metadata))

    monkeypatch.setattr(plots, "display", display)
    return published


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_curves_are_means_with_a_band_over_seeds(runs):
    figure, axes = plots.panels()
    plots.curves(axes, {"plain": runs, "one seed": runs[:1]}, metric="accuracy")
    assert labels(axes) == ["plain", "one seed"]
    both = np.stack([run.curve("accuracy") for run in runs])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), both.mean(axis=0))
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(both.min()) and band.max() == pytest.approx(both.max())
    assert axes.get_xlabel() == "epoch" and axes.get_ylabel() == "validation accuracy"


def test_the_gap_lies_between_the_curves(runs):
    figure, axes = plots.panels()
    plots.gap(axes, runs)
    assert labels(axes) == ["train", "validation", "gap"]
    assert axes.get_ylabel() == "loss (nats)"


def test_distributions_are_densities():
    rng = np.random.default_rng(0)
    figure, axes = plots.panels()
    plots.distributions(
        axes, {"narrow": rng.normal(size=5_000), "wide": rng.normal(0, 3, 5_000)}, "value"
    )
    for patch in axes.patches:
        x, y = patch.get_xy().T
        assert np.sum(np.diff(x) * y[:-1]) == pytest.approx(1, abs=0.02)


def test_intervals_mark_the_difference_that_matters():
    figure, axes = plots.panels()
    plots.intervals(
        axes, {"a": Interval(0.1, 0.05, 0.15, 5, 0.95)}, "accuracy difference", smallest=0.01
    )
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a"]
    assert axes.patches[0].get_extents().width > 0


def test_images_are_drawn_dark_on_light():
    figure, axes = plots.panels(1, 2)
    plots.images(axes, np.ones((2, 8, 8, 1)), ["one", "two"])
    assert [one.get_title() for one in axes] == ["one", "two"]
    assert not axes[0].axison


def test_a_shown_picture_has_a_caption_and_an_alternative_text(shown):
    figure, axes = plots.panels()
    axes.plot([0, 1])
    plots.show(figure, "What to **see**.", "A line that rises.")
    (picture, metadata), (caption, _) = shown
    assert picture["image/png"].startswith(b"\x89PNG")
    assert picture["text/plain"] == metadata["image/png"]["alt"] == "A line that rises."
    assert caption == "*What to **see**.*"


def test_nothing_is_left_open():
    from matplotlib import pyplot

    plots.panels(2, 2)
    assert pyplot.get_fignums() == []


def contrast(one, two):
    """WCAG 2 contrast ratio of two colours given as (r, g, b) in [0, 1]."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def simulate(colour, matrix):
    return np.clip(np.array(matrix) @ colour, 0, 1)


def test_the_first_colours_differ_for_the_colour_blind_and_dashes_for_everyone():
    from matplotlib.colors import to_rgb

    colours = [np.array(to_rgb(colour)) for colour in plots.COLOURS[:4]]
    # Machado, Oliveira and Fernandes 2009, severity 1: protanopia, deuteranopia.
    simulations = [
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ]
    for matrix in simulations:
        seen = [simulate(colour, matrix) for colour in colours]
        for index, one in enumerate(seen):
            for other in seen[index + 1 :]:
                assert np.linalg.norm(one - other) > 0.15
    for colour in colours[:3]:
        assert contrast(colour, (1, 1, 1)) >= 3, "WCAG 2.1, 1.4.11: graphics"
    assert len({str(dash) for dash in plots.DASHES}) == len(plots.COLOURS) == len(plots.MARKERS)


def test_text_is_large_enough_for_a_projector():
    smallest = min(
        value
        for name, value in plots.STYLE.items()
        if name.endswith("size") and name != "figure.dpi"
    )
    assert smallest >= 12, "points, in a figure ten inches wide"


def test_a_loop_moves_stands_still_and_says_what_it_shows(shown):
    def draw(figure, axes, number):
        axes.plot([0, number])

    plots.loop(draw, 3, "It grows.", "A line that <grows>.", seconds=0.1, height=2)
    (bundle, metadata), (caption, _) = shown
    moving = re.search(r'data:image/gif;base64,([^"]+)', bundle["text/html"])[1]
    picture = Image.open(io.BytesIO(base64.b64decode(moving)))
    assert picture.n_frames == 3
    picture.seek(2)
    assert picture.info["duration"] == 1_000, "the last one stands still"
    still = Image.open(io.BytesIO(bundle["image/png"]))
    assert still.size == picture.size == (800, 160)
    assert bundle["text/html"].count('alt="A line that &lt;grows&gt;."') == 2
    assert "<script" not in bundle["text/html"] and caption == "*It grows.*"
    assert metadata["image/png"]["alt"] == bundle["text/plain"] == "A line that <grows>."


@pytest.mark.parametrize(("still", "number"), [({}, 2), ({"still": 0}, 0)])
def test_a_loop_shows_its_last_picture_first_or_the_one_asked_for(shown, still, number):
    plots.loop(lambda figure, axes, n: axes.plot([0, n]), 3, "It grows.", "A line.", **still)
    html = shown[0][0]["text/html"]
    one, moving = (
        Image.open(io.BytesIO(base64.b64decode(found)))
        for found in re.findall(r'base64,([^"]+)', html)
    )
    seen = []
    for n in range(3):
        moving.seek(n)
        seen.append(ImageChops.difference(one.convert("RGB"), moving.convert("RGB")).getbbox())
    assert [n for n in range(3) if seen[n] is None] == [number]
