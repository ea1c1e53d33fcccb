"""Other right answers, in cells `# %% task: what is other about it`.

Each is run where the answer stands in the notebook. What precedes the first cell is for the linter.
"""

import numpy as np

T_975 = {}  # the table of the notebook


# %% overfitting_gap: a loop and plain numbers
def overfitting_gap(train_loss, validation_loss, last=5):
    total = 0.0
    for epoch in range(len(train_loss) - last, len(train_loss)):
        total += float(validation_loss[epoch]) - float(train_loss[epoch])
    return total / last


# %% overfitting_gap: float32
def overfitting_gap(train_loss, validation_loss, last=5):
    train, validation = np.float32(train_loss), np.float32(validation_loss)
    return np.mean(validation[-last:], dtype="float32") - np.mean(train[-last:], dtype="float32")


# %% overfitting_gap: a helper, a warning and prints
import warnings


def late(curve, last):
    warnings.warn("taking the mean of a curve")
    print("the last epochs:", curve[-last:])
    return np.average(curve[-last:])


def overfitting_gap(train_loss, validation_loss, last=5):
    return late(np.asarray(validation_loss), last) - late(np.asarray(train_loss), last)


# %% overfitting_gap: written into its arguments
def overfitting_gap(train_loss, validation_loss, last=5):
    validation_loss -= train_loss
    return validation_loss[::-1][:last].sum() / last


# %% early_stopping: with a counter
def early_stopping(validation_loss, patience):
    best, waited = 0, 0
    for epoch in range(1, len(validation_loss)):
        if validation_loss[epoch] < validation_loss[best]:
            best, waited = epoch, 0
        else:
            waited += 1
            if waited >= patience:
                return best, epoch + 1
    return best, len(validation_loss)


# %% early_stopping: the lowest loss as a number
def early_stopping(validation_loss, patience):
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


# %% early_stopping: without a loop
def early_stopping(validation_loss, patience):
    epochs = np.arange(len(validation_loss))
    best_so_far = np.array([np.argmin(validation_loss[: epoch + 1]) for epoch in epochs])
    stops = np.flatnonzero(epochs - best_so_far >= patience)
    trained = stops[0] + 1 if len(stops) else len(epochs)
    return [best_so_far[trained - 1], trained]


# %% diagnose: chained conditions
def diagnose(logged, train, validation, target, smallest):
    verdicts = []
    for loss in (train, logged):
        verdicts.append(
            "underfits"
            if loss - target > smallest
            else "overfits"
            if validation > loss + smallest
            else "fits"
        )
    return verdicts[0], len(set(verdicts)) == 2


# %% diagnose: NumPy's select
def diagnose(logged, train, validation, target, smallest):
    loss = np.array([logged, train])
    found = np.select(
        [loss > target + smallest, validation - loss > smallest], ["underfits", "overfits"], "fits"
    )
    return str(found[1]), np.bool_(found[0] != found[1])


# %% diagnose: a helper, and a list
def rule(train, validation, target, smallest):
    print(train, validation)
    if train > target + smallest:
        return "under" + "fits"
    return "overfits" if validation - train > smallest else "fits"


def diagnose(logged, train, validation, target, smallest):
    honest = rule(train, validation, target, smallest)
    return [honest, not honest == rule(logged, validation, target, smallest)]


# %% paired_interval: SciPy
def paired_interval(a, b):
    from scipy import stats

    difference = np.asarray(a, "float64") - np.asarray(b, "float64")
    half = stats.t.ppf(0.975, len(a) - 1) * stats.sem(difference)
    return difference.mean(), difference.mean() - half, difference.mean() + half


# %% paired_interval: the standard library
import statistics


def paired_interval(a, b):
    difference = [float(x) - float(y) for x, y in zip(a, b)]
    mean = statistics.mean(difference)
    half = T_975[len(difference) - 1] * statistics.stdev(difference) / len(difference) ** 0.5
    return [mean, mean - half, mean + half]


# %% paired_interval: float32, and a warning
def paired_interval(a, b):
    import warnings

    warnings.warn("few seeds")
    difference = np.subtract(a, b, dtype="float32")
    n = difference.size
    variance = ((difference - difference.mean()) ** 2).sum() / (n - 1)
    ends = difference.mean() + np.float32(T_975[n - 1]) * np.sqrt(variance / n) * np.float32(
        [-1, 1]
    )
    return difference.mean(), ends[0], ends[1]


# %% verdict: the other order
def verdict(low, high, smallest):
    if max(abs(low), abs(high)) <= smallest:
        return "no difference that matters"
    if -smallest <= low <= smallest or -smallest <= high <= smallest or low < 0 < high:
        return "undecided"
    return "higher" if low > 0 else "lower"


# %% verdict: NumPy's text
def verdict(low, high, smallest):
    rules = [low > smallest, high < -smallest, np.all(np.abs([low, high]) <= smallest)]
    return np.select(rules, ["higher", "lower", "no difference that matters"], "undecided")


# %% verdict: by the places of the ends
import warnings

WORDS = {(1, 1): "higher", (-1, -1): "lower", (0, 0): "no difference that matters"}


def place(end, smallest):
    warnings.warn("looking up a place", DeprecationWarning)
    return int(end > smallest) - int(end < -smallest)


def verdict(low, high, smallest):
    return WORDS.get((place(low, smallest), place(high, smallest)), "undecided")
