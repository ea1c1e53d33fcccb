"""The student's version of an assignment: `exercises/NAME/`, made from `solutions/NAME/`.

nbgrader's own preprocessors make the notebook; beside it lie the public checks. Nothing is written
if a solution, a mistake or a hidden case could be read in it.
"""

import io
import json
import logging
import re
import warnings
from pathlib import Path

import nbformat
import numpy as np

from course.grading import keys
from course.grading.tasks import load_tasks
from course.lab.errors import UserError
from course.lab.files import write_whole

COURSE = Path(__file__).resolve().parents[2]
SOLUTIONS, EXERCISES = COURSE / "solutions", COURSE / "exercises"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
TELLING = 30  # characters: shorter lines are too common to give anything away
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class ReleaseError(UserError, ValueError):
    """An assignment that cannot go to students; says what to mend."""


def release(names=None, out=EXERCISES, solutions=SOLUTIONS):
    """Make the students' version of assignments.

    Parameters
    ----------
    names : list of str, optional
        Such as ["02_batch_norm"]; by default all.
    out, solutions : path

    Returns
    -------
    list of pathlib.Path
        The folders that were written.

    Raises
    ------
    ReleaseError, course.grading.tasks.TaskError
        Before anything of that assignment is written.
    """
    folders = []
    for name in names or assignments(solutions):
        for file, content in release_files(Path(solutions) / name).items():
            write_whole(Path(out) / name / file, content)
        folders.append(Path(out) / name)
    return folders


def assignments(solutions=SOLUTIONS):
    """Names of all assignments, in order."""
    return sorted(path.parent.name for path in Path(solutions).glob("*/grader.py"))


def release_files(folder, key=None):
    """The content of the files that students get.

    Parameters
    ----------
    folder : path
        Such as `solutions/02_batch_norm`.
    key : keys.Key, optional
        The whole key, if it was made before.

    Returns
    -------
    dict of str to bytes
        By the name of the file: the notebook, `checks.json`, `checks.npz`.
    """
    folder = Path(folder)
    notebook = release_notebook(folder)
    files = {f"{folder.name}.ipynb": nbformat.writes(notebook).encode() + b"\n"}
    files |= keys.files((key or keys.make_key(folder, hidden=True)).public())
    _refuse_leaks(folder, notebook, files)
    return files


def release_notebook(folder):
    """The notebook that students get.

    Parameters
    ----------
    folder : path

    Returns
    -------
    nbformat.NotebookNode

    Raises
    ------
    ReleaseError
        If an answer has no marked solution, a task has no cell with its check, or the points are
        not those of the parts.
    """
    notebook = keys.read_notebook(folder)
    _refuse_flaws(Path(folder), notebook)
    notebook = _preprocessed(notebook)
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        # Ids are made up anew by some editors; these stay the same.
        cell.id = re.sub(r"[^a-zA-Z0-9-]", "-", keys.grade_id(cell) or f"cell-{number}")
    return notebook


def _preprocessed(notebook):
    with warnings.catch_warnings():
        # Not ours to mend: nbgrader's imports and settings warn of their own future.
        warnings.simplefilter("ignore")
        from nbgrader import preprocessors

        log = logging.getLogger("course.grading.release")
        log.setLevel(logging.CRITICAL)  # what nbgrader logs before it raises would be told twice
        steps = (
            "ClearSolutions",
            "LockCells",
            "ClearOutput",
            "ComputeChecksums",
            "CheckCellMetadata",
        )
        for step in steps:
            try:
                notebook, _ = getattr(preprocessors, step)(log=log).preprocess(notebook, {})
            except Exception as error:
                raise ReleaseError(f"nbgrader's {step} refuses the notebook: {error}") from error
    return notebook


# ---------------------------------------------------------------- what must not go out


