"""The batch: every submission through intake, box and judge; then grade book, feedback, table and
summary.

The folder it writes is laid out as an nbgrader course. In it `results/` holds one file for each
submission, written whole or not at all and named by no time: it carries a hash of all that the
grade depends on. What is finished is never graded again; whatever is killed, and whenever, the next
call goes on. Everything else (grade book, `feedback/`, `grades.csv`, `summary.html`) is made from
those files at the end.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import traceback
from collections import Counter
from contextlib import closing, contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from uuid import uuid4

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course.grading import find, keys
from course.grading.box.box import Box, BoxError, BoxReport, Limits
from course.grading.judge import judge
from course.grading.keys import grade_id
from course.grading.read import Unreadable, read
from course.grading.release import SOLUTIONS, assignments, release_notebook
from course.grading.report import Summary, feedback, plain, table
from course.grading.tasks import load_tasks, sources
from course.lab.cluster import connect
from course.lab.errors import UserError
from course.lab.files import write_whole

# The code that a grade depends on: a change of it makes all grades stale.
GRADING_CODE = (
    "tasks",
    "values",
    "box/box",
    "box/runner",
    "find",
    "read",
    "keys",
    "judge",
    "batch",
)
COMPUTED_BY = ("numpy", "keras", "tensorflow", "jax", "torch", "scikit-learn")
STATES = ("ok", "timeout", "memory", "processes", "output", "crash", "unreadable", "missing")
JOBS_EACH = (
    24  # under way for each worker: enough to do while the key is made, and few enough for memory
)
OURS = (
    "The grader failed while it graded this notebook, which is no fault of yours. Your instructor"
    " has been told; the points will change."
)
UNKNOWN = "unknown"  # stands for the assignment of a submission that does not say which one it is
LONGEST_NAME = 60  # characters of a student's id, of up to 4 bytes; a folder may have 255 bytes


class GradeError(UserError):
    """A batch that cannot go on; says what to do."""


@dataclass
class Outcome:
    """What a batch did.

    Attributes
    ----------
    graded, present : list of tuple of str
        Pairs (assignment, student): graded now, and graded before and unchanged.
    failed : list of tuple of str
        Triples (assignment, student, what went wrong) where the grader itself failed: to be graded
        again.
    left_out : dict of str to int
        How many submissions there are of assignments that are none of ours, by name.
    states : dict of str to int
        How many of all submissions ended in which state, and how many are "missing" of students in
        the grade book.
    total : int
        Submissions found.
    seconds : float
        Wall time so far.
    """

    graded: list = field(default_factory=list)
    present: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    left_out: dict = field(default_factory=dict)
    states: dict = field(default_factory=dict)
    total: int = 0
    seconds: float = 0.0


class Assignment:
    """An assignment as the batch needs it; what is costly is made when it is first asked for.

    Parameters
    ----------
    folder : pathlib.Path
        Such as `solutions/02_batch_norm`.
    settings : mapping
        "limits" and "boxed", for its box.
    kept : pathlib.Path
        Folder that keys are kept in, for the next batch: that of a Keras exercise takes up to a
        minute.
    """

    def __init__(self, folder, settings, kept):
        self.folder, self.name, self._settings, self._kept = folder, folder.name, settings, kept
        self.tasks = load_tasks(folder)

    @cached_property
    def skeleton(self):
        """The release: what a submission is rebuilt from."""
        return release_notebook(self.folder)

    @cached_property
    def key(self):
        """Right and typical wrong values, hidden cases included; never leaves this machine."""
        place = self._kept / f"{self.name}-{self._sources(_versions())[:16]}"
        try:
            return keys.load(place)
        except (FileNotFoundError, ValueError):  # none yet, or a damaged one
            make = keys.make_key if not self.box["keras"] else partial(_elsewhere, keys.make_key)
            self._kept.mkdir(
                mode=0o700, parents=True, exist_ok=True
            )  # it holds the answers, whoever may look into the folder above
            keys.save(make(self.folder, True), place)
        for old in self._kept.glob(f"{self.name}-*"):
            if old != place:
                shutil.rmtree(old, ignore_errors=True)
        return keys.load(place)

    @cached_property
    def box(self):
        """Arguments of the box that its submissions need."""
        keras = any(
            re.search(r"^\s*(import|from)\s+keras\b", cell.source, re.M)
            for cell in self.skeleton.cells
        )
        return {"keras": keras, **self._settings}

    @cached_property
    def probes(self):
        """What a job says of its tasks."""
        return {
            task.id: {
                "source": task.probe,
                "parts": [part.name for part in task.parts],
                "cases": {**task.cases, **task.hidden},
            }
            for task in self.tasks.values()
        }

    @cached_property
    def fingerprint(self):
        """Hash of all that a grade depends on, but for the submission."""
        return self._sources(
            nbformat.writes(self.skeleton), {**self.box, "limits": asdict(self.box["limits"])}
        )

    def _sources(self, *more):
        """Hash of the grader, the assignment, and what else is given as text or plain data."""
        digest = hashlib.sha256()
        for name in GRADING_CODE:
            digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
        for path in sources(self.folder):
            digest.update(path.read_bytes())
        for one in more:
            digest.update(
                (one if isinstance(one, str) else json.dumps(one, sort_keys=True)).encode()
            )
        return digest.hexdigest()


def _versions():
    """Of what right values may depend on."""
    installed = {}
    for name in COMPUTED_BY:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed | {"backend": os.environ.get("KERAS_BACKEND", "")}


def _elsewhere(function, *arguments):
    """Call a function in a process of its own: what Keras takes in memory is free again when that
    ends.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        raise GradeError(
            "The process that computes the right answers was killed; was there too little memory?"
        ) from None
    except BaseException:
        process.kill()
        raise
    finally:
        ours.close()
        process.join()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _send(connection, function, arguments):
    try:
        answer = function(*arguments)
    except Exception as error:
        answer = error
    with suppress(BrokenPipeError):  # nobody is there any more
        connection.send(answer)


