"""Assignment 04: what is compared, on which inputs, and the mistakes that people make.

A mistake is the right answer with one thing changed, so that the change can be seen. Random masks are judged by what
can be said of any right one (`Part`, compare "dropped"): everybody may use the generator in another way.
"""

import numpy as np

from course.grading.tasks import Mistake, Part, Task


def _values(seed, shape, dtype="float32"):
    """Small whole numbers, none of them 0 (a dropped 0 could not be told from one that is kept)."""
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 9, size=shape) * rng.choice([-1, 1], shape)).astype(dtype)


# ---------------------------------------------------------------- 1. dropout

DROPOUT = """def dropout(x, rate, rng, training):
    if not training:
        return x, np.ones(x.shape, dtype=bool)
    mask = rng.random(x.shape) >= rate
    return x * mask / (1 - rate), mask
"""

# Two steps with one generator: their masks must differ.
DROPOUT_PROBE = """
def probe(student, inputs):
    x, rate, rng = inputs["x"], inputs["rate"], np.random.default_rng(inputs["seed"])

    def step(training):
        returned = student.dropout(x.copy(), rate, rng, training)
        return returned if isinstance(returned, (tuple, list)) and len(returned) == 2 else (returned, None)

    steps = [step(True) for _ in range(2)]
    return {
        "y_training": np.stack([y for y, mask in steps]),
        "mask": np.stack([mask for y, mask in steps]),
        "y_inference": step(False)[0],
    }
"""


def _dropout_reference(student, inputs):
    x, rate = inputs["x"], inputs["rate"]
    twice = np.stack([x, x])
    return {
        "y_training": {"kept": twice / (1 - rate), "rate": rate},
        "mask": {"kept": np.ones(twice.shape), "rate": rate},
        "y_inference": {"kept": x, "rate": 0},
    }


def _input(seed, shape, rate, dtype="float32"):
    return {"x": _values(seed, shape, dtype), "rate": rate, "seed": seed}


