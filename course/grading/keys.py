"""The key of an assignment: the right values of each task, and those of each typical mistake.

Made by running the instructor's notebook here, outside any box: it is trusted. Of the key there are
two versions: the whole one, which stays with the judge, and the public one, in `exercises/`, which
holds nothing of the hidden cases and no source of an answer or a mistake.
"""

import contextlib
import io
import json
import re
import warnings
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from course.grading import values
from course.grading.records import CaseResult
from course.grading.tasks import Part, Task, TaskError, load_tasks
from course.lab.errors import UserError
from course.lab.files import write_whole

FORMAT = 1  # of the files; raise it when they change


class KeyFilesError(UserError):
    """Files of a key that are missing, damaged, or of another version; says what to do."""


@dataclass(frozen=True)
class WrongAnswer:
    """What came of a typical mistake.

    Attributes
    ----------
    name, hint, recognised : see `tasks.Mistake`
    results : dict of str to CaseResult
        By case.
    """

    name: str
    hint: str
    recognised: bool
    results: dict


@dataclass(frozen=True)
class TaskKey:
    """All that the judge needs to know of one task.

    Attributes
    ----------
    id, parts, probe : see `tasks.Task`
    cases : dict of str to dict
        Inputs by the name of the case: public ones first, then the hidden ones if it is the whole
        key.
    hidden : tuple of str
        Names of the hidden ones among them.
    right : dict of str to CaseResult
        What came of the instructor's answer, by case.
    reference : dict of str to dict
        By case and part, for parts compared as dropped or accuracy (see `tasks.Part`).
    mistakes : tuple of WrongAnswer
    """

    id: str
    parts: tuple[Part, ...]
    probe: str
    cases: dict
    hidden: tuple[str, ...]
    right: dict
    reference: dict
    mistakes: tuple[WrongAnswer, ...]

    @property
    def points(self):
        """Points of all parts together."""
        return sum(part.points for part in self.parts)

    def public(self):
        """The same without the hidden cases."""

        def shown(mapping):
            return {case: value for case, value in mapping.items() if case not in self.hidden}

        mistakes = tuple(
            replace(mistake, results=shown(mistake.results)) for mistake in self.mistakes
        )
        kept = {name: shown(getattr(self, name)) for name in ("cases", "right", "reference")}
        return replace(self, **kept, hidden=(), mistakes=mistakes)


@dataclass(frozen=True)
class Key:
    """The keys of an assignment's tasks, by id, in the order of the notebook."""

    name: str
    tasks: dict[str, TaskKey]

    def public(self):
        """What students may have."""
        return replace(self, tasks={id: task.public() for id, task in self.tasks.items()})


# ---------------------------------------------------------------- making one


def make_key(folder, hidden):
    """Run the instructor's notebook, and each typical mistake in the place of its answer.

    Parameters
    ----------
    folder : path
        Such as `solutions/02_batch_norm`.
    hidden : bool
        Whether with the hidden cases.

    Returns
    -------
    Key

    Raises
    ------
    TaskError
        If notebook and `grader.py` do not go together, or the instructor's notebook fails.
    """
    key = Key(Path(folder).name, {bench.task.id: task_key(bench) for bench in each_task(folder)})
    return key if hidden else key.public()


def task_key(bench):
    """The whole key of the task that a bench stands at."""
    task = bench.task
    right, reference = bench.results(bench.answer), bench.references()
    for case, result in right.items():
        for part in task.parts:
            if flaw := _flaw(part, result, reference[case]):
                raise TaskError(f"{task.id}: {flaw} in case {case!r}.")
    mistakes = tuple(
        WrongAnswer(mistake.name, mistake.hint, mistake.recognised, bench.results(mistake.source))
        for mistake in task.mistakes
    )
    return TaskKey(
        task.id,
        tuple(task.parts),
        task.probe,
        bench.cases,
        tuple(task.hidden),
        right,
        reference,
        mistakes,
    )


def _flaw(part, result, reference):
    """What keeps a result of the instructor's from being what others are compared with; None if
    nothing.
    """
    if not result.defined:
        return "the instructor's answer does not define its name"
    if error := result.error:
        return f"the instructor's answer raises {error.type}: {error.message} (line {error.line})"
    if part.name not in result.values:
        return f"the instructor's answer gives no {part.name!r}, but {result.kinds.get(part.name)},"
    if part.compare not in ("dropped", "accuracy"):
        return None
    needed = "kept" if part.compare == "dropped" else "labels"
    if needed not in reference.get(part.name, {}):
        return f"`reference` does not say what is {needed!r} of {part.name!r}"
    if np.shape(reference[part.name][needed]) != result.values[part.name].shape:
        return f"{needed!r} has not the shape of the instructor's {part.name!r}"
    return None


