"""The measures on trained models: each against a computation of its own, or a case whose answer is
known.
"""

from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pandas as pd
import pytest

from course import data, modes, training
from course.lab import confidence, measures, metrics, switched
from course.lab.recorder import Recorder

# "best" asks for kept weights, "drift" for a record, "target" for epochs.
IN_CHAIN = [name for name in measures.MEASURES if name not in ("final", "best", "drift", "target")]


@pytest.fixture(autouse=True)
def few_batches(monkeypatch):
    monkeypatch.setattr(switched, "MOST_BATCHES", 40)


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
    assert again == pytest.approx(first, abs=1e-6, nan_ok=True)
    never = {"loss_at_train_0.4"}  # reached in so short a run
    assert all(np.isfinite(float(first[name])) for name in first.keys() - never)


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
    good = switched.recomputed(run, digits)
    norm = run.model.get_layer("norm_1")
    saved = norm.get_weights()
    norm.set_weights([*saved[:2], saved[2] + 3, 9 * saved[3]])
    assert modes.evaluate(run.model, digits.x_validation, digits.y_validation)["accuracy"] < 0.6
    spoilt = switched.recomputed(run, digits)
    norm.set_weights(saved)
    assert spoilt == pytest.approx(good, abs=1e-6) and good["recomputed_accuracy"] > 0.85


def test_without_batch_norm_statistics_make_no_difference(digits, trained):
    found = measures.measure(trained(rate=0.5), digits, ["recomputed", "batch_statistics"])
    assert found["recomputed_loss"] == pytest.approx(found["loss"])
    assert found["polluted_accuracy"] == found["accuracy"]


def test_batch_statistics(digits, trained):
    run = trained(norm="batch")
    found = switched.batch_statistics(run, digits)
    order = np.random.default_rng(0).permutation(200)
    # Alone in its batch every image is its own mean, so all get the class that beta gives.
    shares = (
        np.bincount(digits.y_validation[order[: switched.MOST_BATCHES]], minlength=10)
        / switched.MOST_BATCHES
    )
    assert np.isclose(shares, found["batch_1_accuracy"]).any()
    assert found["batch_1_accuracy"] < 0.3 < found["batch_2_accuracy"] < found["batch_32_accuracy"]
    twin = keras.models.clone_model(run.model)
    twin.set_weights(run.model.get_weights())
    kept = order[:128]  # 200 images hold one batch of 128
    right = modes.evaluate(
        twin, digits.x_validation[kept], digits.y_validation[kept], training=True
    )
    assert found["batch_128_accuracy"] == pytest.approx(right["accuracy"])
    # And 15 batches of 13, sorted by class.
    twin.set_weights(run.model.get_weights())
    kept = order[: 15 * 13]
    kept = kept[np.argsort(digits.y_validation[kept], kind="stable")]
    right = [
        modes.evaluate(twin, digits.x_validation[part], digits.y_validation[part], training=True)
        for part in kept.reshape(15, 13)
    ]
    assert found["sorted_accuracy"] == pytest.approx(np.mean([one["accuracy"] for one in right]))
    polluted = modes.evaluate(twin, digits.x_validation, digits.y_validation)
    assert found["polluted_accuracy"] == pytest.approx(polluted["accuracy"])


def test_batches_sorted_by_class_are_bad_and_leave_damage(digits, trained, monkeypatch):
    monkeypatch.setattr(switched, "BATCH_SIZES", (20,))
    monkeypatch.setattr(switched, "SORTED_BATCHES", 10)
    run = trained(
        norm="batch", momentum=0.0
    )  # the moving statistics are then those of the last class
    found = switched.batch_statistics(run, digits)
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


def test_calibration_error_by_hand():
    outputs = np.zeros((4, 10), "float32")
    outputs[range(4), [0, 1, 2, 3]] = 0.95, 0.95, 0.62, 0.62
    labels = np.array([0, 0, 2, 3])  # at 0.95 one of two is right, at 0.62 both are
    found = confidence.scores(outputs, labels)
    assert found["calibration"] == pytest.approx((0.45 + 0.38) / 2)
    assert found["accuracy"] == 0.75


