"""The judge: what came of a student's answer, against the key.

Pure functions of plain data. What came is looked at in the order defined, runs, type, shape, value,
and the first step that fails is told. A wrong answer is compared with the typical mistakes of the
key, so that the student is told what is wrong rather than that it is wrong. No message holds a
right value, or anything of a hidden case; and none quotes what the student's code says, unless
asked to: a hostile notebook could have it say what it has seen.
"""

import builtins
import re
from typing import NamedTuple

import numpy as np

from course.grading.records import Line, TaskGrade

STANDARD_ERRORS = 5  # of a share at random: beyond it once in two million
KNOWN = (
    "tensor",
    "str",
    "int",
    "float",
    "bool",
    "dict",
    "set",
    "function",
    "type",
    "generator",
    "range",
    "map",
    "object",
    "bytes",
)
NO_CHANCE = 1e-9  # what is less probable than this is no chance
SAME_CLASSES = 0.95


class Fault(NamedTuple):
    """The first thing that is wrong with a part."""

    step: str
    message: str
    whole: bool = False  # wrong with all parts alike


def judge(task, results, quote=False):
    """Judge one task.

    Parameters
    ----------
    task : keys.TaskKey
    results : dict of str to CaseResult
        By case. Cases that are missing were not reached: they cost their parts the points.
    quote : bool
        Whether messages may say what the student's code says (messages of its errors). For the
        student's own check, not for grading.

    Returns
    -------
    TaskGrade
    """
    faults = {part.name: _first_fault(part, task, results, quote) for part in task.parts}
    explained = _explain(task, results, [part for part in task.parts if faults[part.name]])
    lines, told, hints = [], set(), set()
    for part in task.parts:
        fault, mistake = faults[part.name], explained.get(part.name)
        if fault is None:
            lines.append(
                Line(part.name, part.points, part.points, f"{_capital(part.says)}: right.")
            )
            continue
        if fault.whole and fault.message in told:
            lines.append(
                Line(
                    part.name,
                    0,
                    part.points,
                    f"{_capital(part.says)}: not checked because of the above.",
                    "",
                )
            )
            continue
        told.add(fault.message)
        text = fault.message
        if mistake is not None:
            text += " The same mistake as above." if mistake.name in hints else f" {mistake.hint}"
            hints.add(mistake.name)
        lines.append(Line(part.name, 0, part.points, f"{_capital(part.says)}: {text}", fault.step))
    best = max(
        explained.values(), key=lambda mistake: _agreement(task, mistake, results), default=None
    )
    points = sum(line.points for line in lines)
    return TaskGrade(task.id, points, task.points, tuple(lines), best and best.name)


def fails(task, part, results):
    """Whether a part is not right in all cases."""
    return _first_fault(part, task, results, False) is not None


# ---------------------------------------------------------------- what is wrong


def _first_fault(part, task, results, quote):
    """The first fault in the order of the cases, public ones first; None if there is none."""
    if not any(case in results for case in task.cases):
        return Fault("", "not checked because your notebook did not get as far as this task.", True)
    several = len(task.cases) - len(task.hidden) > 1
    for case in task.cases:
        if case not in results:
            return Fault("", "not checked in all cases because your notebook stopped here.", True)
        fault = _fault(part, task, case, results[case], quote)
        if fault and case in task.hidden:
            return fault._replace(message=_hidden(part, task, fault))
        if fault:
            where = f" (case {case!r})" if several and fault.step not in ("defined", "") else ""
            return fault._replace(message=f"{fault.message}{where}.")
    return None


def _hidden(part, task, fault):
    """What may be said of a fault in a hidden case: the step."""
    what = {
        "defined": "it is not defined there",
        "runs": "it raises an error there",
        "type": "its type is not the expected one there",
        "shape": "its shape is not the expected one there",
        "value": (
            fault.message
            if part.compare == "accuracy"
            else "its values are not the right ones there"
        ),
    }[fault.step]
    return (
        f"right on the inputs of check({task.id!r}), but not on another input than those: {what}."
    )


def _fault(part, task, case, result, quote):
    """The first fault of a part in one case."""
    if not result.defined:
        return Fault(
            "defined",
            f"{task.id} is not defined. Run the cell that defines it, and keep the name",
            True,
        )
    if error := result.error:
        return Fault("runs", _raised(error, quote), True)
    right, right_kind = task.right[case].values[part.name], task.right[case].kinds[part.name]
    value, kind = result.values.get(part.name), result.kinds.get(part.name)
    if kind is None:
        return _not_apart(task, result)
    return (
        _type_fault(kind, value, right_kind, right)
        or _shape_fault(value, right)
        or _value_fault(part, value, right, task.reference.get(case, {}).get(part.name))
    )


