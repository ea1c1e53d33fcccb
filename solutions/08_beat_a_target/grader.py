"""Assignment 08: what is compared, on which inputs, and the mistakes that people make.

A mistake is the right answer with one thing changed, so that the change can be seen. Task 3 trains a network on the images of the case.
The labels of the images on which it is then judged are in `reference` only, which never runs beside a student's code. All digits
and their labels come with scikit-learn, so in the hidden case the digits are mirrored at a diagonal, and the classes numbered otherwise:
whoever looks the answers up instead of learning them finds wrong ones.
"""

import numpy as np
from sklearn.datasets import load_digits

from course.grading.tasks import Mistake, Part, Task

# ---------------------------------------------------------------- 1. count_parameters

COUNT = """def count_parameters(channels, filters, units, classes, norm):
    trained = stored = 0
    for count in filters:
        trained += 9 * channels * count + (2 * count if norm else count)
        stored += 2 * count if norm else 0
        channels = count
    for count in (units, classes):
        trained += (channels + 1) * count
        channels = count
    return trained, stored
"""


def _design(channels, filters, units, classes, norm):
    return {
        "channels": channels,
        "filters": filters,
        "units": units,
        "classes": classes,
        "norm": norm,
    }


count_parameters = Task(
    id="count_parameters",
    parts=(
        Part("trained", 2, "how many numbers are trained", compare="equal"),
        Part("stored", 1, "how many numbers are stored without being trained", compare="equal"),
    ),
    cases={
        "with norm": _design(1, [8, 16], 32, 10, True),
        "without norm": _design(3, [4, 4, 6], 20, 7, False),
    },
    hidden={
        "one block, with norm": _design(2, [5], 12, 3, True),
        "no block": _design(4, [], 6, 2, True),
        "four blocks": _design(3, [16, 16, 32, 32], 64, 10, True),
    },
    mistakes=(
        Mistake(
            "one channel in every convolution",
            "Your filters look at one channel only. How many channels does a filter of the second block see?",
            COUNT.replace("9 * channels * count", "9 * count"),
        ),
        Mistake(
            "the image's channels in every convolution",
            "Each of your convolutions sees as many channels as the image has. What does the second block get from the first?",
            COUNT.replace(
                "    for count in filters:", "    image = channels\n    for count in filters:"
            ).replace("9 * channels", "9 * image"),
        ),
        Mistake(
            "a side in place of a square",
            "Your kernels have 3 weights for each channel. They are 3 x 3.",
            COUNT.replace("9 * channels", "3 * channels"),
        ),
        Mistake(
            "a bias beside batch norm",
            "With norm you count too many: which number of a convolution is left out where a norm follows (lesson 05, section 6)?",
            COUNT.replace("(2 * count if norm else count)", "(3 * count if norm else count)"),
        ),
        Mistake(
            "no bias without norm",
            "Without norm you count too few: a convolution then has something that it would not need in front of a norm.",
            COUNT.replace("(2 * count if norm else count)", "(2 * count if norm else 0)"),
        ),
        Mistake(
            "moving statistics counted as trained",
            "You count the moving statistics among what is trained. Does a gradient ever reach them?",
            COUNT.replace("(2 * count if norm else count)", "(4 * count if norm else count)"),
        ),
        Mistake(
            "only the scale",
            "Batch norm trains more than a scale.",
            COUNT.replace("(2 * count if norm else count)", "(count if norm else count)"),
        ),
        Mistake(
            "one moving statistic",
            "Batch norm stores two moving statistics for each channel.",
            COUNT.replace("stored += 2 * count", "stored += count"),
        ),
        Mistake(
            "dense layers without bias",
            "Your dense layers have no bias. Behind them there is no norm that would subtract it.",
            COUNT.replace("(channels + 1) * count", "channels * count"),
        ),
        Mistake(
            "the norm counted once",
            "You count the norm of the last block only. Every block has one.",
            COUNT.replace(
                "        trained += 9 * channels * count + (2 * count if norm else count)\n        stored += 2 * count if norm else 0\n",
                "        trained += 9 * channels * count + (0 if norm else count)\n",
            ).replace(
                "    for count in (units",
                "    if norm:\n        trained, stored = trained + 2 * channels, 2 * channels\n    for count in (units",
            ),
        ),
    ),
    alternatives={
        "pairs of widths": """def count_parameters(channels, filters, units, classes, norm):
    widths = [channels, *filters]
    trained = sum(3 * 3 * before * after for before, after in zip(widths, widths[1:]))
    trained += sum(filters) * (2 if norm else 1)
    trained += widths[-1] * units + units + units * classes + classes
    return trained, 2 * sum(filters) * bool(norm)
""",
        "NumPy, a list": """def count_parameters(channels, filters, units, classes, norm):
    filters = np.array(filters, dtype=int)
    seen = np.concatenate([[channels], filters])
    kernels = np.sum(9 * seen[:-1] * filters)
    dense = (seen[-1] + 1) * units + (units + 1) * classes
    return [kernels + dense + filters.sum() * (1 + norm), 2 * norm * filters.sum()]
""",
        "Keras counts, and a warning": """import warnings


def count_parameters(channels, filters, units, classes, norm):
    warnings.warn("let Keras count")
    layers = [keras.Input((32, 32, channels))]
    for count in filters:
        layers.append(keras.layers.Conv2D(count, 3, padding="same", use_bias=not norm))
        if norm:
            layers.append(keras.layers.BatchNormalization())
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(units), keras.layers.Dense(classes)]
    model = keras.Sequential(layers)
    return tuple(sum(int(np.prod(w.shape)) for w in group) for group in (model.trainable_weights, model.non_trainable_weights))
""",
    },
)

