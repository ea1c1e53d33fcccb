"""Assignment 07: what is compared, on which inputs, and the mistakes that people make.

The first mistake of each task is the patient as it was handed out. The others are repairs that leave something broken.
"""

import numpy as np

from course.grading.tasks import Mistake, Part, Task

# Weights that do not depend on the random numbers with which a model starts.
SEEDED = '''import keras
import numpy as np


def set_weights(model, seed):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = weight.path.split("/")[-1] in ("gamma", "moving_variance")
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.6, weight.shape))


def numbers(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor), dtype="float32")


def flat(weights):
    """All values in a row. What must not change is put out and compared outside, where nobody can change the comparison."""
    return np.concatenate([numbers(weight).ravel() for weight in weights])


'''

# ---------------------------------------------------------------- 1. RepairedDropout

DROPOUT = """class RepairedDropout(keras.layers.Layer):
    def __init__(self, rate, **options):
        super().__init__(**options)
        self.rate = rate
        self.seeds = keras.random.SeedGenerator()

    def call(self, inputs, training=None):
        if not training:
            return inputs
        draws = keras.random.uniform(keras.ops.shape(inputs), seed=self.seeds)
        kept = keras.ops.cast(draws >= self.rate, inputs.dtype)
        return inputs * kept / (1 - self.rate)
"""


def _values(seed, shape, rate):
    rng = np.random.default_rng(seed)
    return {
        "x": (rng.choice([-1, 1], shape) * rng.uniform(0.5, 2, shape)).astype("float32"),
        "rate": rate,
    }


