"""Training runs: seeds, pairing, honest measurement, interruption."""

import logging
import re
from dataclasses import replace

import keras
import numpy as np
import pytest

from course import models, modes, reference, training
from course.training import Config

FAST = Config(options={"width": 16}, epochs=2, batch_size=50, learning_rate=5e-3)


def with_options(config=FAST, **options):
    return replace(config, options={**config.options, **options})


def weights(run):
    return [keras.ops.convert_to_numpy(weight) for weight in run.model.weights]


def test_history_is_tidy_and_complete(digits):
    run = training.train(FAST, digits)
    assert run.completed and run.seconds > 0
    assert list(run.history.columns) == ["epoch", "split", "mode", "metric", "value"]
    assert not run.history.duplicated(["epoch", "split", "mode", "metric"]).any()
    assert np.isfinite(run.history["value"]).all()
    for split in ("train", "validation"):
        for metric in ("loss", "accuracy"):
            assert list(run.curve(metric, split).index) == [0, 1, 2]
    assert list(run.curve("loss", "train", "training").index) == [1, 2]
    assert run.curve("seconds", "train", "training").is_monotonic_increasing
    assert run.curve("seconds", "train", "training").iloc[-1] == pytest.approx(run.seconds)


def test_it_learns(digits):
    run = training.train(replace(FAST, epochs=15), digits)
    assert run.curve("accuracy").iloc[0] < 0.3 and run.final("accuracy") > 0.85


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "batch", "rate": 0.5, "augmentation": "shift_flip"},
        {"norm": "batch", "drift": 0.3},
        {"augmentation": "pixel_shift_flip_erase"},
    ],
)
def test_the_same_seed_gives_the_same_run_and_another_seed_another(digits, options):
    config = with_options(**options)
    first = training.train(config, digits)
    keras.utils.set_random_seed(123)  # whatever happened before must not matter
    np.random.default_rng().random()
    again = training.train(config, digits)
    other = training.train(replace(config, seed=1), digits)
    for one, two in zip(weights(first), weights(again), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert not np.allclose(weights(first)[0], weights(other)[0])


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="TensorFlow runs such a step as a graph anyway"
)
@pytest.mark.parametrize("augmentation", models.AUGMENTATIONS)
def test_jax_compiles_a_step_with_augmentation(digits, augmentation):
    """Keras would leave it alone, and each step would take many times as long."""
    assert training.build(with_options(augmentation=augmentation), digits).jit_compile


def test_arms_see_the_same_batches(digits, monkeypatch):
    """Paired by seed: neither batch norm nor dropout changes the order of the images."""
    seen = []
    step = keras.Model.train_on_batch

    def spy(model, x, y, **options):
        if options:  # not the one step that compiles
            seen.append(x.copy())
        return step(model, x, y, **options)

    monkeypatch.setattr(keras.Model, "train_on_batch", spy)
    training.train(FAST, digits, progress=False)
    training.train(with_options(norm="batch", rate=0.5), digits, progress=False)
    plain, arm = np.array(seen[:16]), np.array(seen[16:])  # 2 epochs of 8 steps each
    np.testing.assert_array_equal(plain, arm)
    assert not np.array_equal(plain[:8], plain[8:]), "each epoch has an order of its own"


def test_no_step_has_a_left_over_batch(digits):
    run = training.train(replace(FAST, batch_size=150, epochs=1), digits)  # 400 = 2 * 150 + 100
    assert int(run.model.optimizer.iterations) == 2


def test_training_loss_is_measured_again_without_dropout(digits):
    run = training.train(
        with_options(replace(FAST, epochs=10), rate=0.5, width=64), digits, measure_size=400
    )
    logged, measured = run.final("loss", "train", "training"), run.final("loss", "train")
    assert logged > 1.3 * measured
    expected = modes.evaluate(run.model, digits.x_train[:400], digits.y_train[:400])
    assert measured == pytest.approx(expected["loss"])


def test_the_logged_loss_is_that_of_keras_fit(digits):
    """The mean over all batches of the epoch, not the last batch's."""
    config = replace(FAST, epochs=1)
    run = training.train(config, digits)
    order = np.random.default_rng(config.seed).permutation(400)
    fitted = training.build(config, digits).fit(
        digits.x_train[order], digits.y_train[order], batch_size=50, shuffle=False, verbose=0
    )
    for metric in ("loss", "accuracy"):
        assert run.final(metric, "train", "training") == pytest.approx(
            fitted.history[metric][0], rel=1e-4
        )