def test_a_diverged_run_has_no_calibration_and_stops_nothing(digits, trained):
    """Its probabilities are NaN, which NumPy sorts into no bin."""
    run = trained(norm="batch", rate=0.5)
    one = probabilities(run.model, digits.x_validation)
    run = replace(run, model=keras.models.clone_model(run.model))
    run.model.set_weights([np.full_like(weight, np.nan) for weight in run.model.get_weights()])
    found = confidence.monte_carlo(run, digits, masks=2)
    assert {name for name, value in found.items() if np.isfinite(value)} <= {"mc_accuracy"}
    one[3] = np.nan
    assert np.isnan(confidence.scores(one, digits.y_validation)["calibration"])


def made_up(rng, count=20_000, temperature=1.0):
    """Probabilities of ten classes and labels drawn from them; the probabilities that are told are
    sharpened (temperature below 1) or blunted (above).
    """
    logits = 1.5 * rng.normal(size=(count, 10))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (true.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(max=9)
    told = np.exp(logits / temperature)
    return (told / told.sum(axis=1, keepdims=True)).astype("float32"), y


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_best_temperature_undoes_the_one_that_was_put_in(temperature):
    told, y = made_up(np.random.default_rng(0), temperature=temperature)
    found = confidence.best_temperature(told, y)
    assert found == pytest.approx(1 / temperature, rel=0.03)
    right = confidence.scores(confidence.at_temperature(told, 1 / temperature), y)
    assert right["calibration"] < 0.012
    if temperature != 1:
        assert confidence.scores(told, y)["calibration"] > 0.1
        assert confidence.scores(told, y)["loss"] > right["loss"] + 0.05


def test_a_temperature_of_one_changes_nothing_and_sure_predictions_stay_finite():
    told, _ = made_up(np.random.default_rng(0), 100)
    np.testing.assert_allclose(confidence.at_temperature(told, 1.0), told, atol=1e-6)
    sure = np.eye(10, dtype="float32")
    assert np.isfinite(confidence.at_temperature(sure, 2.0)).all()


def test_the_temperature_is_fitted_on_other_images_than_those_it_is_judged_on(digits, trained):
    run = trained(width=64, rate=0.3)
    found = confidence.monte_carlo(run, digits)
    told, y = probabilities(run.model, digits.x_validation), digits.y_validation
    losses = {}
    for temperature in np.exp(np.linspace(-2, 2, 400)):
        logits = np.log(told[::2].astype("float64") + 1e-300) / temperature
        chosen = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        losses[temperature] = -np.log(chosen[np.arange(len(chosen)), y[::2]]).mean()
    assert found["temperature"] == pytest.approx(min(losses, key=losses.get), rel=0.02)
    half = modes.scores(told[1::2], y[1::2])
    assert found["half_loss"] == pytest.approx(half["loss"], rel=1e-5)
    scaled = confidence.at_temperature(told, found["temperature"])
    expected = modes.scores(scaled[1::2], y[1::2])["loss"]
    assert found["scaled_loss"] == pytest.approx(expected, rel=1e-4)
    assert found["scaled_loss"] != pytest.approx(found["half_loss"], abs=1e-4)


def test_foreign_images_are_told_by_how_sure_the_model_is():
    own, foreign = np.full((5, 2), 0.5), np.full((4, 2), 0.5)
    assert confidence.familiarity(own, foreign) == 0.5, "all equally sure"
    own[:, 0] = 0.9
    assert confidence.familiarity(own, foreign) == 1.0, "separable"
    foreign[:2] = 0.95
    assert confidence.familiarity(own, foreign) == 0.5, "half of the pairs"


@pytest.mark.parametrize("name, shape", [("digits", (8, 8, 1)), ("fashion_mnist", (28, 28, 1))])
def test_foreign_images_have_the_shape_of_the_own_ones(name, shape):
    foreign = confidence._foreign(name, shape)
    assert foreign.shape == (confidence.MOST_FOREIGN, *shape)
    other = data.load(confidence.FOREIGN[name], train_size=confidence.MOST_FOREIGN).x_train
    size, have = shape[0], other.shape[1]
    places = [int((place + 0.5) * have / size) for place in range(size)]
    np.testing.assert_array_equal(foreign[7, 3, 5], other[7, places[3], places[5]])
    assert foreign[7].mean() == pytest.approx(other[7].mean(), abs=0.1)


def test_a_pass_with_dropout_is_that_of_the_whole_chain(digits, trained):
    run = trained(norm="batch", rate=0.5)
    with switched.borrowed(run) as model:
        whole = [switched.outputs(model, digits.x_validation, switched.Dropout) for _ in range(2)]
    with switched.borrowed(run) as model:
        found = list(switched.passes(model, digits.x_validation, 2))
    np.testing.assert_allclose(found, whole, atol=1e-6)
    assert np.abs(whole[0] - whole[1]).max() > 0.1


def test_sparsity_with_dead_units_that_are_known(digits, trained):
    run = trained()
    with switched.borrowed(run) as model:
        kernel, bias = model.get_layer("dense_1").get_weights()
        bias[:8] = -1_000.0  # never
        kernel[:, 8:16], bias[8:16] = 0.0, 1.0  # always
        model.get_layer("dense_1").set_weights([kernel, bias])
        found = measures.sparsity(run, digits)
    often = np.mean(digits.x_validation.reshape(200, -1) @ kernel + bias > 0, axis=0)
    assert (often[8:16] == 1).all()
    assert found["dead"] == pytest.approx(np.mean(often == 0), abs=1e-6) and found["dead"] >= 0.25
    assert found["active_alive"] == pytest.approx(often[often > 0].mean(), abs=1e-3)


def test_a_net_whose_units_are_all_dead(digits, trained):
    run = trained()
    with switched.borrowed(run) as model:
        kernel, bias = model.get_layer("dense_1").get_weights()
        model.get_layer("dense_1").set_weights([kernel, bias - 1_000])
        assert measures.sparsity(run, digits) == {"active_alive": 0.0, "dead": 1.0}


def test_the_unit_of_a_convolution_is_a_feature_map(digits):
    config = training.Config(model="cnn", options={"size": "small"}, epochs=1, batch_size=50)
    run = training.train(config, digits)
    kernel, bias = run.model.get_layer("conv_1").get_weights()
    bias[:2] = -1_000
    run.model.get_layer("conv_1").set_weights([kernel, bias])
    found = measures.sparsity(run, digits)
    assert found["dead"] * 8 == pytest.approx(round(found["dead"] * 8)) and found["dead"] >= 0.25


def curves(trained, train, validation):
    """A run whose losses are these, an epoch each."""
    rows = []
    for split, losses in (("train", train), ("validation", validation)):
        for metric in ("loss", "accuracy"):
            rows += [(n, split, "inference", metric, value) for n, value in enumerate(losses)]
    return replace(trained(), rows=rows)


def test_the_best_epoch_is_told_with_its_own_weights(digits, trained):
    run = trained()
    weights = [weight + 0.05 for weight in run.model.get_weights()]
    best = curves(trained, [2, 1, 0.5, 0.3, 0.1], [2, 1, 0.8, 0.6, 0.9])
    best.best, before = weights, state(run)
    found = measures.best(best, digits)
    for one, after in zip(before, state(run), strict=True):
        np.testing.assert_array_equal(one, after)
    assert found["best_epoch"] == 3 and found["best_epoch_log2"] == np.log2(3)
    assert found["best_loss"] == found["best_accuracy"] == 0.6 and found["best_train_loss"] == 0.3
    twin = keras.models.clone_model(run.model)
    twin.set_weights(weights)
    right = modes.evaluate(twin, digits.x_test, digits.y_test)
    assert found["best_test_loss"] == pytest.approx(right["loss"])
    assert found["best_test_accuracy"] == right["accuracy"]
    assert found["best_test_loss"] != pytest.approx(
        modes.evaluate(run.model, digits.x_test, digits.y_test)["loss"], rel=1e-3
    )
    with pytest.raises(ValueError, match="has not kept the weights"):
        measures.best(replace(run, best=None), digits)


def test_the_best_epoch_may_be_before_training(digits, trained):
    run = curves(trained, [1, 2], [1, 2])
    run.best = run.model.get_weights()
    found = measures.best(run, digits)
    assert found["best_epoch"] == found["best_epoch_log2"] == 0


@pytest.mark.parametrize(
    "train, expected",
    [
        ([2.0, 0.6, 0.2], 1.0 + 0.5 * 0.4),  # half way from 0.6 to 0.2
        ([2.0, 0.4, 0.1], 1.0),
        ([2.0, 0.2, 0.5, 0.1], 3.0 + 1.6 / 1.8 * (1.0 - 3.0)),  # the first time
        ([2.0, 1.0, 0.5], np.nan),
        ([0.2, 0.1, 0.1], np.nan),  # it was there before training
    ],
)
def test_the_validation_loss_at_equal_training_loss(digits, trained, train, expected):
    run = curves(trained, train, [3.0, 1.0, 1.4, 2.0][: len(train)])
    found = measures.equal_training(run, digits)["loss_at_train_0.4"]
    assert found == pytest.approx(expected, nan_ok=True)


def test_the_effective_rate_by_hand(digits, trained):
    run = trained(norm="batch")
    found = measures.effective_rate(run, digits)["log2_effective_rate"]
    kernels = [run.model.get_layer(f"dense_{number}").get_weights()[0] for number in (1, 2)]
    rates = [5e-3 / np.sqrt((kernel**2).sum(axis=0).mean()) for kernel in kernels]  # Adam
    assert found == pytest.approx(np.log2(np.sqrt(rates[0] * rates[1])))
    with switched.borrowed(run) as model:
        layer = model.get_layer("dense_1")
        layer.kernel.assign(4 * layer.kernel)
        after = measures.effective_rate(run, digits)["log2_effective_rate"]
    assert after == pytest.approx(found - 1), "4 times in one of two layers: 4 ** (1 / 2)"
    # A step of gradient descent is 4 times as small then, one of Adam as large as before.
    run.config = replace(run.config, optimizer="sgd")
    with switched.borrowed(run) as model:
        layer.kernel.assign(layer.kernel / 4)
        before = measures.effective_rate(run, digits)["log2_effective_rate"]
        layer.kernel.assign(4 * layer.kernel)
        after = measures.effective_rate(run, digits)["log2_effective_rate"]
    assert after == pytest.approx(before - 2), "4 times in one of two layers: 16 ** (1 / 2)"
    with pytest.raises(ValueError, match="needs a batch norm after"):
        measures.effective_rate(trained(), digits)


def test_statistics_of_shifted_images_repair_a_shifted_input(digits, trained):
    found = switched.adapted(trained(norm="batch"), digits)
    run = trained(norm="batch")
    x = 0.4 * np.sqrt(digits.x_validation) + 0.3
    right = modes.evaluate(run.model, x, digits.y_validation)
    assert found["shifted_accuracy"] == pytest.approx(right["accuracy"], abs=0.006)
    assert found["adapted_accuracy"] > found["shifted_accuracy"] + 0.1
    assert found["adapted_accuracy"] < run.final(), "bent, so not whole"
    without = switched.adapted(trained(), digits)
    assert without["adapted_accuracy"] == without["shifted_accuracy"]


def test_fine_tuning_by_hand(digits, trained):
    run = trained(norm="batch")
    found = switched.fine_tuning(run, digits)
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(100), rng.permutation(100)]).reshape(50, 4)
    for kind, change in (
        ("tuned", lambda x: x),
        ("tuned_shifted", lambda x: 0.4 * np.sqrt(x) + np.float32(0.3)),
    ):
        x, y = change(digits.x_test[:100]), digits.y_test[:100]
        for name, frozen in ((f"{kind}_accuracy", False), (f"{kind}_frozen_accuracy", True)):
            model = training.build(run.config, digits)
            model.set_weights(run.model.get_weights())
            for layer in model.layers:
                layer.trainable = not (frozen and layer.name.startswith("norm"))
            model.compile("sgd", "sparse_categorical_crossentropy")  # at Keras's rate of 0.01
            for batch in order:
                model.train_on_batch(x[batch], y[batch])
            right = modes.evaluate(model, change(digits.x_validation), digits.y_validation)
            assert found[name] == pytest.approx(right["accuracy"], abs=0.011), name
    assert found["tuned_accuracy"] != found["tuned_frozen_accuracy"]


