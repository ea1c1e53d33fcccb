"""Other right answers, in cells `# %% task: what is other about it`.

Each is run where the answer stands in the notebook. What precedes the first cell is for the linter.
"""

import keras


# %% conv_block: Sequential
def conv_block(x, filters, activation="relu", rate=0.0):
    layers = [
        keras.layers.Conv2D(
            filters, (3, 3), strides=(1, 1), padding="same", use_bias=False, activation="linear"
        ),
        keras.layers.BatchNormalization(axis=-1, momentum=0.9),
        keras.layers.Activation(activation),
    ]
    if rate > 0:
        layers.append(keras.layers.SpatialDropout2D(rate, seed=3))
    return keras.Sequential(layers)(x)


# %% conv_block: a class
class Block(keras.layers.Layer):
    def __init__(self, filters, activation, rate):
        super().__init__()
        self.conv = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)
        self.norm = keras.layers.BatchNormalization()
        self.activation = keras.activations.get(activation)
        self.dropout = keras.layers.SpatialDropout2D(rate)

    def call(self, inputs, training=None):
        values = self.activation(self.norm(self.conv(inputs), training=training))
        return self.dropout(values, training=training)


def conv_block(x, filters, activation="relu", rate=0.0):
    return Block(filters, activation, rate)(x)


# %% conv_block: noise_shape, other names and initial weights, a warning
import warnings


def conv_block(x, filters, activation="relu", rate=0.0):
    warnings.warn("building a block")
    x = keras.layers.Conv2D(
        filters, 3, padding="SAME", use_bias=False, kernel_initializer="he_normal", name="first"
    )(x)
    x = keras.layers.Identity()(keras.layers.BatchNormalization(name="second")(x))
    x = getattr(keras.activations, activation)(x)
    return keras.layers.Dropout(rate, noise_shape=(None, 1, 1, None))(x)


# %% conv_block: float64
def norm_and_activation(x, activation):
    return keras.layers.Activation(activation, dtype="float64")(
        keras.layers.BatchNormalization(dtype="float64")(x)
    )


def conv_block(x, filters, activation="relu", rate=0.0):
    conv = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, dtype="float64")
    return keras.layers.SpatialDropout2D(rate, dtype="float64")(
        norm_and_activation(conv(x), activation)
    )


# %% residual_block: operations in place of layers
def residual_block(x, filters, strides=1):
    def conv_norm(values, size, strides):
        conv = keras.layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)
        return keras.layers.BatchNormalization()(conv(values))

    same = strides == 1 and x.shape[-1] == filters
    shortcut = x if same else conv_norm(x, 1, strides)
    branch = conv_norm(keras.ops.relu(conv_norm(x, 3, strides)), 3, 1)
    return keras.ops.relu(shortcut + branch)


# %% residual_block: a Sequential as branch
def residual_block(x, filters, strides=1):
    branch = keras.Sequential(
        [
            keras.layers.Conv2D(
                filters, (3, 3), (strides, strides), padding="same", use_bias=False
            ),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.Conv2D(filters, (3, 3), padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9, gamma_initializer="zeros"),
        ]
    )
    skip = keras.Sequential(
        [
            keras.layers.Conv2D(filters, 1, strides, padding="valid", use_bias=False),
            keras.layers.BatchNormalization(),
        ]
    )
    shortcut = x if (strides, x.shape[-1]) == (1, filters) else skip(x)
    return keras.layers.ReLU()(keras.layers.add([shortcut, branch(x)]))


# %% residual_block: a class, and a warning
import warnings


class Residual(keras.layers.Layer):
    def __init__(self, filters, strides, project):
        super().__init__()
        warnings.warn("a class of my own")
        conv = {"padding": "same", "use_bias": False}
        self.first = keras.layers.Conv2D(filters, 3, strides=strides, **conv)
        self.second = keras.layers.Conv2D(filters, 3, **conv)
        self.norms = [keras.layers.BatchNormalization() for _ in range(3 if project else 2)]
        self.project = keras.layers.Conv2D(filters, 1, strides=strides, **conv) if project else None

    def call(self, x):
        y = keras.activations.relu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        shortcut = self.norms[2](self.project(x)) if self.project else x
        return keras.activations.relu(keras.ops.add(y, shortcut))


