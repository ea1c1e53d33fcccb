"""What is read off the repaired layers and functions, beside the students' code."""

import keras
import numpy as np


def set_weights(model, seed):
    """Weights that do not depend on the random numbers with which a model starts."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = weight.path.split("/")[-1] in ("gamma", "moving_variance")
        weight.assign(
            rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.6, weight.shape)
        )


def numbers(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor), dtype="float32")


def flat(weights):
    """All values in a row.

    What must not change is put out and compared outside, where nobody can change the comparison.
    """
    return np.concatenate([numbers(weight).ravel() for weight in weights])


def probe_RepairedDropout(student, inputs):
    layer, x = student["RepairedDropout"](inputs["rate"]), keras.ops.convert_to_tensor(inputs["x"])
    once, again = (numbers(layer(x, training=True)) for _ in range(2))
    return {
        "in_training": once,
        "at_inference": numbers(layer(x, training=False)),
        "anew": ((once == 0) != (again == 0)).any(),
    }


def probe_evaluate(student, inputs):
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(5),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
    ]
    model = keras.Sequential([*layers, keras.layers.Dense(3)])
    set_weights(model, 3)
    loss, accuracy = student["evaluate"](
        model, inputs["images"], inputs["labels"], batch_size=inputs["batch_size"]
    )
    return {"loss": float(loss), "accuracy": float(accuracy), "untouched": flat(model.weights)}


def probe_fine_tuning_model(student, inputs):
    blocks = []
    for _ in range(inputs["blocks"]):
        blocks += [
            keras.layers.Dense(inputs["width"], use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
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
    return {
        "trained": np.array([*trained, others], dtype="int64"),
        "still": flat(base.weights),
        "outputs": outputs,
    }


def probe_ported_norm(student, inputs):
    x = inputs.pop("x")
    layer = student["ported_norm"](**inputs)
    at_inference = numbers(layer(x, training=False))
    in_training = numbers(layer(x, training=True))
    moved = [numbers(weight) for weight in layer.weights if weight.path.endswith("moving_mean")]
    return {"at_inference": at_inference, "in_training": in_training, "moved": moved[0]}


def probe_recalibrate(student, inputs):
    first, second = keras.layers.BatchNormalization(), keras.layers.BatchNormalization(momentum=0.9)
    dropout = keras.layers.Dropout(0.5, seed=3)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4),
            first,
            keras.layers.ReLU(),
            dropout,
            keras.layers.Dense(3),
            second,
            keras.layers.Softmax(),
        ]
    )
    set_weights(model, 8)
    weights = [weight for weight in model.weights if "moving" not in weight.path]
    student["recalibrate"](model, list(inputs["batches"]))
    statistics = [numbers(weight) for weight in model.weights if "moving" in weight.path]
    return {
        "statistics": np.concatenate(statistics),
        "settings": np.array([first.momentum, second.momentum, dropout.rate]),
        "others": flat(weights),
    }
