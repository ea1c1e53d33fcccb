"""The Keras builders: structure, pairing of seeds, and errors that teach."""

import keras
import numpy as np
import pytest

from course import models

BUILDERS = {"mlp": models.mlp, "cnn": models.cnn}


def names(model):
    return [layer.name for layer in model.layers]


def order(model, number):
    """The layers of block `number`, without their number."""
    return [
        name.split("_")[0]
        for name in names(model)
        if name.endswith(f"_{number}") and "pool" not in name
    ]


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (9, 13, 3)])
@pytest.mark.parametrize("norm", models.NORMS)
@pytest.mark.parametrize("builder", ["mlp", *models.CNN_SIZES])
def test_any_size_of_image_gives_probabilities(builder, norm, shape):
    options = {"norm": norm} if builder == "mlp" else {"norm": norm, "size": builder}
    model = BUILDERS["mlp" if builder == "mlp" else "cnn"](shape, 10, **options)
    output = keras.ops.convert_to_numpy(
        model(np.random.default_rng(0).random((3, *shape), dtype="float32"))
    )
    assert output.shape == (3, 10)
    np.testing.assert_allclose(output.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("placement", "dropout_order", "expected"),
    [
        ("before", "after_norm", ["dense", "norm", "activation", "dropout"]),
        ("after", "after_norm", ["dense", "activation", "norm", "dropout"]),
        ("before", "before_norm", ["dense", "dropout", "norm", "activation"]),
        ("after", "before_norm", ["dense", "activation", "dropout", "norm"]),
    ],
)
def test_order_within_a_block(placement, dropout_order, expected):
    model = models.mlp(
        (8, 8, 1), 10, norm="batch", rate=0.5, placement=placement, dropout_order=dropout_order
    )
    assert order(model, 1) == expected
    assert order(model, 2) == expected


def test_dropout_goes_where_it_was_asked_for():
    def dropouts(**options):
        model = models.cnn((8, 8, 1), 10, size="small", **options)
        return {
            layer.name: (type(layer).__name__, layer.rate)
            for layer in model.layers
            if "dropout" in layer.name
        }

    assert dropouts() == {}
    assert dropouts(dense_rate=0.5) == {"dropout_3": ("Dropout", 0.5)}
    assert dropouts(conv_rate=0.1) == {"dropout_1": ("Dropout", 0.1), "dropout_2": ("Dropout", 0.1)}
    assert dropouts(conv_rate=0.1, conv_dropout="spatial") == {
        "dropout_1": ("SpatialDropout2D", 0.1),
        "dropout_2": ("SpatialDropout2D", 0.1),
    }
    rates = [
        layer.rate
        for layer in models.mlp((8, 8, 1), 10, rate=(0.2, 0.5)).layers
        if "dropout" in layer.name
    ]
    assert rates == [0.2, 0.5]


@pytest.mark.parametrize("builder", ["mlp", "cnn"])
def test_only_the_bias_that_batch_norm_cancels_is_left_out(builder):
    def has_bias(**options):
        layers = BUILDERS[builder]((8, 8, 1), 10, **options).layers
        return {layer.use_bias for layer in layers if layer.name.startswith(("dense", "conv"))}

    assert has_bias(norm="batch") == {False}
    assert has_bias(norm="batch", placement="after") == {True}
    for norm in ("none", "layer", "group"):
        assert has_bias(norm=norm) == {True}


@pytest.mark.parametrize(
    ("builder", "changed"),
    [
        ("mlp", {"norm": "batch", "placement": "after"}),
        ("mlp", {"rate": 0.5}),
        ("mlp", {"norm": "batch", "drift": 0.5}),
        ("mlp", {"augmentation": "shift_flip"}),
        ("cnn", {"norm": "group"}),
        ("cnn", {"dense_rate": 0.5, "conv_rate": 0.2}),
        ("cnn", {"conv_rate": 0.2, "conv_dropout": "spatial", "norm": "batch"}),
    ],
)
def test_arms_of_an_experiment_start_from_the_same_weights(builder, changed):
    def kernels(seed, **options):
        keras.utils.set_random_seed(99 + seed)
        model = BUILDERS[builder]((8, 8, 1), 10, seed=seed, **options)
        return [
            keras.ops.convert_to_numpy(layer.kernel)
            for layer in model.layers
            if hasattr(layer, "kernel")
        ]

    for plain, arm in zip(kernels(0), kernels(0, **changed), strict=True):
        np.testing.assert_array_equal(plain, arm)
    assert not np.array_equal(kernels(0)[0], kernels(1)[0])


