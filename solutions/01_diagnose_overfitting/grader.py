"""Assignment 01: what is compared, on which inputs, and the mistakes that people make.

A mistake is the right answer with one thing changed, so that the change can be seen.
"""

import numpy as np

from course.grading.tasks import Mistake, Part, Task

# ---------------------------------------------------------------- 1. overfitting_gap

GAP = """def overfitting_gap(train_loss, validation_loss, last=5):
    gap = validation_loss - train_loss
    return gap[-last:].mean()
"""


def _curves(seed, epochs, rise, dtype="float64"):
    """Made-up losses of training and validation; with a large `rise` the latter turns up again."""
    rng = np.random.default_rng(seed)
    epoch = np.arange(epochs)
    train = 0.1 + 2.2 * np.exp(-epoch / 3) + 0.03 * rng.normal(size=epochs)
    validation = 0.1 + 2.2 * np.exp(-epoch / 3) + rise * epoch + 0.05 * rng.normal(size=epochs)
    return {"train_loss": train.astype(dtype), "validation_loss": validation.astype(dtype)}


overfitting_gap = Task(
    id="overfitting_gap",
    parts=(Part("gap", 2, "the mean gap over the last epochs, in nats", rtol=1e-4, atol=1e-5),),
    cases={
        "validation turns up": {**_curves(1, 14, 0.06), "last": 4},
        "validation below training": {**_curves(2, 9, -0.02), "last": 3},
    },
    hidden={
        "the last epoch alone": {**_curves(3, 8, 0.03), "last": 1},
        "as many as there are": {**_curves(4, 6, 0.05), "last": 6},
        "float32": {**_curves(5, 40, 0.01, "float32"), "last": 5},
        "the gap changes its sign": {**_curves(6, 10, -0.004), "last": 5},
        "validation far below training": {**_curves(7, 7, -0.04), "last": 2},
    },
    mistakes=(
        Mistake(
            "training minus validation",
            "Your gap has the wrong sign: a network that has overfitted gets a negative number from you. Look up in "
            "lesson 00 what is subtracted from what, and test with a validation loss that is plainly the larger.",
            GAP.replace("validation_loss - train_loss", "train_loss - validation_loss"),
        ),
        Mistake(
            "absolute value of the gap",
            "You have thrown the sign away. Where the validation loss is the lower one, the gap is negative, and "
            "that is news: it can mean that the two losses were not measured in the same mode.",
            GAP.replace("gap[-last:].mean()", "abs(gap[-last:].mean())"),
        ),
        Mistake(
            "the last epoch only",
            "You report one epoch. A single epoch is noisy, which is why `last` says over how many the mean is to "
            "be taken.",
            GAP.replace("gap[-last:].mean()", "gap[-1]"),
        ),
        Mistake(
            "all epochs",
            "Your mean runs over the whole training, so that the first epochs, when nothing had been learnt yet, "
            "dilute the gap at the end.",
            GAP.replace("gap[-last:]", "gap"),
        ),
        Mistake(
            "the first epochs",
            "You have taken epochs from the wrong end of the curves. Print the slice that you average, for an array "
            "of five numbers.",
            GAP.replace("gap[-last:]", "gap[:last]"),
        ),
        Mistake(
            "the final epoch is left out",
            "One epoch is missing: your slice ends before the final one. Print it for an array of five numbers.",
            GAP.replace("gap[-last:]", "gap[-last - 1:-1]"),
        ),
        Mistake(
            "difference of the two lowest losses",
            "You compare the best epoch of one curve with the best epoch of the other, and these are different "
            "networks: the weights of different epochs. A gap belongs to one network at a time.",
            GAP.replace("gap[-last:].mean()", "validation_loss.min() - train_loss.min()"),
        ),
        Mistake(
            "ratio in place of the difference",
            "You divide one loss by the other. The gap is a difference, in nats; a ratio explodes when the training "
            "loss comes near 0.",
            GAP.replace("validation_loss - train_loss", "validation_loss / train_loss"),
        ),
        Mistake(
            "the gap at the best epoch",
            "You report the gap where the validation loss was lowest. That is the network that early stopping would "
            "keep (task 2); here the question is where the training has ended.",
            GAP.replace("gap[-last:].mean()", "gap[validation_loss.argmin()]"),
        ),
    ),
    alternatives={
        "a loop and plain numbers": """def overfitting_gap(train_loss, validation_loss, last=5):
    total = 0.0
    for epoch in range(len(train_loss) - last, len(train_loss)):
        total += float(validation_loss[epoch]) - float(train_loss[epoch])
    return total / last
""",
        "float32": """def overfitting_gap(train_loss, validation_loss, last=5):
    train, validation = np.float32(train_loss), np.float32(validation_loss)
    return np.mean(validation[-last:], dtype="float32") - np.mean(train[-last:], dtype="float32")
""",
        "a helper, a warning and prints": """import warnings


def late(curve, last):
    warnings.warn("taking the mean of a curve")
    print("the last epochs:", curve[-last:])
    return np.average(curve[-last:])


def overfitting_gap(train_loss, validation_loss, last=5):
    return late(np.asarray(validation_loss), last) - late(np.asarray(train_loss), last)
""",
        "written into its arguments": """def overfitting_gap(train_loss, validation_loss, last=5):
    validation_loss -= train_loss
    return validation_loss[::-1][:last].sum() / last
""",
    },
)

