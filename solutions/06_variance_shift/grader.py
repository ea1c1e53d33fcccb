"""Assignment 06: what is compared, on which inputs, and the mistakes that people make.

A mistake is the right answer with one thing changed, so that the change can be seen.
"""

import numpy as np

from course.grading.tasks import Mistake, Part, Task


def _inputs(seed, examples=60, count=6, mean=0.5, shared=0.6, dtype="float64"):
    """Correlated activations, which have a mean other than 0, and weights of one linear unit."""
    rng = np.random.default_rng(seed)
    own, common = rng.normal(size=(examples, count)), rng.normal(size=(examples, 1))
    x = mean + np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    return {"x": x.astype(dtype), "w": rng.normal(0.3, 0.7, size=count).astype(dtype)}


# ---------------------------------------------------------------- 1. two_variances

TWO = """def two_variances(x, w, rate):
    at_inference = np.var(x @ w)
    noise = rate / (1 - rate) * np.sum(w**2 * np.mean(x**2, axis=0))
    return at_inference + noise, at_inference
"""

two_variances = Task(
    id="two_variances",
    parts=(
        Part("in_training", 3, "the variance in training", rtol=1e-4, atol=1e-5),
        Part("at_inference", 1, "the variance at inference", rtol=1e-4, atol=1e-5),
    ),
    cases={
        "six inputs, rate 0.3": {**_inputs(1), "rate": 0.3},
        "one input, rate 0.5": {**_inputs(2, count=1, mean=1.5), "rate": 0.5},
        "nothing is dropped": {**_inputs(3, count=4), "rate": 0.0},
    },
    hidden={
        "twelve inputs, rate 0.7": {**_inputs(4, count=12), "rate": 0.7},
        "mean below 0": {**_inputs(5, count=5, mean=-1.0), "rate": 0.2},
        "float32": {**_inputs(6, examples=200, dtype="float32"), "rate": 0.4},
        "whole numbers": {
            "x": np.array([[1, 0], [2, 3], [3, -1], [6, 2]]),
            "w": np.array([2, -1]),
            "rate": 0.25,
        },
    },
    mistakes=(
        Mistake(
            "rate taken for the probability of keeping",
            "Your noise grows where it should shrink: raise `rate` and print it. In Keras and in this course the rate is the probability of "
            "*dropping*; Li et al. (2019) use the other one. Which of the two is in the denominator of your factor?",
            TWO.replace("rate / (1 - rate)", "(1 - rate) / rate").replace(
                "noise = ", "noise = 0 if rate == 0 else "
            ),
        ),
        Mistake(
            "rate alone as the factor",
            "Your factor before the sum is too small. Work out the variance of one kept-or-dropped input again, and do not lose the division of "
            "what is kept: by how much does it multiply a variance?",
            TWO.replace("rate / (1 - rate)", "rate"),
        ),
        Mistake(
            "kept values not divided",
            "Your variances are those of a dropout that does not divide what it keeps. Here dropout is *inverted*, so that the mean is the same "
            "in both modes. Is it, in your derivation?",
            TWO.replace("at_inference + noise", "(1 - rate) ** 2 * (at_inference + noise)"),
        ),
        Mistake(
            "variance of the inputs in place of their mean square",
            "You have let the mean of the inputs disappear from the noise. A dropped activation loses its whole value, not its distance from the mean. "
            "Try inputs that are all equal to 1: is there noise?",
            TWO.replace("np.mean(x**2, axis=0)", "np.var(x, axis=0)"),
        ),
        Mistake(
            "square of the mean in place of the mean of the squares",
            "You square a mean where the mean of squares is needed. Inputs of mean 0 are dropped as well; do they make noise in your formula?",
            TWO.replace("np.mean(x**2, axis=0)", "np.mean(x, axis=0) ** 2"),
        ),
        Mistake(
            "weights not squared",
            "Your noise has the wrong units: double all weights, and a variance must become four times as large. Does each term of yours?",
            TWO.replace("w**2", "w"),
        ),
        Mistake(
            "one mask for all inputs",
            "You treat the sum as if it were dropped as a whole. Each input has a mask of its own, so which cross terms survive when you take the variance over masks?",
            TWO.replace("np.sum(w**2 * np.mean(x**2, axis=0))", "np.mean((x @ w) ** 2)"),
        ),
        Mistake(
            "inputs taken for independent",
            "Your variance at inference adds up the variances of the single inputs. All inputs answer to the same example, so they are correlated. "
            "Compare with the variance of the sum itself, which you can measure without any formula.",
            TWO.replace("np.var(x @ w)", "np.sum(w**2 * np.var(x, axis=0))"),
        ),
        Mistake(
            "divided by n - 1",
            "Your variances are a little too large, by a factor that depends on the number of examples alone. Batch norm divides by the number of examples, and so does this task.",
            TWO.replace("np.var(x @ w)", "np.var(x @ w, ddof=1)"),
        ),
        Mistake(
            "standard deviations",
            "You give back roots. A variance has the units of the square of the unit's output.",
            TWO.replace(
                "at_inference + noise, at_inference",
                "np.sqrt(at_inference + noise), np.sqrt(at_inference)",
            ),
        ),
        Mistake(
            "the two in the wrong order",
            "Your first number is the second one asked for. Read in the docstring which comes first.",
            TWO.replace("at_inference + noise, at_inference", "at_inference, at_inference + noise"),
        ),
    ),
    alternatives={
        "einsum and a matrix of covariances": """def two_variances(x, w, rate):
    centred = x - x.mean(axis=0)
    covariance = np.einsum("ni,nj->ij", centred, centred) / len(x)
    at_inference = np.einsum("i,ij,j->", w, covariance, w)
    squares = np.einsum("ni,ni->i", x, x) / len(x)
    return at_inference + rate / (1 - rate) * np.einsum("i,i,i->", w, w, squares), at_inference
""",
        "a loop and plain numbers": """def two_variances(x, w, rate):
    sums = [sum(float(a) * float(b) for a, b in zip(row, w)) for row in x]
    middle = sum(sums) / len(sums)
    at_inference = sum((s - middle) ** 2 for s in sums) / len(sums)
    noise = 0.0
    for i in range(len(w)):
        noise += float(w[i]) ** 2 * sum(float(value) ** 2 for value in x[:, i]) / len(x)
    return at_inference + noise * rate / (1 - rate), at_inference
""",
        "mean square minus squared mean, a helper and a warning": """import warnings


def mean_square(values):
    warnings.warn("squares")
    return np.mean(np.square(values), axis=0)


def two_variances(x, w, rate):
    kept = 1 - rate
    contributions = x * w
    total = contributions.sum(axis=1)
    at_inference = mean_square(total) - total.mean() ** 2
    return at_inference + (1 / kept - 1) * mean_square(contributions).sum(), at_inference
""",
        "float32, a list": """def two_variances(x, w, rate):
    x, w, rate = np.float32(x), np.float32(w), np.float32(rate)
    at_inference = np.dot(x, w).var()
    return [at_inference + rate / (1 - rate) * ((x * w) ** 2).mean(axis=0).sum(), at_inference]
""",
    },
)

