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
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from uuid import uuid4

import nbformat

from course.grading import find
from course.grading.assignment import Assignment, GradeError
from course.grading.box import Box, BoxError, BoxReport, Limits
from course.grading.box.box import ON_WINDOWS
from course.grading.judge import judge
from course.grading.keys import grade_id
from course.grading.read import Unreadable, content_of, read
from course.grading.records import (
    STATES,
    CodeCell,
    Graded,
    Job,
    RecordError,
    StoppedCell,
    TaskGrade,
)
from course.grading.release import SOLUTIONS, assignments
from course.grading.report import Row, Summary, autograded, feedback, plain, table
from course.grading.tasks import load_tasks
from course.lab.cluster import connect
from course.lab.files import write_whole

MISSING = "missing"  # the state of a student in the grade book of whom there is no submission
# Under way for each worker: enough to do while the key is made, and few enough for memory.
JOBS_EACH = 24
OURS = (
    "The grader failed while it graded this notebook, which is no fault of yours. Your instructor"
    " has been told; the points will change."
)
UNKNOWN = "unknown"  # stands for the assignment of a submission that does not say which one it is
LONGEST_NAME = 60  # characters of a student's id, of up to 4 bytes; a folder may have 255 bytes


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
    unread : list of tuple of str
        Triples (assignment, student, why) where the result of an earlier call could not be read:
        graded again.
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
    unread: list = field(default_factory=list)
    left_out: dict = field(default_factory=dict)
    states: dict = field(default_factory=dict)
    total: int = 0
    seconds: float = 0.0


# In a worker
# ------------------------------------------------------------------------------------------------

# of this process, with the settings it was made with: to start one takes as long as to import Keras
_BOX = None


def run_boxed(job, settings):
    """Run a submission's cells and probes in this process's box.

    Parameters
    ----------
    job : Job
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
# ------------------------------------------------------------------------------------------------


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
        Called as begin(outcome) once it is known what is graded already, and report(graded,
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
    settings, outcome = {"limits": _limits(timeout), "boxed": boxed}, Outcome()
    with _locked(out), Book(out / "gradebook.db") as book:
        answers = {name: {*load_tasks(solutions / name)} for name in assignments(solutions)}
        handed_in = _handed_in(submissions, assignment, answers, outcome)
        needed = sorted({submission.assignment for submission in handed_in} - {UNKNOWN})
        wanted = {name: Assignment(solutions / name, settings, out / ".keys") for name in needed}
        for name in wanted:
            _prepare(wanted[name], out, book)
        results, stale = {}, []
        for submission in handed_in:
            of = wanted.get(submission.assignment)
            if not again and (graded := _kept(submission, of, out, outcome)):
                results[_name(submission)] = graded
            else:
                stale.append(submission)
        outcome.present += results
        _forget(stale, out, book)
        if begin:
            begin(outcome)
        with closing(_each(stale, wanted, answers, out, workers, scheduler)) as attempts:
            for attempt in attempts:
                graded = attempt.graded
                _keep(attempt, wanted.get(graded.assignment), out)
                results[_name(graded)] = graded
                if graded.failed:
                    outcome.failed.append((*_name(graded), graded.trouble))
                else:
                    outcome.graded.append(_name(graded))
                outcome.seconds = monotonic() - start
                if report:
                    report(graded, outcome)
        _publish([results[_name(it)] for it in handed_in], wanted, out, book, outcome)
    outcome.seconds = monotonic() - start
    return outcome


def _limits(timeout):
    """What a notebook may use, if it may take so many seconds (None: the usual)."""
    usual = Limits()
    if timeout is None:
        return usual
    return replace(
        usual, seconds=float(timeout), cell_seconds=min(float(timeout), usual.cell_seconds)
    )


def _name(of):
    """What tells a submission or its result from all others."""
    return of.assignment, of.student


def _handed_in(place, assignment, answers, outcome):
    """The submissions that can be graded here; what they are called can be the name of a folder."""
    if assignment is not None and assignment not in answers:
        raise GradeError(f"There is no assignment {assignment!r}. There are: {', '.join(answers)}.")
    ours, others = [], Counter()
    for submission in find.find_submissions(place, assignment, answers):
        if submission.assignment is None or submission.assignment in answers:
            name, of = _clean(submission.student), submission.assignment or UNKNOWN
            ours.append(replace(submission, student=name, assignment=of))
        else:
            others[_clean(submission.assignment)] += 1
    outcome.total, outcome.left_out = len(ours), dict(others)
    if not ours:
        raise GradeError(
            f"All submissions are of assignments unknown here: {', '.join(others)}. Say which one"
            " with --assignment."
        )
    return ours


def _clean(name):
    """A name without signs that no folder, database or page takes; still nobody else's."""
    clean = re.sub(r"[/\\]", "_", plain(name, LONGEST_NAME)).replace("\n", " ").strip()
    if clean == name and clean not in ("", ".", ".."):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{clean[:LONGEST_NAME].strip('.')}_{digest[:8]}"