def each_task(folder, only=None):
    """Run the instructor's notebook, each cell once and in one namespace, and stop at each task.

    Parameters
    ----------
    folder : path
    only : collection of str, optional
        Ids of the tasks to stop at; nothing behind the last of them is run.

    Yields
    ------
    Bench
        To be used before the next is asked for.
    """
    tasks, cells = load_tasks(folder), code_cells(folder)
    there = [id for id, _ in cells if id in tasks]
    if missing := [id for id in tasks if id not in there]:
        raise TaskError(
            f"{Path(folder).name}: grader.py has a task {missing[0]!r}, but no answer cell has this"
            " grade_id."
        )
    if unknown := sorted(set(only or ()) - set(there)):
        raise TaskError(
            f"{Path(folder).name} has no task {unknown[0]!r}; it has {', '.join(there)}."
        )
    wanted = [id for id in there if only is None or id in only]
    namespace = {"__name__": "__main__"}
    for id, source in cells:
        if not wanted:
            return
        if id in wanted:
            wanted.remove(id)
            yield Bench(tasks[id], source, namespace)
        try:
            with _apart():
                exec(compile(source, f"<{id or 'cell'}>", "exec"), namespace)
        except Exception as error:
            raise TaskError(
                f"{Path(folder).name}: the instructor's cell {id or source[:40]!r} fails: {error!r}"
            ) from error


@dataclass(frozen=True)
class Bench:
    """The instructor's notebook, run up to one answer, for which variants can be tried.

    Attributes
    ----------
    task : tasks.Task
    answer : str
        The instructor's.
    namespace : dict
        Of the cells above the answer.
    """

    task: Task
    answer: str
    namespace: dict

    @property
    def cases(self):
        """Inputs of all cases, the public ones first."""
        return {**self.task.cases, **self.task.hidden}

    def results(self, source):
        """What comes of an answer: by case, a CaseResult."""
        names = [part.name for part in self.task.parts]

        def result(inputs):
            plain = values.run_case(self.task.id, self.task.probe, names, self.namespace, inputs)
            return CaseResult.from_dict(plain, names)

        return self._each(source, result)

    def references(self):
        """What the task's `reference` says: by case and part."""
        if self.task.reference is None:
            return {case: {} for case in self.cases}
        return self._each(
            self.answer,
            lambda inputs: self.task.reference(
                values.Student(self.namespace), values.copied(inputs)
            ),
        )

    def _each(self, source, of):
        # In the notebook's own namespace, so that the functions above the answer find it; put back
        # afterwards.
        before = dict(self.namespace)
        try:
            with _apart():
                # As in a notebook: a cell that fails leaves what was defined before.
                with contextlib.suppress(Exception, SystemExit):
                    exec(compile(source, f"<{self.task.id}>", "exec"), self.namespace)
                by_case = {}
                for case, inputs in self.cases.items():
                    values.seed()
                    by_case[case] = of(inputs)
                return by_case
        finally:
            self.namespace.clear()
            self.namespace.update(before)


def code_cells(folder):
    """The cells that are run for grading: pairs of grade_id (None if it has none) and source."""
    cells = [
        (grade_id(cell), cell.source)
        for cell in read_notebook(folder).cells
        if cell.cell_type == "code"
    ]
    return [
        (id, source)
        for id, source in cells
        if id != "self_check" and not (id or "").startswith("check_")
    ]


def read_notebook(folder):
    """The instructor's notebook."""
    import nbformat  # not needed, and not quick, in a student's notebook

    path = Path(folder) / f"{Path(folder).name}.ipynb"
    if not path.is_file():
        raise TaskError(f"{Path(folder).name!r} is no assignment: there is no {path}.")
    return nbformat.read(path, as_version=4)


def cleared(source):
    """An answer's cell as students get it."""
    # `release` has nbgrader do this, whose import takes longer than all else that `prove` does; a
    # test compares the two.
    stub = r"\1# YOUR CODE HERE\n\1raise NotImplementedError()"
    return re.sub(r"(?ms)^([ \t]*)### BEGIN SOLUTION.*?### END SOLUTION[^\n]*", stub, source)


def grade_id(cell):
    """What nbgrader calls a cell; None if it calls it nothing."""
    return cell.metadata.get("nbgrader", {}).get("grade_id")


@contextlib.contextmanager
def _apart():
    """Seeded, with what is printed and warned of kept away: mistakes divide by zero, and say so."""
    values.seed()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