def test_evaluate_agrees_with_keras(digits):
    model = training.train(with_options(norm="batch", rate=0.3), digits).model
    loss, accuracy = model.evaluate(digits.x_validation, digits.y_validation, verbose=0)
    measured = modes.evaluate(model, digits.x_validation, digits.y_validation, batch_size=64)
    assert measured["loss"] == pytest.approx(loss, rel=1e-4)
    assert measured["accuracy"] == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.parametrize("options", [{"norm": "batch", "rate": 0.5}, {"augmentation": "shift"}])
def test_the_history_holds_what_the_trained_model_gives(digits, options):
    """It is measured on the compiled twin that takes the steps; the model that is handed out must
    agree.
    """
    for seed in (0, 1):  # the second run finds a twin that has been used
        run = training.train(replace(with_options(**options), seed=seed), digits, measure_size=150)
        for split, x, y in (
            ("train", digits.x_train[:150], digits.y_train[:150]),
            ("validation", digits.x_validation, digits.y_validation),
        ):
            for metric, value in modes.evaluate(run.model, x, y).items():
                assert run.final(metric, split) == pytest.approx(value, rel=1e-4)


def test_many_arms_one_after_the_other_bring_no_warning(digits, caplog):
    """TensorFlow warns, in the middle of a lesson, when about half of the latest calls of a
    function had to trace it.
    """
    logger = logging.getLogger("tensorflow")
    logger.addHandler(caplog.handler)  # it hands nothing on to the root, where pytest listens
    try:
        for width in range(8, 15):
            training.train(
                with_options(replace(FAST, epochs=1), width=width), digits, measure_size=130
            )
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.messages


def test_the_gap_is_positive_when_overfitted(digits):
    small = replace(digits, x_train=digits.x_train[:60], y_train=digits.y_train[:60])
    run = training.train(replace(FAST, epochs=40, batch_size=20), small)
    assert run.gap("loss") > 0.1 and run.gap("accuracy") > 0.05


def test_interrupting_keeps_what_was_done(digits, monkeypatch, capsys):
    calls = []
    step = keras.Model.train_on_batch

    def interrupted(*arguments, **options):
        calls.append(1)
        if (
            len(calls) == 1 + 2 * 8 + 4
        ):  # one to compile, two epochs, and in the middle of the third
            raise KeyboardInterrupt
        return step(*arguments, **options)

    training._ENGINES.clear()
    monkeypatch.setattr(keras.Model, "train_on_batch", interrupted)
    runs = training.repeat(replace(FAST, epochs=5), digits, seeds=[0, 1, 2])
    assert len(runs) == 1, "the seeds that follow are not begun"
    (run,) = runs
    assert not run.completed
    assert list(run.curve("loss").index) == [0, 1, 2]
    assert "epochs finished so far" in capsys.readouterr().out
    # The model is the one that the last row of the history describes, and the next run is none the
    # worse.
    measured = modes.evaluate(run.model, digits.x_validation, digits.y_validation)
    assert measured["loss"] == pytest.approx(run.final("loss"), rel=1e-5)
    monkeypatch.setattr(keras.Model, "train_on_batch", step)
    assert training.train(FAST, digits).final("loss") == pytest.approx(run.final("loss"), rel=1e-3)


