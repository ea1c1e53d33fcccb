"""Explorers: what they compute, that each control moves the picture, and what stands in without a
kernel.
"""

import re
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest

from course import explorers, intervals
from course.explorers import batch_norm, dropout
from course.explorers import explorer as explorer_module

EXPLORERS = (
    "batch_norm_formula",
    "moving_statistics",
    "batch_size_noise",
    "dropout_mask",
    "rates_by_layer",
    "variance_shift",
)
MEASURED = intervals.mean_interval([0.2, 0.3, 0.4])


def drawn(explorer, **values):
    """The picture as an array of shape (height, width, 3)."""
    return np.asarray(explorer.draw(**values))


def question(**options):
    settings = {"low": 0.0, "high": 1.0, "step": 0.01, "unit": "accuracy"} | options
    return explorers.predict_first("How accurate?", MEASURED, **settings)


def others(value, choices):
    """Two values of a control that are not its default."""
    if choices is bool:
        return [not value]
    everything = (
        choices
        if isinstance(choices, list)
        else list(np.arange(choices[0], choices[1] + 1e-9, choices[2]))
    )
    cast = type(value)
    return [cast(one) for one in (everything[0], everything[-1]) if one != value]


class Front:
    """Stands in for the front end: keeps what is displayed."""

    def __init__(self, monkeypatch):
        self.shown = []
        monkeypatch.setattr(explorer_module, "display", self.display)

    def display(self, obj, /, *, metadata=None, raw=False, display_id=None):
        options = {"metadata": metadata}
        self.shown.append((obj, options))
        return self

    def update(self, obj, /, *, metadata, raw):
        options = {"metadata": metadata}
        self.shown.append((obj, options))

    def pictures(self):
        return [obj["image/jpeg"] for obj, _ in self.shown if isinstance(obj, dict)]

    def controls(self):
        return [obj for obj, _ in self.shown if isinstance(obj, explorer_module.ipywidgets.Widget)]


@pytest.mark.parametrize("name", EXPLORERS)
def test_each_control_moves_the_picture_and_the_way_back_leads_back(name):
    explorer = getattr(explorers, name)()
    before = drawn(explorer)
    assert before.ndim == 3 and before.std() > 10, "not an empty picture"
    for control, (_, value, choices) in explorer.controls.items():
        for other in others(value, choices):
            assert (drawn(explorer, **{control: other}) != before).any(), (
                f"{control}={other} changes nothing"
            )
    np.testing.assert_array_equal(drawn(explorer), before, "something was left behind")


@pytest.mark.parametrize("name", EXPLORERS)
def test_extreme_values_stay_inside_the_picture(name):
    """No warning, no error, and words and marks within the margins: the outermost pixels stay
    white.
    """
    explorer = getattr(explorers, name)()
    for end in (0, -1):
        values = {
            control: choices[end] if isinstance(choices, list) else type(value)(choices[:2][end])
            for control, (_, value, choices) in explorer.controls.items()
        }
        picture = drawn(explorer, **values)
        edge = np.concatenate([picture[:2].ravel(), picture[-2:].ravel(), picture[:, -2:].ravel()])
        assert (edge == 255).all()


@pytest.mark.parametrize("name", [*EXPLORERS, "predict_first"])
def test_a_lesson_shows_it(name):
    lessons = (Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb")
    cells = [
        cell
        for lesson in lessons
        for cell in nbformat.read(lesson, 4).cells
        if cell.cell_type == "code"
    ]
    assert any(re.search(rf"^explorers\.{name}\(", cell.source, re.MULTILINE) for cell in cells)


@pytest.mark.parametrize("name", EXPLORERS)
def test_the_picture_is_described_in_words(name):
    explorer = getattr(explorers, name)()
    assert len(explorer.caption.split()) >= 15 and len(explorer.alt.split()) >= 8


def test_an_unknown_control_is_refused():
    with pytest.raises(TypeError, match="no control 'gama', only batch, spread, gamma"):
        drawn(explorers.batch_norm_formula(), gama=2.0)


@pytest.mark.parametrize("name", EXPLORERS)
def test_without_controls_a_picture_and_its_caption_stand_in(name, monkeypatch):
    monkeypatch.setenv("COURSE_WIDGETS", "0")
    front = Front(monkeypatch)
    explorer = getattr(explorers, name)()
    explorer.show()
    (picture, options), (caption, _) = front.shown
    assert picture["image/png"].startswith(b"\x89PNG")
    assert picture["text/plain"] == options["metadata"]["image/png"]["alt"] == explorer.alt
    assert caption.data == f"*{explorer.caption}*"


@pytest.mark.parametrize("name", EXPLORERS)
def test_moving_a_control_puts_up_a_new_picture(name, monkeypatch):
    monkeypatch.delenv("COURSE_WIDGETS", raising=False)
    front = Front(monkeypatch)
    explorer = getattr(explorers, name)()
    explorer.show()
    assert len(front.controls()) == 1
    for control, widget in explorer.widgets.items():
        _, value, choices = explorer.controls[control]
        before = front.pictures()
        widget.value = others(value, choices)[-1]
        assert len(front.pictures()) == len(before) + 1
        assert front.pictures()[-1] != before[-1]


def test_every_control_has_a_label_and_can_be_reached_by_keyboard(monkeypatch):
    """Sliders, radio buttons and buttons take the arrow keys or the space bar; a label says what
    they move.
    """
    front = Front(monkeypatch)
    monkeypatch.delenv("COURSE_WIDGETS", raising=False)
    kinds = explorer_module.ipywidgets
    for explorer in [*(getattr(explorers, name)() for name in EXPLORERS), question()]:
        explorer.show()
        for widget in explorer.widgets.values():
            assert widget.description
            assert isinstance(
                widget,
                kinds.IntSlider
                | kinds.FloatSlider
                | kinds.SelectionSlider
                | kinds.RadioButtons
                | kinds.ToggleButton,
            )
    assert front.shown


# ---------------------------------------------------------------- what they compute


def test_columns_are_those_of_keras():
    x, x_hat, y = batch_norm.batch_norm_columns(
        batch=4, spread=0.1, gamma=-2.0, beta=1.5, epsilon=1e-2
    ).T
    layer = keras.layers.BatchNormalization(epsilon=1e-2)
    layer.build((None, 1))
    layer.gamma.assign([-2.0])
    layer.beta.assign([1.5])
    np.testing.assert_allclose(
        layer(x[:, None].astype("float32"), training=True)[:, 0], y, atol=1e-4
    )
    assert x_hat.var() == pytest.approx(x.var() / (x.var() + 1e-2))


def test_the_moving_path_is_that_of_keras():
    batch, moving = batch_norm.moving_statistics_path(momentum=0.9, steps=7, batch_size=8)
    layer = keras.layers.BatchNormalization(momentum=0.9)
    for values in batch_norm._samples()[:7, :8]:
        layer(values[:, None].astype("float32"), training=True)
    assert batch.shape == (7, 2) and moving.shape == (8, 2)
    kept = [float(layer.moving_mean[0]), float(layer.moving_variance[0])]
    np.testing.assert_allclose(moving[-1], kept, rtol=1e-4)


def test_a_pair_says_nothing_but_its_order_and_noise_falls_with_the_batch():
    # In a batch of two, every normalised value is +1 or -1, up to epsilon.
    assert np.quantile(np.abs(np.abs(batch_norm.batch_noise(2)) - 1), 0.9) < 0.1
    spread = [batch_norm.batch_noise(size).std() for size in batch_norm.SIZES]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] * np.sqrt(batch_norm.SIZES[-1]) == pytest.approx(
        np.sqrt(1.5), rel=0.05
    )  # 1 (mean) + 1/2 (sd)


