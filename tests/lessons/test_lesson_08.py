"""Lesson 08: what its text says beyond what its own cells hold."""

from itertools import product
from pathlib import Path

import folded
import keras
import nbformat
import numpy as np
import pytest

from course import intervals, tell

LESSON = Path(__file__).parents[2] / "notebooks" / "08_together.ipynb"
CELLS = nbformat.read(LESSON, 4).cells
TEXT = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
GARMENTS, DIGITS = "two by two", "two by two digits"
NETWORKS = ((GARMENTS, "few images, "), (GARMENTS, "more images, "), ("conv", ""))
NETWORKS += ((DIGITS, "few images, "), (DIGITS, "more images, "))


def solution(name):
    layers = keras.layers
    names = {"BatchNorm": layers.BatchNormalization, "Dropout": layers.Dropout}
    return folded.solution(TEXT, name, keras=keras, np=np, layers=layers, **names)


def best(runs, arm, metric="best_test_loss"):
    """A metric of the setting with the lowest validation loss."""
    losses = tell.stored(runs, "best_loss").mean()
    return tell.stored(runs, metric)[losses[losses.index.str.startswith(f"{arm}, ")].idxmin()]


def minus(arm, control):
    return intervals.mean_interval((arm - control).dropna())


def added(metric="best_test_loss"):
    """What dropout does to the loss of batch norm, and batch norm to that of dropout."""
    for runs, start in NETWORKS:
        both = best(runs, f"{start}both", metric)
        yield [minus(both, best(runs, start + kind, metric)) for kind in ("batch norm", "dropout")]


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_stored_variance_is_that_of_all_masks(rate):
    x = np.array([1.0, 2.0, 3.0, 6.0])
    outcomes, chance = (
        np.concatenate([x / (1 - rate), 0 * x]),
        np.repeat([1 - rate, rate], 4) / 4,
    )
    counted = chance @ outcomes**2 - (chance @ outcomes) ** 2
    np.testing.assert_allclose(solution("stored_variance")(x, rate), counted)
    ratio = solution("shift_ratio")(x[:, None], np.array([2.0]), rate)  # one input, any weight
    np.testing.assert_allclose(ratio, x.var() / counted)


def test_the_ratio_is_exact_for_correlated_inputs():
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=(30, 1)) + rng.normal(size=(30, 6)))
    w = rng.normal(size=6)
    masks = np.array(list(product([0, 1], repeat=6)))
    s = (x[:, None, :] * masks / 0.5) @ w
    np.testing.assert_allclose(solution("shift_ratio")(x, w, 0.5), (x @ w).var() / s.var())


def test_no_batch_norm_comes_after_the_dropout_of_the_last_arrangement():
    kinds = [type(layer).__name__ for layer in solution("no_shift")(16, 0.5).layers]
    assert kinds.count("Dropout") == 1 and kinds[-1] == "Dense"
    assert "BatchNormalization" not in kinds[kinds.index("Dropout") :]


def test_an_interaction_is_with_minus_without():
    assert np.allclose(solution("interaction")(0.6, 0.5, 0.7, 0.5), (-0.1, -0.2, -0.1))


def test_the_pair_is_nowhere_worse_by_what_matters():
    """In short 1, section 5: each network at its best setting and best epoch."""
    dropout, norm = zip(*added(), strict=True)
    assert max(one.high for one in (*dropout, *norm)) < 0.02
    assert np.allclose([one.mean for one in dropout], (-0.027, -0.01, -0.028, 0, 0), atol=0.003)
    more = [one.mean for one, _ in added("best_test_accuracy")]
    assert 0.0015 < min(more[:3]) and max(more[:3]) < 0.0075 and max(np.abs(more)) < 0.01


def test_dropout_is_redundant_on_digits_only():
    """The first edition had the interaction of one network after 200 steps, as if it were a law."""
    found = []
    for runs, start in NETWORKS:
        four = [best(runs, start + kind) for kind in ("plain", "dropout", "batch norm", "both")]
        without, _, between = (
            intervals.mean_interval(values.dropna()) for values in solution("interaction")(*four)
        )
        found.append((without.mean, between))
    assert np.allclose(
        [one for one, _ in found], (-0.005, -0.014, -0.003, -0.012, -0.005), atol=2e-3
    )
    signs = [np.sign(one.low + one.high) * (one.low * one.high > 0) for _, one in found]
    assert signs == [-1, 1, -1, 1, 1]
    assert found[0][1].high < -0.01 and found[2][1].high < -0.01  # 1,000 garments
    assert all(one.high < 0.02 for _, one in found)