dropout = Task(
    id="dropout",
    parts=(
        Part(
            "y_training",
            2,
            "the output in training (two steps, one above the other)",
            compare="dropped",
        ),
        Part("mask", 1, "the mask (of both steps)", compare="dropped"),
        Part("y_inference", 1, "the output at inference", compare="dropped"),
    ),
    cases={"rate 0.2": _input(91, (16, 25), 0.2), "rate 0.7": _input(92, (20, 18), 0.7)},
    hidden={
        "rate 0.5, float64": _input(93, (12, 40), 0.5, "float64"),
        "feature maps": _input(94, (5, 4, 6, 5), 0.3),
        "rate 0": _input(95, (6, 5), 0.0),
        "more features than examples": _input(96, (8, 60), 0.35),
    },
    mistakes=(
        Mistake(
            "not rescaled",
            "You drop and leave the rest as it was, so that on average the next layer gets less in training than at "
            "inference. What makes up for it?",
            DROPOUT.replace(" / (1 - rate)", ""),
        ),
        Mistake(
            "classic dropout",
            "This is dropout as first published: as it is in training, scaled at inference. It is consistent, and "
            "is not what Keras does. In the inverted form inference is left alone; where does the factor go then?",
            DROPOUT.replace(" / (1 - rate)", "").replace(
                "return x, np", "return x * (1 - rate), np"
            ),
        ),
        Mistake(
            "scaled in both modes",
            "Training is right. At inference you scale once more, which belongs to classic dropout: with inverted "
            "dropout training has made up for the loss already.",
            DROPOUT.replace("return x, np", "return x * (1 - rate), np"),
        ),
        Mistake(
            "left on at inference",
            "You drop at inference, too: the same example would get another answer each time. What is `training` "
            "for?",
            DROPOUT.replace("if not training:", "if False:"),
        ),
        Mistake(
            "scaled down",
            "What is kept gets smaller with you, where it has to make up for what is missing. Compare the mean of "
            "your output with that of x.",
            DROPOUT.replace("/ (1 - rate)", "* (1 - rate)"),
        ),
        Mistake(
            "divided by the rate",
            "You divide what is kept by the probability of dropping. At a rate of 0.1 everything would become ten "
            "times as large, though hardly anything is missing: which part of the sum is left on average?",
            DROPOUT.replace("/ (1 - rate)", "/ rate if rate else x"),
        ),
        Mistake(
            "rate taken for the probability of keeping",
            "You take `rate` for the probability of keeping, the p of Srivastava et al. In Keras and in this "
            "course it is that of dropping.",
            DROPOUT.replace(">= rate", "< rate").replace("/ (1 - rate)", "/ rate if rate else x"),
        ),
        Mistake(
            "mask the wrong way round",
            "Your mask keeps where it should drop: with a rate of 0.2 about four fifths are gone. Which random "
            "numbers between 0 and 1 should be dropped?",
            DROPOUT.replace(">= rate", "< rate"),
        ),
        Mistake(
            "the mask says what was dropped",
            "Your output is right, but the mask that you return is True where a value was dropped. It is to be True "
            "where it was kept; the backward pass counts on that.",
            DROPOUT.replace("(1 - rate), mask", "(1 - rate), ~mask"),
        ),
        Mistake(
            "one mask for all examples",
            "All examples of a batch lose the same units. Each example needs a mask of its own: what is the shape "
            "of your random numbers?",
            DROPOUT.replace(
                "rng.random(x.shape) >= rate",
                "np.broadcast_to(rng.random(x.shape[1:]) >= rate, x.shape)",
            ),
        ),
        Mistake(
            "whole examples dropped",
            "You throw one coin for each example, which then loses all of its values or none. It takes one for each "
            "value.",
            DROPOUT.replace(
                "rng.random(x.shape) >= rate",
                "np.broadcast_to(rng.random((len(x),) + (1,) * (x.ndim - 1)) >= rate, x.shape)",
            ),
        ),
        Mistake(
            "the same mask in each step",
            "Two steps in a row get the same mask. Is a generator made anew, from a fixed seed, in each call? Use "
            "the one that is handed in: it moves on by itself.",
            DROPOUT.replace("rng.random", "np.random.default_rng(0).random"),
        ),
        Mistake(
            "the scale is in the mask",
            "Your output is right, but what you return as the mask holds scaled numbers. It should say kept or not, "
            "and nothing else.",
            DROPOUT.replace("(1 - rate), mask", "(1 - rate), mask / (1 - rate)"),
        ),
    ),
    alternatives={
        "choice": """def dropout(x, rate, rng, training):
    mask = rng.choice([0, 1], size=x.shape, p=[rate, 1 - rate]) if training else np.ones_like(x)
    return (x * mask / (1 - rate) if training else x.copy()), mask
""",
        "binomial, float32": """def dropout(x, rate, rng, training):
    x = x.astype("float32")
    if training:
        mask = rng.binomial(1, 1 - rate, x.shape).astype("float32")
        return np.multiply(mask, x) * np.float32(1 / (1 - rate)), mask
    return x, None
""",
        "in place, NumPy's old generator, a warning": """import warnings


def coins(shape, rate):
    warnings.warn("NumPy's global generator")
    return np.random.rand(*shape) < 1 - rate


def dropout(x, rate, rng, training):
    if training:
        mask = coins(x.shape, rate)
        x[~mask] = 0
        x /= 1 - rate
        return x, mask
    return x, np.full(x.shape, True)
""",
        "value by value": """def dropout(x, rate, rng, training):
    y, mask = np.zeros(x.shape), np.zeros(x.shape, dtype=int)
    for place in np.ndindex(x.shape):
        if not training or rng.uniform() > rate:
            mask[place] = 1
            y[place] = x[place] / (1 - rate) if training else x[place]
    return [y, mask]
""",
    },
    probe=DROPOUT_PROBE,
    reference=_dropout_reference,
)

# ---------------------------------------------------------------- 2. dropout_backward

BACKWARD = """def dropout_backward(dy, mask, rate):
    return dy * mask / (1 - rate)
"""


def _gradient(seed, shape, rate, mask_shape=None, dtype="float64"):
    rng = np.random.default_rng(seed)
    return {
        "dy": (_values(seed, shape, "float64") / 4).astype(dtype),
        "mask": rng.random(mask_shape or shape) >= rate,
        "rate": rate,
    }