def test_no_two_random_layers_share_a_seed_within_or_across_networks():
    seeds = []
    for seed in (0, 1, 2):
        model = models.cnn(
            (8, 8, 1), 10, dense_rate=0.5, conv_rate=0.1, augmentation="shift_flip", seed=seed
        )
        seeds += [layer.seed for layer in model.layers if getattr(layer, "seed", None) is not None]
    assert len(seeds) == 3 * 7
    assert len(set(seeds)) == len(seeds)


def test_a_mask_does_not_depend_on_the_rate_of_another_layer():
    def second(first_rate):
        model = models.mlp((8, 8, 1), 10, rate=(first_rate, 0.5))
        return model.get_layer("dropout_2")(np.ones((4, 128), "float32"), training=True)

    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(second(0)), keras.ops.convert_to_numpy(second(0.3))
    )


def test_initial_scale_multiplies_the_standard_deviation_of_he():
    for scale in (0.5, 1.0, 3.0):
        kernel = models.mlp((28, 28, 1), 10, initial_scale=scale).get_layer("dense_1").kernel
        sd = keras.ops.convert_to_numpy(kernel).std()
        assert sd == pytest.approx(scale * np.sqrt(2 / 784), rel=0.02)


def test_drift_moves_the_distribution_from_step_to_step_in_training_only():
    layer = models.Drift(1.0, seed=3)
    x = np.zeros((500, 6), "float32")
    first, second = (keras.ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    moved = np.abs(first.mean(axis=0) - second.mean(axis=0))
    assert (moved > 0.2).sum() >= 3, (
        "the mean of most features moves by about the size of the drift"
    )
    assert first.std(axis=0).std() > 0.1, "the spread differs from feature to feature"
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, training=False)), x)


def test_augmentation_changes_images_in_training_only():
    model = models.mlp((8, 8, 1), 10, augmentation="shift")
    x = np.random.default_rng(0).random((20, 8, 8, 1), dtype="float32")
    shift = model.get_layer("shift")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(shift(x, training=False)), x)
    assert not np.allclose(keras.ops.convert_to_numpy(shift(x, training=True)), x)


def test_shifts_by_whole_pixels_blur_nothing():
    """Each pixel is one of the image, or the black that comes in at the edge; a shift by a part of
    one has others.
    """
    x = np.random.default_rng(0).random((20, 8, 8, 1), dtype="float32")
    for augmentation, whole in (("pixel_shift_flip", True), ("shift_flip", False)):
        model = models.mlp((8, 8, 1), 10, augmentation=augmentation)
        shifted = x
        for name in ("shift", "flip"):
            shifted = keras.ops.convert_to_numpy(model.get_layer(name)(shifted, training=True))
        assert not np.allclose(shifted, x)
        pairs = zip(shifted, x, strict=True)
        assert all(set(one.ravel()) <= {*image.ravel(), 0} for one, image in pairs) == whole


def test_random_erasing_fills_one_rectangle_in_half_of_the_images():
    x = np.zeros((400, 12, 12, 1), dtype="float32")
    erase = models.mlp((12, 12, 1), 10, augmentation="pixel_shift_flip_erase").get_layer("erase")
    erased = keras.ops.convert_to_numpy(erase(x, training=True))
    assert (keras.ops.convert_to_numpy(erase(x, training=False)) == x).all()
    assert erased.min() >= 0 and 0 < erased.max() <= 1
    filled = [np.argwhere(image[..., 0]) for image in erased]
    assert 0.4 < np.mean([len(pixels) > 0 for pixels in filled]) < 0.6
    # The noise is normal and cut off at 0: half of a rectangle stays black, and nothing beyond it
    # changes.
    areas = [np.prod(np.ptp(pixels, axis=0) + 1) for pixels in filled if len(pixels)]
    assert max(areas) < 0.5 * 144
    shares = [
        len(pixels) / area
        for pixels, area in zip([one for one in filled if len(one)], areas, strict=True)
        if area > 20
    ]
    assert 0.4 < np.mean(shares) < 0.7


def test_random_erasing_shifts_no_other_seed():
    """Arms with and without it have the same masks, shifts and flips."""
    one, other = (
        models.cnn((8, 8, 1), 10, dense_rate=0.5, augmentation=f"pixel_shift_flip{end}")
        for end in ("", "_erase")
    )
    seeds = [layer.seed for layer in one.layers if getattr(layer, "seed", None) is not None]
    assert len(seeds) == 3
    with_erasing = {
        layer.name: layer.seed for layer in other.layers if getattr(layer, "seed", None) is not None
    }
    assert with_erasing.pop("erase") not in seeds
    assert list(with_erasing.values()) == seeds


