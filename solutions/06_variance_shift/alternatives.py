"""Other right answers, in cells `# %% task: what is other about it`.

Each is run where the answer stands in the notebook. What precedes the first cell is for the linter.
"""

import numpy as np


# %% two_variances: einsum and a matrix of covariances
def two_variances(x, w, rate):
    centred = x - x.mean(axis=0)
    covariance = np.einsum("ni,nj->ij", centred, centred) / len(x)
    at_inference = np.einsum("i,ij,j->", w, covariance, w)
    squares = np.einsum("ni,ni->i", x, x) / len(x)
    return at_inference + rate / (1 - rate) * np.einsum("i,i,i->", w, w, squares), at_inference


# %% two_variances: a loop and plain numbers
def two_variances(x, w, rate):
    sums = [sum(float(a) * float(b) for a, b in zip(row, w)) for row in x]
    middle = sum(sums) / len(sums)
    at_inference = sum((s - middle) ** 2 for s in sums) / len(sums)
    noise = 0.0
    for i in range(len(w)):
        noise += float(w[i]) ** 2 * sum(float(value) ** 2 for value in x[:, i]) / len(x)
    return at_inference + noise * rate / (1 - rate), at_inference


# %% two_variances: mean square minus squared mean, a helper and a warning
import warnings


def mean_square(values):
    warnings.warn("squares")
    return np.mean(np.square(values), axis=0)


def two_variances(x, w, rate):
    kept = 1 - rate
    contributions = x * w
    total = contributions.sum(axis=1)
    at_inference = mean_square(total) - total.mean() ** 2
    return at_inference + (1 / kept - 1) * mean_square(contributions).sum(), at_inference


# %% two_variances: float32, a list
def two_variances(x, w, rate):
    x, w, rate = np.float32(x), np.float32(w), np.float32(rate)
    at_inference = np.dot(x, w).var()
    return [at_inference + rate / (1 - rate) * ((x * w) ** 2).mean(axis=0).sum(), at_inference]


# %% measured_variance: einsum
def measured_variance(x, w, masks, rate):
    s = np.einsum("dni,ni,i->dn", masks, x, w) / (1 - rate)
    return s.ravel().var()


# %% measured_variance: law of total variance
def measured_variance(x, w, masks, rate):
    s = np.array([(x * mask) @ w for mask in masks]) / (1 - rate)
    return s.var(axis=0).mean() + s.mean(axis=0).var()


# %% measured_variance: whole numbers as masks, a warning
import warnings


def measured_variance(x, w, masks, rate):
    warnings.warn("this takes a while")
    kept = masks.astype(int) > 0
    s = np.where(kept, x / (1 - rate), 0) @ w
    return float(np.mean(s**2) - np.mean(s) ** 2)


# %% measured_variance: written into its arguments
def measured_variance(x, w, masks, rate):
    masks *= x
    masks /= 1 - rate
    return np.std((masks * w).sum(axis=-1)) ** 2


# %% kappa_and_ratios: with the two variances
def kappa_and_ratios(x, w, rates):
    at_inference = (x @ w).var()
    noise = ((x * w) ** 2).mean(axis=0).sum()
    in_training = np.array([at_inference + rate / (1 - rate) * noise for rate in rates])
    return noise / at_inference, at_inference / in_training


# %% kappa_and_ratios: with the probability of keeping, einsum
def kappa_and_ratios(x, w, rates):
    q = 1 - np.asarray(rates, dtype="float64")
    kappa = np.einsum("ni,ni,i,i->", x, x, w, w) / len(x) / np.var(np.einsum("ni,i->n", x, w))
    return kappa, q / (q + (1 - q) * kappa)


# %% kappa_and_ratios: float32, a helper and a warning
import warnings


def ratio_at(rate, kappa):
    warnings.warn("one rate after the other")
    return 1 / (1 + rate * kappa / (1 - rate))


def kappa_and_ratios(x, w, rates):
    x, w = x.astype("float32"), w.astype("float32")
    kappa = np.float32(w**2 @ (x**2).mean(axis=0) / np.var(x @ w))
    return kappa, np.array([ratio_at(rate, kappa) for rate in rates], dtype="float32")


# %% ratio_by_width: through kappa
def ratio_by_width(widths, mean, variance, correlation, rate):
    kappa = (1 + mean**2 / variance) / (1 + (widths - 1) * correlation)
    return 1 / (1 + rate / (1 - rate) * kappa)


# %% ratio_by_width: a matrix of covariances for each width
def ratio_by_width(widths, mean, variance, correlation, rate):
    ratios = []
    for n in widths:
        covariance = variance * (correlation * np.ones((n, n)) + (1 - correlation) * np.eye(n))
        w = np.full(n, 1 / n)
        clean = w @ covariance @ w
        noise = rate / (1 - rate) * np.sum(w**2 * (np.diag(covariance) + mean**2))
        ratios.append(clean / (clean + noise))
    return np.array(ratios)


# %% ratio_by_width: float32, a helper and a warning
import warnings


def mean_square(mean, variance):
    warnings.warn("mean square")
    return variance + mean * mean


def ratio_by_width(widths, mean, variance, correlation, rate):
    n = widths.astype("float32")
    per_unit = 1 - correlation + n * correlation
    odds = rate / (1 - rate)
    return np.float32(
        variance * per_unit / (variance * per_unit + odds * mean_square(mean, variance))
    )


# %% shifted_norms: running count
def shifted_norms(kinds, rates):
    drops = np.char.endswith(kinds, "dropout") & (rates > 0)
    return (np.cumsum(drops) > 0)[kinds == "norm"]


# %% shifted_norms: whole numbers
def shifted_norms(kinds, rates):
    places = [i for i, kind in enumerate(kinds) if kind.endswith("dropout") and rates[i] > 0]
    first = min(places, default=len(kinds))
    return np.array([int(i > first) for i, kind in enumerate(kinds) if kind == "norm"])


# %% shifted_norms: a helper and a warning
import warnings


def is_noise(kind, rate):
    warnings.warn(f"looking at {kind}")
    return "dropout" in str(kind) and float(rate) != 0.0


def shifted_norms(kinds, rates):
    answer = []
    for i in range(len(kinds)):
        if kinds[i] == "norm":
            answer.append(bool(any(is_noise(kinds[j], rates[j]) for j in range(i))))
    return np.asarray(answer, dtype=bool)
