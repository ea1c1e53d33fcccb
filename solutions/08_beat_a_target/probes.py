"""What is read off the trained network, beside the student's code.

What decides is computed by operators and methods of arrays: functions of NumPy could have been
replaced in the notebook.
"""

import keras
import numpy as np

MOST_PARAMETERS, MOST_STEPS = 3_000, 60


def same(one, other, tolerance):
    return ((one - other) ** 2 <= tolerance**2).all()


def probabilities(outputs):
    values = np.array(keras.ops.convert_to_numpy(outputs), dtype="float64")
    if values.min() >= 0 and same(values.sum(axis=1), 1, 1e-3):
        return values
    values = np.exp(values - values.max(axis=1, keepdims=True))  # they were logits
    return values / values.sum(axis=1, keepdims=True)


def probe_train_classifier(student, inputs):
    images, labels, new = inputs["images"], inputs["labels"], inputs["new_images"]
    model = student["train_classifier"](images.copy(), labels.copy())
    together = probabilities(model(new))
    again = probabilities(model(new))
    alone = np.concatenate([probabilities(model(new[i : i + 1])) for i in range(5)])
    at_inference = probabilities(model(images))[np.arange(len(labels)), labels]
    accuracy = (probabilities(model(images)).argmax(axis=1) == labels).mean()
    in_training = probabilities(model(images, training=True))[np.arange(len(labels)), labels]
    losses = [-np.log(one.clip(1e-7)).mean() for one in (at_inference, in_training)]
    count = 0
    for weight in model.weights:
        count += np.array(keras.ops.convert_to_numpy(weight)).size
    steps = 0
    if getattr(model, "optimizer", None):
        steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    return {
        "parameters": count <= MOST_PARAMETERS,
        "steps": 0 < steps <= MOST_STEPS,
        "steady": np.array([same(together, again, 1e-4), same(together[:5], alone, 1e-3)]),
        "learnt": np.array([accuracy >= 0.9, losses[0] <= 1.5 * losses[1] + 0.05, accuracy >= 0.2]),
        "classes": together.argmax(axis=1),
    }
