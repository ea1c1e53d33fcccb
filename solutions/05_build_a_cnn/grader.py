"""Assignment 05: what is compared, on which inputs, and the mistakes that people make.

A mistake is the right answer with one thing changed, so that the change can be seen. Networks are compared by what counts:
the layers on the way from input to output, the numbers of weights, what comes out once all weights have given values, and
what training mode does. Names, nesting and the way of building (functional, Sequential, a class) do not matter.
"""

from course.grading.tasks import Mistake, Part, Task

WALK = '''import keras
import numpy as np

NAMES = {
    "conv2d": "conv", "batchnormalization": "norm", "spatialdropout2d": "spatial dropout", "maxpooling2d": "max",
    "globalaveragepooling2d": "mean", "averagepooling2d": "average",
}
SILENT = ("identity", "linear", "converttotensor")


def kinds(layer):
    """What counts about a layer: its kind, the rate of a dropout, an activation inside of it."""
    kind = type(layer).__name__.lower()
    if kind == "activation":
        return [layer.activation.__name__]
    if "dropout" in kind:
        shape = getattr(layer, "noise_shape", None)
        if kind == "dropout" and shape is not None and tuple(shape)[1:3] == (1, 1):
            kind = "spatialdropout2d"
        return [f"{NAMES.get(kind, kind)} {float(layer.rate):.2f}"] if layer.rate else []
    inside = getattr(layer, "activation", None)
    return [NAMES.get(kind, kind)] + ([inside.__name__] if inside is not None else [])


def way_to(tensor):
    """Pairs (kind, layer) on the way to a tensor. Models and layers of the student's own making are opened."""
    layer, number, place = tensor._keras_history
    node = layer._inbound_nodes[number]
    if not node.input_tensors:
        return []
    own = isinstance(layer, keras.layers.Layer) and not type(layer).__module__.startswith("keras.")
    if own or isinstance(layer, keras.Model):
        try:
            return way_to(keras.tree.flatten(layer.call(*node.arguments.args, **node.arguments.kwargs))[place])
        except (TypeError, ValueError, AttributeError):
            pass  # It cannot be opened: its name has to do.
    ways = [way_to(one) for one in node.input_tensors]
    shared = 0
    while all(len(way) > shared and way[shared] == ways[0][shared] for way in ways):
        shared += 1
    before = ways[0][:shared]
    if len(ways) > 1:
        branches = sorted(", ".join(kind for kind, _ in way[shared:]) or "nothing" for way in ways)
        before.append(("[" + " | ".join(branches) + "]", None))
    which = id(layer) if isinstance(layer, keras.layers.Layer) else None  # an operation has no identity
    return before + [(kind, which) for kind in kinds(layer) if kind not in SILENT]


def set_weights(model):
    """Values for all weights, which depend on role and shape only, not on names or the order of creation."""
    for weight in model.weights:
        role = weight.path.split("/")[-1]
        rng = np.random.default_rng([sum(role.encode()), *weight.shape])
        if role == "kernel":
            value = rng.normal(size=weight.shape) * np.sqrt(2 / np.prod(weight.shape[:-1]))
        elif role in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, weight.shape)
        else:
            value = rng.normal(0, 0.5, weight.shape)
        weight.assign(value.astype("float32"))


def numbers(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor), dtype="float32")


def same(one, other):
    """Whether all values agree; by operators, since functions of NumPy could have been replaced in the notebook."""
    return ((one - other) ** 2 <= 1e-10 * (1 + other**2)).all()


def examine(inputs, outputs):
    """Layers, numbers of weights, predictions with given weights, and what the two modes do."""
    model = keras.Model(inputs, outputs)
    set_weights(model)
    images = np.random.default_rng(5).normal(size=(6, *inputs.shape[1:])).astype("float32")
    stored = [weight for weight in model.weights if "moving" in weight.path]
    # Each image twice in one batch, since calls are what grading spends its time on.
    twice = np.concatenate([images, images])
    once, again = np.split(numbers(model(twice)), 2)  # training=False would overrule a layer's own training=True
    before = [numbers(weight) for weight in stored]
    one, other = np.split(numbers(model(twice, training=True)), 2)
    still = [same(old, numbers(weight)) for old, weight in zip(before, stored)].count(True)
    groups = (model.trainable_weights, model.non_trainable_weights)
    return {
        "order": ", ".join(kind for kind, _ in way_to(outputs)),
        "weights": np.array([sum(int(np.prod(weight.shape)) for weight in group) for group in groups]),
        "inference": once,
        "modes": np.array([same(once, again), not same(one, other), stored != [] and still == 0]),
    }


'''