def _refuse_flaws(folder, notebook):
    """Stop if the notebook does not go with the tasks of grader.py."""
    cells = {id: cell for cell in notebook.cells if (id := keys.grade_id(cell))}
    tasks = load_tasks(folder)

    def refuse(message):
        raise ReleaseError(f"{folder.name}: {message}")

    for id in ("setup", "self_check"):
        if id not in cells:
            refuse(f"there is no cell with the grade_id {id!r}.")
    for id, task in tasks.items():
        answer, check = cells.get(id), cells.get(f"check_{id}")
        if answer is None or not answer.metadata.nbgrader.get("solution"):
            refuse(
                f"task {id!r} has no answer cell: give one the grade_id {id!r}, and mark it as a"
                " solution."
            )
        if (
            not re.fullmatch(rf"(?s).*{BEGIN}.*{END}.*", answer.source)
            or answer.source.count("SOLUTION") != 2
        ):
            refuse(f"the solution of {id!r} must lie between one {BEGIN!r} and one {END!r}.")
        if check is None or not check.metadata.nbgrader.get("grade"):
            refuse(
                f"task {id!r} has no check: behind its answer put a graded cell with the grade_id"
                f" 'check_{id}'."
            )
        if not re.fullmatch(rf"""\s*check\((["']){re.escape(id)}\1\)\s*""", check.source):
            refuse(f'the cell check_{id} must hold check("{id}") and nothing else.')
        if notebook.cells.index(check) < notebook.cells.index(answer):
            refuse(f"the cell check_{id} stands above its answer.")
        if check.metadata.nbgrader.get("points") != task.points:
            refuse(
                f"the cell check_{id} has {check.metadata.nbgrader.get('points')} points, its parts"
                f" have {task.points:g}."
            )
    for id, cell in cells.items():
        if id.startswith("check_") and id.removeprefix("check_") not in tasks:
            refuse(f"the cell {id!r} checks no task of grader.py.")
        if cell.metadata.nbgrader.get("solution") and id not in tasks:
            refuse(f"the answer cell {id!r} has no task in grader.py.")
    for cell in notebook.cells:
        if (BEGIN in cell.source or END in cell.source) and keys.grade_id(cell) not in tasks:
            refuse(f"there is a solution in a cell that is no answer: {cell.source[:60]!r}.")


def _refuse_leaks(folder, notebook, files):
    """Stop if a line of a solution or a mistake, or anything of a hidden case, can be read in the
    release.
    """
    tasks = load_tasks(folder)
    content = json.loads(files["checks.json"])
    given = _lines("\n".join(cell.source for cell in notebook.cells))
    for id, one in content["tasks"].items():
        given |= _lines(one["probe"])
        if set(one["cases"]) != set(tasks[id].cases) or set(one["right"]) != set(tasks[id].cases):
            raise ReleaseError(
                f"{folder.name}: the checks of {id!r} hold other cases than the public ones."
            )
    with np.load(io.BytesIO(files["checks.npz"]), allow_pickle=False) as archive:
        released = [archive[name] for name in archive.files]
    answers = {
        id: cell.source
        for cell in keys.read_notebook(folder).cells
        if (id := keys.grade_id(cell)) in tasks
    }
    # Outside of the solutions an instructor's notebook is what students get anyway.
    known = _lines("\n".join(keys.cleared(source) for source in answers.values()))
    others = [
        cell.source for cell in keys.read_notebook(folder).cells if keys.grade_id(cell) not in tasks
    ]
    around = _lines("\n".join(others))
    for id, task in tasks.items():
        solution = answers[id].split(BEGIN)[1].split(END)[0]
        sources = {
            "solution": solution,
            **{f"mistake {mistake.name!r}": mistake.source for mistake in task.mistakes},
        }
        for what, source in sources.items():
            telling = {line for line in _lines(source) - known if len(line) >= TELLING}
            # Code that is to be repaired has lines of the mistakes, and of the solution some, but
            # not all.
            excused = around if what != "solution" or not telling <= given else set()
            shown = sorted(telling & given - excused)
            if shown:
                raise ReleaseError(
                    f"{folder.name}: a line of {id!r}, {what}, can be read in the release:"
                    f" {shown[0]!r}."
                )
        public = [value for inputs in task.cases.values() for value in inputs.values()]
        for case, inputs in task.hidden.items():
            for name, value in inputs.items():
                # A few numbers, or one number everywhere, give nothing away.
                if np.unique(value).size < 4 or any(_equal(value, one) for one in public):
                    continue
                if any(_equal(value, one) for one in released):
                    raise ReleaseError(
                        f"{folder.name}: {name!r} of the hidden case {case!r} of {id!r} is in the"
                        " release."
                    )


