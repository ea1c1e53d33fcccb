"""Lesson 06: what its text says beyond what its own cells hold."""

from pathlib import Path

import folded
import keras
import nbformat
import numpy as np

from course import modes, reference, tell
from course.explorers.dropout import noise_by_layer

LESSON = Path(__file__).parents[2] / "notebooks" / "06_dropout_in_practice.ipynb"
CELLS = nbformat.read(LESSON, 4).cells
TEXT = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
CODE = "\n".join(cell.source for cell in CELLS if cell.cell_type == "code")


def softmax(z):
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def entropy(p):
    return -(p * np.log(p + 1e-12)).sum(axis=-1)


def solution(name):
    return folded.solution(
        TEXT, name, keras=keras, np=np, layers=keras.layers, softmax=softmax, entropy=entropy
    )


def test_the_shapes_are_those_of_the_masks():
    shape, rng = (8, 5, 5, 3), np.random.default_rng(0)
    x = np.ones(shape, "float32")
    _, whole = reference.spatial_dropout(x, 0.5, rng, training=True)
    assert solution("mask_shape")("maps", shape) == whole.shape
    branch = keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 1), seed=0)(x, training=True)
    coins = solution("mask_shape")("branch", shape)
    assert coins == (8, 1, 1, 1)
    assert all(len(np.unique(one)) == 1 for one in np.asarray(branch))


def test_a_dropped_branch_is_keras_s_dropout_with_that_noise_shape():
    x, branch = np.random.default_rng(0).normal(size=(2, 40, 5, 5, 3)).astype("float32")
    layer = keras.layers.Dropout(0.25, noise_shape=(None, 1, 1, 1), seed=1)
    dropped = np.asarray(layer(branch, training=True))
    keep = dropped.any(axis=(1, 2, 3))
    assert 0 < keep.sum() < 40
    found = solution("drop_branch")(x, branch, keep, 0.75, True)
    np.testing.assert_allclose(found, x + dropped, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(solution("drop_branch")(x, branch, keep, 0.75, False), x + branch)


def test_the_passes_leave_batch_norm_alone():
    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(3)])
    x, before = np.random.default_rng(0).normal(size=(9, 6)), model.get_weights()
    found = solution("passes")(model, x.astype("float32"), 4)
    assert found.shape == (4, 9, 3) and found.std(axis=0).max() > 1e-3
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))


def test_disagreement_is_mutual_information_and_doubt_is_not():
    doubt = np.full((6, 1, 2), 0.5)
    quarrel = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    for p, information in ((doubt, 0), (quarrel, np.log(2))):
        total, disagreement = solution("uncertainty")(p)
        np.testing.assert_allclose(total, np.log(2), atol=1e-6)
        np.testing.assert_allclose(disagreement, information, atol=1e-6)


def test_a_temperature_keeps_the_class():
    p = softmax(np.random.default_rng(0).normal(size=(50, 4)))
    cooled = solution("tempered")(p, 2.0)
    assert (cooled.argmax(axis=1) == p.argmax(axis=1)).all()
    np.testing.assert_allclose(solution("tempered")(p, 1.0), p, atol=1e-6)
    assert cooled.max() < p.max()


def test_the_calibration_error_of_a_perfect_predictor_is_not_0():
    """The first edition called 0 perfect, and read the floor as an error."""
    rng = np.random.default_rng(0)
    p = softmax(3 * rng.normal(size=(1_000, 10)))
    found = []
    for _ in range(30):
        labels = (p.cumsum(axis=1) > rng.random((1_000, 1))).argmax(axis=1)
        count, confidence, right = modes.confidence_bins(p, labels)
        found.append(np.sum(count * abs(confidence - right)) / 1_000)
    assert 0.008 < np.mean(found) < 0.04
    assert "It has a floor" in TEXT and "floor" in CODE


def test_moderate_rates_everywhere_make_as_much_noise_to_first_order():
    """The first edition said that they make more, because variances add: those are equal."""
    assert np.isclose(4 * 0.2 / 0.8, 0.5 / 0.5)
    outputs = [noise_by_layer(*rates)[-1] for rates in (4 * [0.2], [0, 0, 0.5, 0], [0.5, 0, 0, 0])]
    np.testing.assert_allclose(outputs, (2.4, 2.3, 1.5), atol=0.06)
    assert "2.4 against 2.3" in TEXT and "a ratio of 1.5 at the input" in TEXT
    # To first order the variances of the four alone add, and the one mask would win.
    alone = [noise_by_layer(*rates)[-1] for rates in 0.2 * np.eye(4)]
    assert np.linalg.norm(alone) < outputs[1] - 0.1 and "the one mask would win" in TEXT


def test_dropout_adds_no_weights():
    weights = tell.stored("conv", "weights").mean().filter(regex="^(plain|drop|elem|spat)")
    assert set(weights) == {26_698} and "26,698 weights" in TEXT


def test_the_ledger_is_told_as_it_stands():
    """What stochastic depth and early dropout changed in the stored runs (sections 1 and 2)."""

    def moved(experiment, metric, arm, control):
        runs = tell.stored(experiment, metric)
        return (runs[arm] - runs[control]).dropna().mean()

    deep = "stochastic depth, survival 0.6", "all branches, learning rate 0.001"
    assert round(moved("stochastic depth", "best_test_loss", *deep), 2) == -0.06
    early = "early, rate 0.05", "none, learning rate 0.004"
    assert round(moved("early dropout", "train_loss", *early), 2) == 0.02
    assert "the test loss falls by 0.06" in TEXT and "ended 0.02 above" in TEXT
    conv = "elementwise, low, conv rate 0.3", "plain, learning rate 0.001"
    dense = "dropout, rate 0.35", "none, learning rate 0.0002"
    points = [
        moved(runs, "best_test_accuracy", *pair)
        for runs, pair in (("conv", conv), ("remedies", dense))
    ]
    assert [round(100 * one, 1) for one in points] == [0.5, 0.3] and "0.3 to 0.5 points" in TEXT


def test_passes_of_one_of_two_dropout_layers_are_refused(capsys):
    """The check once saw whether any layer drops, and not whether both do."""
    code, names = [cell.source for cell in CELLS if cell.cell_type == "code"], {}
    for start in ("from course", "softmax, entropy", "# NBVAL_CHECK_OUTPUT\ndef network("):
        exec(next(one for one in code if one.startswith(start)), names)
    check = next(one for one in code if one.startswith("def passes(")).split("...", 1)[1]
    answer = """
def passes(model, x, count):
    found = []
    for _ in range(count):
        h = x
        for number, layer in enumerate(model.layers):
            h = layer(h, training=number in {})
        found.append(np.asarray(h))
    return np.stack(found)
"""
    for on, mark in (((4, 8), "✔"), ((4,), "✘"), ((8,), "✘"), ((2, 4, 8), "✘")):
        capsys.readouterr()
        exec(answer.format(on) + check, names)
        assert capsys.readouterr().out.startswith(mark), on


def test_the_maps_are_those_of_trained_filters_and_dead_units_stand_apart():
    assert "RandomUniform" not in CODE and "classifier.fit(" in CODE
    assert '"dead", "active_alive"' in CODE