# ---------------------------------------------------------------- 2. measured_variance

MEASURED = """def measured_variance(x, w, masks, rate):
    s = (x * masks / (1 - rate)) @ w
    return np.var(s)
"""


def _masks(seed, draws, rate, **options):
    """Inputs, and the masks with which they are dropped, one for each draw, example and input."""
    inputs = _inputs(seed, **options)
    kept = np.random.default_rng(seed + 100).random((draws, *inputs["x"].shape)) >= rate
    return {**inputs, "masks": kept.astype(inputs["x"].dtype), "rate": rate}


measured_variance = Task(
    id="measured_variance",
    parts=(Part("variance", 3, "the measured variance", rtol=1e-4, atol=1e-5),),
    cases={
        "seven draws, rate 0.3": _masks(11, 7, 0.3, examples=9, count=4),
        "forty draws, rate 0.5": _masks(12, 40, 0.5, examples=5, count=3),
    },
    hidden={
        "one input, rate 0.8": _masks(13, 12, 0.8, examples=8, count=1),
        "nothing is dropped": _masks(14, 3, 0.0, examples=10, count=3),
        "float32": _masks(15, 6, 0.4, examples=20, count=8, dtype="float32"),
    },
    mistakes=(
        Mistake(
            "kept values not divided",
            "Your dropout does not divide what it keeps. Print the mean of the unit over many masks beside its value without dropout: they should agree.",
            MEASURED.replace(" / (1 - rate)", ""),
        ),
        Mistake(
            "kept values multiplied",
            "You shrink what is kept. Then both dropping *and* scaling make the mean smaller; which direction is needed to make up for what was dropped?",
            MEASURED.replace("/ (1 - rate)", "* (1 - rate)"),
        ),
        Mistake(
            "divided by the rate",
            "You divide by the probability of dropping. Which probability must the scale undo?",
            MEASURED.replace("/ (1 - rate)", "/ (rate or 1)"),
        ),
        Mistake(
            "mask the wrong way round",
            "You keep what the mask drops. In `masks`, 1 means kept.",
            MEASURED.replace("x * masks", "x * (1 - masks)"),
        ),
        Mistake(
            "averaged over masks first",
            "You average over the masks before you take the variance. What is averaged away there is the noise that batch norm sees in training: it is close to the variance at inference that is left.",
            MEASURED.replace("np.var(s)", "np.var(s.mean(axis=0))"),
        ),
        Mistake(
            "only the spread over masks",
            "You measure how much one example scatters over its masks. Batch norm sees different examples in a batch, too, and how these differ from one another is missing.",
            MEASURED.replace("np.var(s)", "np.var(s, axis=0).mean()"),
        ),
        Mistake(
            "only the spread within each draw",
            "You take a variance within each draw and average those. The draws have different means; what does the law of total variance add?",
            MEASURED.replace("np.var(s)", "np.var(s, axis=1).mean()"),
        ),
        Mistake(
            "the first mask for all",
            "You use one mask for all draws. How can it then matter that there are several?",
            MEASURED.replace("x * masks /", "x * masks[0] /"),
        ),
        Mistake(
            "divided by n - 1",
            "Your variance is too large by a factor that depends on the number of values alone. Batch norm divides by that number.",
            MEASURED.replace("np.var(s)", "np.var(s, ddof=1)"),
        ),
    ),
    alternatives={
        "einsum": """def measured_variance(x, w, masks, rate):
    s = np.einsum("dni,ni,i->dn", masks, x, w) / (1 - rate)
    return s.ravel().var()
""",
        "law of total variance": """def measured_variance(x, w, masks, rate):
    s = np.array([(x * mask) @ w for mask in masks]) / (1 - rate)
    return s.var(axis=0).mean() + s.mean(axis=0).var()
""",
        "whole numbers as masks, a warning": """import warnings


def measured_variance(x, w, masks, rate):
    warnings.warn("this takes a while")
    kept = masks.astype(int) > 0
    s = np.where(kept, x / (1 - rate), 0) @ w
    return float(np.mean(s**2) - np.mean(s) ** 2)
""",
        "written into its arguments": """def measured_variance(x, w, masks, rate):
    masks *= x
    masks /= 1 - rate
    return np.std((masks * w).sum(axis=-1)) ** 2
""",
    },
)