def residual_block(x, filters, strides=1):
    return Residual(filters, strides, strides > 1 or x.shape[-1] != filters)(x)


# %% classifier_head: activations as arguments
def classifier_head(x, classes, units, rate):
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(units, activation="gelu", kernel_initializer="he_normal")(x)
    x = keras.layers.Dropout(rate, seed=7)(x)
    return keras.layers.Dense(classes, activation="softmax", name="probabilities")(x)


# %% classifier_head: Sequential, without an empty dropout
def classifier_head(x, classes, units, rate):
    dropout = [keras.layers.Dropout(rate)] if rate else []
    hidden = [
        keras.layers.Dense(units, use_bias=True),
        keras.layers.Activation(keras.activations.gelu),
    ]
    last = [keras.layers.Dense(classes), keras.layers.Softmax()]
    return keras.Sequential([keras.layers.GlobalAveragePooling2D(), *hidden, *dropout, *last])(x)


# %% classifier_head: a class and a warning
import warnings


class Head(keras.layers.Layer):
    def __init__(self, classes, units, rate):
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation="gelu")
        self.dropout = keras.layers.Dropout(rate)
        self.last = keras.layers.Dense(classes)

    def call(self, maps):
        pooled = keras.ops.mean(maps, axis=(1, 2))
        return keras.ops.softmax(self.last(self.dropout(self.hidden(pooled))))


def classifier_head(x, classes, units, rate):
    warnings.warn("my own head")
    return Head(classes, units, rate)(x)


# %% classifier_head: float64
def classifier_head(x, classes, units, rate):
    exact = {"dtype": "float64"}
    x = keras.layers.GlobalAveragePooling2D(**exact)(x)
    x = keras.layers.Dense(units, activation="gelu", **exact)(x)
    return keras.layers.Dense(classes, activation="softmax", **exact)(
        keras.layers.Dropout(rate, **exact)(x)
    )


# %% build_cnn: Sequential
def build_cnn(input_shape, classes, filters=(4, 8), rate=0.5):
    model = keras.Sequential([keras.Input(input_shape)])
    for number, count in enumerate(filters):
        model.add(
            keras.layers.Conv2D(
                count, (3, 3), padding="same", use_bias=False, name=f"conv_{number}"
            )
        )
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
        model.add(keras.layers.MaxPooling2D(pool_size=(2, 2), strides=2))
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dropout(rate, seed=1))
    model.add(keras.layers.Dense(classes))
    model.add(keras.layers.Softmax())
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


# %% build_cnn: a class
class Net(keras.Model):
    def __init__(self, classes, filters, rate):
        super().__init__()
        self.convs = [
            keras.layers.Conv2D(count, 3, padding="same", use_bias=False) for count in filters
        ]
        self.norms = [keras.layers.BatchNormalization() for _ in filters]
        self.pool = keras.layers.MaxPooling2D()
        self.dropout = keras.layers.Dropout(rate)
        self.last = keras.layers.Dense(classes, activation="softmax")

    def call(self, x, training=None):
        for conv, norm in zip(self.convs, self.norms):
            x = self.pool(keras.activations.relu(norm(conv(x), training=training)))
        return self.last(self.dropout(keras.ops.mean(x, axis=(1, 2)), training=training))


def build_cnn(input_shape, classes, filters=(4, 8), rate=0.5):
    return Net(classes, filters, rate)


# %% build_cnn: the functions of task 1, nested models, a warning
import warnings


def build_cnn(input_shape, classes, filters=(4, 8), rate=0.5):
    warnings.warn("nested")
    inputs = keras.Input(input_shape)
    body = inputs
    for count in filters:
        body = keras.layers.MaxPooling2D(2)(conv_block(body, count))
    features = keras.Model(inputs, body, name="features")
    head = keras.Sequential(
        [
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(rate),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    return keras.Sequential([keras.Input(input_shape), features, head])