# In a worker
# ------------------------------------------------------------------------------------------------

# of this process, with the settings it was made with: to start one takes as long as to import Keras
_BOX = None


def run_boxed(job, settings):
    """Run a submission's cells and probes in this process's box.

    Parameters
    ----------
    job : mapping
        See `box.Box.run`.
    settings : mapping
        Arguments of `box.Box`.

    Returns
    -------
    course.grading.box.BoxReport
    """
    global _BOX
    if _BOX is None or _BOX[0] != settings:
        close_box()
        _BOX = settings, Box(**settings).__enter__()
    return _BOX[1].run(job)


def close_box():
    """Give the memory of this process's box back."""
    global _BOX
    if _BOX is not None:
        (_, box), _BOX = _BOX, None
        box.close()


# In the driver
# ----------------------------------------------------------------------------------------------


def grade(
    submissions,
    out="grades",
    *,
    assignment=None,
    solutions=SOLUTIONS,
    workers=None,
    scheduler=None,
    timeout=None,
    boxed=True,
    again=False,
    begin=None,
    report=None,
):
    """Grade what is not graded yet of some submissions, and write everything that people read.

    Parameters
    ----------
    submissions : path
        nbgrader's layout, a flat folder of notebooks, or a zip (see `find.find_submissions`).
    out : path
        Of the grades: an nbgrader course folder, made if it is not there.
    assignment : str, optional
        Only this one; also where the names of the files do not say it.
    solutions : path
        Folder of the assignments.
    workers : int, optional
        Processes on this machine; by default one a core.
    scheduler : str, optional
        Address of a Dask scheduler, such as "tcp://127.0.0.1:8786", instead of workers on this
        machine.
    timeout : float, optional
        Seconds that a notebook may take.
    boxed : bool
        False runs students' code with all that the workers' user may do.
    again : bool
        Grade finished ones again, too.
    begin, report : callable, optional
        Called as begin(outcome) once it is known what is graded already, and report(result,
        outcome) after each.

    Returns
    -------
    Outcome

    Raises
    ------
    GradeError, course.grading.book.BookError
    """
    from course.grading.book import Book

    start, out, solutions = monotonic(), Path(out).resolve(), Path(solutions)
    limits = (
        Limits()
        if timeout is None
        else Limits(seconds=float(timeout), cell_seconds=min(float(timeout), Limits().cell_seconds))
    )
    settings = {"limits": limits, "boxed": boxed}
    outcome = Outcome()
    with _locked(out), Book(out / "gradebook.db") as book:
        ours = {name: {*load_tasks(solutions / name)} for name in assignments(solutions)}
        found = _found(submissions, assignment, ours, outcome)
        needed = {one.assignment for one in found} - {UNKNOWN}
        wanted = {
            name: Assignment(solutions / name, settings, out / ".keys") for name in sorted(needed)
        }
        for one in wanted.values():
            book.prepare(
                one.name,
                one.skeleton,
                {f"check_{task.id}": task.points for task in one.tasks.values()},
            )
            _lay_out(one, out)
        stale = []
        for one in found:
            done = not again and _is_done(one, wanted.get(one.assignment), out)
            if done:
                outcome.present.append((one.assignment, one.student))
            else:
                stale.append(one)
        _forget(stale, out, book)
        if begin:
            begin(outcome)
        with closing(_graded(stale, wanted, ours, out, workers, scheduler)) as cases:
            for case in cases:
                result = case.result
                _keep(case, wanted.get(result["assignment"]), out)
                where = result["assignment"], result["student"]
                if result["trouble"]:
                    outcome.failed.append((*where, result["trouble"]))
                else:
                    outcome.graded.append(where)
                outcome.seconds = monotonic() - start
                if report:
                    report(result, outcome)
        _publish(found, wanted, out, book, outcome)
    outcome.seconds = monotonic() - start
    return outcome


