"""Keras builders for the networks of the course: `mlp` and `cnn`.

Both are made of blocks *linear map, normalization, activation, dropout*, and every choice the
course compares is an argument. Two arms of an experiment that differ in one argument start from
the same weights: each linear layer and each random layer has a seed of its own, derived from
`seed`, so adding a layer never shifts the random numbers of another. An argument that is none of
its allowed values is a ValueError, whose message lists them.
"""

from dataclasses import dataclass

import keras

from course.config import check_choice, check_count, check_number, check_rate

NORMS = ("none", "batch", "layer", "group")
PLACEMENTS = ("before", "after")
DROPOUT_ORDERS = ("after_norm", "before_norm")
CONV_DROPOUTS = ("elementwise", "spatial")
AUGMENTATIONS = ("none", "shift", "shift_flip", "pixel_shift_flip", "pixel_shift_flip_erase")

ERASE_SEED = 500_000  # beyond the seeds that a network hands out

# Filters of each convolution, one tuple a stage; a stage ends in 2x2 max pooling. Then how many
# residual blocks of two convolutions follow, and the dense width; 0 is global average pooling
# instead of a dense block. "pyramid" is the large network of the eight experiments. It spends its
# time where a filter costs least: few of them on the full image, twice as many at each halving, and
# a third halving. The rest is to compare it with: "summit" has a residual block on top of it,
# "residual" is deeper and ends in an average, "double" and "wide" are brute force, the medium
# network with two and three times the filters.
CNN_SIZES = {
    "small": (((8,), (16,)), 0, 32),
    "medium": (((16, 16), (32, 32)), 0, 64),
    "pyramid": (((32,), (64,), (128,)), 0, 128),
    "summit": (((32,), (64,), (128,)), 1, 128),
    "residual": (((32,), (96,)), 2, 0),
    "double": (((32, 32), (64, 64)), 0, 128),
    "wide": (((48, 48), (96, 96)), 0, 128),
}


class Drift(keras.layers.Layer):
    """Gaussian noise whose mean and size are drawn anew at every training step.

    The disturbance of Santurkar et al. (2018), section 2.1: put after batch normalization it makes
    the distribution that the next layer sees move from step to step. At inference it does nothing.
    `size` is the standard deviation, over steps, of the mean shift of each feature.
    """

    def __init__(self, size, seed=0, **options):
        super().__init__(**options)
        self.size = size
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training:
            return inputs
        shape = keras.ops.shape(inputs)
        one_a_feature = (1,) * (len(shape) - 1) + (shape[-1],)

        def normal(size):
            return keras.random.normal(size, seed=self.seed_generator, dtype=inputs.dtype)

        mean = self.size * normal(one_a_feature)
        sd = self.size * keras.ops.abs(normal(one_a_feature))
        return inputs + mean + sd * normal(shape)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "seed": self.seed}