@pytest.mark.parametrize(
    "config",
    [
        with_options(norm="batch", rate=0.5),
        with_options(
            replace(FAST, optimizer="sgd", learning_rate=0.1, schedule="cosine"),
            norm="batch",
            drift=0.3,
        ),
    ],
)
def test_what_was_trained_before_leaves_no_trace(digits, config):
    """The seeds of an arm share one compiled step; weights, masks and optimizer must not carry
    over.
    """
    after_others = training.repeat(config, digits, seeds=[0, 1, 2])
    training._ENGINES.clear()
    alone = training.train(replace(config, seed=2), digits)
    for one, two in zip(weights(after_others[2]), weights(alone), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert not np.allclose(weights(after_others[0])[0], weights(after_others[1])[0], atol=1e-3)


def test_progress_is_shown_on_stdout_and_wiped_afterwards(digits, monkeypatch, capsys):
    monkeypatch.delenv("COURSE_PROGRESS")
    training.train(FAST, digits)
    shown, noise = capsys.readouterr()
    assert "16" in shown and "step" in shown, "2 epochs of 8 steps"
    assert shown.endswith("\r") and not shown.split("\r")[-2].strip()
    assert noise == ""
    training.train(FAST, digits, progress=False)
    assert capsys.readouterr().out == ""


def residual(input_shape, classes, *, width=16, seed):
    """A builder as a notebook defines one: its own, and not a chain of layers."""
    options = {"kernel_initializer": keras.initializers.HeNormal(seed)}
    inputs = keras.Input(input_shape)
    x = keras.layers.Dense(width, **options)(keras.layers.Flatten()(inputs))
    x = x + keras.layers.Dropout(0.1, seed=seed)(keras.layers.Dense(width, "relu", **options)(x))
    return keras.Model(inputs, keras.layers.Dense(classes, "softmax", **options)(x))


def test_a_builder_of_ones_own_is_trained_like_those_of_the_course(digits):
    config = Config(residual, {"width": 24}, epochs=3, learning_rate=5e-3)
    first, second = training.repeat(config, digits, seeds=(0, 1))
    assert first.model.layers[2].units == 24
    assert first.final("loss") < first.curve("loss").iloc[0]
    assert first.final("loss") != second.final("loss")
    with pytest.raises(ValueError, match="An option of residual is 'widht'.* Did you mean 'width'"):
        training.train(replace(config, options={"widht": 3}), digits)


def test_a_builder_defined_anew_is_not_taken_for_the_old_one(digits):
    """As when a notebook cell is changed and run again: the compiled model of the old one must not
    serve.
    """

    def builder(width):
        def build(input_shape, classes, *, seed):
            return residual(input_shape, classes, width=width, seed=seed)

        return build

    for width in (8, 16):
        run = training.train(Config(builder(width), epochs=1), digits)
        assert run.model.layers[2].units == width


def test_measuring_less_often_changes_nothing_but_the_epochs_measured(digits):
    config = replace(FAST, epochs=5)
    often, seldom = training.train(config, digits), training.train(config, digits, measure_every=2)
    assert list(seldom.curve("loss").index) == [0, 2, 4, 5]
    assert list(seldom.curve("loss", "train", "training").index) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(
        seldom.curve("loss"), often.curve("loss").loc[[0, 2, 4, 5]], atol=1e-6
    )


def test_hooks_are_called_in_their_places(digits):
    class Spy(training.Hook):
        def __init__(self):
            self.calls = []

        def begin(self, training):
            self.calls.append(("begin", training.step))

        def step_done(self, training):
            self.calls.append(("step", training.step))

        def epoch_done(self, training):
            assert training.rows[-1][0] == training.epoch, "it has been measured"
            self.calls.append(("epoch", training.epoch))

        def end(self, training):
            self.calls.append(("end", training.completed))

    spy = Spy()
    training.train(FAST, digits, hooks=[spy])
    steps = [("step", number) for number in range(1, 17)]  # 2 epochs of 8
    epochs = [*steps[:8], ("epoch", 1), *steps[8:], ("epoch", 2)]
    assert spy.calls == [("begin", 0), *epochs, ("end", True)]


def test_repeat_pairs_by_seed(digits):
    runs = training.repeat(FAST, digits, seeds=[4, 7])
    assert [run.config.seed for run in runs] == [4, 7]


def test_a_cosine_schedule_ends_at_zero(digits):
    config = replace(FAST, schedule="cosine")
    optimizer = training.train(config, digits).model.optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0, abs=1e-9)
    assert float(training.build(config, digits).optimizer.learning_rate) == pytest.approx(5e-3)


def test_adamw_takes_a_tenth_of_the_learning_rate_off_each_weight(digits):
    """What the plain step does not: beside Adam, the weights after one step are smaller by that
    part (decoupled).
    """
    x, y, after = digits.x_train[:50], digits.y_train[:50], {}
    for optimizer in ("adam", "adamw"):
        model = training.build(replace(FAST, optimizer=optimizer), digits)
        before = keras.ops.convert_to_numpy(model.get_layer("dense_1").kernel)
        model.train_on_batch(x, y)
        after[optimizer] = keras.ops.convert_to_numpy(model.get_layer("dense_1").kernel)
    np.testing.assert_allclose(
        after["adam"] - after["adamw"], 0.1 * FAST.learning_rate * before, atol=1e-6
    )
    assert np.abs(before).max() > 0.1


def test_a_whole_number_is_a_learning_rate_too(digits):
    assert (
        float(training.build(replace(FAST, learning_rate=1), digits).optimizer.learning_rate) == 1
    )


def test_batch_norm_momentum_reaches_the_layers(digits):
    model = training.build(
        with_options(replace(FAST, batch_norm_momentum=0.7), norm="batch"), digits
    )
    assert model.get_layer("norm_1").momentum == 0.7


