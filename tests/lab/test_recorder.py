"""What is recorded of the layers while a network trains: the right numbers, and no harm done."""

import keras
import numpy as np
import pytest

from course import training
from course.lab import many
from course.lab.recorder import Recorder
from course.lab.trial import Trial
from course.training import Config

NORMED = Config(options={"width": 16, "norm": "batch"}, epochs=2, batch_size=50, learning_rate=5e-3)


def weights(run):
    return [keras.ops.convert_to_numpy(weight) for weight in run.model.weights]


def test_recorded_statistics_are_those_of_the_layers(digits):
    run = training.train(NORMED, digits, hooks=[Recorder(4)])
    table = run.statistics
    assert sorted(table["step"].unique()) == [0, 4, 8, 12, 16]

    def last(layer, quantity):
        return table.query("step == 16 and layer == @layer and quantity == @quantity")[
            "value"
        ].to_numpy()

    norm = run.model.get_layer("norm_1")
    np.testing.assert_allclose(
        last("norm_1", "moving_mean"), keras.ops.convert_to_numpy(norm.moving_mean)
    )
    assert last("norm_1", "mean") == pytest.approx(keras.ops.convert_to_numpy(norm.beta), abs=1e-4)
    dense = digits.x_train[:256].reshape(256, -1) @ keras.ops.convert_to_numpy(
        run.model.get_layer("dense_1").kernel
    )
    np.testing.assert_allclose(last("dense_1", "inference_mean"), dense.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(last("dense_1", "variance"), dense.var(axis=0), rtol=1e-3, atol=1e-6)


def test_recording_does_not_disturb_the_run(digits):
    plain = training.train(NORMED, digits)
    recorded = training.train(NORMED, digits, hooks=[Recorder(1)])
    assert plain.statistics is None
    for one, two in zip(weights(plain), weights(recorded), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_trial_that_asks_for_it_is_recorded():
    settings = {"dataset": "digits", "train_size": 100, "validation_size": 50, "epochs": 1}
    settings |= {"options": {"width": 8, "depth": 1}, "record_every": 1}
    ((_, run, _),) = many.runs(Trial.from_dict(settings), [0])
    assert run.statistics["step"].nunique() == 2


@pytest.mark.parametrize("every", [0, -1, 1.5, None])
def test_it_is_told_how_often(every):
    with pytest.raises(ValueError, match="record_every is .*; give a whole number of at least 1"):
        Recorder(every)
