"""The grader's own test, for whoever writes an assignment: is what is right judged right, and what
is wrong recognised?
"""

from itertools import combinations
from typing import NamedTuple

from course.grading import judge, keys

LEAST_MISTAKES, LEAST_ALTERNATIVES = 6, 3


class Row(NamedTuple):
    """One variant of an answer, and what the judge says of it."""

    task: str
    variant: str
    name: str
    points: float
    max: float
    problem: str  # empty if all is well
    said: str


def prove(folder, only=None, key=None):
    """Judge all variants of an assignment's answers, here and without a box.

    Parameters
    ----------
    folder : path
    only : collection of str, optional
        Ids of tasks.
    key : keys.Key, optional
        The whole one, if it is made already.

    Yields
    ------
    Row
    """
    points = {
        id: cell.metadata.nbgrader.get("points")
        for cell in keys.read_notebook(folder).cells
        if (id := keys.grade_id(cell))
    }
    for bench in keys.each_task(folder, only):
        id = bench.task.id
        yield from _rows(
            bench, key.tasks[id] if key else keys.task_key(bench), points.get(f"check_{id}")
        )


def show(folder, tasks=None, said=False):
    """Print what `prove` finds, as a table.

    Parameters
    ----------
    folder : path
    tasks : collection of str, optional
        Ids; by default all.
    said : bool
        Whether to print what the student is told, of all variants and not only where something is
        to be mended.

    Returns
    -------
    int
        How many variants are not judged as they should be.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table, problems = Table(title=str(folder)), 0
    for column in ("task", "variant", "name", "points", ""):
        table.add_column(column, overflow="fold")
    for row in prove(folder, tasks):
        problems += bool(row.problem)
        verdict = f"[bold red]{escape(row.problem)}[/]" if row.problem else "[green]OK[/]"
        if row.said and (said or row.problem):
            verdict += f"\n[dim]{escape(row.said)}[/]"
        table.add_row(
            row.task,
            row.variant,
            escape(row.name),
            f"{row.points:g}/{row.max:g}",
            verdict,
            end_section=row.variant == "stub",
        )
    Console().print(
        table, f"[bold red]{problems} to mend.[/]" if problems else "[green]All as it should be.[/]"
    )
    return problems


def _rows(bench, key, points):
    """The rows of one task; `points` are those of its check's cell."""
    task = bench.task

    def row(variant, name, results, problem_of):
        result = judge.judge(key, results)
        said = " | ".join(line.message for line in result.lines if line.step is not None)
        return Row(key.id, variant, name, result.points, result.max, problem_of(result), said)

    yield row(
        "answer",
        "the instructor's",
        key.right,
        lambda result: "; ".join([*_lacking(task, points), *_not_full(result)]),
    )
    for name, source in task.alternatives.items():
        yield row(
            "alternative", name, bench.results(source), lambda result: "; ".join(_not_full(result))
        )
    twins, public = _twins(key), key.public()
    for mistake in key.mistakes:
        hidden_only = (
            judge.judge(public, mistake.results).points == key.points
            and judge.judge(key, mistake.results).points < key.points
        )
        yield row(
            "mistake (found in hidden cases only)" if hidden_only else "mistake",
            mistake.name,
            mistake.results,
            _not_caught(mistake, key, twins),
        )
    yield row(
        "stub",
        "untouched",
        bench.results(keys.cleared(bench.answer)),
        lambda result: "gets points" if result.points else "",
    )


def _lacking(task, points):
    """What an author has still to write, or to make agree."""
    recognised = sum(mistake.recognised for mistake in task.mistakes)
    if recognised < LEAST_MISTAKES:
        yield f"{recognised} mistakes to be recognised; give at least {LEAST_MISTAKES}"
    if len(task.alternatives) < LEAST_ALTERNATIVES:
        yield f"{len(task.alternatives)} alternatives; give at least {LEAST_ALTERNATIVES}"
    if len({mistake.hint for mistake in task.mistakes}) < len(task.mistakes):
        yield "two mistakes have the same hint"
    if not task.hidden:
        yield "no hidden case, so that copied public values are full marks"
    if points != task.points:
        yield f"the cell check_{task.id} has {points} points, the parts have {task.points}"


def _not_full(result):
    return [] if result.points == result.max else ["not full marks"]


def _not_caught(mistake, key, twins):
    def problem(result):
        if result.points >= key.points:
            return "gets full marks"
        if not mistake.recognised:
            return ""
        if twins.get(mistake.name):
            return f"cannot be told from {', '.join(map(repr, twins[mistake.name]))}"
        if result.mistake != mistake.name:
            return f"taken for {result.mistake!r}" if result.mistake else "not recognised"
        return (
            ""
            if any(mistake.hint in line.message for line in result.lines)
            else "its hint is not told"
        )

    return problem


def _twins(key):
    """By name of a mistake, those that give the same in all parts."""
    twins = {}
    for one, other in combinations([mistake for mistake in key.mistakes if mistake.recognised], 2):
        if all(judge.same(key, part, one.results, other.results) for part in key.parts):
            twins.setdefault(one.name, []).append(other.name)
            twins.setdefault(other.name, []).append(one.name)
    return twins