class TestCall:
    def test_agrees_with_the_model_in_inference_mode(self, digits):
        model = training.train(
            with_options(norm="batch", rate=0.4, augmentation="shift"), digits
        ).model
        x = digits.x_validation[:20]
        # Said, not left out: Keras's augmentation layers are *on* in a bare `model(x)`.
        expected = keras.ops.convert_to_numpy(model(x, training=False))
        np.testing.assert_allclose(modes.call(model, x), expected, atol=1e-6)

    def test_takes_a_sequential_model_too(self, digits):
        layers = [keras.layers.Flatten(), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input(digits.input_shape), *layers])
        x = digits.x_validation[:20]
        expected = keras.ops.convert_to_numpy(model(x, training=False))
        np.testing.assert_allclose(modes.call(model, x), expected, atol=1e-6)
        modes.recompute_statistics(model, digits.x_train, batch_size=400)
        kept = keras.ops.convert_to_numpy(layers[1].moving_mean)
        np.testing.assert_allclose(kept, digits.x_train.reshape(400, -1).mean(axis=0), atol=1e-5)

    def test_switches_dropout_alone(self, digits):
        model = training.train(with_options(norm="batch", rate=0.4), digits).model
        x, before = (
            digits.x_validation[:20],
            [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights],
        )
        one, two = (modes.call(model, x, keras.layers.Dropout) for _ in range(2))
        assert np.abs(one - two).max() > 1e-3, "a new mask at each call"
        for weight, old in zip(model.weights, before, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), old)

    def test_recomputed_statistics_are_those_of_the_data(self, digits):
        model = training.train(with_options(norm="batch", rate=0.4), digits).model
        modes.recompute_statistics(model, digits.x_train, batch_size=400)
        inputs = digits.x_train.reshape(400, -1) @ keras.ops.convert_to_numpy(
            model.get_layer("dense_1").kernel
        )
        norm = model.get_layer("norm_1")
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(norm.moving_mean), inputs.mean(axis=0), atol=1e-5
        )
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(norm.moving_variance), inputs.var(axis=0), rtol=1e-3
        )
        assert norm.momentum == FAST.batch_norm_momentum

    def test_frozen_layers_get_new_statistics_too_and_stay_frozen(self, digits):
        model = training.train(with_options(norm="batch"), digits).model
        norm = model.get_layer("norm_1")
        norm.trainable = False
        modes.recompute_statistics(model, digits.x_train * 0.5, batch_size=400)
        inputs = (
            0.5
            * digits.x_train.reshape(400, -1)
            @ keras.ops.convert_to_numpy(model.get_layer("dense_1").kernel)
        )
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(norm.moving_mean), inputs.mean(axis=0), atol=1e-5
        )
        assert norm.trainable is False

    def test_recomputing_weighs_all_batches_alike(self, digits):
        model = training.train(with_options(norm="batch"), digits).model
        modes.recompute_statistics(model, digits.x_train, batch_size=100)
        inputs = digits.x_train.reshape(400, -1) @ keras.ops.convert_to_numpy(
            model.get_layer("dense_1").kernel
        )
        norm = model.get_layer("norm_1")
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(norm.moving_mean), inputs.mean(axis=0), atol=1e-5
        )
        variances = inputs.reshape(4, 100, -1).var(axis=1).mean(axis=0)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(norm.moving_variance), variances, rtol=1e-3
        )


def test_gradients_agree_with_finite_differences_and_leave_the_model_alone(digits):
    model = training.build(with_options(norm="batch"), digits)
    x, y = digits.x_train[:50], digits.y_train[:50]
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]
    found = modes.gradients(model, x, y)
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), old)
    assert set(found) == {variable.path for variable in model.trainable_variables}
    # The output layer's bias: the gradient of softmax cross-entropy is probability minus target.
    probabilities = keras.ops.convert_to_numpy(model(x, training=True))
    expected = (probabilities - np.eye(10)[y]).mean(axis=0)
    np.testing.assert_allclose(found["output/bias"], expected, atol=1e-6)


def test_gradients_far_smaller_than_the_weights_are_not_lost_to_rounding(digits):
    """Without biases the gradient of a hidden layer goes as the product of the *other* layers'
    scales.
    """
    x, y = digits.x_train[:50], digits.y_train[:50]
    half, quarter = (
        modes.gradients(training.build(with_options(depth=12, initial_scale=scale), digits), x, y)
        for scale in (0.5, 0.25)
    )
    for layer in range(1, 13):
        path = f"dense_{layer}/kernel"
        assert 0 < np.abs(quarter[path]).max() < 1e-7
        difference = np.linalg.norm(quarter[path] - half[path] * 0.5**11)
        assert difference < 0.01 * np.linalg.norm(quarter[path])