# ---------------------------------------------------------------- 2. learning_rate

RATE = """def learning_rate(step, steps, peak, warmup):
    rising = peak * (step + 1) / max(warmup, 1)
    done = (step - warmup) / (steps - warmup)
    falling = peak * (1 + np.cos(np.pi * done)) / 2
    return np.where(step < warmup, rising, falling)
"""


def _schedule(steps, peak, warmup):
    return {"step": np.arange(steps), "steps": steps, "peak": peak, "warmup": warmup}


learning_rate = Task(
    id="learning_rate",
    parts=(Part("rates", 3, "the learning rate of each step", rtol=1e-4, atol=1e-9),),
    cases={"20 steps, 5 of warm-up": _schedule(20, 0.1, 5), "no warm-up": _schedule(12, 0.02, 0)},
    hidden={
        "100 steps, 10 of warm-up": _schedule(100, 1.0, 10),
        "one step of warm-up": _schedule(30, 0.003, 1),
    },
    mistakes=(
        Mistake(
            "no warm-up",
            "Your learning rate is highest at the very first step. What is to happen in the first `warmup` steps?",
            RATE.replace("np.where(step < warmup, rising, falling)", "falling").replace(
                "(step - warmup) / (steps - warmup)", "step / steps"
            ),
        ),
        Mistake(
            "the cosine begins at step 0",
            "Your cosine starts before the warm-up has ended, so that the peak is never reached, or the curve jumps. At which step should its argument be 0?",
            RATE.replace("(step - warmup) / (steps - warmup)", "step / steps"),
        ),
        Mistake(
            "the cosine is as long as the training",
            "Your cosine starts at the right step and is too slow: at the end it has not arrived. Over how many steps has it to fall?",
            RATE.replace("(steps - warmup)", "steps"),
        ),
        Mistake(
            "the first step does nothing",
            "In your first step the learning rate is 0: that step is wasted. Which fraction of the peak does a warm-up of 5 steps begin with?",
            RATE.replace("(step + 1) / max(warmup, 1)", "step / max(warmup, 1)"),
        ),
        Mistake(
            "a cosine that becomes negative",
            "In the second half your learning rate is below 0: you would climb. How is a cosine moved and scaled, so that it falls from 1 to 0?",
            RATE.replace("(1 + np.cos(np.pi * done)) / 2", "np.cos(np.pi * done)"),
        ),
        Mistake(
            "a quarter of a cosine",
            "Your curve falls from the peak to 0, but stays high at first and ends with a steep fall. It is a quarter of a wave; asked for is half of one.",
            RATE.replace("(1 + np.cos(np.pi * done)) / 2", "np.cos(np.pi * done / 2)"),
        ),
        Mistake(
            "a straight line",
            "Your decay is a straight line. It agrees with the cosine in the middle only.",
            RATE.replace("(1 + np.cos(np.pi * done)) / 2", "(1 - done)"),
        ),
        Mistake(
            "degrees",
            "Your decay hardly decays. In which units does np.cos take its angle?",
            RATE.replace("np.pi * done", "done"),
        ),
        Mistake(
            "not halved",
            "Your curve starts at twice the peak.",
            RATE.replace("(1 + np.cos(np.pi * done)) / 2", "(1 + np.cos(np.pi * done))"),
        ),
    ),
    alternatives={
        "a loop": """import math


def learning_rate(step, steps, peak, warmup):
    rates = []
    for number in step:
        if number < warmup:
            rates.append(peak * (number + 1) / warmup)
        else:
            rates.append(0.5 * peak * (1 + math.cos(math.pi * (number - warmup) / (steps - warmup))))
    return np.array(rates)
""",
        "square of a cosine, float32": """def learning_rate(step, steps, peak, warmup):
    s = np.asarray(step, dtype="float32")
    rates = peak * np.cos(np.pi / 2 * (s - warmup) / (steps - warmup)) ** 2
    rates[: max(warmup, 0)] = peak * np.arange(1, warmup + 1, dtype="float32") / max(warmup, 1)
    return rates
""",
        "Keras's schedule, and a warning": """import warnings


def learning_rate(step, steps, peak, warmup):
    warnings.warn("let Keras do it")
    cosine = keras.optimizers.schedules.CosineDecay(peak, steps - warmup)
    return np.array([
        peak * (n + 1) / warmup if n < warmup else float(keras.ops.convert_to_numpy(cosine(n - warmup))) for n in step
    ])
""",
    },
)