# ---------------------------------------------------------------- 2. early_stopping

STOP = """def early_stopping(validation_loss, patience):
    best = 0
    for epoch in range(1, len(validation_loss)):
        if validation_loss[epoch] < validation_loss[best]:
            best = epoch
        elif epoch - best >= patience:
            return best, epoch + 1
    return best, len(validation_loss)
"""

# The same with a counter, for the mistakes that people make with it.
STOP_COUNTER = """def early_stopping(validation_loss, patience):
    best, waited = 0, 0
    for epoch in range(1, len(validation_loss)):
        if validation_loss[epoch] < validation_loss[best]:
            best, waited = epoch, 0
        else:
            waited += 1
            if waited >= patience:
                return best, epoch + 1
    return best, len(validation_loss)
"""

early_stopping = Task(
    id="early_stopping",
    parts=(
        Part("best", 2, "the index of the epoch that is kept", compare="equal"),
        Part("trained", 1, "how many epochs were trained", compare="equal"),
    ),
    cases={
        "a bump, then a rise": {
            "validation_loss": np.array([1.3, 0.9, 0.95, 0.93, 0.7, 0.74, 0.72, 0.76, 0.6, 0.5]),
            "patience": 3,
        },
        "never stopped": {
            "validation_loss": np.array([1.1, 0.8, 0.85, 0.7, 0.66, 0.68]),
            "patience": 4,
        },
        "the same loss again": {
            "validation_loss": np.array([0.9, 0.5, 0.6, 0.5, 0.7, 0.8]),
            "patience": 2,
        },
    },
    hidden={
        "patience 1": {"validation_loss": np.array([0.9, 0.7, 0.6, 0.61, 0.4]), "patience": 1},
        "worse from the start": {
            "validation_loss": np.array([0.5, 0.6, 0.7, 0.8, 0.1]),
            "patience": 3,
        },
        "stopped in the last epoch": {
            "validation_loss": np.array([0.9, 0.4, 0.6, 0.5]),
            "patience": 2,
        },
        "float32": {
            "validation_loss": np.float32(
                [2.0, 1.5, 1.6, 1.2, 1.3, 1.25, 1.1, 1.15, 1.2, 1.3, 1.19, 0.2]
            ),
            "patience": 4,
        },
        "one epoch": {"validation_loss": np.array([0.7]), "patience": 2},
        "a level stretch": {
            "validation_loss": np.array([0.8, 0.6, 0.6, 0.6, 0.6, 0.5]),
            "patience": 3,
        },
    },
    mistakes=(
        Mistake(
            "the highest loss",
            "You keep the epoch with the highest validation loss. Of an accuracy the highest is best; of a loss?",
            STOP.replace("[epoch] < validation_loss[best]", "[epoch] > validation_loss[best]"),
        ),
        Mistake(
            "the lowest loss of the whole curve",
            "Your epoch may lie beyond the point at which training had stopped. Early stopping cannot know the "
            "future: go through the epochs in order, and decide after each with what is known by then.",
            """def early_stopping(validation_loss, patience):
    best = int(np.argmin(validation_loss))
    return best, min(best + patience + 1, len(validation_loss))
""",
        ),
        Mistake(
            "keeps the last epoch",
            "You keep the weights of the epoch in which training stopped. By then the loss had not improved for "
            "`patience` epochs, so these weights are not the best ones. (Keras does the same unless it is given "
            "`restore_best_weights=True`.)",
            STOP.replace("return best, epoch + 1", "return epoch, epoch + 1").replace(
                "return best, len(validation_loss)",
                "return len(validation_loss) - 1, len(validation_loss)",
            ),
        ),
        Mistake(
            "the counter is never set back",
            "You count all epochs without improvement since the start. Patience is about epochs in a row: what "
            "must happen to the counter when the loss improves?",
            STOP_COUNTER.replace("best, waited = epoch, 0", "best = epoch"),
        ),
        Mistake(
            "compared with the epoch before",
            "You compare each loss with the one just before it. A loss that falls after a bump is no improvement as "
            "long as it stays above the best so far. Follow the first case by hand.",
            STOP_COUNTER.replace("< validation_loss[best]", "< validation_loss[epoch - 1]"),
        ),
        Mistake(
            "patience longer by one",
            "You train one epoch too long. With a patience of 1 training stops after the first epoch that is not "
            "better.",
            STOP.replace("epoch - best >= patience", "epoch - best > patience"),
        ),
        Mistake(
            "a tie counts as an improvement",
            "You count the same loss again as an improvement. It is not lower; the third case has such a tie.",
            STOP.replace("< validation_loss[best]", "<= validation_loss[best]"),
        ),
        Mistake(
            "epochs counted from one",
            "Your epoch is too large by one. What is asked for is an index, with which the weights can be found in "
            "a list: the first epoch has the index 0.",
            STOP.replace("return best,", "return best + 1,"),
        ),
        Mistake(
            "the last trained epoch is not counted",
            "You return the index of the epoch in which training stopped where the number of trained epochs is "
            "asked for. If it stops in the epoch with the index 4, how many were trained?",
            STOP.replace("return best, epoch + 1", "return best, epoch").replace(
                "return best, len(validation_loss)", "return best, len(validation_loss) - 1"
            ),
        ),
    ),
    alternatives={
        "with a counter": STOP_COUNTER,
        "the lowest loss as a number": """def early_stopping(validation_loss, patience):
    lowest, best, waited, trained = float("inf"), None, 0, 0
    for epoch, loss in enumerate(validation_loss):
        trained += 1
        if loss < lowest:
            lowest, best, waited = loss, epoch, 0
        else:
            waited += 1
        if waited == patience:
            break
    return np.int64(best), np.array(trained)
""",
        "without a loop": """def early_stopping(validation_loss, patience):
    epochs = np.arange(len(validation_loss))
    best_so_far = np.array([np.argmin(validation_loss[: epoch + 1]) for epoch in epochs])
    stops = np.flatnonzero(epochs - best_so_far >= patience)
    trained = stops[0] + 1 if len(stops) else len(epochs)
    return [best_so_far[trained - 1], trained]
""",
    },
)

