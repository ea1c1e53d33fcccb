"""The measures on trained models: each against a computation of its own, or a case whose answer is
known.
"""

from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pandas as pd
import pytest

from course import modes, training
from course.lab import measures

IN_CHAIN = [name for name in measures.MEASURES if name not in ("final", "drift", "target")]


@pytest.fixture(autouse=True)
def few_batches(monkeypatch):
    monkeypatch.setattr(measures, "MOST_BATCHES", 40)


@pytest.fixture(scope="module")
def trained(digits):
    """Small runs on the digits, by options; each is trained once."""

    @cache
    def train(momentum=0.9, **options):
        options = {"width": 32, **options}
        config = training.Config(
            options=options,
            epochs=8,
            batch_size=40,
            learning_rate=5e-3,
            batch_norm_momentum=momentum,
        )
        return training.train(config, digits)

    return train


def state(run):
    return [np.array(variable) for layer in run.model.layers for variable in layer.variables]


def probabilities(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def test_no_measure_changes_the_model_and_all_are_repeatable(digits, trained):
    run = trained(norm="batch", rate=0.5)
    before = state(run)
    first = measures.measure(run, digits, IN_CHAIN)
    for one, other in zip(before, state(run), strict=True):
        np.testing.assert_array_equal(one, other)
    again = measures.measure(run, digits, reversed(IN_CHAIN))  # nor does one measure change another
    assert again == pytest.approx(first, abs=1e-6)
    assert all(np.isfinite(float(value)) for value in first.values())


def test_predictions_averaged_with_those_of_the_mirror_image(digits, trained):
    run = trained()
    found = measures.mirrored(run, digits)
    both = (
        probabilities(run.model, digits.x_validation)
        + probabilities(run.model, digits.x_validation[:, :, ::-1])
    ) / 2
    assert found["mirrored_accuracy"] == np.mean(both.argmax(axis=1) == digits.y_validation)
    mirror = replace(
        digits, x_validation=digits.x_validation[:, :, ::-1], x_test=digits.x_test[:, :, ::-1]
    )
    assert measures.mirrored(run, mirror) == pytest.approx(found), (
        "which of the two is called the mirror image is all one"
    )
    up_and_down = replace(
        digits, x_validation=digits.x_validation[:, ::-1], x_test=digits.x_test[:, ::-1]
    )
    assert measures.mirrored(run, up_and_down)["mirrored_loss"] > 2 * found["mirrored_loss"]


def test_recomputed_statistics_repair_spoilt_ones(digits, trained):
    run = trained(norm="batch")
    good = measures.recomputed(run, digits)
    norm = run.model.get_layer("norm_1")
    saved = norm.get_weights()
    norm.set_weights([*saved[:2], saved[2] + 3, 9 * saved[3]])
    assert modes.evaluate(run.model, digits.x_validation, digits.y_validation)["accuracy"] < 0.6
    spoilt = measures.recomputed(run, digits)
    norm.set_weights(saved)
    assert spoilt == pytest.approx(good, abs=1e-6) and good["recomputed_accuracy"] > 0.85


def test_without_batch_norm_statistics_make_no_difference(digits, trained):
    found = measures.measure(trained(rate=0.5), digits, ["recomputed", "batch_statistics"])
    assert found["recomputed_loss"] == pytest.approx(found["loss"])
    assert found["polluted_accuracy"] == found["accuracy"]


def test_batch_statistics(digits, trained):
    run = trained(norm="batch")
    found = measures.batch_statistics(run, digits)
    order = np.random.default_rng(0).permutation(200)
    # Alone in its batch every image is its own mean, so all get the class that beta gives.
    shares = (
        np.bincount(digits.y_validation[order[: measures.MOST_BATCHES]], minlength=10)
        / measures.MOST_BATCHES
    )
    assert np.isclose(shares, found["batch_1_accuracy"]).any()
    assert found["batch_1_accuracy"] < 0.3 < found["batch_2_accuracy"] < found["batch_32_accuracy"]
    # 200 images hold one batch of 128, which is the same sorted or not.
    assert found["sorted_accuracy"] == found["batch_128_accuracy"]
    twin = keras.models.clone_model(run.model)
    twin.set_weights(run.model.get_weights())
    kept = order[:128]
    right = modes.evaluate(
        twin, digits.x_validation[kept], digits.y_validation[kept], training=True
    )
    assert found["batch_128_accuracy"] == pytest.approx(right["accuracy"])
    polluted = modes.evaluate(twin, digits.x_validation, digits.y_validation)
    assert found["polluted_accuracy"] == pytest.approx(polluted["accuracy"])


def test_batches_sorted_by_class_are_bad_and_leave_damage(digits, trained, monkeypatch):
    monkeypatch.setattr(measures, "BATCH_SIZES", (20,))
    run = trained(
        norm="batch", momentum=0.0
    )  # the moving statistics are then those of the last class
    found = measures.batch_statistics(run, digits)
    assert found["sorted_accuracy"] < found["batch_20_accuracy"] - 0.2
    assert found["polluted_accuracy"] < run.final() - 0.05


def test_at_rate_0_dropout_on_is_dropout_off(digits, trained):
    found = measures.measure(trained(norm="batch"), digits, ["dropout_on", "monte_carlo"])
    for prefix in ("dropout_on", "mc"):
        assert found[f"{prefix}_accuracy"] == pytest.approx(found["accuracy"])
        assert found[f"{prefix}_loss"] == pytest.approx(found["loss"], rel=1e-4)
    assert found["flips"] == 0 and found["mc_calibration"] == pytest.approx(
        found["calibration"], abs=1e-6
    )


def test_dropout_on_costs_and_its_average_costs_less(digits, trained):
    found = measures.measure(trained(norm="batch", rate=0.5), digits, ["dropout_on", "monte_carlo"])
    assert found["dropout_on_loss"] > found["loss"] + 0.05
    assert found["dropout_on_loss"] > found["mc_loss"] + 0.05  # Jensen's inequality
    assert 0.01 < found["flips"] < 0.9


def test_calibration_error_by_hand(digits, trained, monkeypatch):
    outputs = np.zeros((4, 10), "float32")
    outputs[range(4), [0, 1, 2, 3]] = 0.95, 0.95, 0.62, 0.62
    monkeypatch.setattr(measures, "_probabilities", lambda *anything: outputs)
    labels = np.array([0, 0, 2, 3])  # at 0.95 one of two is right, at 0.62 both are
    found = measures.monte_carlo(
        trained(), replace(digits, x_validation=digits.x_validation[:4], y_validation=labels)
    )
    assert found["calibration"] == pytest.approx((0.45 + 0.38) / 2)
    assert found["mc_calibration"] == pytest.approx(found["calibration"])
    assert found["mc_accuracy"] == 0.75


def test_active_is_the_part_above_zero(digits, trained):
    run = trained()
    kernel, bias = run.model.get_layer("dense_1").get_weights()
    by_hand = np.mean(digits.x_validation.reshape(200, -1) @ kernel + bias > 0)
    assert measures.active(run, digits)["active"] == pytest.approx(by_hand, abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0.5},
        {"rate": (0.3, 0.0)},
        {"rate": 0.5, "dropout_order": "before_norm", "placement": "after"},
    ],
)
def test_the_variance_shift_is_what_the_formula_says(digits, trained, options):
    found = measures.variance_shift(trained(norm="batch", **options), digits)
    assert found["shift_predicted"] == pytest.approx(found["shift_measured"], abs=0.01)
    assert found["shift_error"] < 0.03
    # The moving variance is that of training, but for its lag.
    assert found["shift_moving"] == pytest.approx(found["shift_measured"], abs=0.15)
    low, high = (0.6, 0.95) if options["rate"] == (0.3, 0.0) else (0.2, 0.75)
    assert low < found["shift_measured"] < high