# ---------------------------------------------------------------- 3. train_classifier

MOST_PARAMETERS, MOST_STEPS, TARGET = 3_000, 60, 0.86

TRAIN = """def train_classifier(images, labels):
    model = keras.Sequential([
        keras.Input(images.shape[1:]),
        keras.layers.Rescaling(1 / 16),
        keras.layers.Conv2D(16, 3, padding="same", use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(10, activation="softmax"),
    ])
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 60)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, labels, batch_size=100, epochs=20, verbose=0)
    return model
"""


def _digits(seed, turned):
    """Images and labels for training, and images and labels for the judge."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images, labels = digits.images[order, :, :, None].astype("float32"), digits.target[order]
    if turned:
        images, labels = (
            np.swapaxes(images, 1, 2),
            np.random.default_rng(seed + 1).permutation(10)[labels],
        )
    return {"images": images[:300], "labels": labels[:300], "new_images": images[300:800]}, labels[
        300:800
    ]


PUBLIC, PUBLIC_LABELS = _digits(8, False)  # the seed is that of the notebook
HIDDEN, HIDDEN_LABELS = _digits(1_618, True)


def _right_classes(student, inputs):
    known = ((PUBLIC, PUBLIC_LABELS), (HIDDEN, HIDDEN_LABELS))
    labels = next(
        labels for case, labels in known if np.array_equal(case["new_images"], inputs["new_images"])
    )
    return {"classes": {"labels": labels, "least": TARGET}}


train_classifier = Task(
    id="train_classifier",
    parts=(
        Part(
            "parameters",
            1,
            f"whether the model has at most {MOST_PARAMETERS:,} numbers, trained and stored",
            compare="equal",
        ),
        Part(
            "steps", 1, f"whether it was trained, for at most {MOST_STEPS} steps", compare="equal"
        ),
        Part(
            "steady",
            1,
            "whether predictions are the same when asked twice, and for an image alone and in company",
            compare="equal",
        ),
        Part(
            "learnt",
            1,
            "three readings on the training images, at inference: right for 90 % of them; loss not far above that in training mode; better than chance",
            compare="equal",
        ),
        Part("classes", 4, "the classes of new images", compare="accuracy"),
    ),
    cases={"the images of this notebook": PUBLIC},
    hidden={"other images": HIDDEN},
    mistakes=(
        Mistake(
            "dropout left on",
            "Asked twice, your model gives two answers. A dropout of yours does not listen to the mode in which the model is called.",
            TRAIN.replace(
                "    model = keras",
                "    class AlwaysOn(keras.layers.Dropout):\n        def call(self, inputs, training=None):\n            return super().call(inputs, training=True)\n\n    model = keras",
            ).replace("keras.layers.Dropout(0.2)", "AlwaysOn(0.6)"),
        ),
        Mistake(
            "batch statistics at inference",
            "The same image gets one answer alone and another in company. Which layer looks at the batch, and why does it still do so when you predict?",
            TRAIN.replace(
                "    model = keras",
                "    class AlwaysBatch(keras.layers.BatchNormalization):\n        def call(self, inputs, training=None, mask=None):\n            return super().call(inputs, training=True)\n\n    model = keras",
            ).replace("keras.layers.BatchNormalization(momentum", "AlwaysBatch(momentum"),
        ),
        Mistake(
            "images shuffled, labels not",
            "Your model is no better than chance on the very images that it was trained on. Draw a few of them with their labels, straight before the training starts.",
            TRAIN.replace(
                "    model.fit(",
                "    images = np.random.default_rng(0).permutation(images)\n    model.fit(",
            ),
        ),
        Mistake(
            "one epoch",
            "Your model has not learnt its own training images yet, and most of the steps that you may take are left.",
            TRAIN.replace("epochs=20", "epochs=1"),
        ),
        Mistake(
            "momentum too high for so few steps",
            "On the training images your model is much worse at inference than in training mode. That is no overfitting. How much of their start do its moving statistics still hold after so few steps (lesson 07, case 5)?",
            TRAIN.replace("momentum=0.9", "momentum=0.99"),
        ),
        Mistake(
            "too many parameters",
            "Your model is larger than the budget. `model.count_params()` tells; most of the weights sit where a feature map is flattened into a dense layer.",
            TRAIN.replace("keras.layers.Conv2D(16,", "keras.layers.Conv2D(64,"),
        ),
        Mistake(
            "too many steps",
            "Your model was trained for more steps than allowed. A step is one batch: how many are there in an epoch, and how many epochs?",
            TRAIN.replace("epochs=20", "epochs=40").replace("0.02, 60", "0.02, 120"),
        ),
        Mistake(
            "scaled outside of the model",
            "Your model was trained on other numbers than it gets now: what you did to the images before the training, nobody does to the new ones. The model gets them as they come.",
            TRAIN.replace("        keras.layers.Rescaling(1 / 16),\n", "").replace(
                "    model.fit(images,", "    model.fit((images - images.mean()) / images.std(),"
            ),
        ),
        Mistake(
            "an untrained model is given back",
            "The model that you give back has never been trained: it is another object than the one that was.",
            TRAIN.replace("return model", "return keras.models.clone_model(model)"),
        ),
    ),
    alternatives={
        "functional, without norm, logits": """def train_classifier(images, labels):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 8, offset=-1)(inputs)
    x = keras.layers.Conv2D(16, 3, activation="relu")(x)
    x = keras.layers.MaxPooling2D(2)(x)
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    model.fit(images, labels, batch_size=75, epochs=15, verbose=0)
    return model