def _raised(error, quote):
    if error.type == "TimeLimit":
        return "it takes too long"
    kind = error.type if isinstance(getattr(builtins, error.type, None), type) else "an error"
    if kind == "NotImplementedError":
        return "not written yet: it still raises NotImplementedError"
    line = f" in line {error.line} of the cell" if error.line else ""
    says = f": {error.message.rstrip('.')}" if quote else "; your own check shows the message"
    return f"it raises {kind}{line}{says}"


def _not_apart(task, result):
    """The fault of an answer that has not as many values as there are parts."""
    if task.probe.strip():
        return Fault("type", "it is missing")
    expected = ", ".join(part.name for part in task.parts)
    returned = (
        "None" if result.returned == "NoneType" else _described(result.returned, (None, None))
    )
    end = ". Does the function end with a return?" if returned == "None" else ""
    return Fault(
        "type",
        f"{task.id} returns {returned}, where {len(task.parts)} values are expected:"
        f" {expected}{end}",
        True,
    )


def _type_fault(kind, value, right_kind, right):
    expected, given = _sort(right_kind, right), _sort(kind, value)
    if (
        value is None
        or given[0] != expected[0]
        or (given[1] == "list") > (expected[1] == "list")
        or (expected[1] != "scalar" and given[1] == "scalar")
    ):
        if kind == "NoneType":
            return Fault(
                "type",
                f"it is None, where {_named(expected)} is expected. Does the function end with a"
                " return?",
            )
        hint = (
            " np.array(...) makes an array of a list"
            if given[1] == "list" and value is not None
            else ""
        )
        return Fault(
            "type",
            f"it is {_described(kind, given)}, where {_named(expected)} is"
            f" expected{hint and ';' + hint}",
        )
    return None


def _sort(kind, value):
    """What a value holds, and in what."""
    if value is None:
        return None, None
    holds = (
        "text" if value.dtype.kind in "US" else "number" if value.dtype.kind in "biufc" else None
    )
    listed = kind in ("list", "tuple") or re.match(r"(list|tuple) of", kind)
    return holds, "list" if listed else "scalar" if value.ndim == 0 else "array"


def _named(sort):
    return {
        ("number", "scalar"): "a number",
        ("number", "array"): "an array of numbers",
        ("number", "list"): "a list of numbers",
        ("text", "scalar"): "a text",
        ("text", "array"): "an array of text",
        ("text", "list"): "a list of texts",
    }[sort]


def _described(kind, sort):
    """The student's type, of which only well-known names are repeated."""
    if sort[0] is not None:
        return _named(sort)
    if kind == "ndarray":
        return "an array"
    if match := re.fullmatch(r"(tuple|list) of (\d{1,3})", kind):
        return f"a {match[1]} of {match[2]}"
    return f"a {kind}" if kind in KNOWN else "something else"


def _shape_fault(value, right):
    if value.shape == right.shape:
        return None
    found = (
        f"its shape is {value.shape}"
        if value.ndim <= 5 and max(value.shape, default=0) < 10_000
        else "its shape is another"
    )
    message = f"{found}, where {right.shape} is expected"
    if value.ndim > 1 and value.shape == right.shape[::-1]:
        return Fault("shape", f"{message}: it is transposed")
    if [size for size in value.shape if size != 1] == [size for size in right.shape if size != 1]:
        return Fault(
            "shape", f"{message}: the axes of length 1 are not the same (what does keepdims do?)"
        )
    return Fault("shape", message)


def _value_fault(part, value, right, reference):
    if value.dtype.kind == "U":
        wrong = int(np.sum(value != right))
        if not wrong:
            return None
        return Fault(
            "value",
            (
                f"it is right at {value.size - wrong} of {value.size} places"
                if value.ndim
                else "it is not the right text"
            ),
        )
    for name, where in (("nan", np.isnan), ("infinite", np.isinf)):
        count = (
            int(np.sum(where(value) & ~where(right)))
            if part.compare in ("close", "equal")
            else int(where(value).sum())
        )
        if count:
            return Fault(
                "value",
                f"{name} at {count} of {value.size} places" if value.ndim else f"it is {name}",
            )
    if part.compare == "dropped":
        return _dropped_fault(part, value, reference)
    if part.compare == "accuracy":
        return _accuracy_fault(value, reference)
    near = _near(part, value, right)
    if near.all():
        return None
    return Fault("value", _number_message(part, value, right, near))