def test_a_saved_model_comes_back(tmp_path):
    model = models.mlp((8, 8, 1), 10, norm="batch", rate=0.5, drift=0.1)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(
        tmp_path / "model.keras", custom_objects={"Drift": models.Drift}
    )
    x = np.random.default_rng(0).random((5, 8, 8, 1), dtype="float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(again(x)), keras.ops.convert_to_numpy(model(x)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("builder", "options", "says"),
    [
        ("mlp", {"norm": "bach"}, "Did you mean 'batch'"),
        ("mlp", {"norm": "instance"}, "choose one of 'none', 'batch', 'layer', 'group'"),
        ("mlp", {"placement": "between"}, "placement is 'between'"),
        ("mlp", {"dropout_order": "first"}, "dropout_order is 'first'"),
        ("mlp", {"rate": 1.0}, "to below 1"),
        ("mlp", {"rate": -0.1}, "probability of dropping"),
        ("mlp", {"rate": "half"}, "rate is 'half'"),
        ("mlp", {"rate": (0.1, 0.2, 0.3)}, "3 numbers for 2 hidden blocks"),
        ("mlp", {"rate": float("nan")}, "rate is nan"),
        ("mlp", {"depth": 0}, "at least 1"),
        ("mlp", {"width": 2.5}, "whole number"),
        ("mlp", {"width": True}, "width is True"),
        ("mlp", {"rate": True}, "rate is True"),
        ("mlp", {"residual": "False"}, "residual is 'False'; choose one of False, True"),
        ("mlp", {"residual": 1}, "residual is 1"),
        ("mlp", {"initial_scale": 0}, "above 0"),
        ("mlp", {"initial_scale": True}, "initial_scale is True"),
        ("mlp", {"drift": float("inf"), "norm": "batch"}, "drift is inf"),
        ("mlp", {"drift": 1.0}, "with a norm"),
        ("mlp", {"groups": 0, "norm": "group"}, "groups is 0"),
        ("mlp", {"groups": 3, "norm": "group"}, "does not divide"),
        ("mlp", {"augmentation": "mirror"}, "augmentation is 'mirror'"),
        ("cnn", {"size": "huge"}, "size is 'huge'"),
        ("cnn", {"dense_rate": 2}, "dense_rate is 2"),
        ("cnn", {"conv_rate": 2}, "conv_rate is 2"),
        ("cnn", {"conv_dropout": "channel"}, "'elementwise', 'spatial'"),
    ],
)
def test_bad_options_are_explained(builder, options, says):
    with pytest.raises(ValueError, match=says):
        BUILDERS[builder]((8, 8, 1), 10, **options)


def test_an_image_too_small_for_the_poolings_is_explained():
    with pytest.raises(ValueError, match="at least 4 pixels a side"):
        models.cnn((3, 28, 1), 10, size="residual")
    with pytest.raises(ValueError, match="at least 8 pixels a side"):
        models.cnn((28, 7, 1), 10, size="pyramid")


def test_no_pixel_is_lost_where_a_side_is_odd():
    """7 pixels halve to 4: with 3, what stands in the last row and column would be thrown away."""
    model = models.cnn((28, 28, 1), 10, size="pyramid")
    assert model.get_layer("pool_3").output.shape[1:] == (4, 4, 128)


def test_residual_blocks_add_their_input():
    """With every kernel of the later blocks at zero, what the first block put out goes on
    unchanged.
    """
    image = np.random.default_rng(0).random((2, 8, 8, 1), dtype="float32")
    for model, first, last in (
        (models.mlp((8, 8, 1), 10, depth=4, residual=True), "activation_1", "add_4"),
        (models.cnn((8, 8, 1), 10, size="residual", norm="batch"), "pool_2", "add_2"),
    ):
        later = [layer for layer in model.layers if layer.name.split("_")[0] in ("conv", "dense")]
        for layer in later[2 if "cnn" in model.name else 1 :]:
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
        looked_at = keras.Model(
            model.input, [model.get_layer(first).output, model.get_layer(last).output]
        )
        before, after = looked_at(image)
        np.testing.assert_allclose(before, after, atol=1e-6)
        assert float(keras.ops.max(before)) > 0


def test_the_residual_net_drops_before_the_softmax():
    model = models.cnn((28, 28, 1), 10, size="residual", dense_rate=0.4)
    assert model.layers[-2].rate == 0.4 and model.count_params() < 500_000
