"""What is read off the students' networks, beside their code.

Networks are compared by what counts: the layers on the way from input to output, the numbers of
weights, what comes out once all weights have given values, and what training mode does.
"""

import keras
import numpy as np

NAMES = {
    "conv2d": "conv",
    "batchnormalization": "norm",
    "spatialdropout2d": "spatial dropout",
    "maxpooling2d": "max",
    "globalaveragepooling2d": "mean",
    "averagepooling2d": "average",
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
    """Pairs (kind, layer) on the way to a tensor; students' own models and layers are opened."""
    layer, number, place = tensor._keras_history
    node = layer._inbound_nodes[number]
    if not node.input_tensors:
        return []
    own = isinstance(layer, keras.layers.Layer) and not type(layer).__module__.startswith("keras.")
    if own or isinstance(layer, keras.Model):
        try:
            return way_to(
                keras.tree.flatten(layer.call(*node.arguments.args, **node.arguments.kwargs))[place]
            )
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
    # An operation has no identity.
    which = id(layer) if isinstance(layer, keras.layers.Layer) else None
    return before + [(kind, which) for kind in kinds(layer) if kind not in SILENT]


def set_weights(model):
    """Values for all weights, which depend on role and shape only, not on names or order."""
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
    """Whether all values agree; by operators: a notebook could have replaced NumPy's functions."""
    return ((one - other) ** 2 <= 1e-10 * (1 + other**2)).all()


def examine(inputs, outputs):
    """Layers, numbers of weights, predictions with given weights, and what the two modes do."""
    model = keras.Model(inputs, outputs)
    set_weights(model)
    images = np.random.default_rng(5).normal(size=(6, *inputs.shape[1:])).astype("float32")
    stored = [weight for weight in model.weights if "moving" in weight.path]
    # Each image twice in one batch, since calls are what grading spends its time on.
    twice = np.concatenate([images, images])
    once, again = np.split(
        numbers(model(twice)), 2
    )  # training=False would overrule a layer's own training=True
    before = [numbers(weight) for weight in stored]
    one, other = np.split(numbers(model(twice, training=True)), 2)
    still = [same(old, numbers(weight)) for old, weight in zip(before, stored, strict=True)].count(
        True
    )
    groups = (model.trainable_weights, model.non_trainable_weights)
    return {
        "order": ", ".join(kind for kind, _ in way_to(outputs)),
        "weights": np.array(
            [sum(int(np.prod(weight.shape)) for weight in group) for group in groups]
        ),
        "inference": once,
        "modes": np.array([same(once, again), not same(one, other), stored != [] and still == 0]),
    }


def probe_conv_block(student, inputs):
    x = keras.Input((8, 8, inputs["channels"]))
    return examine(
        x,
        student["conv_block"](
            x, inputs["filters"], activation=inputs["activation"], rate=inputs["rate"]
        ),
    )


def probe_residual_block(student, inputs):
    x = keras.Input((8, 8, inputs["channels"]))
    return examine(x, student["residual_block"](x, inputs["filters"], strides=inputs["strides"]))


def probe_classifier_head(student, inputs):
    x = keras.Input((4, 4, inputs["channels"]))
    found = examine(
        x, student["classifier_head"](x, inputs["classes"], inputs["units"], inputs["rate"])
    )
    return {**found, "modes": found["modes"][:2]}


def probe_build_cnn(student, inputs):
    shape = (inputs["size"], inputs["size"], inputs["channels"])
    model = student["build_cnn"](
        shape,
        inputs["classes"],
        filters=[int(count) for count in inputs["filters"]],
        rate=inputs["rate"],
    )
    x = keras.Input(shape)
    return examine(x, model(x))
