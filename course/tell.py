"""What a lesson says to its reader: whether an answer is right, and whether the text still is."""

import traceback
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parents[1] / "results"


def check(answer, solution, *cases, tolerance=1e-5, mistakes=None, view=None):
    """Check what the reader has written, and say what is wrong with it.

    Parameters
    ----------
    answer, solution : callable
        The reader's, and the course's own. One with an empty body has not been written yet.
    *cases : tuple
        Arguments to try both with; the last of a case may be a dict of keyword arguments. Arrays
        and lists are copied first, so an answer may not spoil them for the next.
    tolerance : float
        The largest difference that is allowed, absolute and relative.
    mistakes : mapping of str to callable, optional
        Wrong answers, by the sentence that names the mistake. One is named only where the reader's
        answer gives just what it gives in each case.
    view : callable, optional
        What is compared of an answer, if not all of it: such as the kinds of a model's layers.

    Returns
    -------
    callable
        The answer if it is right, else the solution: a lesson goes on either way.
    """
    name, look = getattr(answer, "__name__", "Your answer"), view or (lambda value: value)
    expected = [look(_call(solution, case)) for case in cases]
    try:
        found = [_call(answer, case) for case in cases]
        body = getattr(getattr(answer, "__code__", None), "co_code", "")
        if all(value is None for value in found) and len(body) <= 6:  # `...`, `pass`, a docstring
            print(f"Not written yet: {name}. The lesson continues with the course's version.")
            return solution
        found = [value if value is None else look(value) for value in found]
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = f" (line {line.lineno} of {line.name})" if line.name == name else ""
        print(f"✘ {name} raises {type(error).__name__}: {error}{where}")
        return solution

    def problems(values):
        return [_difference(*pair, tolerance) for pair in zip(found, values, strict=True)]

    wrong = problems(expected)
    if not any(wrong):
        many = "" if len(cases) == 1 else f" in all {len(cases)} cases"
        print(f"✔ {name} is correct{many}, to within {tolerance:g}.")
        return answer
    for sentence, mistake in (mistakes or {}).items():
        if not any(problems([look(_call(mistake, case)) for case in cases])):
            print(f"✘ {sentence}")
            return solution
    number = next(number for number, problem in enumerate(wrong) if problem)
    print(f"✘ {name}({', '.join(map(_short, cases[number]))}): {wrong[number]}")
    return solution


def facts(sentences):
    """Say which sentences of the text are not true of this run; nothing if all are.

    `sentences` maps what the text says to whether it holds, with room for other machines.
    """
    for sentence, holds in sentences.items():
        if not holds:
            print(f"On this machine the result differs from the text: {sentence}.")


def stored(experiment, metric):
    """A metric of the runs in `results/` that the ledger is made of: stored("eight", "best_loss").

    It is a pandas.DataFrame with a row for each seed and a column for each arm; NaN where a run has
    no such number.
    """
    path = RESULTS / experiment / "runs.parquet"
    if not path.is_file():
        known = ", ".join(sorted(one.parent.name for one in RESULTS.glob("*/runs.parquet")))
        raise ValueError(f"There are no stored runs of {experiment!r}; there are {known}.")
    rows = pd.read_parquet(path)
    if metric not in rows:
        numbers = ", ".join(rows.select_dtypes("number").columns.drop("seed"))
        raise ValueError(f"The runs of {experiment!r} have no {metric!r}; they have {numbers}.")
    if rows.duplicated(["seed", "arm"]).any():
        raise ValueError(
            f"Some arms of {experiment!r} were tried with several settings, and are no columns:"
            f" read {path.name} with pandas, whose column `parameters` tells them apart."
        )
    return rows.pivot(index="seed", columns="arm", values=metric)


def _call(function, case):
    case = [deepcopy(one) if isinstance(one, (np.ndarray, list)) else one for one in case]
    options = case.pop() if case and isinstance(case[-1], dict) else {}
    return function(*case, **options)


def _difference(found, right, tolerance):
    """What is wrong with a value, as a phrase; empty if nothing is."""
    if found is None:
        return "it returns nothing: is a `return` missing?"
    if isinstance(right, (tuple, list)):
        if isinstance(found, np.ndarray) and found.ndim:
            found = list(found)  # as good as a list
        if not isinstance(found, (tuple, list)) or len(found) != len(right):
            return f"it returns {_short(found)}, where {len(right)} values are expected"
        parts = zip(found, right, strict=True)
        problems = [_difference(one, other, tolerance) for one, other in parts]
        return next((f"value {n}: {text}" for n, text in enumerate(problems, 1) if text), "")
    if isinstance(right, str):
        return "" if found == right else f"it returns {_short(found)}, where {right} is right"
    right = np.asarray(right, dtype=float)
    try:
        found = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        return f"it returns {_short(found)}, which is not an array of numbers"
    if found.shape != right.shape:
        return f"it returns an array of shape {found.shape}, not {right.shape}"
    if np.allclose(found, right, rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    if right.size <= 12:
        return f"it returns {_short(found)}, where {_short(right)} is right"
    return f"it returns {_short(found)}, off by up to {np.max(np.abs(found - right)):.3g}"


def _short(value):
    if isinstance(value, np.ndarray) and value.size > 12:
        return f"an array of shape {value.shape} that starts with {value.ravel()[:3].round(4)}"
    if not isinstance(value, np.ndarray) and getattr(value, "shape", None):  # of Keras
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)) and not all(np.isscalar(one) for one in value):
        return f"({', '.join(map(_short, value[:4]))}{', ...' * (len(value) > 4)})"
    with np.printoptions(precision=4, suppress=True):
        return " ".join(str(getattr(value, "__name__", value)).split())