""",
        "norm behind the activation, shifted images, batches of its own, a warning": """import warnings


def shifted(images, rng):
    return np.roll(images, rng.integers(-1, 2, size=2), axis=(1, 2))


def train_classifier(images, labels):
    warnings.warn("training")
    rng = np.random.default_rng(0)
    model = keras.Sequential([
        keras.Input((8, 8, 1)), keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.BatchNormalization(momentum=0.8), keras.layers.MaxPooling2D(2), keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ])
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 60)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", jit_compile=False)
    for step in range(60):
        batch = rng.choice(len(images), 100, replace=False)
        model.train_on_batch(shifted(images[batch], rng) if step % 4 == 0 else images[batch], labels[batch])
    return model
""",
        "a class, plain gradient descent, float64 images": """class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)
        self.norm = keras.layers.BatchNormalization(momentum=0.8)
        self.flat = keras.layers.Flatten()
        self.last = keras.layers.Dense(10, activation="softmax")
        self.dropout = keras.layers.SpatialDropout2D(0.1)

    def call(self, images, training=None):
        x = keras.ops.relu(self.norm(self.conv(images / 16.0), training=training))
        return self.last(self.flat(self.dropout(x, training=training)))


def train_classifier(images, labels):
    model = Net()
    schedule = keras.optimizers.schedules.CosineDecay(0.2, 60)
    model.compile(keras.optimizers.SGD(schedule, momentum=0.9), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images.astype("float64"), labels, batch_size=100, epochs=20, verbose=0)
    return model