@dataclass
class _Blocks:
    """Hands out the layers of one network, each with its name and its own seed."""

    activation: str
    norm: str
    placement: str
    dropout_order: str
    initial_scale: float
    groups: int
    drift: float
    seed: int
    linear: int = 0  # how many linear and random layers there are so far
    random: int = 0

    def __post_init__(self):
        check_choice("norm", self.norm, NORMS)
        check_choice("placement", self.placement, PLACEMENTS)
        check_choice("dropout_order", self.dropout_order, DROPOUT_ORDERS)
        check_number("initial_scale", self.initial_scale, "a factor above 0 (1 is He's)", above=0)
        check_count("groups", self.groups)
        check_number("drift", self.drift, "a number of at least 0", least=0)
        if self.drift and self.norm == "none":
            raise ValueError(f"drift is {self.drift}; it disturbs a norm layer: build with a norm.")

    def kernel_options(self):
        """He's initialisation (2015) times `initial_scale`; no bias where batch norm cancels it."""
        self.linear += 1
        return {
            "kernel_initializer": keras.initializers.VarianceScaling(
                2.0 * self.initial_scale**2,
                mode="fan_in",
                distribution="untruncated_normal",
                seed=1_000 * self.seed + self.linear,
            ),
            # Batch norm right after the linear map subtracts the mean and with it any bias; its
            # beta takes over.
            "use_bias": not (self.norm == "batch" and self.placement == "before"),
        }

    def dense(self, x, width):
        options = self.kernel_options()
        return keras.layers.Dense(width, name=f"dense_{self.linear}", **options)(x)

    def conv(self, x, filters):
        options = self.kernel_options() | {"padding": "same", "name": f"conv_{self.linear}"}
        return keras.layers.Conv2D(filters, 3, **options)(x)

    def next_seed(self):
        """A seed no other random layer of this network has: equal seeds would mean equal masks."""
        self.random += 1
        return 1_000_003 * (self.seed + 1) + self.random

    def groups_of(self, channels):
        groups = min(self.groups, channels)
        if channels % groups:
            raise ValueError(
                f"groups is {groups}, which does not divide the {channels} features of a layer."
            )
        return groups

    def norm_layers(self, channels):
        name = f"norm_{self.linear}"
        layers = {
            "none": lambda: [],
            "batch": lambda: [keras.layers.BatchNormalization(name=name)],
            "layer": lambda: [keras.layers.LayerNormalization(name=name)],
            "group": lambda: [keras.layers.GroupNormalization(self.groups_of(channels), name=name)],
        }[self.norm]()
        if self.drift:
            layers.append(Drift(self.drift, seed=self.next_seed(), name=f"drift_{self.linear}"))
        return layers

    def finish(self, x, rate, spatial=False):
        """Normalization, activation and dropout after a linear map, in the order asked for."""
        norm = self.norm_layers(x.shape[-1])
        activation = [keras.layers.Activation(self.activation, name=f"activation_{self.linear}")]
        dropout = []
        # Drawn always, so that a rate of 0 in one layer does not shift the masks of the others.
        seed = self.next_seed()
        if rate:
            kind = keras.layers.SpatialDropout2D if spatial else keras.layers.Dropout
            dropout = [kind(rate, seed=seed, name=f"dropout_{self.linear}")]
        if self.dropout_order == "before_norm":
            norm, dropout = dropout + norm, []
        order = norm + activation if self.placement == "before" else activation + norm
        for layer in order + dropout:
            x = layer(x)
        return x

    def output(self, x, classes):
        self.linear += 1
        initializer = keras.initializers.GlorotUniform(seed=1_000 * self.seed + self.linear)
        return keras.layers.Dense(
            classes, activation="softmax", kernel_initializer=initializer, name="output"
        )(x)


def mlp(
    input_shape,
    classes,
    *,
    depth=2,
    width=128,
    activation="relu",
    norm="none",
    placement="before",
    rate=0.0,
    dropout_order="after_norm",
    augmentation="none",
    initial_scale=1.0,
    groups=8,
    drift=0.0,
    residual=False,
    seed=0,
):
    """Build a fully connected classifier: `depth` hidden blocks, then a softmax.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one image, (height, width, channels).
    classes : int
        Number of classes.
    depth, width : int
        Number of hidden blocks, and units in each.
    activation : str
        Name of a Keras activation.
    norm : {"none", "batch", "layer", "group"}
        Normalization in each hidden block.
    placement : {"before", "after"}
        Where the normalization stands: before or after the activation.
    rate : float, or list or tuple of float
        Probability of *dropping* a unit after each hidden block, in [0, 1); one number for all
        blocks or one a block.
    dropout_order : {"after_norm", "before_norm"}
        "after_norm" ends a block with dropout; "before_norm" puts it straight before the norm
        layer.
    augmentation : {"none", "shift", "shift_flip", "pixel_shift_flip", "pixel_shift_flip_erase"}
        Random shifts by up to a tenth of the image, and left-right flips, in training only. A shift
        by a part of a pixel averages neighbours, and so blurs; "pixel_shift_flip" shifts by whole
        pixels. "..._erase" also fills a rectangle with noise in half of the images: random erasing
        (Zhong et al. 2020).
    initial_scale : float
        Factor on the standard deviation of He's initialisation, sqrt(2 / fan-in).
    groups : int
        Number of groups for norm="group" (fewer where there are fewer features).
    drift : float
        Size of the disturbance put after each norm layer (see `Drift`); 0 is none.
    residual : bool
        Whether each hidden block but the first adds its input to its output (He et al. 2015).
    seed : int
        Seed of the initial weights, masks and augmentation.

    Returns
    -------
    keras.Model
        Not compiled. Layers are named dense_1, norm_1, activation_1, dropout_1, ...
    """
    check_count("depth", depth)
    check_count("width", width)
    check_choice("residual", residual, (False, True))
    rates = list(rate) if isinstance(rate, (list, tuple)) else [rate] * depth
    if len(rates) != depth:
        raise ValueError(
            f"rate has {len(rates)} numbers for {depth} hidden blocks; give one number, or one a"
            " block."
        )
    for number in rates:
        check_rate("rate", number)
    blocks = _Blocks(activation, norm, placement, dropout_order, initial_scale, groups, drift, seed)
    inputs = keras.Input(input_shape, name="image")
    x = _augment(inputs, augmentation, blocks)
    x = keras.layers.Flatten(name="flatten")(x)
    for number in rates:
        skip, x = x, blocks.finish(blocks.dense(x, width), number)
        if residual and blocks.linear > 1:
            x = keras.layers.Add(name=f"add_{blocks.linear}")([skip, x])
    return keras.Model(inputs, blocks.output(x, classes), name="mlp")