def _lines(source):
    return {" ".join(line.split()) for line in source.splitlines() if line.strip()}


def _equal(one, other):
    return np.shape(one) == np.shape(other) and np.array_equal(one, other)


# ---------------------------------------------------------------- drift


def drift(name, out=EXERCISES, solutions=SOLUTIONS, key=None):
    """Say where the release is not what `release` would make of the assignment now.

    Text must be the same; numbers as far as the judge tells them apart, as the last digit differs
    between processors.

    Parameters
    ----------
    name : str
    out, solutions : path
    key : keys.Key, optional
        The whole key, if it was made before.

    Returns
    -------
    list of str
        Empty if there is no difference.
    """
    folder = Path(out) / name
    key = key or keys.make_key(Path(solutions) / name, hidden=True)
    files = release_files(Path(solutions) / name, key)
    extra = sorted(
        path.name for path in folder.glob("*") if path.is_file() and path.name not in files
    )
    differences = [f"{folder / file}: not made by `course release`" for file in extra]
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        return [*differences, *(f"{folder / file}: missing" for file in missing)]
    notebook = f"{name}.ipynb"
    if (folder / notebook).read_bytes() != files[notebook]:
        differences.append(f"{folder / notebook}: another text")
    try:
        released = keys.load(folder)
    except keys.KeyFilesError as error:
        return [*differences, str(error)]
    if _text(json.loads((folder / "checks.json").read_bytes())) != _text(
        json.loads(files["checks.json"])
    ):
        differences.append(f"{folder / 'checks.json'}: another text")
        return differences
    return differences + [
        f"{folder / 'checks.npz'}: {what}" for what in _other_values(released, key.public())
    ]


def _text(content):
    """The text of a key without the messages of errors, which differ between versions of Python and
    NumPy.
    """
    if isinstance(content, dict):
        return {
            name: _text(value) for name, value in content.items() if name not in ("message", "line")
        }
    return [_text(value) for value in content] if isinstance(content, list) else content


def _other_values(released, made):
    """Where two public keys with the same text hold other values."""
    for id, task in made.tasks.items():
        before = released.tasks[id]
        for case, inputs in task.cases.items():
            for name, value in inputs.items():
                if isinstance(value, np.ndarray) and not _alike(value, before.cases[case][name]):
                    yield f"{id}: input {name!r} of case {case!r}"
            for part, said in task.reference[case].items():
                arrays = {
                    name: value for name, value in said.items() if isinstance(value, np.ndarray)
                }
                if not all(
                    _alike(value, before.reference[case][part][name])
                    for name, value in arrays.items()
                ):
                    yield f"{id}: reference of {part!r} in case {case!r}"
        answers = [("the right values", task.right, before.right)]
        answers += [
            (repr(new.name), new.results, old.results)
            for new, old in zip(task.mistakes, before.mistakes, strict=True)
        ]
        for what, new, old in answers:
            for part in task.parts:
                if part.compare in ("close", "equal") and not all(
                    _alike_results(new[case], old[case], part) for case in task.cases
                ):
                    yield f"{id}: {what} of {part.name!r}"


def _alike_results(new, old, part):
    values = [result.values.get(part.name) for result in (new, old)]
    if values[0] is None or values[1] is None:
        return values[0] is values[1]
    return _alike(*values, part.rtol, part.atol)


def _alike(new, old, rtol=1e-5, atol=1e-7):
    if new.shape != old.shape or new.dtype.kind != old.dtype.kind:
        return False
    return bool(
        np.allclose(new, old, rtol, atol, equal_nan=True)
        if new.dtype.kind in "fc"
        else np.all(new == old)
    )
