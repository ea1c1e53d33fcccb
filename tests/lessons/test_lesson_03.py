"""What the text of lesson 03 says of Keras, and the solutions that it shows."""

from pathlib import Path

import folded
import keras
import nbformat
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
(PATH,) = (ROOT / "notebooks").glob("03_*.ipynb")
TEXT = "\n".join(cell.source for cell in nbformat.read(PATH, 4).cells)


def solution(name):
    return folded.solution(TEXT, name, keras=keras, np=np)


def numpy(value):
    return keras.ops.convert_to_numpy(value)


def test_the_update_is_keras_s():
    batch = np.random.default_rng(0).normal(3, 2, (7, 4)).astype("float32")
    layer = keras.layers.BatchNormalization(momentum=0.9)
    layer(batch, training=True)
    found = solution("update")(np.zeros(4), np.ones(4), batch, 0.9)
    np.testing.assert_allclose(found, layer.get_weights()[2:], rtol=1e-5)


def test_a_folded_convolution_gives_the_same_outputs():
    rng = np.random.default_rng(0)
    norm = keras.layers.BatchNormalization()
    linear = keras.layers.Conv2D(6, 3, padding="same", use_bias=False)
    pair = keras.Sequential([keras.Input((9, 9, 3)), linear, norm])
    norm.set_weights(list(rng.uniform(0.5, 2, (4, 6))))
    one = keras.layers.Conv2D(6, 3, padding="same")
    one.build((None, 9, 9, 3))
    one.set_weights(solution("fold")(*linear.get_weights(), *norm.get_weights()))
    x = rng.normal(size=(5, 9, 9, 3)).astype("float32")
    before, after = numpy(pair(x)), numpy(one(x))
    assert np.linalg.norm(before - after) < 1e-6 * np.linalg.norm(before)


def test_exact_statistics_are_those_of_one_large_batch():
    rng = np.random.default_rng(0)
    x, layers = rng.normal(size=(50, 12)).astype("float32"), []
    for _ in range(3):
        layers += [keras.layers.Dense(8, use_bias=False), keras.layers.BatchNormalization()]
        layers += [keras.layers.Activation("relu")]
    model = keras.Sequential([keras.Input((12,)), *layers, keras.layers.Dense(2)])
    expected = numpy(model(x, training=True))
    model.set_weights(solution("exact_statistics")(model.get_weights(), x))
    np.testing.assert_allclose(numpy(model(x)), expected, atol=1e-5)


def test_the_frozen_network_moves_nothing_of_batch_norm():
    def start():
        norm = keras.layers.BatchNormalization()
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), norm])
        model.compile("sgd", "mse")
        return model

    model = solution("frozen")(start)
    before, x = model.get_weights(), np.ones((8, 4), "float32")
    model.compile("sgd", "mse")
    model.train_on_batch(x, np.ones((8, 3), "float32"))
    same = [np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True)]
    assert same == [False, False, True, True, True, True]


def test_renorm_normalises_with_its_own_moving_averages():
    layer = keras.layers.BatchNormalization(renorm=True, renorm_momentum=0.5)
    x = np.random.default_rng(0).normal(3, 2, (64, 2)).astype("float32")
    for _ in range(40):
        layer(x, training=True)
    new = x[:4] + 5
    expected = (new - numpy(layer.renorm_mean)) / numpy(layer.renorm_stddev)
    np.testing.assert_allclose(numpy(layer(new, training=True)), expected, rtol=2e-2)


@pytest.mark.skipif(keras.config.backend() == "tensorflow", reason="TensorFlow has it")
def test_synchronized_statistics_are_for_tensorflow_alone():
    with pytest.raises(ValueError, match="TensorFlow"):
        keras.layers.BatchNormalization(synchronized=True)