ORDER = "the layers in their order, as text"
WEIGHTS = "how many numbers are trained, and how many are stored without being trained"
INFERENCE = "the outputs at inference, with weights set by the checker"
MODES = "three truth values: an image put in twice gets the same at inference; not so in training; training moves all moving statistics"


def _parts(order, weights, inference, modes):
    return (
        Part("order", order, ORDER, compare="equal"),
        Part("weights", weights, WEIGHTS, compare="equal"),
        Part("inference", inference, INFERENCE, rtol=1e-3, atol=1e-4),
        Part("modes", modes, MODES, compare="equal"),
    )


# ---------------------------------------------------------------- 1. conv_block

BLOCK = """def conv_block(x, filters, activation="relu", rate=0.0):
    x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Activation(activation)(x)
    x = keras.layers.SpatialDropout2D(rate)(x)
    return x
"""
CONV, NORM, ACTIVATION, DROPOUT = BLOCK.splitlines(keepends=True)[1:5]


def _block(channels, filters, activation, rate):
    return {"channels": channels, "filters": filters, "activation": activation, "rate": rate}


conv_block = Task(
    id="conv_block",
    parts=_parts(2, 1, 1, 1),
    cases={
        "elu, rate 0.25": _block(2, 4, "elu", 0.25),
        "gelu, no dropout": _block(3, 5, "gelu", 0.0),
    },
    hidden={"tanh, rate 0.6": _block(1, 6, "tanh", 0.6)},
    mistakes=(
        Mistake(
            "a bias beside batch norm",
            "You train numbers that do nothing: one for each filter too many. What happens to a constant that is added to a channel when batch norm "
            "subtracts the channel's mean (lesson 05, section 6)?",
            BLOCK.replace(", use_bias=False", ""),
        ),
        Mistake(
            "norm behind the activation",
            "Your norm normalises what comes *out* of an activation (one can be hidden in an argument of the convolution). Here the norm is to decide where the activation bends (lesson 05, section 1).",
            BLOCK.replace(NORM + ACTIVATION, ACTIVATION + NORM),
        ),
        Mistake(
            "activated twice",
            "The activation is applied twice in your block. Print the layers with their arguments, and look for the second one.",
            BLOCK.replace("use_bias=False", "use_bias=False, activation=activation"),
        ),
        Mistake(
            "dropout straight before the norm",
            "Your dropout stands in front of the norm of the same block. The norm then stores a variance that contains the noise of dropout, and nothing averages that noise (lesson 06).",
            BLOCK.replace(NORM + ACTIVATION + DROPOUT, DROPOUT + NORM + ACTIVATION),
        ),
        Mistake(
            "dropout in front of the activation",
            "Your dropout stands between norm and activation. For a ReLU it is all the same, but not for all activations: what does a dropped unit put out then (lesson 05, section 7)?",
            BLOCK.replace(ACTIVATION + DROPOUT, DROPOUT + ACTIVATION),
        ),
        Mistake(
            "single values dropped",
            "You drop single values. The neighbours of a dropped pixel give it away; this block is to drop something larger (lesson 05, section 8).",
            BLOCK.replace("SpatialDropout2D", "Dropout"),
        ),
        Mistake(
            "rate taken for the probability of keeping",
            "The rate of your layer is not the rate you were given. In Keras, what does the argument of a dropout layer say: how much is kept, or how much goes?",
            BLOCK.replace("SpatialDropout2D(rate)", "SpatialDropout2D(1 - rate if rate else 0.0)"),
        ),
        Mistake(
            "no norm",
            "There is no batch norm in your block. Which of its four parts stores numbers that are not trained?",
            BLOCK.replace(NORM, ""),
        ),
        Mistake(
            "always a ReLU",
            "Your activation does not depend on the argument `activation`. Call the block with two different ones and compare.",
            BLOCK.replace("Activation(activation)", 'Activation("relu")'),
        ),
        Mistake(
            "dropout on at inference",
            "Asked twice at inference, your block gives two answers. Something in it does not listen to the mode in which the model is called: look for a `training=`.",
            BLOCK.replace("SpatialDropout2D(rate)(x)", "SpatialDropout2D(rate)(x, training=True)"),
        ),
        Mistake(
            "a frozen norm",
            "Your norm is frozen: training moves neither its statistics nor its scale and shift. What does `trainable=False` do to a batch norm layer (lesson 03, section 4)?",
            BLOCK.replace("BatchNormalization()", "BatchNormalization(trainable=False)"),
        ),
        Mistake(
            "without scale",
            "Your norm trains too few numbers: after the normalisation a channel can no longer choose its own spread. Leave the arguments of batch norm as they are.",
            BLOCK.replace("BatchNormalization()", "BatchNormalization(scale=False)"),
        ),
    ),
    alternatives={
        "Sequential": """def conv_block(x, filters, activation="relu", rate=0.0):
    layers = [
        keras.layers.Conv2D(filters, (3, 3), strides=(1, 1), padding="same", use_bias=False, activation="linear"),
        keras.layers.BatchNormalization(axis=-1, momentum=0.9),
        keras.layers.Activation(activation),
    ]
    if rate > 0:
        layers.append(keras.layers.SpatialDropout2D(rate, seed=3))
    return keras.Sequential(layers)(x)
""",
        "a class": """class Block(keras.layers.Layer):
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
""",
        "noise_shape, other names and initial weights, a warning": """import warnings


def conv_block(x, filters, activation="relu", rate=0.0):
    warnings.warn("building a block")
    x = keras.layers.Conv2D(filters, 3, padding="SAME", use_bias=False, kernel_initializer="he_normal", name="first")(x)
    x = keras.layers.Identity()(keras.layers.BatchNormalization(name="second")(x))
    x = getattr(keras.activations, activation)(x)
    return keras.layers.Dropout(rate, noise_shape=(None, 1, 1, None))(x)
""",
        "float64": """def norm_and_activation(x, activation):
    return keras.layers.Activation(activation, dtype="float64")(keras.layers.BatchNormalization(dtype="float64")(x))


def conv_block(x, filters, activation="relu", rate=0.0):
    conv = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, dtype="float64")
    return keras.layers.SpatialDropout2D(rate, dtype="float64")(norm_and_activation(conv(x), activation))
""",
    },
    probe=WALK
    + """def probe(student, inputs):
    x = keras.Input((8, 8, inputs["channels"]))
    return examine(x, student["conv_block"](x, inputs["filters"], activation=inputs["activation"], rate=inputs["rate"]))
""",
)