def _near(part, value, right):
    """Where two arrays of numbers are the same, to the tolerances of a part."""
    rtol, atol = (part.rtol, part.atol) if part.compare != "equal" else (0, 0)
    with np.errstate(all="ignore"):
        return np.isclose(_wide(value), _wide(right), rtol=rtol, atol=atol, equal_nan=True)


def _wide(value):
    return value.astype(complex if value.dtype.kind == "c" else float)


def _number_message(part, value, right, near):
    """How an array of the right shape is wrong; never what would be right."""
    tolerance = f"to a relative tolerance of {part.rtol:g} and an absolute one of {part.atol:g}"
    if part.compare == "equal":
        tolerance = "exactly"
    if value.ndim == 0:
        return f"not right, {tolerance}"
    message = f"right at {int(near.sum())} of {value.size} places, {tolerance}"
    value, right = _wide(value).ravel(), _wide(right).ravel()
    # With fewer or equal places any answer is off by one factor.
    if value.size < 3 or np.ptp(np.abs(right)) == 0:
        return message
    with np.errstate(all="ignore"):
        factor = np.vdot(right, value) / np.vdot(right, right)
        scaled, shifted = factor * right, right + np.mean(value - right)
        if np.abs(factor) > 1e-6 and _near(part, value, scaled).all():
            opposite = np.isclose(factor, -1, rtol=1e-3)
            return (
                f"{message}: all"
                f" {'have the opposite sign' if opposite else 'are off by one constant factor'}"
            )
        if _near(part, value, shifted).all():
            return f"{message}: all are off by one constant that is added"
    return message


def _accuracy_fault(value, reference):
    labels, least = np.asarray(reference["labels"]), reference["least"]
    share = float(np.mean(value == labels))
    if share >= least:
        return None
    # Rounded down: what is below must not read as if it were not.
    return Fault(
        "value",
        f"{np.floor(100 * share):.0f} % of the classes are right; {100 * least:g} % are asked for",
    )


# ---------------------------------------------------------------- random masks


class Mask(NamedTuple):
    """What can be said of a random mask, whatever the random numbers."""

    places: float  # independent ones
    share: float  # of zeros
    scale: float  # median of the factor of those that are not zero ...
    spread: float  # ... and its standard deviation
    constant: tuple  # axes along which the mask is the same ...
    stuck: tuple  # ... and those among them where this is no chance


def _mask(value, reference):
    """Describe what was dropped of reference["kept"]; places that hold 0 anyhow tell nothing."""
    kept, value = np.asarray(reference["kept"], float), np.real(value).astype(float)
    places = kept != 0
    zero = places & (value == 0)
    factors = value[places & ~zero] / kept[places & ~zero]
    shared = [kept.shape[axis] for axis in reference.get("shared", ())]
    constant = []
    for axis, size in enumerate(kept.shape):
        first, told = np.take(zero, [0], axis), np.take(places, [0], axis) & places
        if size > 1 and np.all((zero == first) | ~told):
            constant.append(axis)
    scale, spread = (
        (float(np.median(factors)), float(factors.std())) if factors.size else (0.0, 0.0)
    )
    count = int(places.sum())
    share, independent = float(zero.sum() / max(count, 1)), count / np.prod(shared, initial=1)
    # Along an axis of length 2 a few places agree easily.
    stuck = [
        axis
        for axis in constant
        if _same_by_chance(share, kept.shape[axis], independent) < NO_CHANCE
    ]
    # A mask that is the same all along an axis took fewer coins: its share may be further from the
    # rate by chance.
    repeated = [kept.shape[axis] for axis in stuck if axis not in reference.get("shared", ())]
    return Mask(
        independent / np.prod(repeated, initial=1),
        share,
        scale,
        spread,
        tuple(constant),
        tuple(stuck),
    )


def _same_by_chance(rate, size, places):
    """How probable it is that a mask is the same all along an axis of this size."""
    return (rate**size + (1 - rate) ** size) ** (places / size)