# ---------------------------------------------------------------- 3. kappa_and_ratios

KAPPA = """def kappa_and_ratios(x, w, rates):
    kappa = np.sum(w**2 * np.mean(x**2, axis=0)) / np.var(x @ w)
    odds = rates / (1 - rates)
    ratios = 1 / (1 + odds * kappa)
    return kappa, ratios
"""

kappa_and_ratios = Task(
    id="kappa_and_ratios",
    parts=(
        Part("kappa", 2, "kappa", rtol=1e-4, atol=1e-6),
        Part("ratios", 2, "the ratio for each rate", rtol=1e-4, atol=1e-6),
    ),
    cases={
        "six inputs, three rates": {**_inputs(21), "rates": np.array([0.0, 0.2, 0.5])},
        "one input": {**_inputs(22, count=1, mean=0.8), "rates": np.array([0.1, 0.5, 0.9])},
    },
    hidden={
        "thirty inputs": {**_inputs(23, count=30), "rates": np.array([0.05, 0.3, 0.7, 0.0])},
        "one rate": {**_inputs(24, count=3, mean=-0.6), "rates": np.array([0.25])},
        "float32": {
            **_inputs(25, examples=300, dtype="float32"),
            "rates": np.linspace(0.1, 0.8, 5, dtype="float32"),
        },
    },
    mistakes=(
        Mistake(
            "ratio upside down",
            "Your ratio is 1 or larger. Read again what is divided by what; dropout adds noise in which of the two modes?",
            KAPPA.replace("1 / (1 + odds * kappa)", "1 + odds * kappa"),
        ),
        Mistake(
            "ratio of standard deviations",
            "Your ratios are roots: this is by how much the *outputs* shrink. The question is about variances.",
            KAPPA.replace("1 / (1 + odds * kappa)", "1 / np.sqrt(1 + odds * kappa)"),
        ),
        Mistake(
            "kappa upside down",
            "Your kappa is signal against noise. Kappa is to be large where dropout does much harm to the variance.",
            KAPPA.replace(
                "np.sum(w**2 * np.mean(x**2, axis=0)) / np.var(x @ w)",
                "np.var(x @ w) / np.sum(w**2 * np.mean(x**2, axis=0))",
            ),
        ),
        Mistake(
            "rate taken for the probability of keeping",
            "With your formula a small rate shifts more than a large one. Evaluate it at rates near 0 and near 1: which should be the harmless end?",
            KAPPA.replace("rates / (1 - rates)", "(1 - rates) / np.maximum(rates, 1e-12)"),
        ),
        Mistake(
            "rate alone as the factor",
            "Your ratios stay too near to 1 at high rates: what should remain of the signal's share as the rate approaches 1? See how the rate enters in task 1.",
            KAPPA.replace("odds = rates / (1 - rates)", "odds = rates"),
        ),
        Mistake(
            "first order only",
            "Your ratio is a straight line in kappa, good for small shifts only. Put in a large kappa: a ratio of variances cannot be negative.",
            KAPPA.replace("1 / (1 + odds * kappa)", "1 - odds * kappa"),
        ),
        Mistake(
            "variance of the inputs in place of their mean square",
            "Your kappa does not change if a constant is added to an input. The noise of dropout does: it goes with the whole value, mean included.",
            KAPPA.replace("np.mean(x**2, axis=0)", "np.var(x, axis=0)"),
        ),
        Mistake(
            "weights not squared",
            "Double all weights: signal and noise grow by the same factor, so kappa must not change. Yours does.",
            KAPPA.replace("np.sum(w**2 *", "np.sum(w *"),
        ),
        Mistake(
            "inputs taken for independent",
            "Your signal is the sum of single variances. Inputs that share a signal add up to more than that: this is why width can help at all.",
            KAPPA.replace("np.var(x @ w)", "np.sum(w**2 * np.var(x, axis=0))"),
        ),
        Mistake(
            "noise divided by the noisy variance",
            "You divide the noise by the variance in *training*, which contains the noise already. Kappa is made of quantities of inference alone, and contains no rate.",
            KAPPA.replace("odds = ", "kappa = kappa / (1 + kappa)\n    odds = "),
        ),
        Mistake(
            "mean square of the output in place of its variance",
            "Your signal counts the mean of the unit's output. Batch norm subtracts that mean; what is left for it to divide by?",
            KAPPA.replace("np.var(x @ w)", "np.mean((x @ w) ** 2)"),
        ),
    ),
    alternatives={
        "with the two variances": """def kappa_and_ratios(x, w, rates):
    at_inference = (x @ w).var()
    noise = ((x * w) ** 2).mean(axis=0).sum()
    in_training = np.array([at_inference + rate / (1 - rate) * noise for rate in rates])
    return noise / at_inference, at_inference / in_training
""",
        "with the probability of keeping, einsum": """def kappa_and_ratios(x, w, rates):
    q = 1 - np.asarray(rates, dtype="float64")
    kappa = np.einsum("ni,ni,i,i->", x, x, w, w) / len(x) / np.var(np.einsum("ni,i->n", x, w))
    return kappa, q / (q + (1 - q) * kappa)
""",
        "float32, a helper and a warning": """import warnings


def ratio_at(rate, kappa):
    warnings.warn("one rate after the other")
    return 1 / (1 + rate * kappa / (1 - rate))


def kappa_and_ratios(x, w, rates):
    x, w = x.astype("float32"), w.astype("float32")
    kappa = np.float32(w**2 @ (x**2).mean(axis=0) / np.var(x @ w))
    return kappa, np.array([ratio_at(rate, kappa) for rate in rates], dtype="float32")
""",
    },
)