def test_at_the_last_epoch_dropout_does_more():
    moved = [
        minus(*(best(runs, start + kind, "loss") for kind in ("both", "batch norm"))).mean
        for runs, start in NETWORKS[:3]
    ]
    assert np.allclose(moved, (-0.12, -0.04, -0.06), atol=0.005)


def test_the_orders_differ_by_less_than_a_hundredth_each_at_its_best_rate():
    """Sections 4 and 6, with the network whose learning rate is not tuned."""
    usual, other, last, none = (
        [
            best(runs, f"{arm}, width {width}")
            for runs in ("order", "order digits")
            for width in (64, 256)
        ]
        for arm in (
            "batch norm, then dropout",
            "dropout, then batch norm",
            "last block",
            "no dropout",
        )
    )
    pairs = list(zip(usual, other, last, none, strict=True))
    swapped = [minus(one, two).mean for one, two, *_ in pairs]
    assert -0.0105 < min(swapped) and max(swapped) < 0.001
    alone = [minus(three, one).mean for one, _, three, _ in pairs]
    assert all(0.008 < one < 0.023 for one in alone[:2]) and max(np.abs(alone[2:])) < 0.01
    gained = [minus(one, four).mean for one, *_, four in pairs]
    assert np.allclose(gained, (-0.03, -0.03, 0.04, 0), atol=0.003)
    losses = tell.stored("order digits", "best_test_loss")
    equal = losses["no dropout, width 64, learning rate 0.0005"]
    assert abs(minus(usual[2], equal).mean) < 0.01
    heavy = tell.stored("order", "best_test_loss")["batch norm, then dropout, width 64, rate 0.5"]
    assert 0.14 < minus(heavy, none[0]).mean < 0.16


def test_width_moves_the_shift_in_either_direction():
    """The first edition said "the wider layer has the smaller shift", from three live seeds."""
    found, order = [], []
    for runs in ("order", "order digits"):
        real, said = (tell.stored(runs, f"shift_{what}") for what in ("measured", "predicted"))
        assert (real - said).mean().abs().max() < 0.001
        for length in ("{}, width {}, rate 0.5", "a quarter as long, {}, width {}"):
            for arm in ("batch norm, then dropout", "dropout, then batch norm"):
                narrow, wide = (real[length.format(arm, width)] for width in (64, 256))
                found.append(minus(wide, narrow))
                order.append((narrow.mean(), wide.mean()))
    assert sum(one.low > 0.01 for one in found) == 4
    assert sum(one.high < -0.005 for one in found) == 3
    first, second = np.array(order).reshape(4, 2, 2).swapaxes(0, 1)
    assert np.all(first > second + 0.05)
    assert "Width alone does not tell you" in TEXT and "narrow layers above all" not in TEXT


def test_the_pair_needs_more_epochs():
    """Section 6: at the same learning rate, from 9 to 28 and from 7 to 14."""
    for (runs, start), epochs in zip(NETWORKS[::2], ((9, 28), (7, 14)), strict=False):
        ended = [best(runs, start + kind, "best_epoch").mean() for kind in ("batch norm", "both")]
        assert np.allclose(ended, epochs, atol=0.6)


def test_batch_norm_at_inference_is_called_affine():
    """The first edition called it linear; and it told what Ioffe and Szegedy do not say."""
    assert "an affine map" in TEXT and "linear map with fixed" not in TEXT
    assert "million images" not in TEXT


def test_the_trained_networks_end_at_a_learning_rate_of_0():
    """With a constant one, half of the old section was about the lag, and not about the shift."""
    code = "\n".join(cell.source for cell in CELLS if cell.cell_type == "code")
    assert "CosineDecay" in code and "falls to 0 (cosine)" in TEXT