# ---------------------------------------------------------------- 3. diagnose

DIAGNOSE = """def diagnose(logged, train, validation, target, smallest):
    def verdict(train):
        if train > target + smallest:
            return "underfits"
        if validation - train > smallest:
            return "overfits"
        return "fits"

    return verdict(train), verdict(logged) != verdict(train)
"""


def _losses(logged, train, validation, target=0.4, smallest=0.05):
    return {
        "logged": logged,
        "train": train,
        "validation": validation,
        "target": target,
        "smallest": smallest,
    }


diagnose = Task(
    id="diagnose",
    parts=(
        Part("verdict", 2, "the verdict", compare="equal"),
        Part("misleads", 1, "whether the log misleads", compare="equal"),
    ),
    cases={
        "a wide gap": _losses(0.20, 0.15, 0.50),
        "dropout hides the gap": _losses(0.44, 0.30, 0.46),
        "much dropout": _losses(0.52, 0.33, 0.47),
        "a small network": _losses(0.95, 0.90, 1.10),
        "nothing to complain about": _losses(0.36, 0.34, 0.37),
        "easy validation examples": _losses(0.43, 0.40, 0.32),
        "easy validation examples, and dropout": _losses(0.60, 0.42, 0.33),
        "validation above the target": _losses(0.39, 0.38, 0.48),
    },
    hidden={
        "other units": _losses(1.65, 1.20, 1.70, target=1.5, smallest=0.1),
        "far from the target": _losses(2.2, 2.0, 1.9, target=0.3, smallest=0.2),
        "a gap that does not matter": _losses(0.12, 0.10, 0.25, target=0.2, smallest=0.3),
        "no log to speak of": _losses(0.10, 0.10, 0.90, target=0.2, smallest=0.02),
        "far from the target, with a gap": _losses(1.3, 1.2, 1.6, target=0.5, smallest=0.1),
        "log below the honest loss": _losses(0.31, 0.38, 0.41, target=0.3, smallest=0.05),
        "validation much the lower": _losses(0.35, 0.34, 0.10, target=0.4, smallest=0.05),
    },
    mistakes=(
        Mistake(
            "the logged loss taken for the training loss",
            "Your verdict rests on the loss that `fit` logs. It was measured with dropout on, the validation loss "
            "with dropout off: their difference says nothing about overfitting (lesson 04, section 5).",
            DIAGNOSE.replace("return verdict(train),", "return verdict(logged),"),
        ),
        Mistake(
            "absolute gap",
            "You call a network overfitted whose validation loss is lower than its training loss. The sign of the "
            "gap matters.",
            DIAGNOSE.replace("validation - train > smallest", "abs(validation - train) > smallest"),
        ),
        Mistake(
            "gap with the wrong sign",
            'You say "overfits" where the training loss is the higher one. Which of the two losses is higher when '
            "examples have been learnt by heart?",
            DIAGNOSE.replace("validation - train > smallest", "train - validation > smallest"),
        ),
        Mistake(
            "underfitting judged by the validation loss",
            'You say "underfits" because the validation loss misses the target. Underfitting means that the '
            "network cannot even fit the examples that it was trained on: which loss shows that?",
            DIAGNOSE.replace("if train > target + smallest:", "if validation > target + smallest:"),
        ),
        Mistake(
            "the gap is judged first",
            'Where a network misses the target on its training examples and has a gap, you say "overfits". The '
            "order of the rules counts: a network that has not learnt yet needs something else first than "
            "regularisation.",
            """def diagnose(logged, train, validation, target, smallest):
    def verdict(train):
        if validation - train > smallest:
            return "overfits"
        if train > target + smallest:
            return "underfits"
        return "fits"

    return verdict(train), verdict(logged) != verdict(train)
""",
        ),
        Mistake(
            "every gap is overfitting",
            "You call every positive gap overfitting. There nearly always is a small one; `smallest` says from "
            "where on it matters.",
            DIAGNOSE.replace("validation - train > smallest", "validation - train > 0"),
        ),
        Mistake(
            "every miss of the target is underfitting",
            "You allow no margin at the target. `smallest` is the least difference that matters, there as well as "
            "for the gap.",
            DIAGNOSE.replace("train > target + smallest", "train > target"),
        ),
        Mistake(
            "misleads whenever the logged loss is higher",
            "A logged loss above the honest one is normal with dropout, and does not always do harm. The log "
            "misleads if whoever uses it comes to another verdict.",
            DIAGNOSE.replace("verdict(logged) != verdict(train)", "logged > train"),
        ),
        Mistake(
            "misleads whenever validation looks better",
            "You say that the log misleads where the validation loss lies below the logged one. That is the most "
            "striking form, not the only one. Ask what somebody would conclude from the log, and whether it differs "
            "from the honest verdict.",
            DIAGNOSE.replace("verdict(logged) != verdict(train)", "validation < logged"),
        ),
    ),
    alternatives={
        "chained conditions": """def diagnose(logged, train, validation, target, smallest):
    verdicts = []
    for loss in (train, logged):
        verdicts.append(
            "underfits" if loss - target > smallest else "overfits" if validation > loss + smallest else "fits"
        )
    return verdicts[0], len(set(verdicts)) == 2
""",
        "NumPy's select": """def diagnose(logged, train, validation, target, smallest):
    loss = np.array([logged, train])
    found = np.select([loss > target + smallest, validation - loss > smallest], ["underfits", "overfits"], "fits")
    return str(found[1]), np.bool_(found[0] != found[1])
""",
        "a helper, and a list": """def rule(train, validation, target, smallest):
    print(train, validation)
    if train > target + smallest:
        return "under" + "fits"
    return "overfits" if validation - train > smallest else "fits"


def diagnose(logged, train, validation, target, smallest):
    honest = rule(train, validation, target, smallest)
    return [honest, not honest == rule(logged, validation, target, smallest)]
""",
    },
)