dropout_backward = Task(
    id="dropout_backward",
    parts=(Part("dx", 2, "the gradient dx", rtol=1e-4, atol=1e-6),),
    cases={
        "a dense layer": _gradient(101, (5, 8), 0.3),
        "a mask of whole channels": _gradient(102, (3, 2, 4, 5), 0.6, (3, 1, 1, 5)),
    },
    hidden={
        "rate 0.9": _gradient(103, (6, 7), 0.9),
        "rate 0": _gradient(104, (4, 3), 0.0),
        "float32": _gradient(105, (7, 4), 0.5, dtype="float32"),
        "one example": _gradient(106, (1, 12), 0.25),
    },
    mistakes=(
        Mistake(
            "not rescaled",
            "You let through what was kept, as it is. Forward it was multiplied by a factor; what does the "
            "derivative of c·x with respect to x say?",
            BACKWARD.replace(" / (1 - rate)", ""),
        ),
        Mistake(
            "scaled the other way",
            "Going back you undo the factor of the forward pass. A gradient is multiplied by the same factor, not "
            "by its inverse.",
            BACKWARD.replace("/ (1 - rate)", "* (1 - rate)"),
        ),
        Mistake(
            "divided by the rate",
            "You divide by the probability of dropping. Look up which factor the forward pass has put on what was "
            "kept.",
            BACKWARD.replace("/ (1 - rate)", "/ (rate or 1)"),
        ),
        Mistake(
            "mask the wrong way round",
            "You let the gradient through where a value was dropped. The mask is True where it was kept.",
            BACKWARD.replace("dy * mask", "dy * ~mask"),
        ),
        Mistake(
            "mask forgotten",
            "Values that were dropped get a gradient from you. They had no influence on the loss.",
            BACKWARD.replace("dy * mask", "dy"),
        ),
        Mistake(
            "handed through",
            "You hand the gradient through as it came. That is the backward pass of inference; in training both "
            "mask and scale take part.",
            BACKWARD.replace("dy * mask / (1 - rate)", "dy"),
        ),
        Mistake(
            "a new mask",
            "You throw the coins anew. The gradient must go through the same units that were on in the forward "
            "pass: that is what the mask was kept for.",
            BACKWARD.replace(
                "    return", "    mask = np.random.random(dy.shape) >= rate\n    return"
            ),
        ),
        Mistake(
            "scaled twice",
            "Your factor is squared. The forward pass has scaled once, so the gradient is scaled once.",
            BACKWARD.replace("(1 - rate)", "(1 - rate) ** 2"),
        ),
    ),
    alternatives={
        "where": """def dropout_backward(dy, mask, rate):
    return np.where(mask, dy / (1 - rate), 0)
""",
        "in place, float32": """def dropout_backward(dy, mask, rate):
    dx = np.array(dy, dtype="float32")
    dx[~np.broadcast_to(mask, dy.shape)] = 0
    dx /= np.float32(1 - rate)
    return dx
""",
        "einsum, and a warning": """import warnings


def dropout_backward(dy, mask, rate):
    warnings.warn("einsum")
    mask = np.broadcast_to(mask, dy.shape).astype(dy.dtype)
    return np.einsum("...,...->...", dy, mask) * (1 - rate) ** -1
""",
        "the derivative at work": """def forward(x, mask, rate):
    return x * mask / (1 - rate)


def dropout_backward(dy, mask, rate):
    # The forward pass is linear in x, so its derivative is what it does to 1.
    return dy * forward(np.ones_like(dy), mask, rate)
""",
    },
)

# ---------------------------------------------------------------- 3. spatial_dropout

SPATIAL = """def spatial_dropout(x, rate, rng, training):
    if not training:
        return x
    mask = rng.random((len(x), 1, 1, x.shape[-1])) >= rate
    return x * mask / (1 - rate)
"""

SPATIAL_PROBE = """
def probe(student, inputs):
    x, rate, rng = inputs["x"], inputs["rate"], np.random.default_rng(inputs["seed"])
    return {
        "y_training": np.stack([student.spatial_dropout(x.copy(), rate, rng, True) for _ in range(2)]),
        "y_inference": student.spatial_dropout(x.copy(), rate, rng, False),
    }
"""


def _spatial_reference(student, inputs):
    x, rate = inputs["x"], inputs["rate"]
    return {
        "y_training": {"kept": np.stack([x, x]) / (1 - rate), "rate": rate, "shared": (2, 3)},
        "y_inference": {"kept": x, "rate": 0, "shared": (1, 2)},
    }