def test_the_variance_shift_needs_a_dropout_before_a_norm(digits, trained):
    for options in ({"norm": "batch"}, {"rate": 0.5}, {"norm": "batch", "rate": (0.0, 0.5)}):
        with pytest.raises(ValueError, match="needs a dropout directly before a batch norm"):
            measures.variance_shift(trained(**options), digits)


def statistics(means):
    """A record in which feature 0 of activation_1 has these means and variance 4, and all else
    stands still.
    """
    rows = [
        (step, layer, quantity, feature, value)
        for step, mean in enumerate(means)
        for layer in ("activation_1", "activation_2", "dense_1")
        for feature in (0, 1)
        for quantity, value in (
            ("mean", mean if (layer, feature) == ("activation_1", 0) else 0.0),
            ("variance", 4.0),
        )
    ]
    return pd.DataFrame(rows, columns=["step", "layer", "quantity", "feature", "value"])


@pytest.mark.parametrize(
    "means, jump, travel",
    [(np.arange(21), 0.25, 0.25), (np.arange(21) % 2, 0.25, 0.0), (np.zeros(21), 0.0, 0.0)],
    ids=["travelling", "jumping to and fro", "standing"],
)
def test_drift_tells_jumping_from_travelling(digits, trained, means, jump, travel):
    # One of two features moves by 1, and both have a standard deviation of 2.
    found = measures.drift(replace(trained(), statistics=statistics(means)), digits)
    assert found == pytest.approx({"jump": jump, "travel": travel})


def test_drift_of_a_run(digits, trained):
    run = training.train(replace(trained(depth=3).config, epochs=2), digits, record_every=1)
    found = measures.drift(run, digits)
    assert 0 < found["travel"] < found["jump"] < 1
    with pytest.raises(ValueError, match="needs recorded statistics"):
        measures.drift(trained(), digits)


def test_epochs_to_target(digits, trained):
    accuracies = {0: 0.1, 2: 0.85, 4: 0.91, 6: 0.88}
    rows = [
        (epoch, "validation", "inference", "accuracy", value) for epoch, value in accuracies.items()
    ]
    rows += [(epoch, "train", "training", "seconds", 0.5 * epoch) for epoch in range(1, 7)]
    run = replace(trained(), rows=rows)
    assert measures.target(run, digits) == {"epochs_to_target": 4, "seconds_to_target": 2.0}
    never = replace(run, rows=[row for row in rows if row[-1] != 0.91])
    assert measures.target(never, digits) == pytest.approx(
        {"epochs_to_target": 7, "seconds_to_target": 3.5}
    )
    with pytest.raises(ValueError, match="data set"):
        measures.target(run, replace(digits, name="else"))


def test_measures_do_not_overwrite_each_other(digits, trained, monkeypatch):
    monkeypatch.setitem(measures.MEASURES, "twin", measures.recomputed)
    with pytest.raises(ValueError, match="another one gives"):
        measures.measure(trained(), digits, ["recomputed", "twin"])
    with pytest.raises(ValueError, match="Did you mean 'recomputed'"):
        measures.measure(trained(), digits, ["recompute"])
