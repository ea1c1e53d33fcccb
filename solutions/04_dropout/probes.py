"""What is asked of the answers, beside the students' code."""

import numpy as np


def probe_dropout(student, inputs):
    x, rate, rng = inputs["x"], inputs["rate"], np.random.default_rng(inputs["seed"])

    def step(training):
        returned = student.dropout(x.copy(), rate, rng, training)
        return (
            returned
            if isinstance(returned, (tuple, list)) and len(returned) == 2
            else (returned, None)
        )

    # Two steps with one generator: their masks must differ.
    steps = [step(True) for _ in range(2)]
    return {
        "y_training": np.stack([y for y, mask in steps]),
        "mask": np.stack([mask for y, mask in steps]),
        "y_inference": step(False)[0],
    }


def probe_spatial_dropout(student, inputs):
    x, rate, rng = inputs["x"], inputs["rate"], np.random.default_rng(inputs["seed"])
    return {
        "y_training": np.stack(
            [student.spatial_dropout(x.copy(), rate, rng, True) for _ in range(2)]
        ),
        "y_inference": student.spatial_dropout(x.copy(), rate, rng, False),
    }


def probe_mc_dropout(student, inputs):
    # A network whose logits are given, another row of them each time that an example is asked for:
    # in one pass after the other, example by example, or all passes in one large batch.
    logits = inputs["logits"]
    passes, examples = logits.shape[:2]
    asked = [0] * examples

    def predict(x):
        rows = []
        for number in np.asarray(x)[:, 0].astype(int):
            rows.append(logits[asked[number] % passes, number])
            asked[number] += 1
        return np.array(rows)

    x = np.arange(examples, dtype="float32")[:, None]
    probabilities, entropy = student.mc_dropout(predict, x, passes)
    return {"probabilities": probabilities, "entropy": entropy}