repaired_dropout = Task(
    id="RepairedDropout",
    parts=(
        Part("in_training", 2, "what it puts out in training", compare="dropped", rtol=1e-4),
        Part("at_inference", 1, "what it puts out at inference", rtol=1e-5),
        Part("anew", 1, "whether two calls in training drop other values", compare="equal"),
    ),
    cases={
        "30 examples, rate 0.3": _values(1, (30, 20), 0.3),
        "8 images, rate 0.75": _values(2, (8, 6, 6, 3), 0.75),
    },
    hidden={
        "200 examples, rate 0.1": _values(3, (200, 6), 0.1),
        "40 sequences, rate 0.6": _values(4, (40, 7, 3), 0.6),
        "nothing is dropped": _values(5, (12, 9), 0.0),
    },
    mistakes=(
        Mistake(
            "the patient",
            "This is the patient as it was. Put an array of ones through it, twice, in both modes, and compare with what `keras.layers.Dropout` does: how many zeros, where, and what is left?",
            """class RepairedDropout(BrokenDropout):
    pass
""",
        ),
        Mistake(
            "rate taken for the probability of keeping",
            "The share of zeros is not the rate. Count them for a rate of 0.1: is it the kept or the dropped that are one in ten?",
            DROPOUT.replace("draws >= self.rate", "draws < self.rate").replace(
                "(1 - self.rate)", "max(self.rate, 1e-3)"
            ),
        ),
        Mistake(
            "kept values not divided",
            "The mean of what comes out is smaller in training than at inference. The next layer has to see the same mean in both modes.",
            DROPOUT.replace(" / (1 - self.rate)", ""),
        ),
        Mistake(
            "divided by the rate",
            "What is kept is divided by the wrong probability: compare the means of what goes in and what comes out for a rate of 0.1.",
            DROPOUT.replace("(1 - self.rate)", "(self.rate or 1)"),
        ),
        Mistake(
            "the classic scaling",
            "You let training be and shrink the outputs at inference. That is how the 2014 paper does it, and Keras does not: a layer at inference should pass its input on.",
            DROPOUT.replace("return inputs\n", "return inputs * (1 - self.rate)\n").replace(
                " / (1 - self.rate)\n", "\n"
            ),
        ),
        Mistake(
            "on at inference",
            "Your layer drops at inference, too. What does the argument `training` tell it, and where does it look?",
            DROPOUT.replace("        if not training:\n            return inputs\n", ""),
        ),
        Mistake(
            "never on",
            "Nothing is dropped in training. In which of the two modes does your layer return early?",
            DROPOUT.replace("if not training:", "if not training or training is not None:"),
        ),
        Mistake(
            "one mask for the whole batch",
            "All examples of a batch lose the same values. Look at the shape of what you draw, and at how it is stretched over the batch.",
            DROPOUT.replace("keras.ops.shape(inputs)", "keras.ops.shape(inputs)[1:]"),
        ),
        Mistake(
            "the same mask in every call",
            "Each call drops the same values: one and the same thinned network is trained all the time. In `keras.random`, what is the difference between a whole number as seed and a `SeedGenerator`?",
            DROPOUT.replace("seed=self.seeds", "seed=7"),
        ),
    ),
    alternatives={
        "keras.random.dropout": """class RepairedDropout(keras.layers.Layer):
    def __init__(self, rate, **options):
        super().__init__(**options)
        self.rate, self.generator = rate, keras.random.SeedGenerator(5)

    def call(self, inputs, training=False):
        return keras.random.dropout(inputs, self.rate, seed=self.generator) if training and self.rate else inputs
""",
        "a layer of Keras inside": """class RepairedDropout(keras.layers.Layer):
    def __init__(self, rate, **options):
        super().__init__(**options)
        self.inside = keras.layers.Dropout(rate)

    def call(self, inputs, training=None):
        return self.inside(inputs, training=training)
""",
        "a heir of Keras's layer, and a warning": """import warnings


class RepairedDropout(keras.layers.Dropout):
    def __init__(self, rate, **options):
        warnings.warn("why write what is there")
        super().__init__(rate, **options)
""",
        "normal draws, where, float64": """class RepairedDropout(keras.layers.Layer):
    def __init__(self, rate, **options):
        super().__init__(dtype="float64", **options)
        self.rate = rate
        self.seeds = keras.random.SeedGenerator(11)

    def call(self, inputs, training=None):
        if training:
            coins = keras.random.binomial(keras.ops.shape(inputs), 1, 1 - self.rate, seed=self.seeds)
            inputs = keras.ops.where(coins > 0.5, inputs / (1 - self.rate), keras.ops.zeros_like(inputs))
        return inputs
""",
    },
    reference=lambda student, inputs: {
        "in_training": {"kept": inputs["x"] / (1 - inputs["rate"]), "rate": inputs["rate"]}
    },
    probe=SEEDED
    + """def probe(student, inputs):
    layer, x = student["RepairedDropout"](inputs["rate"]), keras.ops.convert_to_tensor(inputs["x"])
    once, again = (numbers(layer(x, training=True)) for _ in range(2))
    return {"in_training": once, "at_inference": numbers(layer(x, training=False)), "anew": ((once == 0) != (again == 0)).any()}
""",
)

# ---------------------------------------------------------------- 2. evaluate

EVALUATE = """def evaluate(model, images, labels, batch_size=32):
    loss, right = 0.0, 0
    for start in range(0, len(images), batch_size):
        batch, answers = images[start : start + batch_size], labels[start : start + batch_size]
        logits = model(batch, training=False)
        losses = keras.losses.sparse_categorical_crossentropy(answers, logits, from_logits=True)
        loss += float(keras.ops.sum(losses))
        right += np.sum(np.argmax(keras.ops.convert_to_numpy(logits), axis=1) == answers)
    return loss / len(images), right / len(images)
"""
EVALUATE_BATCHES = """def evaluate(model, images, labels, batch_size=32):
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses, right = [], []
    for start in range(0, len(images), batch_size):
        batch, answers = images[start : start + batch_size], labels[start : start + batch_size]
        outputs = model(batch, training=False)
        losses.append(float(loss_of(answers, outputs)))
        right.append(np.mean(np.argmax(keras.ops.convert_to_numpy(outputs), axis=1) == answers))
    return np.mean(losses), np.mean(right)
"""