@contextmanager
def _locked(out):
    """Hold a course folder for one batch at a time."""
    try:
        import fcntl
    except ModuleNotFoundError:
        raise GradeError(ON_WINDOWS) from None
    try:
        # On a shared machine other users must not read grades.
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
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


def _place(out, kind, of):
    """The folder of one submission, or of its result, where nbgrader looks for it."""
    return out / kind / of.student / of.assignment


def _prepare(assignment, out, book):
    """Enter an assignment into the grade book, and put the instructor's notebook where nbgrader's
    pages look for it, unless there is one.
    """
    points = {f"check_{task.id}": task.points for task in assignment.tasks.values()}
    book.prepare(assignment.name, assignment.skeleton, points)
    place = out / "source" / assignment.name / f"{assignment.name}.ipynb"
    if not place.exists():
        write_whole(place, (assignment.folder / place.name).read_bytes())


def _stamp(content, assignment):
    """What a grade depends on, as one hash."""
    return hashlib.sha256(
        (assignment.fingerprint if assignment else UNKNOWN).encode() + content
    ).hexdigest()


def _content(submission):
    """What was handed in; where it cannot be read, why."""
    try:
        return content_of(submission)
    except Unreadable as error:
        return str(error).encode("utf-8", "replace")


def _kept(submission, assignment, out, outcome):
    """The result of an earlier call, if it still holds; None if the submission is to be graded."""
    try:
        graded = Graded.load(_place(out, "results", submission) / "result.json")
    except OSError:
        return None  # there is none
    except RecordError as error:
        outcome.unread.append((*_name(submission), str(error)))
        return None
    holds = graded.stamp == _stamp(_content(submission), assignment) and not graded.failed
    return graded if holds and _name(graded) == _name(submission) else None


def _forget(stale, out, book):
    """Take away all that says something of submissions which are about to be graded.

    From here until the end there is no table, rather than one with old grades in it.
    """
    if not stale:
        return
    for name in ("grades.csv", "summary.html"):
        (out / name).unlink(missing_ok=True)
    for name in {submission.assignment for submission in stale}:
        book.clear(name, [it.student for it in stale if it.assignment == name])
    for submission in stale:
        for kind in ("results", "feedback", "autograded"):
            shutil.rmtree(_place(out, kind, submission), ignore_errors=True)


@dataclass(frozen=True)
class _Attempt:
    """A submission on its way to its grade.

    Attributes
    ----------
    graded : Graded
        As far as is known.
    job : Job or None
        What is to be run; None if that cannot be done.
    report : BoxReport or None
        What came of it.
    """

    graded: Graded
    job: Job | None = None
    report: BoxReport | None = None


