"""Statements of lesson 02 that no cell of it can hold: each was wrong or missing once."""

import re
from pathlib import Path

import keras
import nbformat
import numpy as np

from course import models, reference

LESSON = Path(__file__).parents[2] / "notebooks" / "02_batch_norm_formula.ipynb"
TEXT = "\n".join(cell.source for cell in nbformat.read(LESSON, 4).cells)


def test_its_line_of_code_takes_gamma_and_beta_out_of_weight_decay():
    """As the lesson says: weights decay, gamma, beta and biases do not."""
    (names,) = re.findall(r"exclude_from_weight_decay\(var_names=(\[[^]]*\])\)", TEXT)
    layers = [keras.layers.Dense(3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((4,)), *layers])
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=re.findall(r'"(\w+)"', names))
    optimizer.build(model.trainable_variables)
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer.apply([keras.ops.zeros(variable.shape) for variable in model.trainable_variables])
    for variable in model.trainable_variables:
        decays = np.abs(keras.ops.convert_to_numpy(variable) - 1).max() > 0.01
        assert decays == (variable.name == "kernel"), variable.path


def test_it_says_that_the_output_layer_is_not_scaled():
    """It once said "all initial weights"."""
    assert "all initial weights" not in TEXT and "The output layer keeps its weights" in TEXT
    outputs = [
        models.mlp((4, 4, 1), 3, norm="batch", initial_scale=scale).get_layer("output").kernel
        for scale in (1.0, 100.0)
    ]
    assert np.array_equal(*map(keras.ops.convert_to_numpy, outputs))


def test_weight_decay_has_its_other_half():
    assert "It still changes how well the network generalises" in TEXT
    assert r"For Adam, whose steps do not depend on the size of the gradient" in TEXT


def test_the_suspect_is_wrong_by_its_count_alone():
    """With the m of section 7 in place of the batch size, the colleague's lines are right."""
    (code,) = re.findall(r"^def suspect.*?return dx, dgamma, dbeta\n", TEXT, flags=re.M | re.S)
    names = {"np": np}
    exec(code.replace("len(x)", "x[..., 0].size").replace("suspect", "mended") + code, names)
    rng = np.random.default_rng(0)
    dy, x = rng.normal(size=(2, 4, 2, 2, 3))
    right = reference.batch_norm_backward(
        dy, reference.batch_norm_train(x, np.ones(3), np.zeros(3))[1]
    )
    for found, true in zip(names["mended"](dy, x, np.ones(3)), right, strict=True):
        assert np.allclose(found, true)
    wrong = names["suspect"](dy, x, np.ones(3))
    assert not np.allclose(wrong[0], right[0]) and np.allclose(wrong[1], right[1])