def test_gradients_of_a_network_that_is_quite_wrong_are_not_clipped(digits):
    """A softmax of one class, often a wrong one, whose probability Keras would clip at 1e-7."""
    model = training.build(with_options(depth=20, residual=True), digits)
    x, y = digits.x_train[:50], digits.y_train[:50]
    probabilities = keras.ops.convert_to_numpy(model(x, training=True))
    assert (probabilities[np.arange(50), y] < 1e-7).mean() > 0.5
    expected = (probabilities - np.eye(10)[y]).mean(axis=0)
    found = modes.gradients(model, x, y)
    np.testing.assert_allclose(found["output/bias"], expected, atol=1e-5)
    assert model.layers[-1].activation is keras.activations.softmax, "the model itself stays"


def test_gradient_through_batch_norm_is_that_of_the_reference(digits):
    """From the network's output back through its batch norm, by hand."""
    model = training.build(with_options(norm="batch", depth=1), digits)
    x, y = digits.x_train[:50], digits.y_train[:50]

    def value(layer, name):
        return keras.ops.convert_to_numpy(getattr(model.get_layer(layer), name)).astype("float64")

    flat = x.reshape(50, -1).astype("float64")
    normed, cache = reference.batch_norm_train(
        flat @ value("dense_1", "kernel"), value("norm_1", "gamma"), value("norm_1", "beta")
    )
    logits = np.maximum(normed, 0) @ value("output", "kernel") + value("output", "bias")
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    upstream = (probabilities - np.eye(10)[y]) / 50 @ value("output", "kernel").T * (normed > 0)
    d_inputs, d_gamma, _ = reference.batch_norm_backward(upstream, cache)
    found = modes.gradients(model, x, y)
    np.testing.assert_allclose(found["norm_1/gamma"], d_gamma, atol=1e-5)
    np.testing.assert_allclose(found["dense_1/kernel"], flat.T @ d_inputs, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "rnn"}, "choose one of 'mlp', 'cnn'"),
        ({"optimizer": "adan"}, "Did you mean 'adam'"),
        ({"schedule": "step"}, "'constant', 'cosine'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 1.5}, "whole number"),
        ({"learning_rate": 0}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"learning_rate": True}, "learning_rate is True"),
        ({"epochs": True}, "epochs is True; give a whole number"),
        ({"batch_norm_momentum": 1.0}, "the part that is kept"),
        ({"seed": -1}, "seed is -1"),
        ({"options": {"seed": 3}}, r"Config\(seed=...\)"),
    ],
)
def test_a_bad_config_is_explained(settings, says):
    with pytest.raises(ValueError, match=says):
        Config(**settings)


def test_a_batch_larger_than_the_data_is_explained(digits):
    with pytest.raises(ValueError, match="only 400 training images"):
        training.train(Config(batch_size=401), digits)


def test_an_unknown_option_of_the_model_is_explained(digits):
    with pytest.raises(ValueError, match="An option of mlp is 'rates'.*Did you mean 'rate'"):
        training.train(with_options(rates=0.5), digits)


def test_nan_images_are_refused(digits):
    broken = digits.x_train.copy()
    broken[3, 2, 2, 0] = np.nan
    with pytest.raises(ValueError, match="(?i)nan"):
        replace(digits, x_train=broken)


def test_a_diverging_run_is_reported_not_hidden(digits):
    run = training.train(replace(FAST, optimizer="sgd", learning_rate=1e9), digits)
    assert run.completed and not run.final("accuracy") > 0.5


@pytest.mark.parametrize("setting", ["mixed_bfloat16", "mixed_float16", "float64", "channels"])
def test_other_precisions_and_orders_of_axes_are_refused(digits, setting):
    """The gradients in float16 were zeros, without a word."""
    model = training.build(FAST, digits)
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        if setting == "channels":
            keras.config.set_image_data_format("channels_first")
        else:
            keras.config.set_dtype_policy(setting)
        for attempt in (
            lambda: training.train(FAST, digits, progress=False),
            lambda: training.build(FAST, digits),
            lambda: modes.gradients(model, digits.x_train[:8], digits.y_train[:8]),
        ):
            what = "): channels_first was found" if setting == "channels" else "Undo"
            with pytest.raises(
                ValueError, match=f"The course computes in float32.*{re.escape(what)}"
            ):
                attempt()
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])
    half = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, dtype="mixed_float16")])
    with pytest.raises(ValueError, match=r"\): float16 was found"):
        modes.gradients(half, np.zeros((4, 8)), np.zeros(4))
