"""What people read after grading: a feedback page for each student, `grades.csv`, and for the
instructor a summary, and each notebook as it was run.

Whatever comes from a student (names, outputs, errors) is text here: Jinja2 escapes it, and the
pages' own policy forbids all scripts and everything from outside, should that ever fail.
"""

import base64
import builtins
import csv
import hashlib
import io
import re
import statistics
import unicodedata
from collections import Counter, defaultdict
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course.grading.read import grade_id
from course.grading.records import BookEntry, ProbeCell

PAGES = Path(__file__).with_name("pages")
TEXT_LIMIT = 4_000  # characters of one text on a page
MOST_ERRORS = 30
CONTROL = re.compile(
    r"\x1b\[[0-9;?]*["
    r" -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|[\ud800-\udfff]"
)
CSV_ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain(text, limit=TEXT_LIMIT):
    """Text without colours, control characters and changes of direction, and not too long."""
    text = str(text)
    short = CONTROL.sub("", text[: 2 * limit])[:limit]
    return short if len(text) <= limit else f"{short}\n[... {len(text) - limit:,} more characters]"


def number(value):
    """Points as people write them: 2, 2.5, 0.33."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _bar(share, name):
    share = min(1.0, max(0.0, share))
    return Markup(
        '<svg viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="{}: {:.0f}'
        ' %"><rect class="rest" width="100" height="4"/><rect class="part" width="{:.1f}"'
        ' height="4"/></svg>'
    ).format(name, 100 * share, 100 * share)


def _environment():
    style = (PAGES / "style.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals.update(
        style=Markup(style), style_hash=Markup(digest), bar=_bar, number=number
    )
    return environment


ENVIRONMENT = _environment()


def feedback(graded, entries=None):
    """The page that a student gets.

    Parameters
    ----------
    graded : Graded
    entries : mapping of str to BookEntry, optional
        What the grade book says of each task (`book.Book.entries`); by default the points.

    Returns
    -------
    str
        HTML: one page, with nothing from outside.
    """
    entries = {task.id: BookEntry(task.points) for task in graded.tasks} | (entries or {})
    stopped = [{"id": cell.id, "error": _error(cell.error)} for cell in graded.cells]
    return ENVIRONMENT.get_template("feedback.html").render(
        graded=graded,
        entries=entries,
        score=sum(entries[task.id].score for task in graded.tasks),
        stopped=stopped[:MOST_ERRORS],
    )


def _error(error):
    """An error without its words.

    What a student's code prints or says in an error may repeat the inputs of hidden cases, which it
    has seen; so may the name of an error of its own.
    """
    known = isinstance(getattr(builtins, error.type, None), type)
    line = f" in line {error.line}" if error.line else ""
    return (error.type if known else "an error") + line


def autograded(graded, cells, runs, skeleton):
    """The notebook that was run, with what its cells printed, for an instructor; as text, so that
    nothing in it is live.

    Parameters
    ----------
    graded : Graded
    cells : iterable of CodeCell and ProbeCell
        As they were to be run; none of a notebook that was not.
    runs : iterable of CellRun
        What came of the code cells, as far as they were run.
    skeleton : nbformat.NotebookNode
        The release.

    Returns
    -------
    nbformat.NotebookNode
    """
    runs, tasks = iter(runs), {f"check_{task.id}": task for task in graded.tasks}
    released, notebook = [cell for cell in skeleton.cells if grade_id(cell)], []

    def up_to(identity):
        """The cells of the release before one of them, and that one."""
        while released:
            cell = deepcopy(released.pop(0))
            if cell.cell_type == "code":
                cell.outputs = _verdict(graded, tasks.get(grade_id(cell)))
            notebook.append(cell)
            if grade_id(cell) == identity:
                return cell
        return None

    for given in cells:
        if isinstance(given, ProbeCell):
            up_to(f"check_{given.task}")
            continue
        cell = up_to(given.id) if given.id else None
        if cell is None:
            cell = new_code_cell(id=f"added-{len(notebook)}")
            notebook.append(cell)
        if given.id != "self_check":
            cell.source = given.source
        if run := next(runs, None):
            cell.outputs = _outputs(run)
    up_to(None)
    return new_notebook(cells=notebook, metadata=skeleton.metadata)


def _verdict(graded, task):
    """The output of a check's cell: what the judge says of its task; none if it is no check."""
    if task is None:
        return []
    texts = [graded.message, *(line.message for line in task.lines)]
    return [_stream("\n".join(filter(None, texts)))] if any(texts) else []


def _outputs(run):
    """The outputs of a cell that was run."""
    outputs = [_stream(run.text)] if run.text else []
    if error := run.error:
        names = {"ename": plain(error.type), "evalue": plain(error.message)}
        line = f" (line {error.line})" if error.line else ""
        told = plain(f"{error.type}: {error.message}{line}")
        outputs.append(new_output("error", **names, traceback=[told]))
    return outputs


