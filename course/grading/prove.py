"""The grader's own test, for whoever writes an assignment: is what is right judged right, and what
is wrong recognised?

python -m course.grading.prove solutions/02_batch_norm
python -m course.grading.prove solutions/02_batch_norm batch_norm_backward
"""

import argparse
import sys
from itertools import combinations
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

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


def prove(folder, only=None):
    """Judge all variants of an assignment's answers, here and without a box.

    Parameters
    ----------
    folder : path
    only : collection of str, optional
        Ids of tasks.

    Yields
    ------
    Row
    """
    in_checks = {
        id: cell.metadata.nbgrader.get("points")
        for cell in keys.read_notebook(folder).cells
        if (id := keys.grade_id(cell))
    }
    for bench in keys.each_task(folder, only):
        task, key = bench.task, keys.task_key(bench)

        def row(variant, name, results, problem_of, key=key):
            result = judge.judge(key, results)
            said = " | ".join(line.message for line in result.lines if line.step is not None)
            return Row(key.id, variant, name, result.points, result.max, problem_of(result), said)

        counts = [
            f"{len(found)} {what}; give at least {least}"
            for what, found, least in (
                ("mistakes", task.mistakes, LEAST_MISTAKES),
                ("alternatives", task.alternatives, LEAST_ALTERNATIVES),
            )
            if len(found) < least
        ]
        if in_checks.get(f"check_{task.id}") != task.points:
            counts.append(
                f"the cell check_{task.id} has {in_checks.get(f'check_{task.id}')} points, the"
                f" parts have {task.points}"
            )
        yield row(
            "answer",
            "the instructor's",
            key.right,
            lambda result: "; ".join([*counts, *_not_full(result)]),
        )
        for name, source in task.alternatives.items():
            yield row(
                "alternative",
                name,
                bench.results(source),
                lambda result: "; ".join(_not_full(result)),
            )
        twins = _twins(key)
        public = key.public()
        for mistake in key.mistakes:
            passes = [
                judge.judge(one, mistake.results).points == key.points for one in (public, key)
            ]
            variant = (
                "mistake (found in hidden cases only)" if passes == [True, False] else "mistake"
            )
            yield row(variant, mistake.name, mistake.results, _not_caught(mistake, key, twins))
        yield row(
            "stub",
            "untouched",
            bench.results(keys.cleared(bench.answer)),
            lambda result: "gets points" if result.points else "",
        )


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


def main():
    parser = argparse.ArgumentParser(
        prog="python -m course.grading.prove", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", help="such as solutions/02_batch_norm")
    parser.add_argument("tasks", nargs="*", help="ids; by default all")
    parser.add_argument(
        "--said", action="store_true", help="show what the student is told, of all variants"
    )
    arguments = parser.parse_args()
    console = Console()
    table = Table(title=arguments.folder, show_lines=False)
    for column in ("task", "variant", "name", "points", ""):
        table.add_column(column, overflow="fold")
    problems = 0
    try:
        for row in prove(arguments.folder, arguments.tasks or None):
            problems += bool(row.problem)
            verdict = f"[bold red]{row.problem}[/]" if row.problem else "[green]OK[/]"
            shown = (
                f"{verdict}\n[dim]{row.said.replace('[', '(')}[/]"
                if (arguments.said or row.problem) and row.said
                else verdict
            )
            table.add_row(
                row.task,
                row.variant,
                row.name,
                f"{row.points:g}/{row.max:g}",
                shown,
                end_section=row.variant == "stub",
            )
    except (ValueError, FileNotFoundError) as error:
        console.print(table, f"[bold red]{error}[/]")
        return 2
    console.print(
        table, f"[bold red]{problems} to mend.[/]" if problems else "[green]All as it should be.[/]"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
