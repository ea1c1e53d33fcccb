"""The layers of the experiments against NumPy, and the template of dense variants: with nothing
added it is the course's own network, and each addition does what it says.
"""

import os
import subprocess
import sys
from dataclasses import replace

import keras
import nbformat
import numpy as np
import pytest

from course import models, modes, training
from course.lab import layers, many
from course.lab.trial import TEMPLATES

SMALL = {"dataset": "digits", "train_size": 400, "validation_size": 150, "epochs": 2, "width": 24}


def variables_of(**parameters):
    """What the template defines with these parameters, nothing trained yet."""
    notebook = nbformat.read(TEMPLATES / "variants.ipynb", as_version=4)
    variables = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "many.runs" not in cell.source:
            tags = cell.metadata.get("tags", ())
            if "picture" not in tags:
                exec(cell.source, variables)
            if "parameters" in tags:
                variables["parameters"] |= SMALL | parameters
    return variables


def network(seed=3, **parameters):
    return variables_of(**parameters)["build_variant"]((8, 8, 1), 10, seed=seed)


def as_numpy(values):
    return keras.ops.convert_to_numpy(values)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((32, 8, 8, 1), dtype="float32")


def test_dynamic_tanh_is_its_formula():
    layer, rng = layers.DynamicTanh(), np.random.default_rng(0)
    x, gamma, beta = rng.normal(size=(5, 4)), rng.normal(size=4), rng.normal(size=4)
    np.testing.assert_allclose(as_numpy(layer(x)), np.tanh(0.5 * x), atol=1e-6)
    for weight, value in ((layer.alpha, -0.3), (layer.gamma, gamma), (layer.beta, beta)):
        weight.assign(value)
    np.testing.assert_allclose(as_numpy(layer(x)), gamma * np.tanh(-0.3 * x) + beta, atol=1e-6)
    assert len(layer.trainable_weights) == 3 and layer.alpha.shape == ()


def test_early_dropout_is_dropout_until_its_step_and_then_nothing():
    early, usual = layers.EarlyDropout(0.5, until=3, seed=4), keras.layers.Dropout(0.5, seed=4)
    x = np.ones((6, 50), "float32")
    for _ in range(3):
        np.testing.assert_array_equal(as_numpy(early(x, training=False)), x)  # counts no step
        dropped = as_numpy(early(x, training=True))
        np.testing.assert_array_equal(dropped, as_numpy(usual(x, training=True)))
        assert set(np.unique(dropped)) == {0.0, 2.0}
    for _ in range(2):
        np.testing.assert_array_equal(as_numpy(early(x, training=True)), x)
    assert int(as_numpy(early.steps)) == 5 and not early.trainable_weights