def _each(stale, wanted, answers, out, workers, scheduler):
    """Grade submissions, and yield each one's attempt as soon as its grade is there.

    Not all are under way at a time, so that memory does not grow with the class.
    """
    attempts = (_begin(it, wanted.get(it.assignment), answers, out) for it in stale)
    first = None
    for first in attempts:  # there may be none that needs a box
        if first.job is not None:
            break
        yield first
    if first is None or first.job is None:
        return
    waiting = itertools.chain([first], attempts)
    workers = min(workers or os.cpu_count(), len(stale))
    with connect(workers, scheduler) as client, _boxes_closed(client):
        from distributed import as_completed

        under_way, futures, judged = {}, as_completed(), 0
        room = JOBS_EACH * len(client.ncores())

        def submit():
            """Put jobs under way; give back the attempts that need none."""
            while futures.count() < room and (attempt := next(waiting, None)) is not None:
                if attempt.job is None:
                    yield attempt
                    continue
                box = wanted[attempt.graded.assignment].box
                key = f"grade-{uuid4().hex}"
                future = client.submit(run_boxed, attempt.job, box, key=key, pure=False)
                under_way[future.key] = attempt
                futures.add(future)

        yield from submit()
        _ = wanted[first.graded.assignment].key  # takes its time; now, while the boxes start
        for future in futures:
            attempt = under_way.pop(future.key)
            assignment = wanted[attempt.graded.assignment]
            attempt = _end(attempt, future, assignment, first=judged == 0)
            judged += 1
            future.release()
            yield attempt
            yield from submit()


@contextmanager
def _boxes_closed(client):
    """A cluster lives on, and a box holds Keras in memory."""
    try:
        yield
    finally:
        with suppress(Exception):
            client.run(close_box)


def _begin(submission, assignment, answers, out):
    """Read a submission and rebuild it, or say why that cannot be done."""
    content = _content(submission)
    graded = Graded(
        submission.student,
        submission.assignment,
        _stamp(content, assignment),
        timestamp=_timestamp(submission),
        message=submission.problem or "",
        tasks=_no_points(assignment.tasks.values() if assignment else ()),
    )
    if assignment is None:
        return _Attempt(graded)
    try:
        intake = read(submission, assignment.skeleton, answers)
        graded = replace(
            graded,
            message=plain(intake.problem or ""),
            notes={name: plain(text) for name, text in intake.notes.items()},
            answers=_digest_of_code(intake.cells, assignment),
        )
        where = submission.path.resolve()
        if not submission.problem and not where.is_relative_to(out / "submitted"):
            write_whole(_place(out, "submitted", submission) / f"{assignment.name}.ipynb", content)
    except Exception as error:  # a notebook can be wrong in ways that nobody has thought of
        return _Attempt(_failed(graded, error))
    return _Attempt(graded, None if intake.problem else Job(intake.cells, assignment.probes))


def _no_points(tasks):
    """What is said of tasks that were not judged."""
    return tuple(TaskGrade(task.id, 0.0, float(task.points)) for task in tasks)


def _timestamp(submission):
    """When it was handed in, as nbgrader's exchange puts it down beside the notebook; empty if it
    does not.
    """
    from nbgrader.utils import parse_utc

    path = submission.path.with_name("timestamp.txt")
    try:
        no_file = submission.member or path.is_symlink() or not path.is_file()
        if no_file or path.stat().st_size > 100:
            return ""
        return parse_utc(path.read_text(encoding="utf-8").strip()).isoformat()
    except (OSError, ValueError, OverflowError):
        return ""


def _digest_of_code(cells, assignment):
    """Hash of a student's own code, by which copies are found; empty if there is none, or the
    answers are still those of the release.
    """
    own = [
        (cell.source, cell.id)
        for cell in cells
        if isinstance(cell, CodeCell) and (cell.id is None or cell.id in assignment.tasks)
    ]
    blank = {grade_id(cell): cell.source for cell in assignment.skeleton.cells}
    if all(source == blank[identity] for source, identity in own if identity):
        return ""
    return hashlib.sha256(json.dumps(own).encode()).hexdigest()