def _images(seed, count, batch_size, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    return {
        "images": rng.normal(size=(count, 6)).astype("float32") + labels[:, None],
        "labels": labels,
        "batch_size": batch_size,
    }


evaluate = Task(
    id="evaluate",
    parts=(
        Part("loss", 2, "the loss", rtol=1e-3, atol=1e-5),
        Part("accuracy", 1, "the accuracy", rtol=1e-4),
        Part(
            "untouched", 1, "the numbers in the model afterwards, which are to be those from before"
        ),
    ),
    cases={
        "50 images, batches of 16": _images(1, 50, 16),
        "37 images, batches of 12": _images(2, 37, 12),
    },
    hidden={
        "64 images, batches of 16": _images(3, 64, 16),
        "one batch": _images(4, 20, 32),
        "one image left over": _images(5, 41, 10),
    },
    mistakes=(
        Mistake(
            "the patient",
            "This is the patient as it was. Evaluate the same images with two batch sizes: which of the numbers may change? Then look at the model's weights before and after.",
            "evaluate = broken_evaluate\n",
        ),
        Mistake(
            "batch statistics at evaluation",
            "The model is still called in training mode: each batch is normalised by itself, and the model is not the same afterwards.",
            EVALUATE.replace("training=False", "training=True"),
        ),
        Mistake(
            "logits taken for probabilities",
            "Your loss is the logarithm of something that is no probability: logits can be negative, and do not sum to 1. What does the last layer of the model put out, and what does the loss take it for?",
            EVALUATE.replace(", from_logits=True", ""),
        ),
        Mistake(
            "mean of the means of batches",
            "Your numbers depend on the batch size. An image in the last, smaller batch counts for more than one in the others. What is to be divided by what, and when?",
            EVALUATE_BATCHES,
        ),
        Mistake(
            "only the accuracy weighted",
            "The accuracy is right now, and the loss still is a mean of means of unequal batches.",
            EVALUATE_BATCHES.replace("right.append(np.mean(", "right.append(np.sum(").replace(
                "np.mean(right)", "sum(right) / len(images)"
            ),
        ),
        Mistake(
            "only the loss weighted",
            "The loss is right now, and the accuracy still is a mean of means of unequal batches.",
            EVALUATE_BATCHES.replace(
                "losses.append(float(", "losses.append(len(batch) * float("
            ).replace("np.mean(losses)", "sum(losses) / len(images)"),
        ),
        Mistake(
            "the last batch left out",
            "Images are missing from your evaluation: those that do not fill a batch.",
            EVALUATE.replace(
                "range(0, len(images), batch_size)",
                "range(0, max(len(images) - batch_size + 1, 1), batch_size)",
            ).replace(
                "loss / len(images), right / len(images)",
                "loss / (start + len(batch)), right / (start + len(batch))",
            ),
        ),
        Mistake(
            "sums instead of means",
            "Your numbers grow with the number of images. A loss is reported per image, an accuracy as a share.",
            EVALUATE.replace("loss / len(images), right / len(images)", "loss, right"),
        ),
        Mistake(
            "put back, but measured in training mode",
            "You repaired the damage to the model and not its cause: the numbers still come from batch statistics, so that each image is judged by its neighbours.",
            EVALUATE.replace("training=False", "training=True")
            .replace(
                "    loss, right = 0.0, 0\n",
                "    loss, right, saved = 0.0, 0, model.get_weights()\n",
            )
            .replace("    return loss", "    model.set_weights(saved)\n    return loss"),
        ),
    ),
    alternatives={
        "all at once": """def evaluate(model, images, labels, batch_size=32):
    outputs = model(images)
    losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)
    right = keras.ops.equal(keras.ops.argmax(outputs, axis=1), keras.ops.convert_to_tensor(labels, dtype="int64"))
    return keras.ops.mean(losses), keras.ops.mean(keras.ops.cast(right, "float32"))
""",
        "metrics of Keras": """def evaluate(model, images, labels, batch_size=32):
    loss = keras.metrics.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    for start in range(0, len(images), batch_size):
        some = slice(start, start + batch_size)
        outputs = model(images[some], training=False)
        loss.update_state(labels[some], outputs)
        accuracy.update_state(labels[some], outputs)
    return float(loss.result()), float(accuracy.result())
""",
        "weighted batches, float64, a warning": """import warnings


def weight(batch, images):
    warnings.warn("weighing")
    return len(batch) / len(images)


def evaluate(model, images, labels, batch_size=32):
    total = np.zeros(2)
    for start in range(0, len(images), batch_size):
        batch, answers = images[start : start + batch_size], labels[start : start + batch_size]
        z = np.asarray(keras.ops.convert_to_numpy(model(batch)), dtype="float64")
        losses = np.log(np.exp(z).sum(axis=1)) - z[range(len(answers)), answers]
        total += weight(batch, images) * np.array([losses.mean(), (z.argmax(axis=1) == answers).mean()])
    return tuple(total)
""",
        "with a softmax": """def evaluate(model, images, labels, batch_size=32):
    p = np.concatenate([
        keras.ops.convert_to_numpy(keras.ops.softmax(model(images[start : start + batch_size], training=False)))
        for start in range(0, len(images), batch_size)
    ])
    return -np.log(p[np.arange(len(labels)), labels]).mean(), np.mean(np.argmax(p, axis=-1) == labels)
""",
    },
    probe=SEEDED
    + """def probe(student, inputs):
    layers = [keras.Input((6,)), keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    model = keras.Sequential([*layers, keras.layers.Dense(3)])
    set_weights(model, 3)
    loss, accuracy = student["evaluate"](model, inputs["images"], inputs["labels"], batch_size=inputs["batch_size"])
    return {"loss": float(loss), "accuracy": float(accuracy), "untouched": flat(model.weights)}
""",
)

# ---------------------------------------------------------------- 3. fine_tuning_model

TUNE = """def fine_tuning_model(base, classes, count):
    dense = [layer for layer in base.layers if isinstance(layer, keras.layers.Dense)]
    base.trainable = True
    for layer in base.layers:
        layer.trainable = any(layer is one for one in dense[-count:])
    inputs = keras.Input(base.input_shape[1:])
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(base(inputs)))
"""


def _base(width, blocks, classes, count):
    return {"width": width, "blocks": blocks, "classes": classes, "count": count}


fine_tuning_model = Task(
    id="fine_tuning_model",
    parts=(
        Part(
            "trained",
            2,
            "which weights of base are trained (one value each), and how many others",
            compare="equal",
        ),
        Part(
            "still",
            2,
            "the numbers in the base after a pass in training mode, which are to be those from before",
        ),
        Part(
            "outputs",
            1,
            "the outputs at inference, with weights set by the checker",
            rtol=1e-3,
            atol=1e-5,
        ),
    ),
    cases={"one of three": _base(5, 3, 4, 1), "three of four": _base(4, 4, 3, 3)},
    hidden={"two of three": _base(6, 3, 2, 2), "all of two": _base(3, 2, 5, 2)},
    mistakes=(
        Mistake(
            "the patient",
            "This is the patient as it was: everything is trained, and the statistics move. Print `layer.trainable` of all layers of base after each line. Which line undoes what the ones before it did?",
            "fine_tuning_model = broken_fine_tuning_model\n",
        ),
        Mistake(
            "nothing of base is trained",
            "No weight of base is trained, only your new layer. Base came frozen: which of its layers were to be set free again?",
            TUNE.replace(
                "    base.trainable = True\n    for layer in base.layers:\n        layer.trainable = any(layer is one for one in dense[-count:])\n",
                "",
            ),
        ),
        Mistake(
            "the norms behind the trained layers are trained, too",
            "Some norms of base are trained, and their statistics will be overwritten by the new images. *All* norms are to be frozen, also those between layers that are trained.",
            TUNE.replace(
                "    for layer in base.layers:\n        layer.trainable = any(layer is one for one in dense[-count:])\n",
                "    first = base.layers.index(dense[-count])\n    for number, layer in enumerate(base.layers):\n        layer.trainable = number >= first\n",
            ),
        ),
        Mistake(
            "only the norms are frozen",
            "The statistics are safe now. But all dense layers of base are trained: how many of them were to be?",
            TUNE.replace("dense[-count:]", "dense"),
        ),
        Mistake(
            "the first instead of the last",
            "You train the layers near the input and freeze those near the output. Which are the more general ones, worth keeping?",
            TUNE.replace("dense[-count:]", "dense[:count]"),
        ),
        Mistake(
            "layers counted that have no dense weights",
            "You count layers of all kinds from the end. A norm and an activation are layers as well: how many *dense* ones are among the last `count`?",
            TUNE.replace(
                "for one in dense[-count:]", "for one in base.layers[-count:] if one in dense"
            ),
        ),
        Mistake(
            "the new layer is frozen",
            "The new last layer is not trained. It starts at random weights: it needs training most.",
            TUNE.replace('activation="softmax")', 'activation="softmax", trainable=False)'),
        ),
        Mistake(
            "one layer too many",
            "One dense layer more than asked for is trained. Print the slice for count = 1.",
            TUNE.replace("dense[-count:]", "dense[-count - 1 :]"),
        ),
    ),
    alternatives={
        "base as a layer": """def fine_tuning_model(base, classes, count):
    base.trainable = True
    number = sum(type(layer) is keras.layers.Dense for layer in base.layers)
    for layer in base.layers:
        if type(layer) is keras.layers.Dense:
            layer.trainable = number <= count
            number -= 1
        else:
            layer.trainable = False
    inputs = keras.Input(base.input_shape[1:])
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(base(inputs, training=False)))
""",
        "Sequential, and a softmax layer": """def fine_tuning_model(base, classes, count):
    rest, base.trainable = count, True
    for layer in reversed(base.layers):
        is_dense = isinstance(layer, keras.layers.Dense)
        layer.trainable = is_dense and rest > 0
        rest -= is_dense
    return keras.Sequential([base, keras.layers.Dense(classes), keras.layers.Softmax()])
""",
        "compiled, a helper and a warning": """import warnings


def freeze(layers):
    warnings.warn("freezing")
    for layer in layers:
        layer.trainable = False


def fine_tuning_model(base, classes, count):
    freeze(base.layers)
    for layer in [layer for layer in base.layers if "kernel" in dir(layer)][-count:]:
        layer.trainable = True
    model = keras.Sequential([*base.layers, keras.layers.Dense(classes, "softmax", kernel_initializer="zeros")])
    model.build((None, *base.input_shape[1:]))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model
""",
    },
    probe=SEEDED
    + """def probe(student, inputs):
    blocks = []
    for _ in range(inputs["blocks"]):
        blocks += [keras.layers.Dense(inputs["width"], use_bias=False), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    base = keras.Sequential([keras.Input((6,)), *blocks])
    set_weights(base, 4)
    base.trainable = False
    model = student["fine_tuning_model"](base, inputs["classes"], inputs["count"])
    images = np.random.default_rng(6).normal(size=(7, 6)).astype("float32")
    model(images)  # builds what is not built yet

    def among(weight, weights):
        return [weight is one for one in weights].count(True) > 0

    new = [weight for weight in model.weights if not among(weight, base.weights)]
    for weight in new:
        weight.assign(np.random.default_rng([*weight.shape]).normal(size=weight.shape))
    trained = [among(weight, model.trainable_weights) for weight in base.weights]
    others = [among(weight, model.trainable_weights) for weight in new].count(True)
    outputs = numbers(model(images))
    model(images, training=True)
    return {"trained": np.array([*trained, others], dtype="int64"), "still": flat(base.weights), "outputs": outputs}
""",
)

# ---------------------------------------------------------------- 4. ported_norm

PORTED = """def ported_norm(weight, bias, running_mean, running_var, momentum, eps):
    layer = keras.layers.BatchNormalization(axis=1, momentum=1 - momentum, epsilon=eps)
    layer.build((None, len(weight), None, None))
    layer.set_weights([weight, bias, running_mean, running_var])
    return layer
"""


def _state(seed, shape, momentum, eps):
    rng, count = np.random.default_rng(seed), shape[1]
    return {
        "weight": rng.uniform(0.5, 1.5, count),
        "bias": rng.normal(size=count),
        "running_mean": rng.normal(size=count),
        "running_var": rng.uniform(0.02, 0.3, count),
        "momentum": momentum,
        "eps": eps,
        "x": rng.normal(1, 2, shape).astype("float32"),
    }


ported_norm = Task(
    id="ported_norm",
    parts=(
        Part("at_inference", 2, "the outputs at inference", rtol=1e-3, atol=1e-4),
        Part("in_training", 1, "the outputs in training", rtol=1e-3, atol=1e-4),
        Part("moved", 2, "the moving mean after one step of training", rtol=1e-3, atol=1e-4),
    ),
    cases={
        "maps of 3 x 3": _state(1, (4, 3, 3, 3), 0.1, 1e-5),
        "another momentum": _state(2, (5, 4, 4, 4), 0.25, 1e-2),
    },
    hidden={
        "more channels than pixels": _state(3, (3, 6, 2, 2), 0.05, 1e-5),
        "maps that are not square": _state(4, (4, 2, 3, 5), 0.1, 1e-4),
    },
    mistakes=(
        Mistake(
            "the patient",
            "This is the patient as it was. Print for each of the six numbers that PyTorch stores what becomes of it in your layer, and look at the shape in which the images come.",
            "ported_norm = broken_ported_norm\n",
        ),
        Mistake(
            "momentum typed over",
            "Predictions are right; after one step of training the moving mean is nearly that of the batch. Is the momentum of PyTorch the part that is kept, or the part that is taken?",
            PORTED.replace("1 - momentum", "momentum"),
        ),
        Mistake(
            "momentum left at Keras's default",
            "The moving mean moves at a speed that has nothing to do with the one you were given.",
            PORTED.replace("momentum=1 - momentum, ", ""),
        ),
        Mistake(
            "epsilon left at Keras's default",
            "All is right but for channels with little variance. Which small number stands beside the variance, and is it the same in the two libraries?",
            PORTED.replace(", epsilon=eps", ""),
        ),
        Mistake(
            "standard deviation stored as variance",
            "You store a root where a variance belongs. Both libraries keep the variance itself.",
            PORTED.replace("running_var])", "np.sqrt(running_var)])"),
        ),
        Mistake(
            "variance squared",
            "You store the square of what you were given: `running_var` is a variance already.",
            PORTED.replace("running_var])", "np.square(running_var)])"),
        ),
        Mistake(
            "mean and variance exchanged",
            "Two of the four arrays are in each other's place: the outputs in training are right, those at inference are not. In which order does Keras list the weights of the layer? `[w.path for w in layer.weights]` tells.",
            PORTED.replace("running_mean, running_var])", "running_var, np.abs(running_mean)])"),
        ),
        Mistake(
            "scale and shift exchanged",
            "Two of the four arrays are in each other's place: both modes are wrong, and the statistics are right. What are `weight` and `bias` in the formula of lesson 02?",
            PORTED.replace("[weight, bias,", "[bias, weight,"),
        ),
        Mistake(
            "channels looked for at the end",
            "Your layer normalises along the wrong axis. The images come as PyTorch has them: (N, C, H, W). Which axis does Keras take for the channels, if it is not told?",
            PORTED.replace("axis=1, ", "").replace(
                "(None, len(weight), None, None)", "(None, None, None, len(weight))"
            ),
        ),
        Mistake(
            "scale and shift forgotten",
            "Your outputs have mean 0 and variance 1 in training. What of the two arrays that PyTorch calls weight and bias?",
            PORTED.replace("[weight, bias,", "[np.ones_like(weight), np.zeros_like(bias),"),
        ),
        Mistake(
            "statistics forgotten",
            "In training all is right. At inference your layer uses a mean of 0 and a variance of 1, with which every layer starts.",
            PORTED.replace(
                "running_mean, running_var])",
                "np.zeros_like(running_mean), np.ones_like(running_var)])",
            ),
        ),
    ),
    alternatives={
        "initialisers": """def ported_norm(weight, bias, running_mean, running_var, momentum, eps):
    def these(values):
        return lambda shape, dtype=None: keras.ops.convert_to_tensor(np.reshape(values, shape), dtype=dtype)

    return keras.layers.BatchNormalization(
        axis=1, momentum=1 - momentum, epsilon=eps, gamma_initializer=these(weight), beta_initializer=these(bias),
        moving_mean_initializer=these(running_mean), moving_variance_initializer=these(running_var),
    )
""",
        "axes exchanged around it": """def ported_norm(weight, bias, running_mean, running_var, momentum, eps):
    norm = keras.layers.BatchNormalization(momentum=1.0 - momentum, epsilon=eps)
    channels = len(weight)
    model = keras.Sequential([
        keras.Input((channels, None, None)), keras.layers.Permute((2, 3, 1)), norm, keras.layers.Permute((3, 1, 2))
    ])
    norm.set_weights([np.float32(weight), np.float32(bias), np.float32(running_mean), np.float32(running_var)])
    return model
""",
        "assigned one by one, float64, a warning": """import warnings


def ported_norm(weight, bias, running_mean, running_var, momentum, eps):
    warnings.warn("porting")
    layer = keras.layers.BatchNormalization(axis=-3, momentum=1 - momentum, epsilon=eps, dtype="float64")
    layer.build((1, weight.size, 4, 4))
    layer.gamma.assign(weight)
    layer.beta.assign(bias)
    layer.moving_mean.assign(running_mean)
    layer.moving_variance.assign(running_var)
    return layer
""",
    },
    probe=SEEDED
    + """def probe(student, inputs):
    x = inputs.pop("x")
    layer = student["ported_norm"](**inputs)
    at_inference = numbers(layer(x, training=False))
    in_training = numbers(layer(x, training=True))
    moved = [numbers(weight) for weight in layer.weights if weight.path.endswith("moving_mean")]
    return {"at_inference": at_inference, "in_training": in_training, "moved": moved[0]}
""",
)

# ---------------------------------------------------------------- 5. recalibrate

RECALIBRATE = """def recalibrate(model, batches):
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    momentums, rates = [layer.momentum for layer in norms], [layer.rate for layer in drops]
    for layer in drops:
        layer.rate = 0.0
    for number, batch in enumerate(batches):
        for layer in norms:
            layer.momentum = number / (number + 1)
        model(batch, training=True)
    for layer, momentum in zip(norms, momentums):
        layer.momentum = momentum
    for layer, rate in zip(drops, rates):
        layer.rate = rate
"""
RATES_OFF = "    for layer in drops:\n        layer.rate = 0.0\n"
RATES_BACK = "    for layer, rate in zip(drops, rates):\n        layer.rate = rate\n"
MOMENTUM = "        for layer in norms:\n            layer.momentum = number / (number + 1)\n"
MOMENTUM_BACK = (
    "    for layer, momentum in zip(norms, momentums):\n        layer.momentum = momentum\n"
)


def _batches(seed, number, size):
    rng = np.random.default_rng(seed)
    return {
        "batches": rng.normal(
            rng.normal(1, 1, (number, 1, 5)), rng.uniform(0.5, 2, (number, 1, 5)), (number, size, 5)
        ).astype("float32")
    }


recalibrate = Task(
    id="recalibrate",
    parts=(
        Part("statistics", 3, "the moving statistics afterwards", rtol=1e-3, atol=1e-4),
        Part(
            "settings",
            1,
            "the momentum of each norm and the rate of the dropout afterwards",
            rtol=1e-5,
        ),
        Part("others", 1, "all other weights afterwards, which are to be those from before"),
    ),
    cases={"five batches": _batches(1, 5, 8), "three batches": _batches(2, 3, 12)},
    hidden={"one batch": _batches(3, 1, 16), "nine batches": _batches(4, 9, 6)},
    mistakes=(
        Mistake(
            "the patient",
            "This is the patient as it was: the statistics have not moved at all. In which mode does batch norm write them down?",
            "recalibrate = broken_recalibrate\n",
        ),
        Mistake(
            "only switched to training mode",
            "The statistics move now, but after a few batches they still hold mostly what they held before. How much of the old does one step keep? And what else does training mode switch on?",
            """def recalibrate(model, batches):
    for batch in batches:
        model(batch, training=True)
""",
        ),
        Mistake(
            "dropout off, momentum as it was",
            "Dropout is off: good. But after so few batches the moving statistics still hold mostly what they held before. How much does one step keep?",
            RECALIBRATE.replace(MOMENTUM, ""),
        ),
        Mistake(
            "the last batch only",
            "Your statistics are those of the last batch. With a momentum that keeps nothing, each batch wipes out the one before.",
            RECALIBRATE.replace("number / (number + 1)", "0.0"),
        ),
        Mistake(
            "dropout on",
            "The average over the batches is right, and dropout was on while you took it: the norm behind it has stored a variance with noise that predictions will not have (lesson 06).",
            RECALIBRATE.replace(RATES_OFF, ""),
        ),
        Mistake(
            "the old statistics count as a batch",
            "Your average contains the old statistics, as if they were one batch more. What should the very first batch leave of them?",
            RECALIBRATE.replace("number / (number + 1)", "(number + 1) / (number + 2)"),
        ),
        Mistake(
            "one momentum for all batches",
            "With the same momentum in every step, later batches count more than earlier ones, and the start still counts. Which share must step number k take, so that in the end all have the same?",
            RECALIBRATE.replace("number / (number + 1)", "1 - 1 / len(batches)"),
        ),
        Mistake(
            "all batches joined",
            "You took the statistics of all images at once. Asked for is the mean of the *batches'* variances; the batches differ in their means, and that difference has got into your variance.",
            RECALIBRATE.replace("enumerate(batches)", "enumerate([np.concatenate(list(batches))])"),
        ),
        Mistake(
            "momentum not put back",
            "The statistics are right. But the next training will use the momentum that you left in the layers.",
            RECALIBRATE.replace(MOMENTUM_BACK, ""),
        ),
        Mistake(
            "rate not put back",
            "The statistics are right. But the model has no dropout any more: look at its rate.",
            RECALIBRATE.replace(RATES_BACK, ""),
        ),
    ),
    alternatives={
        "layer by layer": """def recalibrate(model, batches):
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momentums = [layer.momentum for layer in norms]
    for number, batch in enumerate(batches):
        x = keras.ops.convert_to_tensor(batch)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 1 - 1 / (number + 1)
                x = layer(x, training=True)
            elif not isinstance(layer, (keras.layers.InputLayer, keras.layers.Dropout)):
                x = layer(x)
    for layer, momentum in zip(norms, momentums):
        layer.momentum = momentum
    return model
""",
        "each batch alone, then the mean": """def recalibrate(model, batches):
    settings = [(layer, "momentum", layer.momentum) for layer in model.layers if hasattr(layer, "momentum")]
    settings += [(layer, "rate", layer.rate) for layer in model.layers if hasattr(layer, "rate")]
    for layer, name, _ in settings:
        setattr(layer, name, 0.0)
    found = []
    for batch in batches:
        model(batch, training=True)
        found.append(model.get_weights())
    model.set_weights([np.mean(values, axis=0, dtype="float64") for values in zip(*found)])
    for layer, name, value in settings:
        setattr(layer, name, value)
""",
        "a copy without dropout, a warning": """import warnings


def recalibrate(model, batches):
    warnings.warn("this changes the model")
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.Dropout)]
    same = keras.Sequential([keras.Input(model.input_shape[1:]), *layers])
    kept = {layer: layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)}
    try:
        for step, batch in enumerate(batches, 1):
            for layer in kept:
                layer.momentum = (step - 1) / step
            same(batch, training=True)
    finally:
        for layer, momentum in kept.items():
            layer.momentum = momentum
""",
    },
    probe=SEEDED
    + """def probe(student, inputs):
    first, second = keras.layers.BatchNormalization(), keras.layers.BatchNormalization(momentum=0.9)
    dropout = keras.layers.Dropout(0.5, seed=3)
    model = keras.Sequential([
        keras.Input((5,)), keras.layers.Dense(4), first, keras.layers.ReLU(), dropout, keras.layers.Dense(3), second, keras.layers.Softmax()
    ])
    set_weights(model, 8)
    weights = [weight for weight in model.weights if "moving" not in weight.path]
    student["recalibrate"](model, list(inputs["batches"]))
    statistics = [numbers(weight) for weight in model.weights if "moving" in weight.path]
    return {
        "statistics": np.concatenate(statistics),
        "settings": np.array([first.momentum, second.momentum, dropout.rate]),
        "others": flat(weights),
    }
""",
)

TASKS = (repaired_dropout, evaluate, fine_tuning_model, ported_norm, recalibrate)