def _found(submissions, assignment, ours, outcome):
    """The submissions that can be graded here; what they are called can be the name of a folder."""
    if assignment is not None and assignment not in ours:
        raise GradeError(f"There is no assignment {assignment!r}. There are: {', '.join(ours)}.")
    found, others = [], Counter()
    for one in find.find_submissions(submissions, assignment, ours):
        if one.assignment is None or one.assignment in ours:
            found.append(
                replace(one, student=_clean(one.student), assignment=one.assignment or UNKNOWN)
            )
        else:
            others[_clean(one.assignment)] += 1
    outcome.total, outcome.left_out = len(found), dict(others)
    if not found:
        raise GradeError(
            f"All submissions are of assignments unknown here: {', '.join(others)}. Say which one"
            " with --assignment."
        )
    return found


def _clean(name):
    """A name without signs that no folder, database or page takes; still one that no one else has."""
    clean = re.sub(r"[/\\]", "_", plain(name, LONGEST_NAME)).replace("\n", " ").strip()
    if clean == name and clean not in ("", ".", ".."):
        return name
    return f"{clean[:LONGEST_NAME].strip('.')}_{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


@contextmanager
def _locked(out):
    """Hold a course folder for one batch at a time."""
    import fcntl  # not on Windows, where no box is either

    try:
        out.mkdir(
            parents=True, exist_ok=True, mode=0o700
        )  # on a shared machine other users must not read grades
        lock = open(out / ".grading", "w")
    except OSError as error:
        raise GradeError(
            f"{out} cannot be written ({error.strerror}). Choose another folder with --out."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GradeError(
                f"Another `course grade` is at work in {out}. Wait for it, or choose another folder"
                " with --out."
            ) from None
        try:
            yield
        except OSError as error:
            raise GradeError(
                f"A file could not be read or written ({error}). Look at the space on the disk and"
                f" at who may write to {out}; the same command goes on from where it stopped."
            ) from error


def _place(out, kind, one):
    """The folder of one submission, where nbgrader looks for it."""
    return out / kind / one.student / one.assignment


def _lay_out(assignment, out):
    """Put the instructor's notebook where nbgrader's pages look for assignments, unless there is
    one.
    """
    place = out / "source" / assignment.name / f"{assignment.name}.ipynb"
    if not place.exists():
        write_whole(place, (assignment.folder / place.name).read_bytes())


def _stamp(content, assignment):
    """What a grade depends on, as one hash."""
    return hashlib.sha256(
        (assignment.fingerprint if assignment else UNKNOWN).encode() + content
    ).hexdigest()


def _content(one):
    """What was handed in; where it cannot be read, why."""
    try:
        return one.content()
    except Unreadable as error:
        return str(error).encode("utf-8", "replace")


def _load(out, one):
    """The result of a submission; None if there is none that can be read."""
    try:
        return json.loads((_place(out, "results", one) / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _is_done(one, assignment, out):
    result = _load(out, one)
    return (
        result is not None
        and result["stamp"] == _stamp(_content(one), assignment)
        and not result["trouble"]
    )


def _forget(stale, out, book):
    """Take away all that says something of submissions which are about to be graded.

    From here until the end there is no table, rather than one with old grades in it.
    """
    if not stale:
        return
    for name in ("grades.csv", "summary.html"):
        (out / name).unlink(missing_ok=True)
    for name in {one.assignment for one in stale}:
        book.clear(name, [one.student for one in stale if one.assignment == name])
    for one in stale:
        for kind in ("results", "feedback", "autograded"):
            shutil.rmtree(_place(out, kind, one), ignore_errors=True)


@dataclass
class _Case:
    """A submission on its way: what is known of its result so far, its job, and then what came out
    of the box.
    """

    result: dict
    cells: list
    job: dict | None = None
    report: BoxReport | None = None


def _graded(stale, wanted, ours, out, workers, scheduler):
    """Grade submissions, and yield each one's case as soon as its result is there.

    Not all are under way at a time, so that memory does not grow with the class.
    """
    prepared = (_prepare(one, wanted.get(one.assignment), ours, out) for one in stale)
    first = None
    for first in prepared:  # there may be none that needs a box
        if first.job is not None:
            break
        yield first
    if first is None or first.job is None:
        return
    waiting = itertools.chain([first], prepared)
    workers = min(workers or os.cpu_count(), len(stale))
    with connect(workers, scheduler) as client, _boxes_closed(client):
        from distributed import as_completed

        under_way, futures, judged = {}, as_completed(), 0
        room = JOBS_EACH * len(client.ncores())

        def submit():
            """Put jobs under way; give back the cases that need none."""
            while futures.count() < room and (case := next(waiting, None)) is not None:
                if case.job is None:
                    yield case
                    continue
                box = wanted[case.result["assignment"]].box
                future = client.submit(
                    run_boxed, case.job, box, key=f"grade-{uuid4().hex}", pure=False
                )
                case.job = None
                under_way[future.key] = case
                futures.add(future)

        yield from submit()
        _ = wanted[first.result["assignment"]].key  # takes its time; now, while the boxes start
        for future in futures:
            case = under_way.pop(future.key)
            _judge(case, future, wanted[case.result["assignment"]], first=judged == 0)
            judged += 1
            future.release()
            yield case
            yield from submit()


@contextmanager
def _boxes_closed(client):
    """A cluster lives on, and a box holds Keras in memory."""
    try:
        yield
    finally:
        with suppress(Exception):
            client.run(close_box)


def _prepare(one, assignment, ours, out):
    """Read a submission and rebuild it, or say why that cannot be done."""
    content = _content(one)
    tasks = assignment.tasks.values() if assignment else ()
    result = {
        "student": one.student,
        "assignment": one.assignment,
        "stamp": _stamp(content, assignment),
        "timestamp": _timestamp(one),
        "state": "unreadable",
        "message": one.problem or "",
        "notes": {},
        "answers": "",
        "cells": [],
        "seconds": 0,
        "memory": 0,
        "trouble": "",
        "tasks": [
            {"id": task.id, "points": 0, "max": task.points, "lines": [], "mistake": None}
            for task in tasks
        ],
    }
    case = _Case(result, [])
    if assignment is None:
        return case
    try:
        intake = read(one, assignment.skeleton, ours)
        result.update(
            message=plain(intake.problem or ""),
            notes={name: plain(text) for name, text in intake.notes.items()},
        )
        if not intake.problem:
            case.cells, case.job = (
                intake.cells,
                {"cells": intake.cells, "probes": assignment.probes},
            )
            result["answers"] = _digest_of_code(intake.cells, assignment)
        if not one.problem and not one.path.resolve().is_relative_to(out / "submitted"):
            write_whole(_place(out, "submitted", one) / f"{assignment.name}.ipynb", content)
    except Exception as error:  # a notebook can be wrong in ways that nobody has thought of
        _blame_us(result, error)
    return case


def _timestamp(one):
    """When it was handed in, as nbgrader's exchange puts it down beside the notebook; empty if it
    does not.
    """
    from nbgrader.utils import parse_utc

    path = one.path.with_name("timestamp.txt")
    try:
        if one.member or path.is_symlink() or not path.is_file() or path.stat().st_size > 100:
            return ""
        return parse_utc(path.read_text(encoding="utf-8").strip()).isoformat()
    except (OSError, ValueError, OverflowError):
        return ""


def _digest_of_code(cells, assignment):
    """Hash of a student's own code, by which copies are found; empty if the answers are still those
    of the release.
    """
    own = [
        cell[1:]
        for cell in cells
        if cell[0] == "code" and (cell[2] is None or cell[2] in assignment.tasks)
    ]
    blank = {grade_id(cell): cell.source for cell in assignment.skeleton.cells}
    if all(source == blank[identity] for source, identity in own if identity):
        return ""
    return hashlib.sha256(json.dumps(own).encode()).hexdigest()


def _blame_us(result, error):
    """The grader failed: no points that could be wrong, and the submission counts as not graded."""
    lines = traceback.format_exception(error)
    result.update(
        state="crash",
        message=OURS,
        trouble=plain(f"{type(error).__name__}: {error}"),
        details="".join(lines)[-10_000:],
    )
    for task in result["tasks"]:
        task.update(points=0, lines=[], mistake=None)


def _judge(case, future, assignment, first):
    """Judge what came out of the box."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        report = case.report = future.result()
    except (CommClosedError, FutureCancelledError):  # the scheduler is gone
        raise
    except Exception as error:
        # Where not even the first one can be run no other one will be: there is no box, or no
        # course where the workers are.
        if first and not isinstance(error, KilledWorker):
            raise GradeError(
                str(error)
                if isinstance(error, BoxError)
                else f"The workers cannot grade ({error!r})."
            ) from error
        _blame_us(case.result, error)
        return
    try:
        cells = [
            {"id": cell["id"], "error": cell["error"]} for cell in report.cells if cell["error"]
        ]
        case.result.update(
            state=report.state,
            message=plain(report.message),
            seconds=round(report.seconds, 3),
            memory=report.memory,
            cells=cells,
        )
        for task in case.result["tasks"]:
            judged = judge(assignment.key.tasks[task["id"]], report.results.get(task["id"], {}))
            task.update(
                points=float(judged.points),
                mistake=judged.mistake,
                lines=[_line(line) for line in judged.lines],
            )
    except (
        Exception
    ) as error:  # what came out of a box can be wrong in ways that nobody has thought of
        _blame_us(case.result, error)


def _line(line):
    state = {None: "right", "": "open"}.get(line.step, "wrong")
    return {
        "state": state,
        "points": float(line.points),
        "max": float(line.max),
        "text": plain(line.message),
    }


def _keep(case, assignment, out):
    """Write a result; last, since with it the submission counts as graded."""
    one = SimpleNamespace(student=case.result["student"], assignment=case.result["assignment"])
    if assignment:
        notebook = nbformat.writes(_autograded(case, assignment.skeleton))
        write_whole(
            _place(out, "autograded", one) / f"{assignment.name}.ipynb",
            notebook.encode("utf-8", "replace"),
        )
    write_whole(
        _place(out, "results", one) / "result.json", json.dumps(case.result, indent=1).encode()
    )


def _autograded(case, skeleton):
    """The notebook that was run, with what its cells printed, for an instructor; as text, so that
    nothing in it is live.
    """
    ran = iter(case.report.cells if case.report else ())
    tasks = {f"check_{task['id']}": task for task in case.result["tasks"]}
    released, cells = [cell for cell in skeleton.cells if grade_id(cell)], []

    def up_to(identity):
        """The cells of the release before one of them, and that one."""
        while released:
            cell = deepcopy(released.pop(0))
            if cell.cell_type == "code":
                task = tasks.get(grade_id(cell), {"lines": ()})
                said = [
                    case.result["message"] if grade_id(cell) in tasks else "",
                    *(line["text"] for line in task["lines"]),
                ]
                cell.outputs = [_stream("\n".join(filter(None, said)))] if any(said) else []
            cells.append(cell)
            if grade_id(cell) == identity:
                return cell
        return None

    for kind, *content in case.cells:
        if kind == "probe":
            up_to(f"check_{content[0]}")
            continue
        source, identity = content
        cell = up_to(identity) if identity else None
        if cell is None:
            cell = new_code_cell(id=f"added-{len(cells)}")
            cells.append(cell)
        if identity != "self_check":
            cell.source = source
        if said := next(ran, None):
            cell.outputs = [_stream(said["text"])] if said["text"] else []
            if error := said["error"]:
                names = {"ename": plain(error["type"]), "evalue": plain(error["message"])}
                cell.outputs.append(new_output("error", **names, traceback=[_told(error)]))
    up_to(None)
    return new_notebook(cells=cells, metadata=skeleton.metadata)


def _stream(text):
    return new_output("stream", name="stdout", text=plain(text))


def _told(error):
    return plain(
        f"{error['type']}: {error['message']}"
        + (f" (line {error['line']})" if error["line"] else "")
    )


def _publish(found, wanted, out, book, outcome):
    """Make all that people read from the results."""
    book.record(_load(out, one) for one in found if one.assignment in wanted)
    summary, rows = Summary(), []

    def add(student, assignment, state, points, maximum):
        row = {"student": student, "assignment": assignment, "state": state, "tasks": points}
        rows.append(row | {"points": sum(points.values()), "max": maximum})

    for one in found:
        result = _load(out, one)
        entries = book.entries(one.assignment, one.student) if one.assignment in wanted else {}
        page = feedback(result, entries).encode("utf-8", "replace")
        write_whole(_place(out, "feedback", one) / f"{one.assignment}.html", page)
        points = {task["id"]: entries[task["id"]]["score"] for task in result["tasks"]}
        summary.add(result, points)
        add(
            one.student,
            one.assignment,
            result["state"],
            points,
            sum(task["max"] for task in result["tasks"]),
        )
    there = {(one.assignment, one.student) for one in found}
    for name, student in itertools.product(wanted, book.students()):
        if (name, student) not in there:
            tasks = wanted[name].tasks
            summary.add_missing(name, student)
            add(
                student,
                name,
                "missing",
                dict.fromkeys(tasks, 0),
                sum(task.points for task in tasks.values()),
            )
    rows.sort(key=lambda row: (row["assignment"], row["student"]))
    counts = Counter(row["state"] for row in rows)
    outcome.states = {state: counts[state] for state in STATES if counts[state]}
    write_whole(out / "summary.html", summary.page().encode("utf-8", "replace"))
    write_whole(out / "grades.csv", table(rows).encode("utf-8", "replace"))
