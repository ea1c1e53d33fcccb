"""What travels from a submission to its grade: frozen records, checked once, where they are made.

A `Submission` is found, read into an `Intake` of cells, and sent to the box as a `Job`. Of each
case a `CaseResult` comes back; the judge makes of a task's a `TaskGrade`. All that is known of a
submission in the end is `Graded`: one file, from which grade book, pages and tables are made. What
is in the box knows nothing of these records: `to_dict` and `from_dict` lead to plain data and back.
"""

import json
import types
import typing
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path

import numpy as np

from course.grading import values
from course.lab.errors import UserError
from course.lab.files import write_whole

FORMAT = 2  # of the file of a `Graded`; raise it when one of its fields changes
# How a notebook ended: what the box says, then what keeps a notebook from being run or judged.
BOX_STATES = ("ok", "timeout", "memory", "processes", "output", "crash")
STATES = (*BOX_STATES, "failed", "unreadable")
STEPS = ("defined", "runs", "type", "shape", "value")  # in which the judge looks at a part
LONGEST_NAME, LONGEST_KIND = 80, 100  # characters of the name of an error, and of a kind of value
LAST_LINE = 100_000


class RecordError(UserError, ValueError):
    """Data that is no such record; says what is wrong with it."""


# What was handed in
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Submission:
    """A notebook that was handed in, or why there is none.

    Attributes
    ----------
    student : str
    assignment : str or None
        None if neither its place, its name nor its cells tell.
    path : pathlib.Path
        The notebook, or the archive that it is in.
    problem : str or None
        What keeps it from being read, for the student.
    member : str or None
        Name inside the archive.
    """

    student: str
    assignment: str | None
    path: Path
    problem: str | None = None
    member: str | None = None


@dataclass(frozen=True)
class CodeCell:
    """A cell that is run.

    Attributes
    ----------
    source : str
    id : str or None
        Its grade_id; None if the student has added it.
    """

    source: str
    id: str | None = None


@dataclass(frozen=True)
class ProbeCell:
    """The place in a notebook where the cases of a task are run."""

    task: str


@dataclass(frozen=True)
class Intake:
    """What a submission comes to.

    Attributes
    ----------
    cells : tuple of CodeCell and ProbeCell
        In their order. Empty if there is a problem.
    problem : str or None
        What keeps the whole notebook from being graded, for the student.
    notes : dict of str to str
        For the student, by the grade_id of the cell that it is about.
    """

    cells: tuple[CodeCell | ProbeCell, ...] = ()
    problem: str | None = None
    notes: dict[str, str] = field(default_factory=dict)


# What goes into the box, and what comes out
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """What the box knows of a task.

    Attributes
    ----------
    source : str
        See `tasks.Task.probe`.
    parts : tuple of str
        Their names.
    cases : mapping of str to mapping
        Inputs by the name of the case, the hidden ones among them.
    """

    source: str
    parts: tuple[str, ...]
    cases: Mapping[str, Mapping]


@dataclass(frozen=True)
class Job:
    """A notebook for the box.

    Attributes
    ----------
    cells : tuple of CodeCell and ProbeCell
        In their order.
    probes : mapping of str to Probe
        By the id of the task.
    """

    cells: tuple[CodeCell | ProbeCell, ...] = ()
    probes: Mapping[str, Probe] = field(default_factory=dict)

    @property
    def code_cells(self):
        """The cells that are run."""
        return [cell for cell in self.cells if isinstance(cell, CodeCell)]

    @property
    def count_of_cases(self):
        """How many cases are run."""
        return sum(
            len(self.probes[cell.task].cases) for cell in self.cells if isinstance(cell, ProbeCell)
        )

    def to_dict(self):
        """The job as `runner.run_notebook` takes it."""
        return {
            "cells": [vars(cell) for cell in self.cells],
            "probes": {task: vars(probe) for task, probe in self.probes.items()},
        }