@pytest.mark.parametrize(("convention", "scale"), [("inverted", 1.0), ("classic", 0.4)])
def test_the_mean_over_masks_meets_inference(convention, scale):
    mask, first, average, inference = dropout.dropout_outputs(0.6, 0, convention)
    x = np.linspace(0.5, 3, dropout.UNITS)
    np.testing.assert_allclose(inference, scale * x)
    np.testing.assert_allclose(average, inference, rtol=0.12)  # 4 standard errors of 2,000 masks
    np.testing.assert_allclose(first, np.where(mask[0], x * scale / 0.4, 0))


def test_noise_begins_behind_the_first_dropout_and_grows_with_the_rate():
    assert (dropout.noise_by_layer(0, 0, 0, 0) < 1e-12).all()
    half = dropout.noise_by_layer(0, 0, 0.5, 0)
    assert (half[:2] < 1e-12).all() and (half[2:] > 0).all()
    assert (dropout.noise_by_layer(0, 0, 0.7, 0)[2:] > half[2:]).all()
    # One linear layer, by hand: the extra variance of each example is rate / (1 - rate) * sum of
    # w^2 x^2.
    x, weights = dropout._network()
    expected = np.sqrt(
        (x**2 @ weights[0] ** 2).mean() * 0.25 / 0.75 / (x @ weights[0]).var(axis=0).mean()
    )
    assert dropout.noise_by_layer(0.25, 0, 0, 0)[0] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 2.0])
def test_the_shift_measured_is_the_shift_predicted(rate, shift):
    training, inference = dropout.variance_shift_values(rate, shift, dropout.ORDERS[0])
    predicted = dropout.variance_ratio(rate, shift, dropout.ORDERS[0])
    assert predicted < 1
    assert inference.var() / training.var() == pytest.approx(predicted, rel=0.08)


def test_in_the_other_order_nothing_shifts():
    training, inference = dropout.variance_shift_values(0.5, 1.0, dropout.ORDERS[1])
    assert training.var() == pytest.approx(inference.var())
    assert dropout.variance_ratio(0.5, 1.0, dropout.ORDERS[1]) == 1


# ---------------------------------------------------------------- predict first


def test_a_guess_comes_before_the_measurement_and_is_kept(monkeypatch):
    monkeypatch.delenv("COURSE_WIDGETS", raising=False)
    front = Front(monkeypatch)
    asked = question()
    asked.show()
    hidden = front.pictures()[-1]
    asked.widgets["guess"].value = 0.75
    assert asked.guess is None
    asked.widgets["shown"].value = True
    assert asked.guess == 0.75
    assert front.pictures()[-1] != hidden
    assert all(widget.disabled for widget in asked.widgets.values()), "no second guess"


def test_the_measurement_is_hidden_until_asked_for():
    """Measurements that differ give the same picture as long as they are not shown."""
    other = explorers.predict_first(
        "How accurate?", intervals.mean_interval([0.7, 0.8]), 0.0, 1.0, 0.01, "accuracy"
    )
    np.testing.assert_array_equal(drawn(question(), guess=0.3), drawn(other, guess=0.3))
    assert (drawn(question(), guess=0.3, shown=True) != drawn(other, guess=0.3, shown=True)).any()


def test_without_controls_the_measurement_is_shown_and_no_guess(monkeypatch):
    monkeypatch.setenv("COURSE_WIDGETS", "0")
    asked = question()
    np.testing.assert_array_equal(drawn(asked), drawn(asked, guess=0.9, shown=True))
    assert (drawn(asked) != drawn(asked, shown=False)).any()


def test_a_slider_that_cannot_reach_the_measurement_is_refused():
    with pytest.raises(ValueError, match="lies outside the slider's 0.5 to 1"):
        question(low=0.5)
