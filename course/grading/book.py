"""nbgrader's grade book: what the batch writes into `gradebook.db`, and what it leaves alone.

The grader owns the automatic scores. What a person entered (manual scores, extra credit, comments,
due dates, late penalties, students' names) stays whatever is graded again. Each call that changes
something is one transaction: the book is never half written.
"""

import json
import os
import sysconfig
from contextlib import contextmanager

from nbgrader import api, utils
from sqlalchemy.exc import SQLAlchemyError

from course.grading.records import BookEntry
from course.grading.report import plain
from course.lab.errors import UserError


class BookError(UserError):
    """A grade book that cannot be used; says what to do."""


class Book:
    """The grade book of a course folder.

    Parameters
    ----------
    path : pathlib.Path
        Of `gradebook.db`, which is made if it is not there.
    """

    def __init__(self, path):
        self.path = path
        with self._clear_errors(), _own_programs():
            self.gradebook = api.Gradebook(f"sqlite:///{path}")
            self.session = self.gradebook.db

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gradebook.close()

    @contextmanager
    def _clear_errors(self):
        try:
            yield
        except SQLAlchemyError as error:
            raise BookError(
                f"The grade book {self.path} cannot be used ({type(error).__name__}:"
                f" {error.__cause__ or error}). If another program has it open, close that. If an"
                " older nbgrader made it, run `nbgrader db upgrade`. If it is damaged, put a copy"
                " of it in its place, or move it away: it is made again, without what people"
                " entered."
            ) from error

    @contextmanager
    def _transaction(self):
        with self._clear_errors():
            try:
                yield self.session
                self.session.commit()
            except BaseException:
                self.session.rollback()
                raise

    def students(self):
        """Ids of all students that the book knows, in order."""
        with self._clear_errors():
            return sorted(student.id for student in self.gradebook.students)

    def prepare(self, assignment, skeleton, points):
        """Enter an assignment, or bring it up to date: cells that came or went, points that
        changed.

        nbgrader's own tool refuses that once there are submissions; here the submissions follow.

        Parameters
        ----------
        assignment : str
            Its only notebook has the same name.
        skeleton : nbformat.NotebookNode
            The release.
        points : mapping of str to float
            By the grade_id of the cell that carries them.
        """
        with self._transaction() as session:
            entry = self._row(api.Assignment, name=assignment, course_id=self.gradebook.course_id)
            if entry is None:
                entry = api.Assignment(name=assignment, course_id=self.gradebook.course_id)
                session.add(entry)
            notebook = next((there for there in entry.notebooks if there.name == assignment), None)
            if notebook is None:
                kernel = json.dumps(skeleton.metadata.get("kernelspec", {}))
                notebook = api.Notebook(name=assignment, assignment=entry, kernelspec=kernel)
                session.add(notebook)
            session.flush()
            cells = [
                cell for cell in skeleton.cells if cell.metadata.get("nbgrader", {}).get("grade_id")
            ]
            graded = {
                name: {"max_score": float(value), "cell_type": "code"}
                for name, value in points.items()
            }
            solutions = {
                cell.metadata.nbgrader.grade_id: {} for cell in cells if utils.is_solution(cell)
            }
            sources = {cell.metadata.nbgrader.grade_id: _source(cell) for cell in cells}
            for kind, there, wanted in [
                (api.GradeCell, notebook.grade_cells, graded),
                (api.SolutionCell, notebook.solution_cells, solutions),
                (api.SourceCell, notebook.source_cells, sources),
            ]:
                self._match(kind, notebook, there, wanted)
            session.flush()
            session.expire_all()
            for submission in entry.submissions:
                for submitted in submission.notebooks:
                    self._complete(submitted, notebook)

    def _row(self, kind, **values):
        return self.session.query(kind).filter_by(**values).one_or_none()

    def _match(self, kind, notebook, there, wanted):
        """Make the cells of one kind those that are wanted."""
        for cell in list(there):
            if cell.name not in wanted:
                for entry in [*getattr(cell, "grades", ()), *getattr(cell, "comments", ())]:
                    self.session.delete(entry)
                self.session.delete(cell)
        known = {cell.name: cell for cell in there}
        for name, values in wanted.items():
            cell = known.get(name)
            if cell is None:
                self.session.add(kind(name=name, notebook=notebook, **values))
            else:
                for attribute, value in values.items():
                    setattr(cell, attribute, value)

    def _complete(self, submitted, notebook):
        """Give a submitted notebook a grade for each graded cell, and a comment for each answer."""
        graded = {grade.cell_id for grade in submitted.grades}
        commented = {comment.cell_id for comment in submitted.comments}
        for cell in notebook.grade_cells:
            if cell.id not in graded:
                self.session.add(api.Grade(cell_id=cell.id, notebook=submitted))
        for cell in notebook.solution_cells:
            if cell.id not in commented:
                self.session.add(api.Comment(cell_id=cell.id, notebook=submitted))

    def clear(self, assignment, students):
        """Take out the automatic scores of submissions that are about to be graded again.

        So no old score survives, whatever happens next. What a person entered stays, and is marked
        for another look.
        """
        with self._transaction():
            for student in students:
                submitted = self._submitted(assignment, student)
                for grade in submitted.grades if submitted else ():
                    grade.auto_score = None
                    grade.needs_manual_grade = True

    def _submitted(self, assignment, student):
        try:
            return self.gradebook.find_submission_notebook(assignment, assignment, student)
        except api.MissingEntry:
            return None

    def record(self, results):
        """Enter the scores of some submissions.

        Parameters
        ----------
        results : iterable of Graded
        """
        with self._transaction() as session:
            for graded in results:
                submitted = self._submitted(graded.assignment, graded.student) or self._add(graded)
                if graded.timestamp:
                    submitted.assignment.timestamp = utils.parse_utc(graded.timestamp)
                grades = {grade.name: grade for grade in submitted.grades}
                comments = {comment.name: comment for comment in submitted.comments}
                for task in graded.tasks:
                    grade = grades[f"check_{task.id}"]
                    grade.auto_score = float(task.points)
                    # A person's score is looked at again after a regrade (`clear`), not each time
                    # this runs.
                    grade.needs_manual_grade = (
                        bool(grade.needs_manual_grade) and grade.manual_score is not None
                    )
                    if task.id in comments:
                        comments[task.id].auto_comment = _comment(graded, task)
                session.flush()

    def _add(self, graded):
        # Gradebook.add_submission does as much, but commits each by itself.
        student = self._row(api.Student, id=graded.student)
        if student is None:
            student = api.Student(id=graded.student)
            self.session.add(student)
        assignment = self._row(
            api.Assignment, name=graded.assignment, course_id=self.gradebook.course_id
        )
        submission = api.SubmittedAssignment(assignment=assignment, student=student)
        self.session.add(submission)
        (notebook,) = [there for there in assignment.notebooks if there.name == graded.assignment]
        submitted = api.SubmittedNotebook(notebook=notebook, assignment=submission)
        self.session.add(submitted)
        self.session.flush()
        self._complete(submitted, notebook)
        self.session.flush()
        self.session.refresh(submitted)
        return submitted

    def entries(self, assignment, student):
        """What the book says of each task of a submission.

        Returns
        -------
        dict of str to BookEntry
            By task; empty if the book has no such submission.
        """
        with self._clear_errors():
            submitted = self._submitted(assignment, student)
            if submitted is None:
                return {}
            comments = {comment.name: comment.manual_comment for comment in submitted.comments}
            tasks = {grade.name.removeprefix("check_"): grade for grade in submitted.grades}
            return {
                task: BookEntry(
                    grade.score, grade.manual_score, grade.extra_credit, comments.get(task) or ""
                )
                for task, grade in tasks.items()
            }


@contextmanager
def _own_programs():
    """Put the programs of this Python on the path: nbgrader calls one, also where nobody has
    activated the environment.
    """
    before = os.environ.get("PATH")  # nbgrader.utils.setenv would not bring it back
    os.environ["PATH"] = os.pathsep.join(filter(None, [sysconfig.get_path("scripts"), before]))
    try:
        yield
    finally:
        del os.environ["PATH"]
        os.environ.update({} if before is None else {"PATH": before})


def _source(cell):
    checksum = cell.metadata.nbgrader.get("checksum")
    return {
        "cell_type": cell.cell_type,
        "locked": utils.is_locked(cell),
        "source": cell.source,
        "checksum": checksum,
    }


def _comment(graded, task):
    """The judge's words for nbgrader's own pages.

    Those render comments as Markdown with live HTML, and a judge may quote a student. As an
    indented block it is text.
    """
    texts = [line.message for line in task.lines]
    if graded.message:
        texts.insert(0, graded.message)
    return "\n".join(f"    {line}" for text in texts for line in plain(text).splitlines())