@dataclass(frozen=True)
class RaisedError:
    """An error of the student's code.

    Attributes
    ----------
    type : str
        Name of its class, which may be the student's own.
    message : str
    line : int or None
        Of the student's cell, if it is known.
    """

    type: str
    message: str
    line: int | None = None

    @classmethod
    def from_dict(cls, data):
        """The error that `values.told` tells; None of None.

        Raises
        ------
        RecordError
        """
        if data is None:
            return None
        with _refusing("error"):
            line = data["line"] if type(data["line"]) is int else None
            return cls(
                clean(data["type"], LONGEST_NAME),
                clean(data["message"], values.LONGEST_MESSAGE),
                line if line is not None and 0 < line < LAST_LINE else None,
            )


@dataclass(frozen=True, eq=False)  # arrays are not simply equal or not
class CaseResult:
    """What came of one case of a task: see `values.run_case`.

    Attributes
    ----------
    defined : bool
    values : dict of str to array
        Of numbers, truth values or text, by part.
    kinds : dict of str to str
    returned : str
    error : RaisedError or None
    """

    defined: bool
    values: dict[str, np.ndarray] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    returned: str = "NoneType"
    error: RaisedError | None = None

    @classmethod
    def from_dict(cls, data, parts=None):
        """A result with what it may hold, and nothing else: the only check of what the box sends.

        Parameters
        ----------
        data : dict
            As `values.run_case` returns it; from the box it may be anything.
        parts : collection of str, optional
            What is of other parts is left out.

        Raises
        ------
        RecordError
        """
        with _refusing("result"):
            arrays, kinds = (
                {name: it for name, it in data[of].items() if parts is None or name in parts}
                for of in ("values", "kinds")
            )
            return cls(
                data["defined"] is True,
                {name: array for name, array in arrays.items() if _is_plain(array)},
                {name: clean(kind, LONGEST_KIND) for name, kind in kinds.items()},
                clean(data["returned"], LONGEST_KIND),
                RaisedError.from_dict(data["error"]),
            )

    def to_dict(self):
        """The result as `values.run_case` returned it."""
        return {**vars(self), "error": self.error and asdict(self.error)}


def _is_plain(array):
    return isinstance(array, np.ndarray) and array.dtype.kind in values.NUMBERS_AND_TEXT


@dataclass(frozen=True)
class CellRun:
    """A code cell that was run.

    Attributes
    ----------
    id : str or None
    text : str
        What it printed. It may repeat what hidden cases are given: it is not for students.
    error : RaisedError or None
    """

    id: str | None
    text: str = ""
    error: RaisedError | None = None


# What is said of it
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """What is said of one part of a task.

    Attributes
    ----------
    part : str
    points, max : float
    message : str
    step : str or None
        The first of STEPS that failed; None if all went well; "" if nothing could be checked.
    """

    part: str
    points: float
    max: float
    message: str
    step: str | None = None

    @property
    def state(self):
        """ "right", "wrong", or "open" if it could not be checked."""
        return {None: "right", "": "open"}.get(self.step, "wrong")

    def steps(self):
        """Pairs of each of STEPS and "OK", "not yet" or "not checked"."""
        if self.step is None:
            return [(step, "OK") for step in STEPS]
        reached = STEPS.index(self.step) if self.step else -1
        states = (
            ["OK"] * max(reached, 0) + ["not yet"] * (reached >= 0) + ["not checked"] * len(STEPS)
        )
        return list(zip(STEPS, states[: len(STEPS)], strict=True))


@dataclass(frozen=True)
class TaskGrade:
    """What is said of one task.

    Attributes
    ----------
    id : str
    points, max : float
    lines : tuple of Line
        One a part; none if the task was not judged.
    mistake : str or None
        Name of the typical mistake that was made, if one was recognised.
    """

    id: str
    points: float
    max: float
    lines: tuple[Line, ...] = ()
    mistake: str | None = None


@dataclass(frozen=True)
class StoppedCell:
    """A cell of the student's that ended with an error."""

    id: str | None
    error: RaisedError


