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
from uuid import uuid4

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course.grading import find, keys
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
    Probe,
    ProbeCell,
    RecordError,
    StoppedCell,
    TaskGrade,
)
from course.grading.release import SOLUTIONS, assignments, release_notebook
from course.grading.report import Row, Summary, feedback, plain, table
from course.grading.tasks import load_tasks, sources
from course.lab.cluster import connect
from course.lab.errors import UserError
from course.lab.files import write_whole

GRADING = Path(__file__).parent  # the code that a grade depends on: its change makes grades stale
COMPUTED_BY = ("numpy", "keras", "tensorflow", "jax", "torch", "scikit-learn")
MISSING = "missing"  # the state of a student in the grade book of whom there is no submission
# Under way for each worker: enough to do while the key is made, and few enough for memory.
JOBS_EACH = 24
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
        except keys.KeyFilesError:  # none yet, or a damaged one
            make = keys.make_key if not self.box["keras"] else partial(_elsewhere, keys.make_key)
            # It holds the answers, whoever may look into the folder above.
            self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
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
            task.id: Probe(
                task.probe,
                tuple(part.name for part in task.parts),
                {**task.cases, **task.hidden},
            )
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
        for path in [*sorted(GRADING.rglob("*.py")), *sources(self.folder)]:
            digest.update(path.read_bytes())
        for what in more:
            text = what if isinstance(what, str) else json.dumps(what, sort_keys=True)
            digest.update(text.encode())
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
        notebook = nbformat.writes(_autograded(attempt, assignment.skeleton))
        write_whole(
            _place(out, "autograded", graded) / f"{assignment.name}.ipynb",
            notebook.encode("utf-8", "replace"),
        )
    graded.save(_place(out, "results", graded) / "result.json")


def _autograded(attempt, skeleton):
    """The notebook that was run, with what its cells printed, for an instructor; as text, so that
    nothing in it is live.
    """
    runs = iter(attempt.report.cells if attempt.report else ())
    tasks = {f"check_{task.id}": task for task in attempt.graded.tasks}
    released, cells = [cell for cell in skeleton.cells if grade_id(cell)], []

    def up_to(identity):
        """The cells of the release before one of them, and that one."""
        while released:
            cell = deepcopy(released.pop(0))
            if cell.cell_type == "code":
                cell.outputs = _verdict(attempt.graded, tasks.get(grade_id(cell)))
            cells.append(cell)
            if grade_id(cell) == identity:
                return cell
        return None

    for given in attempt.job.cells if attempt.job else ():
        if isinstance(given, ProbeCell):
            up_to(f"check_{given.task}")
            continue
        cell = up_to(given.id) if given.id else None
        if cell is None:
            cell = new_code_cell(id=f"added-{len(cells)}")
            cells.append(cell)
        if given.id != "self_check":
            cell.source = given.source
        if run := next(runs, None):
            cell.outputs = _outputs(run)
    up_to(None)
    return new_notebook(cells=cells, metadata=skeleton.metadata)


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