# ---------------------------------------------------------------- 4. paired_interval

PAIRED = """def paired_interval(a, b):
    difference = a - b
    n = len(difference)
    error = difference.std(ddof=1) / np.sqrt(n)
    half = T_975[n - 1] * error
    mean = difference.mean()
    return mean, mean - half, mean + half
"""


def _seeds(seed, count, effect, spread=0.05, between=0.2, dtype="float64"):
    """Two arms over the same seeds: the seeds differ much, and in the same way in both arms."""
    rng = np.random.default_rng(seed)
    common = 0.6 + between * rng.normal(size=count)
    return {
        "a": (common + effect + spread * rng.normal(size=count)).astype(dtype),
        "b": (common + spread * rng.normal(size=count)).astype(dtype),
    }


paired_interval = Task(
    id="paired_interval",
    parts=(
        Part("mean", 1, "the mean difference", rtol=1e-3, atol=1e-5),
        Part("low", 1, "the lower end of the interval", rtol=1e-3, atol=1e-5),
        Part("high", 1, "the upper end of the interval", rtol=1e-3, atol=1e-5),
    ),
    cases={
        "five seeds": _seeds(11, 5, 0.08),
        "three seeds": _seeds(12, 3, -0.1),
    },
    hidden={
        "ten seeds": _seeds(13, 10, 0.02),
        "two seeds": _seeds(14, 2, 0.3),
        "b varies more than a": {
            "a": np.array([0.50, 0.51, 0.49, 0.50]),
            "b": np.array([0.1, 0.9, 0.4, 0.3]),
        },
        "float32": _seeds(15, 7, -0.04, dtype="float32"),
        "the same difference for all seeds": {
            "a": np.array([2.5, 3.5, 1.25]),
            "b": np.array([2.0, 3.0, 0.75]),
        },
    },
    mistakes=(
        Mistake(
            "unpaired",
            "Your interval is that of two independent groups. Both runs of a pair share their seed, and what they "
            "share drops out of their difference: so form the differences first. (Your mean is right, and your "
            "interval usually too wide.)",
            PAIRED.replace(
                "error = difference.std(ddof=1) / np.sqrt(n)",
                "error = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)",
            ),
        ),
        Mistake(
            "standard deviation for standard error",
            "Your interval says how much single differences scatter. The question is how well their mean is "
            "known, and that gets better with the number of seeds.",
            PAIRED.replace("/ np.sqrt(n)", ""),
        ),
        Mistake(
            "divided by n and not by its root",
            "Your interval shrinks too fast as seeds are added. The variance of a mean falls with the number of "
            "values; what does its standard deviation do?",
            PAIRED.replace("/ np.sqrt(n)", "/ n"),
        ),
        Mistake(
            "z in place of t",
            "You have taken the factor of the normal distribution, 1.96. That is for a spread that is known; here "
            "it is itself estimated, from a handful of seeds, and the interval must be wider for it.",
            PAIRED.replace("T_975[n - 1]", "1.96"),
        ),
        Mistake(
            "spread divided by n",
            "Your spread of the differences is too small: you divide by n, while the deviations are taken from the "
            "mean of the same n values. NumPy's `std` does that unless it is told otherwise.",
            PAIRED.replace("difference.std(ddof=1)", "difference.std()"),
        ),
        Mistake(
            "n degrees of freedom",
            "You have looked up the factor at n degrees of freedom. One is used up by the mean of the differences.",
            PAIRED.replace("T_975[n - 1]", "T_975[n]"),
        ),
        Mistake(
            "b minus a",
            "Your difference has the wrong sign: `a` is the arm with the change, `b` the one it is compared with.",
            PAIRED.replace("a - b", "b - a"),
        ),
        Mistake(
            "half of the half width",
            "Your interval is half as wide as it should be: the factor times the standard error is the distance "
            "from the mean to each end.",
            PAIRED.replace("T_975[n - 1] * error", "T_975[n - 1] * error / 2"),
        ),
        Mistake(
            "sorted before pairing",
            "You have sorted the two arms. That leaves their means alone and makes new pairs: lowest with lowest. A "
            "pair is what shares a seed, and that is told by the position.",
            PAIRED.replace("a - b", "np.sort(a) - np.sort(b)"),
        ),
    ),
    alternatives={
        "SciPy": """def paired_interval(a, b):
    from scipy import stats

    difference = np.asarray(a, "float64") - np.asarray(b, "float64")
    half = stats.t.ppf(0.975, len(a) - 1) * stats.sem(difference)
    return difference.mean(), difference.mean() - half, difference.mean() + half
""",
        "the standard library": """import statistics


def paired_interval(a, b):
    difference = [float(x) - float(y) for x, y in zip(a, b)]
    mean = statistics.mean(difference)
    half = T_975[len(difference) - 1] * statistics.stdev(difference) / len(difference) ** 0.5
    return [mean, mean - half, mean + half]
""",
        "float32, and a warning": """def paired_interval(a, b):
    import warnings

    warnings.warn("few seeds")
    difference = np.subtract(a, b, dtype="float32")
    n = difference.size
    variance = ((difference - difference.mean()) ** 2).sum() / (n - 1)
    ends = difference.mean() + np.float32(T_975[n - 1]) * np.sqrt(variance / n) * np.float32([-1, 1])
    return difference.mean(), ends[0], ends[1]
""",
    },
)