def _stream(text):
    return new_output("stream", name="stdout", text=plain(text))


@dataclass(frozen=True)
class Row:
    """A row of `grades.csv`.

    Attributes
    ----------
    student, assignment, state : str
    tasks : dict of str to float
        Points by task, as they stand in the grade book.
    max : float
    """

    student: str
    assignment: str
    state: str
    tasks: dict[str, float]
    max: float


def table(rows):
    """`grades.csv`: a row a student (and assignment), a column a task.

    Parameters
    ----------
    rows : list of Row

    Returns
    -------
    str
    """
    tasks = list(dict.fromkeys(task for row in rows for task in row.tasks))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["student", "assignment", "state", "points", "max", *map(_harmless, tasks)])
    for row in rows:
        names = [_harmless(text) for text in (row.student, row.assignment, row.state)]
        points = [number(sum(row.tasks.values())), number(row.max)]
        by_task = [number(row.tasks[task]) if task in row.tasks else "" for task in tasks]
        writer.writerow(names + points + by_task)
    return file.getvalue()


def _harmless(text):
    """Text that a spreadsheet shows instead of computing it."""
    text = plain(text)
    # Some take a wide sign for the plain one.
    return (
        "'" + text
        if unicodedata.normalize("NFKC", text).lstrip(" ").startswith(CSV_ACTIVE)
        else text
    )


@dataclass
class _Tally:
    """What has been counted of one assignment."""

    max: float = 0
    points: list = field(default_factory=list)
    tasks: dict = field(default_factory=lambda: defaultdict(list))  # pairs (points, max)
    mistakes: Counter = field(default_factory=Counter)
    trouble: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    same: dict = field(default_factory=lambda: defaultdict(list))


class Summary:
    """Adds up results one after the other, and makes the instructor's page; keeps no notebook."""

    def __init__(self):
        self.assignments = defaultdict(_Tally)

    def add(self, graded, points):
        """Count one result.

        Parameters
        ----------
        graded : Graded
        points : mapping of str to float
            Of each task, as they stand in the grade book.
        """
        tally = self.assignments[graded.assignment]
        total = sum(points.values())
        tally.points.append(total)
        tally.max = graded.max
        for task in graded.tasks:
            tally.tasks[task.id].append((points[task.id], task.max))
            if task.mistake:
                tally.mistakes[task.mistake, task.id] += 1
        if graded.state != "ok":
            tally.trouble.append(
                {
                    "student": graded.student,
                    "state": graded.state,
                    "points": total,
                    "message": graded.message,
                }
            )
        if graded.answers:
            tally.same[graded.answers].append(graded.student)

    def add_missing(self, assignment, student):
        """Count a student whom the grade book knows, but of whom there is no submission."""
        self.assignments[assignment].missing.append(student)

    def page(self):
        """The page as HTML."""
        tallies = sorted(self.assignments.items())
        return ENVIRONMENT.get_template("summary.html").render(
            assignments=[_assignment(name, tally) for name, tally in tallies]
        )


def _assignment(name, tally):
    """The numbers of one assignment, for the page."""
    points, tasks = tally.points, []
    for task, pairs in tally.tasks.items():
        gained, maximum = [got for got, _ in pairs], pairs[0][1]
        full, none = sum(got >= maximum for got in gained), sum(got <= 0 for got in gained)
        row = {
            "id": task,
            "mean": statistics.fmean(gained),
            "max": maximum,
            "full": full,
            "none": none,
        }
        tasks.append(row | {"some": len(gained) - full - none})
    mistakes = [
        {"name": mistake, "task": task, "count": count}
        for (mistake, task), count in tally.mistakes.most_common(20)
    ]
    return {
        "name": name,
        "graded": len(points),
        "max": tally.max,
        "mean": statistics.fmean(points or [0]),
        "median": statistics.median(points or [0]),
        "distribution": _distribution(points, tally.max),
        "tasks": sorted(tasks, key=lambda row: row["mean"] / row["max"] if row["max"] else 1),
        "mistakes": mistakes,
        "trouble": tally.trouble,
        "missing": tally.missing,
        "same": [sorted(group) for group in tally.same.values() if len(group) > 1],
    }


def _distribution(points, maximum, bins=10):
    """How many got how much: in `bins` equal steps, and those with all points apart."""
    width = maximum / bins
    counts = (
        Counter(bins if got >= maximum else max(0, int(got / width + 1e-9)) for got in points)
        if maximum
        else Counter()
    )
    rows = [
        {
            "label": f"{number(step * width)} to below {number((step + 1) * width)}",
            "count": counts[step],
        }
        for step in range(bins)
    ]
    return [*rows, {"label": f"{number(maximum)} (all)", "count": counts[bins]}]