# ---------------------------------------------------------------- the files of a key


def save(key, folder):
    """Write `checks.json` and `checks.npz`: plain data, the same bytes for the same key.

    Parameters
    ----------
    key : Key
        For students, the public one; the whole one only where nobody but the instructor can read.
    folder : path
        Such as `exercises/02_batch_norm`; made if it is not there.
    """
    for name, content in files(key).items():
        write_whole(Path(folder) / name, content)


def files(key):
    """A key as the content of its files.

    Parameters
    ----------
    key : Key

    Returns
    -------
    dict of str to bytes
    """
    arrays = {}
    tasks = {id: _content(task, arrays) for id, task in key.tasks.items()}
    archive = io.BytesIO()
    # NumPy gives the members no time, so equal arrays are equal bytes.
    np.savez_compressed(archive, **{place: arrays[place] for place in sorted(arrays)})
    text = json.dumps(
        {"format": FORMAT, "assignment": key.name, "tasks": tasks}, indent=1, ensure_ascii=False
    )
    return {"checks.json": f"{text}\n".encode(), "checks.npz": archive.getvalue()}


def _content(task, arrays):
    """The text of a task's key, as plain data; its arrays go into `arrays`, by their place."""

    def stored(place, by_name):
        return {name: _stored(f"{place}/{name}", by_name[name], arrays) for name in by_name}

    def results(place, by_case):
        return {
            case: {**result.to_dict(), "values": stored(f"{place}/{case}", result.values)}
            for case, result in by_case.items()
        }

    secret = {"hidden": list(task.hidden)} if task.hidden else {}
    return secret | {
        "parts": [asdict(part) for part in task.parts],
        "probe": task.probe,
        "cases": {
            case: stored(f"{task.id}/inputs/{case}", inputs) for case, inputs in task.cases.items()
        },
        "right": results(f"{task.id}/right", task.right),
        "reference": {
            case: {
                part: stored(f"{task.id}/reference/{case}/{part}", reference)
                for part, reference in parts.items()
            }
            for case, parts in task.reference.items()
        },
        "mistakes": [
            {
                "name": mistake.name,
                "hint": mistake.hint,
                "recognised": mistake.recognised,
                "results": results(f"{task.id}/mistakes/{number}", mistake.results),
            }
            for number, mistake in enumerate(task.mistakes)
        ],
    }


def _stored(place, value, arrays):
    """What the text says of a value: itself, or of an array its place in the archive."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in values.NUMBERS_AND_TEXT:
            raise TaskError(f"{place} holds {value.dtype}; give numbers, truth values or text.")
        arrays[place] = value
        return {"array": place}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (bool, int, float, str, type(None), list, tuple)):
        return value
    raise TaskError(
        f"{place} is a {type(value).__name__}; give a number, text, truth value or array."
    )


def load(folder):
    """Read what `save` has written.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Key

    Raises
    ------
    KeyFilesError
        If a file is missing, damaged, or of another version of the course.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / "checks.json").read_text(encoding="utf-8"))
        if content["format"] == FORMAT:
            with np.load(folder / "checks.npz", allow_pickle=False) as archive:
                return _loaded(content, archive)
    except FileNotFoundError as error:
        raise KeyFilesError(
            f"{error.filename} is missing. Copy the whole folder {folder.name!r} of the exercise"
            " again."
        ) from None
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise KeyFilesError(
            f"The checks in {folder} cannot be read ({error!r}). Copy the whole folder of the"
            " exercise again."
        ) from error
    raise KeyFilesError(
        f"The checks in {folder} are of another version of the course. Take exercise and course"
        " from the same download."
    )


def _loaded(content, archive):
    def loaded(stored):
        return {
            name: archive[value["array"]] if isinstance(value, dict) else value
            for name, value in stored.items()
        }

    def results(by_case):
        return {
            case: CaseResult.from_dict({**result, "values": loaded(result["values"])})
            for case, result in by_case.items()
        }

    tasks = {}
    for id, task in content["tasks"].items():
        mistakes = tuple(
            WrongAnswer(**{**mistake, "results": results(mistake["results"])})
            for mistake in task["mistakes"]
        )
        reference = {
            case: {part: loaded(reference) for part, reference in parts.items()}
            for case, parts in task["reference"].items()
        }
        tasks[id] = TaskKey(
            id,
            tuple(Part(**part) for part in task["parts"]),
            task["probe"],
            {case: loaded(inputs) for case, inputs in task["cases"].items()},
            tuple(task.get("hidden", ())),
            results(task["right"]),
            reference,
            mistakes,
        )
    return Key(content["assignment"], tasks)
