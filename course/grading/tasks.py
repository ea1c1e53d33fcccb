"""What a graded task is: where to look, what to compare, and the mistakes that people make.

An assignment is a folder of `solutions/`: a notebook with the instructor's answers, and beside it
`grader.py`, which defines TASKS. Nothing of a task is judged by code that runs beside the
student's: a *probe* calls what the student has written on the inputs of a *case*, and gives back
values; what they should have been is computed by the same probe from the instructor's answer, and
what they would be after each typical mistake from that mistake's own code.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

COMPARE = ("close", "equal", "dropped", "accuracy")


@dataclass(frozen=True)
class Part:
    """One value that a probe gives back, with its own points.

    Parameters
    ----------
    name : str
        Key in what the probe returns.
    points : float
    says : str
        What it is, for the student: "the gradient dx".
    compare : {"close", "equal", "dropped", "accuracy"}
        close: numbers up to the tolerances. equal: text, whole numbers, truth values. The other two
        are judged not against the right answer's value, which is one of many, but against what the
        task's `reference` says. dropped: values of which each is either 0 or the one to be kept, at
        random. Its reference is {"kept": array, what each place holds if it is not dropped, such as
        x / (1 - rate); "rate": probability of dropping, 0 where nothing may be dropped; "shared":
        axes along which the mask is the same, by default ()}. Each place must be 0 or "kept" up to
        the tolerances, the share of zeros within 5 standard errors of the rate, and the mask must
        differ along all axes but those shared. Give a few hundred places that are not 0: with few
        of them chance explains everything. A mistake is recognised by the share that it drops, the
        factor by which the others are scaled with the spread of that factor, and the axes along
        which its mask is the same. accuracy: an array of predicted classes. Its reference is
        {"labels": array of the right classes, "least": the share that must be right}. A mistake is
        recognised if it predicts the same class in 95 % of the places.
    rtol, atol : float
        Relative to the right value, and in its units; said to the student.
    """

    name: str
    points: float
    says: str
    compare: str = "close"
    rtol: float = 1e-4
    atol: float = 1e-6

    def __post_init__(self):
        if self.compare not in COMPARE:
            raise ValueError(f"compare is {self.compare!r}; choose one of {', '.join(COMPARE)}.")
        if not self.points > 0:
            raise ValueError(f"points of {self.name!r} are {self.points}; give a number above 0.")


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer: it must fail, and be told apart from all others.

    Parameters
    ----------
    name : str
        In a few words, for the instructor's list: "variance divided by n - 1".
    hint : str
        For the student: what is wrong and how to find it, not the answer.
    source : str
        The text of the answer's cell with this mistake.
    recognised : bool
        Whether its values alone give it away. If False it only has to fail, with the judge's own
        message.
    """

    name: str
    hint: str
    source: str
    recognised: bool = True


@dataclass(frozen=True)
class Task:
    """One graded answer.

    Parameters
    ----------
    id : str
        `grade_id` of the answer's cell, and the name that it must define. Behind it stands a locked
        cell, `check_` + id, with the points.
    parts : tuple of Part
        In the order in which they are judged.
    cases : mapping of str to mapping
        Inputs by the name of the case: numbers, text, truth values and arrays by the name of the
        argument. They go to the student with the release.
    hidden : mapping of str to mapping
        More cases, which only the judge has.
    mistakes : tuple of Mistake
        At least six.
    alternatives : mapping of str to str
        Other right answers, by what is other about them; at least three.
    probe : str
        Source of `probe(student, inputs)`, which returns a mapping from the names of the parts to
        values; `student` looks names up in the student's notebook. It goes to the student with the
        release. By default the answer is a function, called with the inputs in their order; with
        several parts it returns as many values.
    reference : function or None
        `reference(student, inputs)`, which returns a mapping from the names of the parts compared
        as dropped or accuracy to their references (see Part). Called like a probe, with the
        instructor's notebook as student, outside the box: a function of `grader.py`, no text. What
        it says of public cases goes to the student with the release.
    """

    id: str
    parts: tuple[Part, ...]
    cases: Mapping[str, Mapping]
    hidden: Mapping[str, Mapping]
    mistakes: tuple[Mistake, ...]
    alternatives: Mapping[str, str] = field(default_factory=dict)
    probe: str = ""
    reference: Callable | None = None

    def __post_init__(self):
        random = [part.name for part in self.parts if part.compare in ("dropped", "accuracy")]
        if random and self.reference is None:
            raise ValueError(
                f"{self.id}: {random[0]!r} is compared with a reference; give the task its"
                " `reference`."
            )
        if twice := set(self.cases) & set(self.hidden):
            raise ValueError(
                f"{self.id}: {sorted(twice)[0]!r} is both a case and a hidden one; rename one of"
                " them."
            )

    @property
    def points(self):
        """Points of all parts together: those of the cell `check_` + id."""
        return sum(part.points for part in self.parts)


def load_tasks(folder):
    """The tasks of an assignment.

    Parameters
    ----------
    folder : path
        Such as `solutions/02_batch_norm`.

    Returns
    -------
    dict of str to Task
        By id, in the order of `grader.py`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no `grader.py`, or two tasks have one id.
    """
    path = Path(folder) / "grader.py"
    if not path.is_file():
        raise FileNotFoundError(f"{Path(folder).name!r} is no assignment: there is no {path}.")
    spec = importlib.util.spec_from_file_location(f"grader_of_{Path(folder).name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tasks = {task.id: task for task in module.TASKS}
    if len(tasks) != len(module.TASKS):
        raise ValueError(f"{path} has two tasks with one id.")
    return tasks