spatial_dropout = Task(
    id="spatial_dropout",
    parts=(
        Part(
            "y_training",
            2,
            "the output in training (two steps, one above the other)",
            compare="dropped",
        ),
        Part("y_inference", 1, "the output at inference", compare="dropped"),
    ),
    cases={
        "rate 0.25": _input(111, (10, 2, 3, 14), 0.25),
        "rate 0.7": _input(112, (12, 3, 2, 13), 0.7),
    },
    hidden={
        "rate 0.5": _input(113, (9, 3, 3, 20), 0.5),
        "one pixel": _input(114, (14, 1, 1, 15), 0.4),
        "rate 0, float64": _input(115, (2, 2, 3, 4), 0.0, "float64"),
        "more pixels than channels": _input(116, (50, 4, 5, 3), 0.2),
    },
    mistakes=(
        Mistake(
            "single values dropped",
            "You drop single values, as ordinary dropout does. In a smooth map the neighbours give a dropped value "
            "away; here a whole channel of an image is kept or dropped as one. How many coins does that take?",
            SPATIAL.replace("(len(x), 1, 1, x.shape[-1])", "x.shape"),
        ),
        Mistake(
            "positions dropped",
            "You drop positions, through all channels. It is the other way round: a channel, at all positions.",
            SPATIAL.replace("(len(x), 1, 1, x.shape[-1])", "(*x.shape[:3], 1)"),
        ),
        Mistake(
            "the same channels for all images",
            "All images of the batch lose the same channels. Each needs coins of its own.",
            SPATIAL.replace("(len(x), 1, 1, x.shape[-1])", "x.shape[-1]"),
        ),
        Mistake(
            "whole images dropped",
            "You throw one coin for each image, so that it loses all channels or none.",
            SPATIAL.replace("(len(x), 1, 1, x.shape[-1])", "(len(x), 1, 1, 1)"),
        ),
        Mistake(
            "channels taken to be first",
            "You drop rows of pixels. Axis 1 is the channel in PyTorch (N, C, H, W); here it comes last.",
            SPATIAL.replace("(len(x), 1, 1, x.shape[-1])", "(*x.shape[:2], 1, 1)"),
        ),
        Mistake(
            "not rescaled",
            "You drop channels and leave the rest as it was. As with ordinary dropout, the mean over the masks must "
            "be x.",
            SPATIAL.replace(" / (1 - rate)", ""),
        ),
        Mistake(
            "rate taken for the probability of keeping",
            "You take `rate` for the probability of keeping a channel, in the mask and in the scale. It is that "
            "of dropping.",
            SPATIAL.replace(">= rate", "< rate").replace("/ (1 - rate)", "/ (rate or 1)"),
        ),
        Mistake(
            "mask the wrong way round",
            "Your mask keeps where it should drop: with a rate of 0.25 about three quarters of the channels are "
            "gone.",
            SPATIAL.replace(">= rate", "< rate"),
        ),
        Mistake(
            "left on at inference",
            "You drop channels at inference, too. What is `training` for?",
            SPATIAL.replace("if not training:", "if False:"),
        ),
        Mistake(
            "scaled in both modes",
            "Training is right. At inference you scale once more: that belongs to classic dropout.",
            SPATIAL.replace("return x\n", "return x * (1 - rate)\n"),
        ),
        Mistake(
            "the same mask in each step",
            "Two steps in a row get the same mask. Use the generator that is handed in: it moves on by itself.",
            SPATIAL.replace("rng.random", "np.random.default_rng(0).random"),
        ),
    ),
    alternatives={
        "repeated over the positions": """def spatial_dropout(x, rate, rng, training):
    if training:
        coins = rng.binomial(1, 1 - rate, size=(x.shape[0], x.shape[3]))
        mask = np.repeat(np.repeat(coins[:, None, None, :], x.shape[1], axis=1), x.shape[2], axis=2)
        x = np.where(mask == 1, x / (1 - rate), 0.0)
    return x
""",
        "einsum, float32, a warning": """import warnings


def spatial_dropout(x, rate, rng, training):
    if not training:
        warnings.warn("nothing to do")
        return x.copy()
    scales = (rng.random((len(x), x.shape[-1])) >= rate).astype("float32") / np.float32(1 - rate)
    return np.einsum("nhwc,nc->nhwc", x.astype("float32"), scales)
""",
        "map by map": """def keep(rate):
    return np.random.uniform() > rate


def spatial_dropout(x, rate, rng, training):
    y = np.array(x)
    if training:
        y /= 1 - rate
        for image in range(y.shape[0]):
            for channel in range(y.shape[-1]):
                if not keep(rate):
                    y[image, :, :, channel] = 0
    return y
""",
    },
    probe=SPATIAL_PROBE,
    reference=_spatial_reference,
)