""",
    },
    reference=_right_classes,
    probe=f"MOST_PARAMETERS, MOST_STEPS = {MOST_PARAMETERS}, {MOST_STEPS}\n"
    + """import keras
import numpy as np


# What decides is computed by operators and methods of arrays: functions of NumPy could have been replaced in the notebook.


def same(one, other, tolerance):
    return ((one - other) ** 2 <= tolerance**2).all()


def probabilities(outputs):
    values = np.array(keras.ops.convert_to_numpy(outputs), dtype="float64")
    if values.min() >= 0 and same(values.sum(axis=1), 1, 1e-3):
        return values
    values = np.exp(values - values.max(axis=1, keepdims=True))  # they were logits
    return values / values.sum(axis=1, keepdims=True)


def probe(student, inputs):
    images, labels, new = inputs["images"], inputs["labels"], inputs["new_images"]
    model = student["train_classifier"](images.copy(), labels.copy())
    together = probabilities(model(new))
    again, alone = probabilities(model(new)), np.concatenate([probabilities(model(new[i : i + 1])) for i in range(5)])
    at_inference = probabilities(model(images))[np.arange(len(labels)), labels]
    accuracy = (probabilities(model(images)).argmax(axis=1) == labels).mean()
    in_training = probabilities(model(images, training=True))[np.arange(len(labels)), labels]
    losses = [-np.log(one.clip(1e-7)).mean() for one in (at_inference, in_training)]
    count = 0
    for weight in model.weights:
        count += np.array(keras.ops.convert_to_numpy(weight)).size
    steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) if getattr(model, "optimizer", None) else 0
    return {
        "parameters": count <= MOST_PARAMETERS,
        "steps": 0 < steps <= MOST_STEPS,
        "steady": np.array([same(together, again, 1e-4), same(together[:5], alone, 1e-3)]),
        "learnt": np.array([accuracy >= 0.9, losses[0] <= 1.5 * losses[1] + 0.05, accuracy >= 0.2]),
        "classes": together.argmax(axis=1),
    }
""",
)

# ---------------------------------------------------------------- 4. paired_report

REPORT = """def paired_report(treatment, control, smallest):
    difference = treatment - control
    mean, count = difference.mean(), len(difference)
    half = stats.t.ppf(0.975, count - 1) * difference.std(ddof=1) / np.sqrt(count)
    low, high = mean - half, mean + half
    if low > smallest:
        verdict = "higher"
    elif high < -smallest:
        verdict = "lower"
    elif -smallest <= low and high <= smallest:
        verdict = "no difference that matters"
    else:
        verdict = "undecided"
    return mean, np.array([low, high]), verdict
"""


def _arms(seed, count, effect, noise, smallest):
    """Accuracies of two arms, with what a seed does to both of them."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0.9, 0.03, count)
    treatment, control = (shared + rng.normal(shift, noise, count) for shift in (effect, 0))
    return {"treatment": treatment.round(4), "control": control.round(4), "smallest": smallest}


