"""The student's own check: `check("task")` in the notebook says what is not right yet.

The same run and the same judge as in grading, on the public cases alone. It gives no marks: grading
takes nothing that it says. To plain nbgrader it is a test like any other, as it raises an error
unless all is right.
"""

import html
import sys
from pathlib import Path

from course.grading import judge, keys, values
from course.grading.records import STEPS, CaseResult

COURSE = Path(__file__).resolve().parents[2]
SIGNS = {"OK": "OK", "not yet": "not yet", "not checked": "–"}


class NotYet(Exception):
    """A task that is not right yet. In a notebook it is one line, without a traceback."""

    def _render_traceback_(self):
        return [f"Not yet: {self}"]


def checks(name):
    """Prepare the checks of an assignment.

    Parameters
    ----------
    name : str
        Such as "02_batch_norm".

    Returns
    -------
    callable
        `check(task_id, namespace=None)`: runs the student's answer on the public cases, shows what
        is right and what is not, and raises NotYet if anything is not. The namespace is by default
        that of the notebook.

    Raises
    ------
    keys.KeyFilesError
        If the exercise's files are missing, or of another version of the course.
    """
    key = keys.load(find_exercise(name))

    def check(task_id, namespace=None):
        if task_id not in key.tasks:
            raise KeyError(
                f"There is no task {task_id!r} in {name}; its tasks are {', '.join(key.tasks)}."
            )
        if namespace is None:
            namespace = _notebook_namespace() or sys._getframe(1).f_globals
        task = key.tasks[task_id]
        parts = [part.name for part in task.parts]
        results = {
            case: CaseResult.from_dict(
                values.run_case(task_id, task.probe, parts, namespace, inputs), parts
            )
            for case, inputs in task.cases.items()
        }
        result = judge.judge(task, results, quote=True)
        _show(Verdict(task_id, result))
        if result.points < result.max:
            raise NotYet(f"{result.points:g} of {result.max:g} points in {task_id}.")

    return check


def find_exercise(name):
    """The folder with an exercise's checks: beside the notebook, in `exercises/` there, or in the
    course.

    Parameters
    ----------
    name : str

    Returns
    -------
    pathlib.Path
    """
    here = Path.cwd()
    places = [here, here / name, here / "exercises" / name, COURSE / "exercises" / name]
    for place in places:
        # The notebook's own folder may be called anything: a submission's has the name of its
        # student.
        if (place / "checks.json").is_file() and (
            place != here or here.name == name or (here / f"{name}.ipynb").is_file()
        ):
            return place
    raise keys.KeyFilesError(
        f"The checks of {name!r} were not found: keep checks.json and checks.npz in the folder of"
        " the notebook, as you got them."
    )


class Verdict:
    """What `check` shows: text, and in Jupyter a table."""

    def __init__(self, task_id, result):
        self.task_id, self.result = task_id, result

    def __repr__(self):
        lines = [self._headline()]
        for line in self.result.lines:
            steps = ", ".join(f"{step} {SIGNS[state]}" for step, state in line.steps())
            lines += [
                f"  {line.part} ({line.points:g}/{line.max:g}): {steps}",
                f"    {line.message}",
            ]
        return "\n".join(lines)

    def _repr_html_(self):
        head = "".join(
            f'<th scope="col">{step}</th>' for step in ("part", *STEPS, "points", "what to know")
        )
        rows = "".join(f"<tr>{self._row(line)}</tr>" for line in self.result.lines)
        return (
            f"<table><caption>{html.escape(self._headline())}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _row(self, line):
        states = "".join(f"<td>{SIGNS[state]}</td>" for _, state in line.steps())
        message = (
            '<td style="text-align: left; max-width: 40em; white-space:'
            f' normal">{html.escape(line.message)}</td>'
        )
        return (
            f'<th scope="row">{html.escape(line.part)}</th>{states}'
            f"<td>{line.points:g}/{line.max:g}</td>{message}"
        )

    def _headline(self):
        all_right = self.result.points == self.result.max
        return (
            f"{self.task_id}: {self.result.points:g} of {self.result.max:g}"
            f" points{': all right.' if all_right else ''}"
        )


def _shell():
    """IPython's shell if this is a notebook or a terminal of it; without an import, should it not
    be there.
    """
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _notebook_namespace():
    shell = _shell()
    return shell.user_ns if shell else None


def _show(verdict):
    if _shell():
        from IPython.display import display

        display(verdict)
    else:
        print(verdict)
