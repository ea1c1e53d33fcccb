"""What a graded task is: where to look, what to compare, and the mistakes that people make.

An assignment is a folder of `solutions/`: a notebook with the instructor's answers, and beside it

- `grader.py`, which defines TASKS, with their parts and cases,
- `mistakes.toml`, typical wrong answers: each the notebook's own with a change, and its hint,
- `alternatives.py`, other right answers, in cells that begin with `# %% task: what is other`.

Nothing of a task is judged by code that runs beside the student's: a *probe* calls what the student
has written on the inputs of a *case*, and gives back values; what they should have been is computed
by the same probe from the instructor's answer, and what they would be after each typical mistake
from that mistake's own code.
"""

import ast
import importlib.util
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from course.lab.errors import UserError

COMPARE = ("close", "equal", "dropped", "accuracy")
FIELDS = {"change": list, "source": str, "recognised": bool, "hint": str}  # of a mistake, in TOML


class TaskError(UserError, ValueError):
    """An assignment whose files do not go together; says where, and what to mend."""


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
            raise TaskError(f"compare is {self.compare!r}; choose one of {', '.join(COMPARE)}.")
        if not self.points > 0:
            raise TaskError(f"points of {self.name!r} are {self.points}; give a number above 0.")


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
    mistakes : tuple of Mistake
        At least six, read from `mistakes.toml`.
    alternatives : mapping of str to str
        Other right answers, by what is other about them; at least three, read from
        `alternatives.py`.
    """

    id: str
    parts: tuple[Part, ...]
    cases: Mapping[str, Mapping]
    hidden: Mapping[str, Mapping]
    probe: str = ""
    reference: Callable | None = None
    mistakes: tuple[Mistake, ...] = ()
    alternatives: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        random = [part.name for part in self.parts if part.compare in ("dropped", "accuracy")]
        if random and self.reference is None:
            raise TaskError(
                f"{self.id}: {random[0]!r} is compared with a reference; give the task its"
                " `reference`."
            )
        if twice := set(self.cases) & set(self.hidden):
            raise TaskError(
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
    TaskError
        If there is no `grader.py`, or its files do not go together; says which task and mistake.
    """
    folder = Path(folder)
    path = folder / "grader.py"
    if not path.is_file():
        raise TaskError(f"{folder.name!r} is no assignment: there is no {path}.")
    spec = importlib.util.spec_from_file_location(f"grader_of_{folder.name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tasks = {task.id: task for task in module.TASKS}
    if len(tasks) != len(module.TASKS):
        raise TaskError(f"{path} has two tasks with one id.")
    for task in tasks.values():
        if task.mistakes or task.alternatives:
            raise TaskError(
                f"{path}, {task.id}: mistakes belong in mistakes.toml, and other right answers in"
                " alternatives.py."
            )
    mistakes, alternatives = _mistakes(folder, tasks), _alternatives(folder, tasks)
    return {
        id: replace(task, mistakes=mistakes.get(id, ()), alternatives=alternatives.get(id, {}))
        for id, task in tasks.items()
    }


def sources(folder):
    """The files that make up an assignment: what depends on it is stale when one of them changes.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of pathlib.Path
        Sorted by name.
    """
    return sorted(
        path for path in Path(folder).iterdir() if path.suffix in (".py", ".toml", ".ipynb")
    )


def _mistakes(folder, tasks):
    """What `mistakes.toml` lists: mistakes by task."""
    path = folder / "mistakes.toml"
    if not path.is_file():
        return {}
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or no UTF-8
        raise TaskError(f"{folder.name}/{path.name} cannot be read: {error}.") from None
    answers, mistakes = _answers(folder), {}
    for id, named in entries.items():
        _refuse_unknown(path, id, tasks)
        if not isinstance(named, dict) or not all(isinstance(it, dict) for it in named.values()):
            raise TaskError(
                f"{folder.name}/{path.name}, {id}: begin each mistake with"
                f' [{id}."its name in a few words"].'
            )
        mistakes[id] = tuple(
            _mistake(f"{folder.name}, {id}, mistake {name!r}", name, entry, answers.get(id))
            for name, entry in named.items()
        )
    return mistakes


def _mistake(where, name, entry, answer):
    """One entry of `mistakes.toml`, made from the notebook's answer."""
    for key, value in entry.items():
        if type(value) is not FIELDS.get(key):
            raise TaskError(
                f"{where}: {key} = {value!r} is not understood. A mistake has a hint (text), a"
                " change (pairs of text) or a source (text), and may have recognised = false."
            )
    if "hint" not in entry or ("change" in entry) == ("source" in entry):
        raise TaskError(f"{where}: give it a hint, and either a change or a source.")
    source = entry["source"] if "source" in entry else _changed(where, answer, entry["change"])
    try:
        program = _program(source)
    except SyntaxError as error:
        raise TaskError(f"{where}: this is no Python: {error.msg} (line {error.lineno}).") from None
    if answer is not None and program == _program(answer):
        raise TaskError(f"{where}: its program is that of the right answer.")
    return Mistake(name, entry["hint"], source, entry.get("recognised", True))


def _changed(where, answer, change):
    """An answer with texts exchanged, one pair after the other, wherever they stand in it."""
    if answer is None:
        raise TaskError(f"{where}: the notebook has no answer cell with this task's grade_id.")
    for pair in change:
        if not (isinstance(pair, list) and [type(text) for text in pair] == [str, str] and pair[0]):
            raise TaskError(
                f'{where}: write a change as pairs, [["text in the answer", "text instead"]],'
                f" not {pair!r}."
            )
        if pair[0] not in answer:
            raise TaskError(
                f"{where}: the change no longer applies, since the notebook's answer does not"
                f" contain {pair[0]!r}."
            )
        answer = answer.replace(*pair)
    return answer


def _program(source):
    """What a source does: its syntax tree, without docstrings, comments and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if documented and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def _alternatives(folder, tasks):
    """What `alternatives.py` holds: sources by task and by what is other about them."""
    path = folder / "alternatives.py"
    if not path.is_file():
        return {}
    _, *cells = re.split(r"(?m)^# %%(.*)\n", path.read_text(encoding="utf-8"))
    alternatives = {}
    for title, source in zip(cells[::2], cells[1::2], strict=True):
        id, _, name = title.strip().partition(": ")
        _refuse_unknown(path, id, tasks)
        named = alternatives.setdefault(id, {})
        if not name or name in named:
            raise TaskError(
                f'{folder.name}/{path.name}, {title.strip()!r}: begin each cell with "# %% {id}: "'
                " and a name of its own."
            )
        named[name] = source.strip() + "\n"
    return alternatives


def _refuse_unknown(path, id, tasks):
    if id not in tasks:
        raise TaskError(
            f"{path.parent.name}/{path.name}: grader.py has no task {id!r}; it has"
            f" {', '.join(tasks)}."
        )


def _answers(folder):
    """Sources of the notebook's cells, by their grade_id."""
    path = folder / f"{folder.name}.ipynb"
    if not path.is_file():
        raise TaskError(f"{folder.name!r} is no assignment: there is no {path}.")
    try:
        return {
            cell["metadata"].get("nbgrader", {}).get("grade_id"): "".join(cell["source"])
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TaskError(f"The notebook {path} cannot be read: {error!r}.") from None