def cnn(
    input_shape,
    classes,
    *,
    size="medium",
    activation="relu",
    norm="none",
    placement="before",
    dense_rate=0.0,
    conv_rate=0.0,
    conv_dropout="elementwise",
    dropout_order="after_norm",
    augmentation="none",
    initial_scale=1.0,
    groups=8,
    drift=0.0,
    seed=0,
):
    """Build a convolutional classifier: stages of 3x3 convolutions, one dense block, a softmax.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one image, (height, width, channels); at least 4 pixels a side, which are
        halved twice (8 for "pyramid" and "summit", which halve them three times). Half of 7 is 4.
    classes : int
        Number of classes.
    size : {"small", "medium", "pyramid", "summit", "residual", "double", "wide"}
        Convolutions and filters, see `CNN_SIZES`; "residual" has residual blocks and global average
        pooling in place of the dense block.
    dense_rate, conv_rate : float
        Probability of *dropping* after the dense block (for "residual", before the softmax), and
        after each convolution block, in [0, 1).
    conv_dropout : {"elementwise", "spatial"}
        What `conv_rate` drops: single values, or whole feature maps (Tompson et al. 2015).
    activation, norm, placement, dropout_order, augmentation, initial_scale, groups, drift, seed
        As for `mlp`. Batch norm has one mean and variance a channel.

    Returns
    -------
    keras.Model
        Not compiled. Layers are named conv_1, norm_1, ..., dense_5, ..., numbered through.
    """
    check_choice("size", size, CNN_SIZES)
    check_choice("conv_dropout", conv_dropout, CONV_DROPOUTS)
    check_rate("dense_rate", dense_rate)
    check_rate("conv_rate", conv_rate)
    stages, residual_blocks, width = CNN_SIZES[size]
    if min(input_shape[:2]) < 2 ** len(stages):
        raise ValueError(
            f"Images of {input_shape[0]}x{input_shape[1]} pixels are too small for size={size!r},"
            f" which halves them {len(stages)} times; give at least {2 ** len(stages)} pixels a"
            " side, or a smaller size."
        )
    blocks = _Blocks(activation, norm, placement, dropout_order, initial_scale, groups, drift, seed)
    inputs = keras.Input(input_shape, name="image")
    x = _augment(inputs, augmentation, blocks)

    def convolution(x, filters):
        return blocks.finish(blocks.conv(x, filters), conv_rate, conv_dropout == "spatial")

    for stage, convolutions in enumerate(stages, 1):
        for filters in convolutions:
            x = convolution(x, filters)
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool_{stage}")(x)
    for number in range(1, residual_blocks + 1):
        branch = convolution(convolution(x, filters), filters)
        x = keras.layers.Add(name=f"add_{number}")([x, branch])
    if width:
        x = keras.layers.Flatten(name="flatten")(x)
        x = blocks.finish(blocks.dense(x, width), dense_rate)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        if dense_rate:
            x = keras.layers.Dropout(dense_rate, seed=blocks.next_seed(), name="dropout_pool")(x)
    return keras.Model(inputs, blocks.output(x, classes), name=f"cnn_{size}")


def _augment(x, augmentation, blocks):
    check_choice("augmentation", augmentation, AUGMENTATIONS)
    # Both seeds are drawn always, so that augmentation does not shift the masks of dropout.
    shift_seed, flip_seed = blocks.next_seed(), blocks.next_seed()
    if augmentation == "none":
        return x
    interpolation = "nearest" if augmentation.startswith("pixel") else "bilinear"
    options = {"fill_mode": "constant", "interpolation": interpolation}
    shift = keras.layers.RandomTranslation(0.1, 0.1, **options, seed=shift_seed, name="shift")
    if keras.config.backend() == "jax":
        # Keras says no, for TensorFlow's sake: a step that is not compiled takes many times as long
        shift.supports_jit = True
    x = shift(x)
    if "flip" in augmentation:
        x = keras.layers.RandomFlip("horizontal", seed=flip_seed, name="flip")(x)
    if "erase" in augmentation:
        # Its seed is not drawn: that would give all networks without it other masks than they had.
        options = {"value_range": (0, 1), "seed": shift_seed + ERASE_SEED, "name": "erase"}
        x = keras.layers.RandomErasing(**options)(x)
    return x