# ---------------------------------------------------------------- 4. ratio_by_width

WIDTH = """def ratio_by_width(widths, mean, variance, correlation, rate):
    signal = variance * (widths + widths * (widths - 1) * correlation)
    noise = rate / (1 - rate) * widths * (variance + mean**2)
    return signal / (signal + noise)
"""


def _width(widths, mean, variance, correlation, rate):
    return {
        "widths": np.array(widths),
        "mean": mean,
        "variance": variance,
        "correlation": correlation,
        "rate": rate,
    }


ratio_by_width = Task(
    id="ratio_by_width",
    parts=(Part("ratios", 4, "the ratio for each width", rtol=1e-5, atol=1e-7),),
    cases={
        "three widths": _width([1, 8, 128], 0.4, 0.5, 0.3, 0.5),
        "another rate and mean": _width([2, 16, 64], -1.2, 2.0, 0.6, 0.2),
    },
    hidden={
        "no correlation": _width([1, 32, 512], 0.7, 1.5, 0.0, 0.4),
        "one signal only": _width([1, 10, 100], 0.5, 3.0, 1.0, 0.7),
        "mean 0": _width([4, 40], 0.0, 0.25, 0.1, 0.5),
        "nothing is dropped": _width([3, 30], 1.0, 0.5, 0.2, 0.0),
    },
    mistakes=(
        Mistake(
            "n squared pairs",
            "You count too many pairs of *different* inputs. Check width 1: there is no pair, and the correlation must not matter.",
            WIDTH.replace("widths * (widths - 1)", "widths * widths"),
        ),
        Mistake(
            "half of the pairs",
            "You count each pair of inputs once. In the variance of a sum, how often does the covariance of inputs 1 and 2 appear? Write it out for two inputs.",
            WIDTH.replace("widths * (widths - 1)", "widths * (widths - 1) / 2"),
        ),
        Mistake(
            "correlation taken for the covariance",
            "Your result changes with the units of the inputs: make them twice as large (mean times 2, variance times 4), and the ratio must stay. A correlation has no units; a covariance has.",
            WIDTH.replace(
                "variance * (widths + widths * (widths - 1) * correlation)",
                "variance * widths + widths * (widths - 1) * correlation",
            ),
        ),
        Mistake(
            "correlation squared",
            "You square the correlation. It is already the covariance divided by a variance; the variance of a sum contains covariances, not their squares.",
            WIDTH.replace("* correlation)", "* correlation**2)"),
        ),
        Mistake(
            "inputs taken for independent",
            "Your ratio is the same for all widths. It should be so only if the inputs have nothing in common.",
            WIDTH.replace(" + widths * (widths - 1) * correlation", ""),
        ),
        Mistake(
            "width always helps",
            "Your ratio approaches 1 with the width even without correlation. Independent signals add up like independent noise: what then can width change?",
            WIDTH.replace(
                "variance * (widths + widths * (widths - 1) * correlation)", "variance * widths**2"
            ),
        ),
        Mistake(
            "mean forgotten in the noise",
            "You left the mean of the inputs out. The mean *square*, which the noise goes with, is more than the variance: by how much?",
            WIDTH.replace("variance + mean**2", "variance"),
        ),
        Mistake(
            "mean not squared",
            "You add a mean to a variance: their units do not agree. Try it with a negative mean, too.",
            WIDTH.replace("mean**2", "mean"),
        ),
        Mistake(
            "rate taken for the probability of keeping",
            "In your formula a small rate makes much noise. What should happen at rate 0?",
            WIDTH.replace("rate / (1 - rate)", "(1 - rate) / max(rate, 1e-12)"),
        ),
        Mistake(
            "the noise adds up like a signal",
            "Your noise grows with the square of the width. The masks are independent of each other; what does that say about the variance of a sum of their noises?",
            WIDTH.replace("* widths * (variance", "* widths**2 * (variance"),
        ),
        Mistake(
            "ratio upside down",
            "You give training over inference. The ratio asked for is the share of the variance that is left at inference.",
            WIDTH.replace("signal / (signal + noise)", "(signal + noise) / signal"),
        ),
    ),
    alternatives={
        "through kappa": """def ratio_by_width(widths, mean, variance, correlation, rate):
    kappa = (1 + mean**2 / variance) / (1 + (widths - 1) * correlation)
    return 1 / (1 + rate / (1 - rate) * kappa)
""",
        "a matrix of covariances for each width": """def ratio_by_width(widths, mean, variance, correlation, rate):
    ratios = []
    for n in widths:
        covariance = variance * (correlation * np.ones((n, n)) + (1 - correlation) * np.eye(n))
        w = np.full(n, 1 / n)
        clean = w @ covariance @ w
        noise = rate / (1 - rate) * np.sum(w**2 * (np.diag(covariance) + mean**2))
        ratios.append(clean / (clean + noise))
    return np.array(ratios)
""",
        "float32, a helper and a warning": """import warnings


def mean_square(mean, variance):
    warnings.warn("mean square")
    return variance + mean * mean


def ratio_by_width(widths, mean, variance, correlation, rate):
    n = widths.astype("float32")
    per_unit = 1 - correlation + n * correlation
    odds = rate / (1 - rate)
    return np.float32(variance * per_unit / (variance * per_unit + odds * mean_square(mean, variance)))
""",
    },
)