# ---------------------------------------------------------------- 4. mc_dropout

MC = """def mc_dropout(predict, x, passes):
    probabilities = np.array([softmax(predict(x)) for _ in range(passes)])
    mean = probabilities.mean(axis=0)
    return mean, -(mean * np.log(mean)).sum(axis=1)
"""

# A network whose logits are given, another row of them each time that an example is asked for: in one pass after the
# other, example by example, or all passes in one large batch.
MC_PROBE = """
def probe(student, inputs):
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
"""


def _logits(seed, passes, examples, classes, spread=2.0, dtype="float64"):
    rng = np.random.default_rng(seed)
    centre = spread * rng.normal(size=(1, examples, classes))
    return {
        "logits": (centre + spread * rng.normal(size=(passes, examples, classes)))
        .round(2)
        .astype(dtype)
    }


mc_dropout = Task(
    id="mc_dropout",
    parts=(
        Part("probabilities", 2, "the mean probabilities", rtol=1e-3, atol=1e-6),
        Part("entropy", 1, "the entropy", rtol=1e-3, atol=1e-5),
    ),
    cases={"three classes": _logits(121, 6, 4, 3), "five classes": _logits(122, 10, 3, 5, 1.5)},
    hidden={
        "one pass": _logits(123, 1, 5, 4),
        "two classes, float32": _logits(124, 20, 3, 2, dtype="float32"),
        "one example": _logits(125, 8, 1, 6),
        "as many examples as classes": _logits(126, 5, 5, 5),
        "all passes alike": {
            "logits": np.tile(np.array([[[1.0, 0.0, -2.0], [0.5, 3.0, 1.0]]]), (4, 1, 1))
        },
    },
    mistakes=(
        Mistake(
            "softmax of the mean logits",
            "You average the logits and take the softmax after that: the normalised geometric mean of lesson 04, "
            "section 4, about what one pass without dropout gives anyway. MC dropout averages probabilities.",
            MC.replace("softmax(predict(x))", "predict(x)").replace(
                "probabilities.mean(axis=0)", "softmax(probabilities.mean(axis=0))"
            ),
        ),
        Mistake(
            "votes counted",
            "You let each pass vote for one class. That throws away how sure it was: a pass with 0.51 counts as "
            "much as one with 0.99.",
            """def mc_dropout(predict, x, passes):
    logits = np.array([predict(x) for _ in range(passes)])
    mean = np.eye(logits.shape[2])[logits.argmax(axis=2)].mean(axis=0)
    return mean, -(mean * np.log(mean + 1e-12)).sum(axis=1)
""",
        ),
        Mistake(
            "one pass used again and again",
            "You run the network once and average copies of the same answer. Each pass must throw its own masks: "
            "where does `predict` have to be called?",
            MC.replace("softmax(predict(x))", "once").replace(
                "    prob", "    once = softmax(predict(x))\n    prob"
            ),
        ),
        Mistake(
            "only the last pass",
            "Your result is that of the last pass alone: in the loop each pass overwrites the one before.",
            MC.replace("probabilities.mean(axis=0)", "probabilities[-1]"),
        ),
        Mistake(
            "sum in place of the mean",
            "Your probabilities add up to the number of passes. Those of one example must add up to 1.",
            MC.replace("probabilities.mean(axis=0)", "probabilities.sum(axis=0)"),
        ),
        Mistake(
            "averaged over the examples",
            "You have averaged over the examples, and kept the passes. Each example gets its own prediction.",
            MC.replace("probabilities.mean(axis=0)", "probabilities.mean(axis=1)"),
        ),
        Mistake(
            "mean of the entropies",
            "You average the entropies of the passes. If each pass is sure, and they contradict one another, that "
            "is near 0, though nothing is known. Asked for is the entropy of the mean prediction.",
            MC.replace(
                "-(mean * np.log(mean)).sum(axis=1)",
                "-(probabilities * np.log(probabilities)).sum(axis=2).mean(axis=0)",
            ),
        ),
        Mistake(
            "entropy in bits",
            "Your entropy is in bits: it has another base of the logarithm. The course counts in nats, as the loss "
            "does.",
            MC.replace("np.log(", "np.log2("),
        ),
        Mistake(
            "entropy with the wrong sign",
            "Your entropy is negative. The logarithm of a probability is never above 0.",
            MC.replace("mean, -(", "mean, ("),
        ),
        Mistake(
            "mean over the classes",
            "You average over the classes where the entropy is a sum over them. For two equally probable classes it "
            "must be log 2.",
            MC.replace(".sum(axis=1)", ".mean(axis=1)"),
        ),
        Mistake(
            "loss of the most probable class",
            "Your second result is minus the logarithm of the largest probability. The entropy weighs all classes.",
            MC.replace("-(mean * np.log(mean)).sum(axis=1)", "-np.log(mean.max(axis=1))"),
        ),
    ),
    alternatives={
        "a running sum, float32": """def mc_dropout(predict, x, passes):
    total = 0
    for _ in range(passes):
        z = np.exp(predict(x).astype("float32"))
        total = total + z / z.sum(axis=1, keepdims=True)
    mean = total / np.float32(passes)
    return mean, -np.einsum("nc,nc->n", mean, np.log(mean))
""",
        "all passes in one batch": """def mc_dropout(predict, x, passes):
    logits = predict(np.concatenate([x] * passes))
    mean = softmax(logits).reshape(passes, len(x), -1).mean(axis=0)
    return mean, np.sum(mean * -np.log(np.maximum(mean, 1e-12)), axis=-1)
""",
        "example by example, with a warning": """import warnings


def entropy_of(p):
    return float(sum(-value * np.log(value) for value in p if value > 0))


def mc_dropout(predict, x, passes):
    warnings.warn("slow")
    means = []
    for example in x:
        answers = [softmax(predict(example[None]))[0] for _ in range(passes)]
        means.append(sum(answers) / passes)
    return np.array(means), np.array([entropy_of(p) for p in means])
""",
    },
    probe=MC_PROBE,
)