# ---------------------------------------------------------------- 2. residual_block

RESIDUAL = """def residual_block(x, filters, strides=1):
    shortcut = x
    y = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    y = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(y))
    y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
    y = keras.layers.BatchNormalization()(y)
    if strides != 1 or x.shape[-1] != filters:
        shortcut = keras.layers.Conv2D(filters, 1, strides=strides, use_bias=False)(x)
        shortcut = keras.layers.BatchNormalization()(shortcut)
    return keras.layers.Activation("relu")(keras.layers.Add()([y, shortcut]))
"""
SUM = 'keras.layers.Activation("relu")(keras.layers.Add()([y, shortcut]))'


def _residual(channels, filters, strides):
    return {"channels": channels, "filters": filters, "strides": strides}


residual_block = Task(
    id="residual_block",
    parts=_parts(2, 1, 2, 1)[:3],
    cases={
        "same shape": _residual(4, 4, 1),
        "more channels": _residual(3, 5, 1),
        "half the size": _residual(4, 4, 2),
    },
    hidden={"half the size, more channels": _residual(4, 6, 2)},
    mistakes=(
        Mistake(
            "norm behind the sum",
            "A norm stands in your trunk, behind the sum. At each block it shrinks what came along the skip path (lesson 05, section 4). Where does the last norm of the branch belong?",
            RESIDUAL.replace("    y = keras.layers.BatchNormalization()(y)\n", "").replace(
                "(keras.layers.Add()([y, shortcut]))",
                "(keras.layers.BatchNormalization()(keras.layers.Add()([y, shortcut])))",
            ),
        ),
        Mistake(
            "activation before the sum",
            "Your branch is activated before it is added, so that it can only ever *add* to the trunk, never take away. What stands last in this kind of block?",
            RESIDUAL.replace(
                SUM, 'keras.layers.Add()([keras.layers.Activation("relu")(y), shortcut])'
            ),
        ),
        Mistake(
            "no activation behind the sum",
            "The last activation of your block is missing: compare with the drawing, from the sum to the end.",
            RESIDUAL.replace(SUM, "keras.layers.Add()([y, shortcut])"),
        ),
        Mistake(
            "joined instead of added",
            "You join trunk and branch side by side, so the channels become twice as many. A residual block computes x + F(x).",
            RESIDUAL.replace("keras.layers.Add()", "keras.layers.Concatenate()"),
        ),
        Mistake(
            "the shortcut starts behind the first convolution",
            "Your shortcut does not start at the input of the block. Which variable holds the input, and did you write over it?",
            RESIDUAL.replace(
                '    y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)',
                '    shortcut = y\n    y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)',
            ).replace("strides != 1 or x.shape[-1] != filters", "False"),
        ),
        Mistake(
            "a projection in every block",
            "Your skip path has a convolution even where the shapes agree. Nothing should stand in it then: that is what lets a signal pass through many blocks.",
            RESIDUAL.replace("strides != 1 or x.shape[-1] != filters", "True"),
        ),
        Mistake(
            "no projection for a stride alone",
            "You look at the channels only when you decide about the projection. Try 4 channels, 4 filters and strides=2: what else can make the two shapes differ?",
            RESIDUAL.replace("strides != 1 or x.shape[-1] != filters", "x.shape[-1] != filters"),
        ),
        Mistake(
            "projection without norm",
            "Where the shape changes, the branch arrives normalised at your sum and the shortcut does not. What does lesson 05, section 5, find in the skip path of ResNet-50?",
            RESIDUAL.replace(
                "        shortcut = keras.layers.BatchNormalization()(shortcut)\n", ""
            ),
        ),
        Mistake(
            "activation in the projection",
            "You activate the shortcut. What is negative in it is lost before it reaches the sum.",
            RESIDUAL.replace(
                "keras.layers.BatchNormalization()(shortcut)",
                'keras.layers.Activation("relu")(keras.layers.BatchNormalization()(shortcut))',
            ),
        ),
        Mistake(
            "biases beside batch norm",
            "Your convolutions train biases that the norms behind them subtract again. Count the trained numbers with and without.",
            RESIDUAL.replace(", use_bias=False", ""),
        ),
        Mistake(
            "a bias in the projection",
            "Your branch is right; the convolution of the shortcut has a bias, and a norm behind it. Does the argument of section 6 of lesson 05 hold there, too?",
            RESIDUAL.replace(
                "Conv2D(filters, 1, strides=strides, use_bias=False)",
                "Conv2D(filters, 1, strides=strides)",
            ),
        ),
        Mistake(
            "no activation within the branch",
            "Between your two convolutions there is no activation. What can two linear maps in a row do that one cannot?",
            RESIDUAL.replace(
                'keras.layers.Activation("relu")(keras.layers.BatchNormalization()(y))',
                "keras.layers.BatchNormalization()(y)",
            ),
        ),
        Mistake(
            "pre-activation",
            'You have built the block of He et al. 2016b, norm and activation in front of each convolution. It is a good block; the one asked for is that of 2016a (lesson 05, section 4, "post").',
            """def residual_block(x, filters, strides=1):
    y = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = keras.layers.Conv2D(filters, 1, strides=strides, use_bias=False)(y)
    y = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(y)
    y = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(y))
    y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
    return keras.layers.Add()([y, shortcut])
""",
        ),
    ),
    alternatives={
        "operations in place of layers": """def residual_block(x, filters, strides=1):
    def conv_norm(values, size, strides):
        conv = keras.layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)
        return keras.layers.BatchNormalization()(conv(values))

    same = strides == 1 and x.shape[-1] == filters
    shortcut = x if same else conv_norm(x, 1, strides)
    branch = conv_norm(keras.ops.relu(conv_norm(x, 3, strides)), 3, 1)
    return keras.ops.relu(shortcut + branch)
""",
        "a Sequential as branch": """def residual_block(x, filters, strides=1):
    branch = keras.Sequential([
        keras.layers.Conv2D(filters, (3, 3), (strides, strides), padding="same", use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
        keras.layers.Conv2D(filters, (3, 3), padding="same", use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9, gamma_initializer="zeros"),
    ])
    skip = keras.Sequential([
        keras.layers.Conv2D(filters, 1, strides, padding="valid", use_bias=False), keras.layers.BatchNormalization()
    ])
    shortcut = x if (strides, x.shape[-1]) == (1, filters) else skip(x)
    return keras.layers.ReLU()(keras.layers.add([shortcut, branch(x)]))
""",
        "a class, and a warning": """import warnings


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
""",
    },
    probe=WALK
    + """def probe(student, inputs):
    x = keras.Input((8, 8, inputs["channels"]))
    return examine(x, student["residual_block"](x, inputs["filters"], strides=inputs["strides"]))
""",
)