def _dropped_fault(part, value, reference):
    kept, rate, shared = (
        np.asarray(reference["kept"]),
        reference["rate"],
        tuple(reference.get("shared", ())),
    )
    if rate == 0:
        near = _near(part, value, kept)
        message = (
            f"nothing is to be dropped here; right at {int(near.sum())} of {value.size} places"
        )
        return None if near.all() else Fault("value", message)
    right = (value == 0) | _near(part, value, kept)
    mask = _mask(value, reference)
    error = np.sqrt(rate * (1 - rate) / max(mask.places, 1))
    # The share first: with it wrong, what is left is often scaled by another rate as well.
    if abs(mask.share - rate) > STANDARD_ERRORS * error + 1e-12:
        return Fault(
            "value",
            f"{100 * mask.share:.0f} % of the values are dropped: not the rate asked for, nor"
            " chance",
        )
    if not right.all():
        wrong = int((~right).sum())
        return Fault(
            "value",
            f"{wrong} of {value.size} values are neither 0 nor what a value that is kept should be",
        )
    for axis in range(kept.ndim):
        if axis in shared and kept.shape[axis] > 1 and axis not in mask.constant:
            return Fault(
                "value", f"the mask differs along axis {axis}, along which it should be the same"
            )
        if axis in mask.stuck and axis not in shared:
            return Fault(
                "value", f"the mask is the same all along axis {axis}, along which it should differ"
            )
    return None


def _same_mask(one, other):
    """Whether two masks can come from one mistake."""
    error = np.sqrt(
        (one.share * (1 - one.share) + other.share * (1 - other.share)) / max(one.places, 1)
    )
    scale = max(abs(one.scale), abs(other.scale))
    blur = STANDARD_ERRORS * (one.spread + other.spread) / np.sqrt(max(one.places, 1))
    return bool(
        abs(one.share - other.share) <= STANDARD_ERRORS * error + 1e-12
        and abs(one.scale - other.scale) <= 1e-3 * scale + blur
        and abs(one.spread - other.spread) <= 0.1 * max(one.spread, other.spread) + 1e-3 * scale
        and one.stuck == other.stuck
    )


# ---------------------------------------------------------------- typical mistakes


def same(task, part, one, other):
    """Whether two answers give the same for a part, in all cases that the task has.

    Parameters
    ----------
    task : keys.TaskKey
    part : tasks.Part
    one, other : dict of str to CaseResult
        By case.

    Returns
    -------
    bool
    """
    return all(
        case in one
        and case in other
        and _same(part, one[case], other[case], task.reference.get(case, {}).get(part.name))
        for case in task.cases
    )


def _same(part, one, other, reference):
    if not (one.defined and other.defined):
        return one.defined == other.defined
    if one.error or other.error:
        both = one.error is not None and other.error is not None
        return both and _error_signature(one.error) == _error_signature(other.error)
    values = [result.values.get(part.name) for result in (one, other)]
    kinds = [result.kinds.get(part.name, result.returned) for result in (one, other)]
    if values[0] is None or values[1] is None:
        return values[0] is values[1] and kinds[0] == kinds[1]
    if (
        _sort(kinds[0], values[0]) != _sort(kinds[1], values[1])
        or values[0].shape != values[1].shape
    ):
        return False
    if values[0].dtype.kind in "US":
        return bool(np.all(values[0] == values[1]))
    if part.compare == "accuracy":
        return bool(np.mean(values[0] == values[1]) >= SAME_CLASSES)
    if part.compare == "dropped" and values[0].shape == np.shape(reference["kept"]):
        return _same_mask(*(_mask(value, reference) for value in values))
    return bool(_near(part, *values).all())


def _error_signature(error):
    """Two errors are the same if their messages are, but for the numbers in them."""
    return error.type, re.sub(r"\d+", "0", error.message)


def _agreement(task, mistake, results):
    return sum(same(task, part, results, mistake.results) for part in task.parts)


def _explain(task, results, failed):
    """For each part that failed, the mistake that explains it: by the name of the part, if there is
    one.

    A mistake explains a part if it gives the same in all cases, and fails there. Of several, that
    which agrees in most parts is meant. Where several agree equally, and none with everything, this
    part does not tell them apart: none is named. Those that agree with everything cannot be told
    apart at all; the first is named.
    """
    explained, agreement = {}, {}
    for part in failed:
        able = [
            mistake
            for mistake in task.mistakes
            if mistake.recognised
            and same(task, part, results, mistake.results)
            and fails(task, part, mistake.results)
        ]
        for mistake in able:
            agreement.setdefault(mistake.name, _agreement(task, mistake, results))
        most = max((agreement[mistake.name] for mistake in able), default=0)
        able = [mistake for mistake in able if agreement[mistake.name] == most]
        if able and (len(able) == 1 or most == len(task.parts)):
            explained[part.name] = able[0]
    return explained


def _capital(text):
    return text[:1].upper() + text[1:]
