"""Lesson 05: what its text says beyond what its own cells hold."""

from pathlib import Path

import nbformat
import numpy as np
import pytest

from course import tell

LESSON = Path(__file__).parents[2] / "notebooks" / "05_dropout_mechanics.ipynb"
CELLS = nbformat.read(LESSON, 4).cells
TEXT = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")


def test_mean_logits_count_up_to_a_constant_of_all_classes():
    """The geometric mean is one pass even where the mean logits are not its logits."""
    assert "up to a constant that all classes share" in TEXT
    logits = np.array([[1.0, 2.0, 4.0], [0.0, 3.0, 1.0]])
    shifted = logits + np.array([[5.0], [-2.0]])  # another constant for each mask

    def geometric(z):
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        mean = np.exp(np.log(p).mean(axis=0))
        return mean / mean.sum()

    np.testing.assert_allclose(geometric(shifted), geometric(logits))
    assert abs(shifted.mean(axis=0) - logits.mean(axis=0)).min() > 1


def test_dropout_is_compared_at_its_best_epoch_and_has_reached_it():
    """The first edition judged the network with dropout while its loss was still falling."""
    assert "best epoch" in TEXT and "two to three times" in TEXT
    code = "\n".join(cell.source for cell in CELLS if cell.cell_type == "code")
    assert "range(40)" in code and "two to three times the epochs" in code


@pytest.mark.parametrize("size", ["few images", "more images"])
def test_at_the_best_of_three_settings_little_is_left_of_what_dropout_gains(size):
    assert "about 0.01 of loss and less than half a point of accuracy remain" in TEXT
    chosen, loss, accuracy = (
        tell.stored("two by two", metric)
        for metric in ("best_loss", "best_test_loss", "best_test_accuracy")
    )
    plain, dropout = (
        chosen.filter(like=f"{size}, {kind}, ").mean().idxmin() for kind in ("plain", "dropout")
    )
    assert -0.016 < (loss[dropout] - loss[plain]).mean() < -0.004
    assert 0 < (accuracy[dropout] - accuracy[plain]).mean() < 0.005