paired_report = Task(
    id="paired_report",
    parts=(
        Part("mean", 1, "the mean difference", rtol=1e-4, atol=1e-7),
        Part("interval", 2, "both ends of the interval", rtol=1e-3, atol=1e-6),
        Part("verdict", 1, "the verdict", compare="equal"),
    ),
    cases={
        "higher": _arms(1, 6, 0.05, 0.01, 0.01),
        "not far enough": _arms(2, 5, 0.013, 0.006, 0.01),
        "too small to matter": _arms(3, 10, 0.002, 0.002, 0.01),
        "lower": _arms(4, 4, -0.06, 0.01, 0.01),
        "undecided": _arms(5, 5, 0.01, 0.03, 0.01),
    },
    hidden={
        "no smallest": _arms(6, 8, 0.02, 0.01, 0.0),
        "lower, many": _arms(7, 20, -0.02, 0.01, 0.005),
        "nearly": _arms(10, 5, -0.014, 0.003, 0.01),
    },
    mistakes=(
        Mistake(
            "control minus treatment",
            "Your difference has the wrong sign: if the treatment is better, the number must be positive.",
            REPORT.replace("treatment - control", "control - treatment"),
        ),
        Mistake(
            "not paired",
            "Your mean is right and your interval far too wide: you treat the arms as if they had nothing in common. What do two runs with the same seed share (lesson 01)?",
            REPORT.replace(
                "difference.std(ddof=1) / np.sqrt(count)",
                "np.sqrt((treatment.var(ddof=1) + control.var(ddof=1)) / count)",
            ),
        ),
        Mistake(
            "spread of single differences",
            "Your interval does not get narrower with more seeds. It says where a single difference may lie; asked for is where the *mean* may lie.",
            REPORT.replace(" / np.sqrt(count)", ""),
        ),
        Mistake(
            "normal instead of Student",
            "Your interval is too narrow for so few seeds: the spread is itself estimated from them. Which distribution allows for that?",
            REPORT.replace("stats.t.ppf(0.975, count - 1)", "stats.norm.ppf(0.975)"),
        ),
        Mistake(
            "one tail",
            "Your interval is one of 90 %: you have left 5 % out at *each* end.",
            REPORT.replace("0.975", "0.95"),
        ),
        Mistake(
            "divided by n",
            "Your standard deviation is divided by the number of seeds. With a mean that comes from the same numbers, one of them is spent.",
            REPORT.replace("ddof=1", "ddof=0"),
        ),
        Mistake(
            "as many degrees of freedom as seeds",
            "Your factor from Student's table is a little too small. How many degrees of freedom do n differences have, once their mean is taken?",
            REPORT.replace("count - 1)", "count)"),
        ),
        Mistake(
            "variance in place of its root",
            "Your interval has the wrong units: a half width must scale like the differences, not like their squares.",
            REPORT.replace(
                "difference.std(ddof=1) / np.sqrt(count)", "difference.var(ddof=1) / np.sqrt(count)"
            ),
        ),
        Mistake(
            "verdict against 0",
            "Mean and interval are right. Your verdict asks only whether 0 is left out. A difference can be real and still too small to matter: what is `smallest` for?",
            REPORT.replace("low > smallest", "low > 0").replace("high < -smallest", "high < 0"),
        ),
        Mistake(
            "verdict by the mean",
            "Mean and interval are right. Your verdict looks at the mean alone, as if it were known exactly.",
            REPORT.replace("low > smallest", "mean > smallest")
            .replace("high < -smallest", "mean < -smallest")
            .replace("-smallest <= low and high <= smallest", "True"),
        ),
        Mistake(
            "no difference, because it was not shown",
            "Mean and interval are right. Where the interval reaches from nothing to something that matters, you say that there is no difference. The data do not say that: they do not say anything yet.",
            REPORT.replace('"undecided"', '"no difference that matters"'),
        ),
    ),
    alternatives={
        "SciPy's own": """def paired_report(treatment, control, smallest):
    result = stats.ttest_rel(treatment, control)
    interval = np.array(result.confidence_interval(0.95))
    names = {(True, False, False): "higher", (False, True, False): "lower", (False, False, True): "no difference that matters"}
    key = interval[0] > smallest, interval[1] < -smallest, bool(np.abs(interval).max() <= smallest)
    return np.mean(treatment - control), interval, names.get(key, "undecided")
""",
        "by hand, a list": """import math


def paired_report(treatment, control, smallest):
    pairs = [float(a) - float(b) for a, b in zip(treatment, control)]
    n, mean = len(pairs), math.fsum(pairs) / len(pairs)
    spread = math.sqrt(math.fsum((d - mean) ** 2 for d in pairs) / (n - 1))
    low, high = (mean + sign * stats.t(df=n - 1).isf(0.025) * spread / math.sqrt(n) for sign in (-1, 1))
    if low > smallest or high < -smallest:
        return mean, np.array([low, high]), "higher" if low > 0 else "lower"
    within = low >= -smallest and high <= smallest
    return [mean, np.array([low, high]), "no difference that matters" if within else "undecided"]
""",
        "a helper and a warning": """import warnings


def interval_of(values):
    warnings.warn("an interval")
    return stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))


def paired_report(treatment, control, smallest):
    low, high = interval_of(treatment - control)
    verdict = "undecided"
    if low > smallest:
        verdict = "higher"
    if high < -smallest:
        verdict = "lower"
    if max(abs(low), abs(high)) <= smallest:
        verdict = "no difference that matters"
    return (low + high) / 2, np.array((low, high)), verdict
""",
    },
)

TASKS = (count_parameters, learning_rate, train_classifier, paired_report)
