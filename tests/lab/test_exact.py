"""The template of exact statements: they hold for every seed, and each seed is one row."""

import nbformat
import numpy as np
import pytest

from course import modes
from course.lab.trial import TEMPLATES

ZERO = [
    "formula_error",
    "undo_error",
    "normalized_mean",
    "normalized_variance_error",
    "channel_error",
    "inference_difference",
    "fold_error",
    "scale_invariance_error",
    "accumulated_error_plain",
    "inverted_error",
    "inverted_training_error",
    "ensemble_error",
    "per_token_error",
    "group_norm_all_error",
]
SEEDS = [1, 0]


@pytest.fixture(scope="module")
def variables():
    """What the template leaves behind when it is run by hand for two seeds."""
    found = {}
    for cell in nbformat.read(TEMPLATES / "exact.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, found)
            if "parameters" in cell.metadata.get("tags", ()):
                found["seeds"] = SEEDS
    return found


def test_each_seed_is_a_row_of_its_own(variables):
    found = variables["found"]
    assert list(found) == SEEDS
    assert found[0].keys() == found[1].keys()
    assert found[0]["formula_error"] != found[1]["formula_error"]
    assert len(found[0]) == len(set(found[0])) > 25
    assert not len(variables["no_history"])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_exact_statements_hold(variables, seed):
    metrics = variables["found"][seed]
    assert {name: metrics[name] for name in ZERO} == pytest.approx(dict.fromkeys(ZERO, 0), abs=2e-5)
    assert metrics["keras_epsilon"] == 1e-3 and metrics["normalized_variance_minus_one"] > 1e-4
    assert metrics["epsilon_effect"] == pytest.approx(np.sqrt(2e-3 / 1.01e-3) - 1, abs=1e-3)
    assert metrics["epsilon_effect_large"] < 1e-3
    assert metrics["accumulated_error"] > 0.1
    assert metrics["classic_error"] == pytest.approx(0.3, abs=1e-6)
    assert metrics["expectation_error"] == pytest.approx(np.sqrt(2 / np.pi), abs=0.08)
    assert metrics["variance_error"] < 0.01
    assert metrics["ensemble_deep_error"] > 0.05 and 0.7 < metrics["ensemble_deep_agreement"] <= 1
    assert 0.005 < metrics["calibration_floor"] < 0.05
    assert metrics["layer_norm_all_features_error"] > 0.1
    assert metrics["recurrent_mask_constant"] == metrics["recurrent_drops_state"] == 1
    assert metrics["rerun_difference"] < 1e-5 < metrics["rerun_difference_other_seed"]


def test_gradients_of_other_examples_do_not_add_up(variables, monkeypatch):
    gradients = modes.gradients
    monkeypatch.setattr(modes, "gradients", lambda model, x, y: gradients(model, x[:12], y[:12]))
    assert variables["accumulation"](0)["accumulated_error_plain"] > 0.1