# ---------------------------------------------------------------- 5. verdict

VERDICT = """def verdict(low, high, smallest):
    if low > smallest:
        return "higher"
    if high < -smallest:
        return "lower"
    if low >= -smallest and high <= smallest:
        return "no difference that matters"
    return "undecided"
"""


def _interval(low, high, smallest=0.01):
    return {"low": low, "high": high, "smallest": smallest}


verdict = Task(
    id="verdict",
    parts=(Part("verdict", 2, "the verdict", compare="equal"),),
    cases={
        "far above": _interval(0.03, 0.08),
        "far below": _interval(-0.09, -0.02),
        "close to 0": _interval(-0.006, 0.004),
        "wide": _interval(-0.03, 0.02),
        "above 0 but not by much": _interval(0.004, 0.05),
        "above 0 and close to it": _interval(0.002, 0.008),
        "mostly below": _interval(-0.05, 0.003),
    },
    hidden={
        "wide, other units": _interval(-3.0, 4.0, 0.5),
        "below 0 but not by much": _interval(-0.2, -0.01, 0.02),
        "below 0 and close to it": _interval(-0.018, -0.001, 0.02),
        "every difference matters, above": _interval(0.001, 0.002, 0.0),
        "every difference matters, around 0": _interval(-0.001, 0.002, 0.0),
        "wide and centred": _interval(-0.06, 0.06, 0.05),
        "far below, other units": _interval(-9.0, -2.0, 1.0),
        "close to 0, other units": _interval(-0.7, 0.9, 1.0),
    },
    mistakes=(
        Mistake(
            "not shown taken for not there",
            'You say "no difference that matters" where the interval leaves it open. That needs the whole '
            "interval within ± `smallest`; an interval that reaches beyond only says that these seeds cannot tell.",
            VERDICT.replace(
                "low >= -smallest and high <= smallest", "low <= smallest and high >= -smallest"
            ),
        ),
        Mistake(
            "compared with 0",
            "You compare the ends with 0. A difference can be beyond doubt and still too small to matter: "
            "`smallest` is the line to be crossed.",
            VERDICT.replace("low > smallest", "low > 0").replace("high < -smallest", "high < 0"),
        ),
        Mistake(
            "judged by the middle of the interval",
            'You judge by the mean alone, so you never answer "undecided". What the interval is for is how far '
            "from the mean the truth may lie.",
            """def verdict(low, high, smallest):
    mean = (low + high) / 2
    if mean > smallest:
        return "higher"
    if mean < -smallest:
        return "lower"
    return "no difference that matters"
""",
        ),
        Mistake(
            "one end suffices",
            'You say "higher" or "lower" as soon as one end of the interval lies beyond `smallest`. The other '
            "end is just as possible.",
            VERDICT.replace("low > smallest", "high > smallest").replace(
                "high < -smallest", "low < -smallest"
            ),
        ),
        Mistake(
            "higher and lower swapped",
            '"Higher" and "lower" are the wrong way round. Try an interval from 3 to 4.',
            VERDICT.replace('"higher"', '"?"')
            .replace('"lower"', '"higher"')
            .replace('"?"', '"lower"'),
        ),
        Mistake(
            "undecided whenever 0 is inside",
            'You answer "undecided" whenever 0 lies in the interval. A narrow interval around 0 decides a lot: '
            "it excludes every difference that would matter.",
            VERDICT.replace(
                "    if low >= -smallest",
                '    if low < 0 < high:\n        return "undecided"\n    if low >= -smallest',
            ),
        ),
        Mistake(
            "decided whenever 0 is outside",
            "You treat an interval that leaves 0 out, and reaches beyond `smallest` on one side only in part, as "
            "decided. Part of it lies where the difference would not matter.",
            """def verdict(low, high, smallest):
    if low >= -smallest and high <= smallest:
        return "no difference that matters"
    if low > 0:
        return "higher"
    if high < 0:
        return "lower"
    return "undecided"
""",
        ),
        Mistake(
            "no line on the negative side",
            "Below 0 your line is in the wrong place: a difference of -0.05 is as large as one of 0.05, so "
            "`smallest` needs a sign there.",
            VERDICT.replace("high < -smallest", "high < smallest"),
        ),
    ),
    alternatives={
        "the other order": """def verdict(low, high, smallest):
    if max(abs(low), abs(high)) <= smallest:
        return "no difference that matters"
    if -smallest <= low <= smallest or -smallest <= high <= smallest or low < 0 < high:
        return "undecided"
    return "higher" if low > 0 else "lower"
""",
        "NumPy's text": """def verdict(low, high, smallest):
    rules = [low > smallest, high < -smallest, np.all(np.abs([low, high]) <= smallest)]
    return np.select(rules, ["higher", "lower", "no difference that matters"], "undecided")
""",
        "by the places of the ends": """import warnings

WORDS = {(1, 1): "higher", (-1, -1): "lower", (0, 0): "no difference that matters"}


def place(end, smallest):
    warnings.warn("looking up a place", DeprecationWarning)
    return int(end > smallest) - int(end < -smallest)


def verdict(low, high, smallest):
    return WORDS.get((place(low, smallest), place(high, smallest)), "undecided")
""",
    },
)

TASKS = (overfitting_gap, early_stopping, diagnose, paired_interval, verdict)