def test_layers_can_be_made_again_from_their_config():
    for layer in (layers.DynamicTanh(), layers.Gate(), layers.EarlyDropout(0.2, until=7, seed=1)):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_with_nothing_added_it_is_the_network_of_the_course(x, norm):
    options = {"depth": 3, "norm": norm, "rate": 0.4, "initial_scale": 0.5, "residual": True}
    own = network(**options)
    course = models.mlp((8, 8, 1), 10, width=24, **options, seed=3)
    for one, other in zip(own.get_weights(), course.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for _ in range(2):  # the same masks, too
        outputs = [as_numpy(model(x, training=True)) for model in (own, course)]
        np.testing.assert_allclose(*outputs, atol=1e-6)


def test_additions_shift_no_random_numbers_of_the_rest(x):
    extras = {"residual": True, "branch": "zero", "survival": 0.5, "drop_until": 9}
    plain, rich = network(depth=3, rate=0.5), network(depth=3, rate=0.5, **extras)
    for number in (1, 2, 3):
        name = f"dense_{number}"
        pair = [model.get_layer(name).get_weights()[0] for model in (plain, rich)]
        np.testing.assert_array_equal(*pair)
        one, other = (model.get_layer(f"dropout_{number}") for model in (plain, rich))
        masks = [as_numpy(layer(np.ones((4, 24)), training=True)) for layer in (one, other)]
        np.testing.assert_array_equal(*masks)
    seeds = [layer.seed for layer in rich.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(seeds) == len(set(seeds)) == 5


def test_a_branch_that_starts_at_0_is_the_identity_at_the_start(x):
    for branch, same in (("zero", True), ("plain", False)):
        model = network(depth=4, norm="batch", residual=True, branch=branch)
        ends = [model.get_layer(name).output for name in ("activation_1", "add_4")]
        first, last = keras.Model(model.input, ends)(x, training=True)
        assert np.allclose(as_numpy(first), as_numpy(last)) == same
    model = network(depth=4, residual=True, branch="zero")
    assert [layer.factor.shape for layer in model.layers if isinstance(layer, layers.Gate)] == 3 * [
        ()
    ]


def test_stochastic_depth_drops_whole_branches_and_keeps_the_expectation():
    layer = network(residual=True, survival=0.8).get_layer("survive_2")
    ones = np.ones((20_000, 24), "float32")
    kept = as_numpy(layer(ones, training=True))
    assert (kept == kept[:, :1]).all(), "one number for an image"
    np.testing.assert_allclose(np.unique(kept), [0, 1 / 0.8], rtol=1e-6)
    assert kept[:, 0].mean() == pytest.approx(1, abs=0.015)  # four standard errors
    np.testing.assert_array_equal(as_numpy(layer(ones, training=False)), ones)


def test_smoothed_labels_by_hand_and_only_in_training(digits):
    variables = variables_of(label_smoothing=0.2)
    rng = np.random.default_rng(0)
    told = rng.dirichlet(np.ones(10), 6).astype("float32")
    y = np.arange(6)
    expected = -0.8 * np.log(told[y, y]) - 0.02 * np.log(told).sum(axis=1)
    np.testing.assert_allclose(as_numpy(variables["smoothed"](y, told)), expected, rtol=1e-4)
    config = replace(variables["trial"].config, model=variables["build_variant"], epochs=1)
    run = training.train(config, digits, progress=False)
    right = modes.evaluate(run.model, digits.x_validation, digits.y_validation)
    assert run.final("loss") == pytest.approx(right["loss"], rel=1e-5)
    # What Keras logs is the smoothed loss, which cannot fall below the entropy of its labels.
    labels = np.full((1, 10), 0.02) + 0.8 * np.eye(10)[:1]
    assert run.final("loss", "train", "training") > -np.sum(labels * np.log(labels))


def test_weight_decay_is_decoupled_and_of_the_hidden_kernels_alone(digits):
    trained = {}
    for decay in (0.0, 2.0):
        variables = variables_of(weight_decay=decay, learning_rate=0.01, norm="batch")
        config = replace(variables["trial"].config, model=variables["build_variant"])
        model = training.build(config, digits)
        initial = [np.array(as_numpy(weight)) for weight in model.weights]
        model.train_on_batch(digits.x_train[:64], digits.y_train[:64])
        trained[decay] = [as_numpy(weight) for weight in model.weights]
    for weight, start, plain, decayed in zip(
        model.weights, initial, *trained.values(), strict=True
    ):
        part = 0.01 * 2.0 if weight.path in ("dense_1/kernel", "dense_2/kernel") else 0.0
        np.testing.assert_allclose(decayed, plain - part * start, atol=1e-6, err_msg=weight.path)
    assert sum(weight.path in ("dense_1/kernel", "dense_2/kernel") for weight in model.weights) == 2


def test_a_variant_is_trained_measured_and_told():
    changes = {"norm": "dyt", "residual": True, "branch": "zero", "survival": 0.8}
    variables = variables_of(rate=0.2, drop_until=5, measure=["best"], **changes)
    variables["parameters"]["measure"] = ["best"]
    variables["seeds"] = [0, 1]
    notebook = nbformat.read(TEMPLATES / "variants.ipynb", as_version=4)
    (runs,) = [cell.source for cell in notebook.cells if "many.runs" in cell.source]
    exec(runs, variables)
    found, run = variables["found"], variables["run"]
    assert list(found) == [0, 1] and found[0]["best_test_loss"] != found[1]["best_test_loss"]
    assert all(np.isfinite(list(metrics.values())).all() for metrics in found.values())
    assert int(as_numpy(run.model.get_layer("dropout_1").steps)) == 2 * (400 // 64)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"norm": "batches"}, "Did you mean 'batch'"),
        ({"branch": "zero"}, "set residual to true"),
        ({"survival": 0.5}, "set residual to true"),
        ({"survival": 0.0, "residual": True}, "survival is 1"),
        ({"survival": 1.5, "residual": True}, "survival is -0.5"),
        ({"drop_until": 10}, "give a rate above 0"),
        ({"label_smoothing": 1.0}, "from 0 to below 1"),
        ({"weight_decay": 0.1, "schedule": "cosine"}, "constant learning rate"),
        ({"depth": 0}, "depth is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        variables_of(**parameters)


EVERYTHING = {
    "norm": "dyt",
    "depth": 3,
    "residual": True,
    "branch": "zero",
    "survival": 0.7,
    "rate": 0.4,
    "drop_until": 5,
    "label_smoothing": 0.1,
    "weight_decay": 1.0,
}


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") != "jax", reason="on JAX: see below")
def test_a_seed_beside_others_is_the_run_that_it_is_alone(monkeypatch):
    variables, found = variables_of(**EVERYTHING), {}
    for at_once in (True, False):
        monkeypatch.setattr(many, "_can_be_vectorised", lambda *anything, now=at_once: now)
        runs = many.runs(variables["trial"], [0, 3], model=variables["build_variant"])
        found[at_once] = {one.seed: (run.history, run.best) for one, run, _ in runs}
    for seed in (0, 3):
        (history, best), (alone, best_alone) = found[True][seed], found[False][seed]
        values = [
            table[table["metric"] != "seconds"].sort_values(["epoch", "split", "mode", "metric"])
            for table in (history, alone)
        ]
        np.testing.assert_allclose(values[0]["value"], values[1]["value"], atol=2e-4)
        for one, other in zip(best, best_alone, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") == "jax", reason="starts it")
def test_on_jax():
    pytest.importorskip("jax")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", __file__, "-k", "beside or early"]
    ran = subprocess.run(
        command, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