# ---------------------------------------------------------------- 3. classifier_head

HEAD = """def classifier_head(x, classes, units, rate):
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(units)(x)
    x = keras.layers.Activation("gelu")(x)
    x = keras.layers.Dropout(rate)(x)
    x = keras.layers.Dense(classes)(x)
    x = keras.layers.Activation("softmax")(x)
    return x
"""
POOL, HIDDEN, GELU, DROP, LOGITS, SOFTMAX = HEAD.splitlines(keepends=True)[1:7]


def _head(channels, classes, units, rate):
    return {"channels": channels, "classes": classes, "units": units, "rate": rate}


_, _w, _i, _m = _parts(2, 1, 1, 1)
HEAD_MODES = (
    "two truth values: an image put in twice gets the same at inference; not so in training"
)

classifier_head = Task(
    id="classifier_head",
    parts=(
        Part("order", 2, ORDER, compare="equal"),
        _w,
        _i,
        Part("modes", 1, HEAD_MODES, compare="equal"),
    ),
    cases={"three classes": _head(5, 3, 8, 0.4), "no dropout": _head(3, 4, 6, 0.0)},
    hidden={"ten classes, rate 0.2": _head(2, 10, 12, 0.2)},
    mistakes=(
        Mistake(
            "dropout on the output",
            "Dropout stands behind your last layer. Half of the time the probability of the true class is then 0, whatever the network knows. Which layer could make up for a missing output (lesson 07, case 10)?",
            HEAD.replace(DROP, "").replace(SOFTMAX, SOFTMAX + DROP),
        ),
        Mistake(
            "dropout on the logits",
            'You drop logits. A logit of 0 is not "no opinion": it competes with the others. Look for the last layer with weights: on which side of it does dropout belong?',
            HEAD.replace(DROP, "").replace(LOGITS, LOGITS + DROP),
        ),
        Mistake(
            "dropout in front of the activation",
            "Your dropout stands before the activation. With a GELU, is the mean of what the next layer sees the same in both modes (lesson 05, section 7)?",
            HEAD.replace(GELU + DROP, DROP + GELU),
        ),
        Mistake(
            "dropout before the hidden layer",
            "You drop the pooled features rather than the hidden units. Which layer has most of the weights, and what are its units followed by in the drawing?",
            HEAD.replace(DROP, "").replace(POOL, POOL + DROP),
        ),
        Mistake(
            "flattened",
            "Your hidden layer has far too many weights: one for each pixel of each map. What is to happen to a map before the hidden layer?",
            HEAD.replace("GlobalAveragePooling2D", "Flatten"),
        ),
        Mistake(
            "maximum in place of the mean",
            "You take the largest value of each map. It has as many weights as the mean; the outputs differ.",
            HEAD.replace("GlobalAveragePooling2D", "GlobalMaxPooling2D"),
        ),
        Mistake(
            "logits given back",
            "Your outputs do not sum to 1. The head is to give probabilities.",
            HEAD.replace(SOFTMAX, ""),
        ),
        Mistake(
            "a sigmoid for each class",
            "Your outputs lie between 0 and 1, but do not sum to 1: they are answers to separate yes-or-no questions. Here exactly one class is right.",
            HEAD.replace('"softmax"', '"sigmoid"'),
        ),
        Mistake(
            "softmax twice",
            "The softmax is applied twice: your probabilities are all much alike, and a gradient hardly gets through. One of the two may be hidden in an argument.",
            HEAD.replace("Dense(classes)", 'Dense(classes, activation="softmax")'),
        ),
        Mistake(
            "rate taken for the probability of keeping",
            "The rate of your layer is not the rate you were given. Does Keras's argument say how much is kept, or how much goes?",
            HEAD.replace("Dropout(rate)", "Dropout(1 - rate if rate else 0.0)"),
        ),
        Mistake(
            "always 0.5",
            "Your rate does not depend on the argument.",
            HEAD.replace("Dropout(rate)", "Dropout(0.5)"),
        ),
        Mistake(
            "dropout on at inference",
            "Two calls at inference give two answers. Which layer of yours was told to be in training mode for ever?",
            HEAD.replace("Dropout(rate)(x)", "Dropout(rate)(x, training=True)"),
        ),
        Mistake(
            "no activation",
            "Your two dense layers follow each other without an activation: together they are one linear map.",
            HEAD.replace(GELU, ""),
        ),
    ),
    alternatives={
        "activations as arguments": """def classifier_head(x, classes, units, rate):
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(units, activation="gelu", kernel_initializer="he_normal")(x)
    x = keras.layers.Dropout(rate, seed=7)(x)
    return keras.layers.Dense(classes, activation="softmax", name="probabilities")(x)
""",
        "Sequential, without an empty dropout": """def classifier_head(x, classes, units, rate):
    dropout = [keras.layers.Dropout(rate)] if rate else []
    hidden = [keras.layers.Dense(units, use_bias=True), keras.layers.Activation(keras.activations.gelu)]
    last = [keras.layers.Dense(classes), keras.layers.Softmax()]
    return keras.Sequential([keras.layers.GlobalAveragePooling2D(), *hidden, *dropout, *last])(x)
""",
        "a class and a warning": """import warnings


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
""",
        "float64": """def classifier_head(x, classes, units, rate):
    exact = {"dtype": "float64"}
    x = keras.layers.GlobalAveragePooling2D(**exact)(x)
    x = keras.layers.Dense(units, activation="gelu", **exact)(x)
    return keras.layers.Dense(classes, activation="softmax", **exact)(keras.layers.Dropout(rate, **exact)(x))
""",
    },
    probe=WALK
    + """def probe(student, inputs):
    x = keras.Input((4, 4, inputs["channels"]))
    found = examine(x, student["classifier_head"](x, inputs["classes"], inputs["units"], inputs["rate"]))
    return {**found, "modes": found["modes"][:2]}
""",
)