# ---------------------------------------------------------------- 5. shifted_norms

SHIFTED = """def shifted_norms(kinds, rates):
    noisy, shifted = False, []
    for kind, rate in zip(kinds, rates):
        if kind in ("dropout", "spatial_dropout") and rate > 0:
            noisy = True
        elif kind == "norm":
            shifted.append(noisy)
    return np.array(shifted)
"""


def _network(text):
    """Kinds and rates from "dense norm dropout:0.5 ..."."""
    pairs = [word.split(":") for word in text.split()]
    return {
        "kinds": np.array([pair[0] for pair in pairs]),
        "rates": np.array([float((pair + ["0"])[1]) for pair in pairs]),
    }


shifted_norms = Task(
    id="shifted_norms",
    parts=(Part("shifted", 3, "for each norm, whether its variance is shifted", compare="equal"),),
    cases={
        "dropout at the end of each block": _network(
            "dense norm relu dropout:0.5 dense norm relu dropout:0.5 dense norm relu dropout:0.5 dense"
        ),
        "no linear layer in between": _network(
            "conv norm relu spatial_dropout:0.2 max norm conv norm relu mean dense"
        ),
        "a rate of 0": _network("dense norm relu dropout:0 dense norm relu dropout:0.3 norm dense"),
    },
    hidden={
        "only behind the last norm": _network(
            "conv norm relu conv norm relu mean dense relu dropout:0.5 dense"
        ),
        "dropout on the input": _network("dropout:0.2 dense norm relu dense norm relu dense"),
        "no dropout": _network("dense norm relu dense norm relu dense"),
        "the second dropout counts": _network(
            "conv norm relu dropout:0 conv norm relu spatial_dropout:0.1 max conv norm relu conv norm relu mean dropout:0.5 dense"
        ),
    },
    mistakes=(
        Mistake(
            "only a norm straight behind dropout",
            "You look at direct neighbours only. A linear layer between dropout and norm adds the noise up; it does not remove it (lesson 06, section 2).",
            """def shifted_norms(kinds, rates):
    return np.array([
        i > 0 and "dropout" in kinds[i - 1] and rates[i - 1] > 0 for i in range(len(kinds)) if kinds[i] == "norm"
    ])
""",
        ),
        Mistake(
            "any dropout in the network",
            "You say that all norms are shifted as soon as there is dropout somewhere. Does what stands *behind* a norm change what arrives at it?",
            """def shifted_norms(kinds, rates):
    somewhere = any("dropout" in kind and rate > 0 for kind, rate in zip(kinds, rates))
    return np.array([somewhere for kind in kinds if kind == "norm"])
""",
        ),
        Mistake(
            "dropout acts backwards",
            "You mark the norms that stand *before* dropout. Follow an image through the network: which layers does it meet first?",
            """def shifted_norms(kinds, rates):
    return np.array([
        any("dropout" in kind and rate > 0 for kind, rate in zip(kinds[i:], rates[i:]))
        for i in range(len(kinds)) if kinds[i] == "norm"
    ])
""",
        ),
        Mistake(
            "a rate of 0 counts",
            "You count a dropout that drops nothing. What is the added variance at rate 0?",
            SHIFTED.replace(" and rate > 0", ""),
        ),
        Mistake(
            "the first norm takes the noise away",
            "You let a norm end the noise. Batch norm divides signal and noise alike by one number; the noise goes on to the layers behind it.",
            SHIFTED.replace(
                "shifted.append(noisy)", "shifted.append(noisy)\n            noisy = False"
            ),
        ),
        Mistake(
            "a linear layer averages the noise away",
            "You let a dense or convolutional layer end the noise. A sum of independent noises has *more* variance than one of them.",
            SHIFTED.replace(
                '        elif kind == "norm":',
                '        elif kind in ("dense", "conv"):\n            noisy = False\n        elif kind == "norm":',
            ),
        ),
        Mistake(
            "spatial dropout does not count",
            "You overlook one kind of dropout. Whether single values or whole feature maps are dropped: is the mean square of a channel larger in training?",
            SHIFTED.replace('kind in ("dropout", "spatial_dropout")', 'kind == "dropout"'),
        ),
        Mistake(
            "elementwise dropout does not count",
            "You look for one kind of dropout only. Both kinds add variance in training.",
            SHIFTED.replace('kind in ("dropout", "spatial_dropout")', 'kind == "spatial_dropout"'),
        ),
        Mistake(
            "healthy norms marked",
            "You mark the norms that are *not* shifted. True is to mean: the variance at inference differs from the stored one.",
            SHIFTED.replace("np.array(shifted)", "~np.array(shifted)"),
        ),
    ),
    alternatives={
        "running count": """def shifted_norms(kinds, rates):
    drops = np.char.endswith(kinds, "dropout") & (rates > 0)
    return (np.cumsum(drops) > 0)[kinds == "norm"]
""",
        "whole numbers": """def shifted_norms(kinds, rates):
    places = [i for i, kind in enumerate(kinds) if kind.endswith("dropout") and rates[i] > 0]
    first = min(places, default=len(kinds))
    return np.array([int(i > first) for i, kind in enumerate(kinds) if kind == "norm"])
""",
        "a helper and a warning": """import warnings


def is_noise(kind, rate):
    warnings.warn(f"looking at {kind}")
    return "dropout" in str(kind) and float(rate) != 0.0


def shifted_norms(kinds, rates):
    answer = []
    for i in range(len(kinds)):
        if kinds[i] == "norm":
            answer.append(bool(any(is_noise(kinds[j], rates[j]) for j in range(i))))
    return np.asarray(answer, dtype=bool)
""",
    },
)

TASKS = (two_variances, measured_variance, kappa_and_ratios, ratio_by_width, shifted_norms)