@dataclass(frozen=True)
class Graded:
    """What became of a submission.

    Whether and why it has no full grade is said three times, to three readers: `state` in one word
    for tables, `message` in a sentence for the student, and, only where the grader itself failed,
    `trouble` in a sentence for the instructor.

    Attributes
    ----------
    student, assignment : str
    stamp : str
        Hash of all that the grade depends on.
    timestamp : str
        When it was handed in, as ISO 8601; empty if unknown.
    state : str
        One of STATES. "failed": the grader did, and the next call grades it again.
    message : str
        Empty if it ran to its end.
    notes : dict of str to str
        For the student, by the grade_id of the cell that it is about.
    answers : str
        Hash of the student's own code; empty if there is none.
    cells : tuple of StoppedCell
    seconds : float
        Wall time in the box.
    memory : int
        Bytes: the most at a time.
    trouble : str
        Empty unless the state is "failed".
    details : str
        The traceback to it.
    tasks : tuple of TaskGrade
    """

    student: str
    assignment: str
    stamp: str
    timestamp: str = ""
    state: str = "unreadable"
    message: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    answers: str = ""
    cells: tuple[StoppedCell, ...] = ()
    seconds: float = 0.0
    memory: int = 0
    trouble: str = ""
    details: str = ""
    tasks: tuple[TaskGrade, ...] = ()

    def __post_init__(self):
        if self.state not in STATES:
            raise RecordError(f"A state is one of {', '.join(STATES)}, not {self.state!r}.")
        if bool(self.trouble) != self.failed:
            raise RecordError("What went wrong in the grader is said if it failed, and only then.")

    @property
    def failed(self):
        """Whether the grader failed: the submission counts as not graded."""
        return self.state == "failed"

    @property
    def max(self):
        """Points that can be had."""
        return sum(task.max for task in self.tasks)

    def to_dict(self):
        """The record as plain data for JSON."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data):
        """The record of plain data, every field of it checked.

        Raises
        ------
        RecordError
            If it is of another version of the course, or damaged.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise RecordError("The result is of another version of the course.")
        return _built(cls, {name: data[name] for name in data if name != "format"}, "the result")

    def save(self, path):
        """Write the record whole or not at all."""
        write_whole(path, json.dumps(self.to_dict(), indent=1))

    @classmethod
    def load(cls, path):
        """Read what `save` has written.

        Raises
        ------
        FileNotFoundError
        RecordError
            If it is of another version of the course, or damaged.
        """
        try:
            data = json.loads(Path(path).read_bytes())
        except ValueError as error:
            raise RecordError(f"The result {path} is damaged ({error}).") from None
        return cls.from_dict(data)


@dataclass(frozen=True)
class BookEntry:
    """What the grade book says of one task of a submission.

    Attributes
    ----------
    score : float
        As it counts.
    manual, extra : float or None
        Score and extra credit that a person gave.
    comment : str
        Of a person; may be empty.
    """

    score: float
    manual: float | None = None
    extra: float | None = None
    comment: str = ""


# Checking
# ------------------------------------------------------------------------------------------------


def clean(text, most):
    """Text from a student's process, without half surrogates and control characters.

    Parameters
    ----------
    text : str
        May be anything.
    most : int
        Characters that are kept.

    Returns
    -------
    str

    Raises
    ------
    RecordError
        If it is no text.
    """
    if not isinstance(text, str):
        raise RecordError("This is no text.")
    text = text[:most].encode("utf-8", "replace").decode()
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")


@contextmanager
def _refusing(what):
    """Data without the form of a record is told as a RecordError."""
    try:
        yield
    except RecordError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(
            f"This is no {what} as the grader's own code makes it: {error!r}."
        ) from None


def _built(kind, data, where):
    """Plain data as a value of the type that a field of a record has."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind) and isinstance(data, dict):
        if set(data) == {part.name for part in fields(kind)}:
            hints = typing.get_type_hints(kind)
            return kind(**{name: _built(hints[name], data[name], name) for name in data})
    elif origin is types.UnionType:  # something or None
        return None if data is None else _built(inner[0], data, where)
    elif origin is tuple and isinstance(data, list):
        return tuple(_built(inner[0], item, where) for item in data)
    elif origin is dict and isinstance(data, dict):
        return {name: _built(inner[1], data[name], where) for name in data}
    elif kind is float and type(data) in (int, float) or kind is type(data):
        return kind(data)
    raise RecordError(f"The result is damaged: {data!r:.60} cannot be {where}.")