# ---------------------------------------------------------------- 4. build_cnn

CNN = """def build_cnn(input_shape, classes, filters=(4, 8), rate=0.5):
    inputs = x = keras.Input(input_shape)
    for count in filters:
        x = keras.layers.Conv2D(count, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(rate)(x)
    x = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, x)
"""


def _cnn(size, channels, classes, filters, rate):
    return {
        "size": size,
        "channels": channels,
        "classes": classes,
        "filters": filters,
        "rate": rate,
    }


build_cnn = Task(
    id="build_cnn",
    parts=_parts(2, 1, 2, 1),
    cases={
        "two equal blocks": _cnn(8, 1, 3, [4, 4], 0.5),
        "two blocks": _cnn(8, 3, 10, [3, 6], 0.2),
    },
    hidden={"three blocks": _cnn(8, 2, 4, [2, 4, 6], 0.4)},
    mistakes=(
        Mistake(
            "dropout in every block",
            'A dropout of yours stands in front of a batch norm: that of the *next* block. Follow an image through the network, and find the place behind which no norm comes (lesson 06, section 3, arm "last").',
            CNN.replace(
                "        x = keras.layers.MaxPooling2D(2)(x)\n",
                "        x = keras.layers.MaxPooling2D(2)(x)\n        x = keras.layers.Dropout(rate)(x)\n",
            ).replace("(x)\n    x = keras.layers.Dropout(rate)(x)\n", "(x)\n"),
        ),
        Mistake(
            "dropout in the blocks and at the end",
            "There is more than one dropout in your network, and one of them stands in front of a batch norm. How many did the task ask for?",
            CNN.replace(
                "        x = keras.layers.MaxPooling2D(2)(x)\n",
                "        x = keras.layers.MaxPooling2D(2)(x)\n        x = keras.layers.Dropout(rate)(x)\n",
            ),
        ),
        Mistake(
            "dropout on the output",
            "Dropout stands behind your last layer, on the probabilities. Behind the output there is no layer that could make up for what is missing.",
            CNN.replace("    x = keras.layers.Dropout(rate)(x)\n", "").replace(
                'activation="softmax")(x)\n',
                'activation="softmax")(x)\n    x = keras.layers.Dropout(rate)(x)\n',
            ),
        ),
        Mistake(
            "dropout before the pooling",
            "You drop single pixels, and then take the mean over the map: most of the noise is averaged away again. What is to be dropped are the pooled features.",
            CNN.replace(
                "    x = keras.layers.GlobalAveragePooling2D()(x)\n    x = keras.layers.Dropout(rate)(x)\n",
                "    x = keras.layers.Dropout(rate)(x)\n    x = keras.layers.GlobalAveragePooling2D()(x)\n",
            ),
        ),
        Mistake(
            "biases beside batch norm",
            "You train one number too many for each filter. Which, and what does the norm do to it?",
            CNN.replace(", use_bias=False", ""),
        ),
        Mistake(
            "norm behind the activation",
            "Your norm comes behind the activation. In which order stand the parts of a block (lesson 05, section 9)?",
            CNN.replace(
                '        x = keras.layers.BatchNormalization()(x)\n        x = keras.layers.Activation("relu")(x)\n',
                '        x = keras.layers.Activation("relu")(x)\n        x = keras.layers.BatchNormalization()(x)\n',
            ),
        ),
        Mistake(
            "one norm for all blocks",
            "Your blocks share one batch norm layer: you have made it once and called it several times. Its moving statistics are then a mixture of two different places in the network. When is a layer made, and when is it called?",
            CNN.replace(
                "    for count", "    norm = keras.layers.BatchNormalization()\n    for count"
            ).replace("keras.layers.BatchNormalization()(x)\n        x", "norm(x)\n        x"),
        ),
        Mistake(
            "batch statistics at inference",
            "At inference the answer of your network for one image depends on the others in the batch. Which layer was told to be in training mode, whoever calls the model?",
            CNN.replace("BatchNormalization()(x)", "BatchNormalization()(x, training=True)"),
        ),
        Mistake(
            "frozen norms",
            "The statistics of your norms do not move in training, and their scale and shift are not trained. What does `trainable = False` do to a batch norm layer (lesson 03, section 4)?",
            CNN.replace("BatchNormalization()", "BatchNormalization(trainable=False)"),
        ),
        Mistake(
            "dropout always 0.5",
            "The rate of your dropout does not depend on the argument.",
            CNN.replace("Dropout(rate)", "Dropout(0.5)"),
        ),
        Mistake(
            "no pooling in the blocks",
            "Your feature maps keep their size from block to block. What does each block end with?",
            CNN.replace("        x = keras.layers.MaxPooling2D(2)(x)\n", ""),
        ),
        Mistake(
            "pooled before the norm",
            "You pool before you normalise, so the norm stores the statistics of the *largest* of four values. Compare the order with the drawing.",
            CNN.replace("        x = keras.layers.MaxPooling2D(2)(x)\n", "").replace(
                "        x = keras.layers.BatchNormalization()(x)\n",
                "        x = keras.layers.MaxPooling2D(2)(x)\n        x = keras.layers.BatchNormalization()(x)\n",
            ),
        ),
        Mistake(
            "flattened",
            "Your last layer has weights for each pixel. What happens to the maps before the dropout?",
            CNN.replace("GlobalAveragePooling2D", "Flatten"),
        ),
        Mistake(
            "logits given back",
            "The outputs of your network do not sum to 1.",
            CNN.replace(', activation="softmax"', ""),
        ),
    ),
    alternatives={
        "Sequential": """def build_cnn(input_shape, classes, filters=(4, 8), rate=0.5):
    model = keras.Sequential([keras.Input(input_shape)])
    for number, count in enumerate(filters):
        model.add(keras.layers.Conv2D(count, (3, 3), padding="same", use_bias=False, name=f"conv_{number}"))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
        model.add(keras.layers.MaxPooling2D(pool_size=(2, 2), strides=2))
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dropout(rate, seed=1))
    model.add(keras.layers.Dense(classes))
    model.add(keras.layers.Softmax())
    model.compile("adam", "sparse_categorical_crossentropy")
    return model
""",
        "a class": """class Net(keras.Model):
    def __init__(self, classes, filters, rate):
        super().__init__()
        self.convs = [keras.layers.Conv2D(count, 3, padding="same", use_bias=False) for count in filters]
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
""",
        "the functions of task 1, nested models, a warning": """import warnings


def build_cnn(input_shape, classes, filters=(4, 8), rate=0.5):
    warnings.warn("nested")
    inputs = keras.Input(input_shape)
    body = inputs
    for count in filters:
        body = keras.layers.MaxPooling2D(2)(conv_block(body, count))
    features = keras.Model(inputs, body, name="features")
    head = keras.Sequential([
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(rate), keras.layers.Dense(classes, activation="softmax")
    ])
    return keras.Sequential([keras.Input(input_shape), features, head])
""",
    },
    probe=WALK
    + """def probe(student, inputs):
    shape = (inputs["size"], inputs["size"], inputs["channels"])
    model = student["build_cnn"](shape, inputs["classes"], filters=[int(count) for count in inputs["filters"]], rate=inputs["rate"])
    x = keras.Input(shape)
    return examine(x, model(x))
""",
)

TASKS = (conv_block, residual_block, classifier_head, build_cnn)