def test_without_batch_norm_frozen_and_not_are_one(digits, trained):
    found = switched.fine_tuning(trained(rate=0.5), digits)
    assert found["tuned_accuracy"] == found["tuned_frozen_accuracy"]


def test_fine_tuning_starts_afresh_for_each_run_of_a_shared_model(digits, trained):
    run = trained(norm="batch", rate=0.2)
    first = switched.fine_tuning(run, digits)
    with switched.borrowed(run) as model:
        model.set_weights([0 * weight for weight in model.get_weights()])
        zero = switched.fine_tuning(run, digits)
    assert zero["tuned_accuracy"] < 0.3 < first["tuned_accuracy"]
    assert switched.fine_tuning(run, digits) == first


def test_every_measure_gives_the_metrics_that_it_is_said_to_give(digits, trained):
    config = replace(trained(norm="batch", rate=0.5).config, epochs=1)
    run = training.train(config, digits, hooks=[Recorder(1)])
    run.best = run.model.get_weights()
    assert set(metrics.METRICS) == set(measures.MEASURES)
    for name, measure in measures.MEASURES.items():
        assert set(metrics.names_of(name)) == set(measure(run, digits)), name
    with pytest.raises(ValueError, match="Did you mean 'sparsity'"):
        metrics.names_of("sparsety")


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0.5},
        {"rate": (0.3, 0.0)},
        {"rate": 0.5, "dropout_order": "before_norm", "placement": "after"},
    ],
)
def test_the_variance_shift_is_what_the_formula_says(digits, trained, options):
    found = switched.variance_shift(trained(norm="batch", **options), digits)
    assert found["shift_predicted"] == pytest.approx(found["shift_measured"], abs=0.01)
    assert found["shift_error"] < 0.03
    # The moving variance is that of training, but for its lag.
    assert found["shift_moving"] == pytest.approx(found["shift_measured"], abs=0.15)
    low, high = (0.6, 0.95) if options["rate"] == (0.3, 0.0) else (0.2, 0.75)
    assert low < found["shift_measured"] < high


def test_the_variance_shift_needs_a_dropout_before_a_norm(digits, trained):
    for options in ({"norm": "batch"}, {"rate": 0.5}, {"norm": "batch", "rate": (0.0, 0.5)}):
        with pytest.raises(ValueError, match="needs a dropout directly before a batch norm"):
            switched.variance_shift(trained(**options), digits)


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
    run = training.train(replace(trained(depth=3).config, epochs=2), digits, hooks=[Recorder(1)])
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
    monkeypatch.setitem(measures.MEASURES, "twin", switched.recomputed)
    with pytest.raises(ValueError, match="another one gives"):
        measures.measure(trained(), digits, ["recomputed", "twin"])
    with pytest.raises(ValueError, match="Did you mean 'recomputed'"):
        measures.measure(trained(), digits, ["recompute"])