# ---------------------------------------------------------------- 5. calibration_error

CALIBRATION = """def calibration_error(probabilities, labels, bins=10):
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    chosen = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for number in range(bins):
        inside = chosen == number
        error += abs((confidence[inside] - right[inside]).sum())
    return error / len(labels)
"""

# The same with a term for each bin, for the mistakes that people make with them.
CALIBRATION_BY_BIN = """def calibration_error(probabilities, labels, bins=10):
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    chosen = np.minimum((confidence * bins).astype(int), bins - 1)
    terms, weights = [], []
    for number in range(bins):
        inside = chosen == number
        if inside.any():
            terms.append(abs(confidence[inside].mean() - right[inside].mean()))
            weights.append(inside.mean())
    return np.dot(terms, weights)
"""


def _predictions(seed, examples, classes, accuracy, bins=10, certain=0, dtype="float64"):
    """Predictions of a network that is not well calibrated; confidences stay clear of the borders of the bins."""
    rng = np.random.default_rng(seed)
    confidence = (
        rng.choice(np.arange(bins // classes + 1, bins), examples) + rng.uniform(0.2, 0.8, examples)
    ) / bins
    confidence[:certain] = 1.0
    predicted = rng.integers(classes, size=examples)
    rest = rng.dirichlet(np.ones(classes - 1), examples) * 0.5 + 0.5 / (classes - 1)
    probabilities = np.empty((examples, classes))
    for row, (winner, sure) in enumerate(zip(predicted, confidence)):
        probabilities[row, np.arange(classes) != winner] = (1 - sure) * rest[row]
        probabilities[row, winner] = sure
    labels = np.where(rng.random(examples) < accuracy, predicted, (predicted + 1) % classes)
    return {"probabilities": probabilities.astype(dtype), "labels": labels, "bins": bins}


calibration_error = Task(
    id="calibration_error",
    parts=(Part("error", 2, "the expected calibration error", rtol=1e-3, atol=1e-6),),
    cases={
        "over-confident": _predictions(131, 40, 3, 0.5, certain=4),
        "five bins": _predictions(132, 25, 2, 0.75, bins=5, certain=2),
    },
    hidden={
        "under-confident": _predictions(133, 60, 4, 0.97),
        "one example": {
            "probabilities": np.array([[0.25, 0.75]]),
            "labels": np.array([1]),
            "bins": 10,
        },
        "always certain": {
            "probabilities": np.eye(3)[[0, 1, 2, 2]],
            "labels": np.array([0, 1, 2, 1]),
            "bins": 10,
        },
        "many bins, float32": _predictions(134, 80, 5, 0.6, bins=20, certain=3, dtype="float32"),
        "one bin": {**_predictions(135, 30, 3, 0.7), "bins": 1},
    },
    mistakes=(
        Mistake(
            "every bin counts the same",
            "A bin with one prediction counts as much as a full one with you. Weigh each bin by how many "
            "predictions it holds.",
            CALIBRATION_BY_BIN.replace("np.dot(terms, weights)", "np.mean(terms)"),
        ),
        Mistake(
            "too sure and too unsure cancel",
            "You add the differences with their signs, so that a bin that is too sure makes up for one that is not "
            "sure enough. Each is an error.",
            CALIBRATION.replace("abs(", "("),
        ),
        Mistake(
            "distance of each single prediction",
            "You take the distance between confidence and right (0 or 1) for each prediction by itself. Even a "
            "perfectly calibrated network has those: of predictions made with 0.8 some must be wrong. Compare "
            "means, bin by bin.",
            CALIBRATION.replace(
                "abs((confidence[inside] - right[inside]).sum())",
                "abs(confidence - right)[inside].sum()",
            ),
        ),
        Mistake(
            "the worst bin",
            "You report the worst bin (the maximum calibration error). Asked for is the average over the "
            "predictions.",
            CALIBRATION_BY_BIN.replace("np.dot(terms, weights)", "max(terms)"),
        ),
        Mistake(
            "probability of the right class for the confidence",
            "Your confidence is the probability of the true class. Confidence is how sure the network is of what "
            "it says, right or wrong.",
            CALIBRATION.replace(
                "probabilities.max(axis=1)", "probabilities[np.arange(len(labels)), labels]"
            ),
        ),
        Mistake(
            "squared differences",
            "You square the differences of the bins. The expected calibration error takes their absolute values.",
            CALIBRATION_BY_BIN.replace(
                "np.dot(terms, weights)", "np.dot(np.square(terms), weights)"
            ),
        ),
        Mistake(
            "not divided by the number of predictions",
            "Your error grows with the number of predictions. It is an average: at most 1.",
            CALIBRATION.replace("error / len(labels)", "error"),
        ),
        Mistake(
            "predictions with confidence 1 are lost",
            "Predictions with a confidence of exactly 1 fall out of your last bin. Count how many predictions your "
            "bins hold together.",
            CALIBRATION.replace(
                "np.minimum((confidence * bins).astype(int), bins - 1)", "confidence * bins // 1"
            ),
        ),
        Mistake(
            "always ten bins",
            "The number of your bins does not follow `bins`: it is right for ten, and for no other number.",
            CALIBRATION.replace("    confidence", "    bins = 10\n    confidence", 1),
        ),
        Mistake(
            "accuracy for calibration",
            "Your number is the share of wrong predictions. A network can be wrong half of the time and well "
            "calibrated: when it says 0.5.",
            CALIBRATION.replace("return error / len(labels)", "return 1 - right.mean()"),
        ),
    ),
    alternatives={
        "bin by bin": CALIBRATION_BY_BIN,
        "bincount": """def calibration_error(probabilities, labels, bins=10):
    confidence, right = np.max(probabilities, axis=-1), np.argmax(probabilities, axis=-1) == labels
    number = np.clip(np.floor(confidence * bins), 0, bins - 1).astype(int)
    return np.abs(np.bincount(number, weights=confidence - right, minlength=bins)).sum() / len(right)
""",
        "borders on the right, float32, a warning": """import warnings


def calibration_error(probabilities, labels, bins=10):
    probabilities = np.float32(probabilities)
    confidence, right = probabilities.max(1), np.float32(probabilities.argmax(1) == labels)
    error = np.float32(0)
    for low in np.arange(bins) / bins:
        inside = (confidence > low) & (confidence <= low + 1 / bins + 1e-6)
        if not inside.any():
            warnings.warn("an empty bin")
            continue
        error += inside.mean(dtype="float32") * abs(right[inside].mean() - confidence[inside].mean())
    return np.array(error)
""",
        "histogram": """def calibration_error(probabilities, labels, bins=10):
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    sums = [np.histogram(confidence, bins, range=(0, 1), weights=weights)[0] for weights in (confidence, right)]
    print(sums)
    return float(np.abs(np.subtract(*sums)).sum() / confidence.size)
""",
    },
)

TASKS = (dropout, dropout_backward, spatial_dropout, mc_dropout, calibration_error)