def _failed(graded, error):
    """The grader failed: no points that could be wrong, and the submission counts as not graded."""
    return replace(
        graded,
        state="failed",
        message=OURS,
        trouble=plain(f"{type(error).__name__}: {error}"),
        details="".join(traceback.format_exception(error))[-10_000:],
        tasks=tuple(TaskGrade(task.id, 0.0, task.max) for task in graded.tasks),
    )


def _end(attempt, future, assignment, first):
    """Judge what came out of the box."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        report = future.result()
    except (CommClosedError, FutureCancelledError):  # the scheduler is gone
        raise
    except Exception as error:
        # Where not even the first one can be run no other one will be: there is no box, or no
        # course where the workers are.
        if first and not isinstance(error, KilledWorker):
            if isinstance(error, BoxError):
                raise
            raise GradeError(f"The workers cannot grade ({error!r}).") from error
        return replace(attempt, graded=_failed(attempt.graded, error))
    try:
        graded = _judged(attempt.graded, report, assignment.key.tasks)
    except Exception as error:  # so can what came out of a box
        graded = _failed(attempt.graded, error)
    return replace(attempt, graded=graded, report=report)


def _judged(graded, report, tasks):
    """A result with what the judge says of the values that came out of the box."""
    return replace(
        graded,
        state=report.state,
        message=plain(report.message),
        seconds=round(report.seconds, 3),
        memory=report.memory,
        cells=tuple(StoppedCell(run.id, run.error) for run in report.cells if run.error),
        tasks=tuple(
            _harmless(judge(tasks[task.id], report.results.get(task.id, {})))
            for task in graded.tasks
        ),
    )


def _harmless(task):
    """What the judge says of a task, as numbers and text for JSON and pages."""
    lines = [
        replace(line, points=float(line.points), max=float(line.max), message=plain(line.message))
        for line in task.lines
    ]
    return replace(task, points=float(task.points), max=float(task.max), lines=tuple(lines))


def _keep(attempt, assignment, out):
    """Write a result; last, since with it the submission counts as graded."""
    graded = attempt.graded
    if assignment:
        cells = attempt.job.cells if attempt.job else ()
        runs = attempt.report.cells if attempt.report else ()
        notebook = nbformat.writes(autograded(graded, cells, runs, assignment.skeleton))
        write_whole(
            _place(out, "autograded", graded) / f"{assignment.name}.ipynb",
            notebook.encode("utf-8", "replace"),
        )
    graded.save(_place(out, "results", graded) / "result.json")


def _publish(results, wanted, out, book, outcome):
    """Make all that people read from the results."""
    book.record(graded for graded in results if graded.assignment in wanted)
    summary, rows = Summary(), []
    for graded in results:
        known = graded.assignment in wanted
        entries = book.entries(graded.assignment, graded.student) if known else {}
        page = feedback(graded, entries).encode("utf-8", "replace")
        write_whole(_place(out, "feedback", graded) / f"{graded.assignment}.html", page)
        points = {task.id: entries[task.id].score for task in graded.tasks}
        summary.add(graded, points)
        rows.append(Row(graded.student, graded.assignment, graded.state, points, graded.max))
    there = {_name(graded) for graded in results}
    for name, student in itertools.product(wanted, book.students()):
        if (name, student) not in there:
            tasks = wanted[name].tasks
            summary.add_missing(name, student)
            most = sum(task.points for task in tasks.values())
            rows.append(Row(student, name, MISSING, dict.fromkeys(tasks, 0), most))
    rows.sort(key=lambda row: (row.assignment, row.student))
    counts = Counter(row.state for row in rows)
    outcome.states = {state: counts[state] for state in (*STATES, MISSING) if counts[state]}
    write_whole(out / "summary.html", summary.page().encode("utf-8", "replace"))
    write_whole(out / "grades.csv", table(rows).encode("utf-8", "replace"))
