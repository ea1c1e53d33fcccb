"""Finds what was handed in: notebooks in folders and archives, and whose and what they are."""

import os
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from course.grading.read import AGAIN, Unreadable, content_of, grade_id, parse
from course.grading.records import Submission
from course.lab.errors import UserError

MOST_FILES = 200_000
DEEPEST = 8  # folders
MOODLE = re.compile(r"(?P<student>.+_\d+)_assignsubmission_(file|onlinetext)_?.*")
CANVAS = re.compile(r"(?P<name>[^_]+)(_LATE)?_(?P<user>\d+)_(?P<file>\d+)_(?P<rest>.+)")
IGNORED = ("__MACOSX", "feedback", "timestamp.txt")


class IntakeError(UserError):
    """Submissions that cannot be found or opened at all; says what to do, to the instructor."""


@dataclass(frozen=True)
class _Entry:
    """A file among the submissions: where it is below their folder, and what kind of thing."""

    folders: tuple
    name: str  # empty if it is an empty folder, or a link in the place of one
    kind: str  # "file", "link", "other" or "folder"
    member: str | None = None  # name in the archive
    outside: bool = False  # that name leads out of the archive

    @property
    def is_notebook(self):
        return self.name.lower().endswith(".ipynb")


def _entry(parts, kind, **other):
    if kind == "folder" or kind == "link" and not parts[-1].lower().endswith(".ipynb"):
        return _Entry(parts, "", kind, **other)
    return _Entry(parts[:-1], parts[-1], kind, **other)


def find_submissions(path, assignment=None, known=()):
    """Find what was handed in.

    Parameters
    ----------
    path : path
        A folder as nbgrader makes it (`submitted/STUDENT/ASSIGNMENT/NOTEBOOK.ipynb`, or what is
        above or in it); a folder of notebooks (`STUDENT_ASSIGNMENT.ipynb` or `STUDENT.ipynb`,
        possibly in one folder for each assignment); an archive as Moodle or Canvas exports it, or
        its content; or one notebook.
    assignment : str, optional
        The assignment of those that do not say. Those that say another one are left out.
    known : mapping of str to collection of str, or collection of str, optional
        Names of the assignments, if possible with the grade_ids of their answers, by which
        notebooks without a telling name are known.

    Returns
    -------
    list of Submission
        In the order of assignments and students; at most one for each pair.

    Raises
    ------
    IntakeError
        If there is nothing there, or it cannot be opened.
    """
    path, names = Path(path), [*known, *([assignment] if assignment else [])]
    if path.suffix.lower() == ".zip" and path.is_file():
        entries = _in_archive(path, names)
    elif path.is_dir():
        path = path / "submitted" if (path / "submitted").is_dir() else path
        entries = _in_folder(path)
    elif path.suffix.lower() == ".ipynb" and os.path.lexists(path):
        entries, path = [_entry((path.name,), _kind(path.lstat().st_mode))], path.parent
    else:
        raise IntakeError(
            f"{path} is no folder, no zip archive and no notebook. Give the place where the"
            " submissions are."
        )
    by_pair = {}
    for (student, named), group in _by_student(entries, names, not known).items():
        submission = _choose(student, named, group, path, assignment, known)
        if assignment in (None, submission.assignment):
            by_pair.setdefault((submission.assignment, student), []).append(submission)
    if not by_pair:
        of = f" of {assignment}" if assignment else ""
        raise IntakeError(
            f"There are no submissions{of} in {path}. Give nbgrader's folder `submitted`, a folder"
            " of notebooks, or a zip."
        )
    result = [
        several[0] if len(several) == 1 else _too_many(several) for several in by_pair.values()
    ]
    return sorted(result, key=lambda submission: (submission.assignment or "", submission.student))


def _kind(mode):
    return "file" if stat.S_ISREG(mode) else "link" if stat.S_ISLNK(mode) else "other"


def _in_folder(folder):
    entries, waiting = [], [(folder, ())]
    while waiting:
        place, parts = waiting.pop()
        try:
            there = [file for file in os.scandir(place) if not _ignored(file.name)]
        except OSError as error:
            raise IntakeError(f"The folder {place} cannot be read ({error.strerror}).") from error
        if not there and parts:
            entries.append(_entry(parts, "folder"))
        for file in sorted(there, key=lambda file: file.name):
            if not file.is_dir(follow_symlinks=False):
                kind = _kind(file.stat(follow_symlinks=False).st_mode)
                entries.append(_entry((*parts, file.name), kind))
            elif len(parts) < DEEPEST:
                waiting.append((place / file.name, (*parts, file.name)))
        if len(entries) > MOST_FILES:
            raise IntakeError(
                f"There are more than {MOST_FILES} files in {folder}. Give the folder of the"
                " submissions only."
            )
    return entries


def _in_archive(path, names):
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise IntakeError(
            f"{path} cannot be opened as a zip archive ({error}). Download it again."
        ) from error
    if len(members) > MOST_FILES:
        raise IntakeError(
            f"There are more than {MOST_FILES} files in {path}. Give the archive of the submissions"
            " only."
        )
    entries = []
    for member in members:
        every = member.filename.replace("\\", "/").split("/")
        parts = tuple(part for part in every if part not in ("", ".", ".."))
        if not parts or member.is_dir() or any(_ignored(part) for part in parts):
            continue
        outside = ".." in every or member.filename.startswith(("/", "\\")) or ":" in parts[0]
        kind = "link" if stat.S_ISLNK(member.external_attr >> 16) else "file"
        entries.append(_entry(parts, kind, member=member.filename, outside=outside))
    return _without_top(entries, names)


def _without_top(entries, names):
    """Without the one folder that all lie in, if that is not a student's or an assignment's."""
    tops = {entry.folders[0] if entry.folders else None for entry in entries}
    seconds = {entry.folders[1] for entry in entries if len(entry.folders) > 1}
    if (
        len(tops) != 1
        or None in tops
        or tops & set(names)
        or MOODLE.fullmatch(*tops)
        or seconds
        and seconds <= set(names)
    ):
        return entries
    if tops != {"submitted"} and sum(entry.is_notebook for entry in entries) < 2:
        return entries
    return [replace(entry, folders=entry.folders[1:]) for entry in entries]


def _ignored(name):
    return name.startswith(".") or name in IGNORED


def _by_student(entries, names, any_folder):
    """Entries by student and, where it is said, assignment."""
    groups = {}
    for entry in entries:
        student, named = _whose(entry, names, any_folder)
        if student:
            groups.setdefault((student, named), []).append(entry)
    with_notebook = {
        student
        for (student, _), group in groups.items()
        if any(entry.is_notebook for entry in group)
    }
    # Other files beside a student's notebooks are no submissions of their own.
    return {
        (student, named): group
        for (student, named), group in groups.items()
        if named or student not in with_notebook or any(entry.is_notebook for entry in group)
    }


def _whose(entry, names, any_folder):
    """Student and assignment (None if not said) by the place of a file; no student if it is no
    submission.

    any_folder: whether the folder in a student's one is the assignment's, whatever it is called.
    """
    folders, named = entry.folders, None
    if folders and folders[0] in names:
        named, *folders = folders
    if folders and (match := MOODLE.fullmatch(folders[0])):
        return match["student"], named or _named(entry.name, names)
    if len(folders) > 1:
        named = named or (folders[1] if folders[1] in names or any_folder else None)
    if folders:
        return folders[0], named or (_named(entry.name, names) if entry.is_notebook else None)
    if entry.is_notebook or CANVAS.fullmatch(entry.name):
        student, of_file = _of_file(entry.name, names)
        return student, named or of_file
    return None, None


def _of_file(name, names):
    """Student and assignment from the name of a file."""
    stem, named = PurePosixPath(name).stem, _named(name, names)
    if match := CANVAS.fullmatch(name):
        return f"{match['name']}_{match['user']}", named
    student = (
        re.sub(rf"[\s_.-]*{re.escape(named)}[\s_.-]*", "_", stem).strip("_ .-") if named else stem
    )
    return student or stem, named


def _named(name, names):
    """The assignment that a file's name names; the longest if several do."""
    return max((there for there in names if there in name), key=len, default=None)


def _choose(student, named, group, path, assignment, known):
    """The one notebook of a student's files, or what is wrong with them."""
    notebooks = [entry for entry in group if entry.is_notebook]
    exactly = [entry for entry in notebooks if named and entry.name == f"{named}.ipynb"]
    if len(exactly) == 1:
        notebooks = exactly
    entry = (notebooks or group)[0]
    place = path if entry.member else path.joinpath(*entry.folders, entry.name)
    fault = _fault(notebooks, group, named or assignment)
    submission = Submission(student, named or assignment, place, fault, entry.member)
    if submission.assignment is not None or submission.problem is not None:
        return submission
    try:
        assignment = _by_cells(submission, known)
    except Unreadable as error:
        return replace(submission, problem=str(error))
    if assignment is not None:
        return replace(submission, assignment=assignment)
    which = f" ({', '.join(known)})" if known else ""
    return replace(
        submission,
        problem=(
            "Neither the name nor the cells of your notebook tell which exercise it"
            f" is{which}. {AGAIN}"
        ),
    )


def _fault(notebooks, group, named):
    """What keeps a student's files from being one notebook; None if nothing does."""
    expected = f"{named}.ipynb" if named else "the notebook (its name ends in .ipynb)"
    names = ", ".join(repr(entry.name) for entry in (notebooks or group)[:5] if entry.name)
    first = (notebooks or group)[0]
    if first.kind == "link":
        return (
            "What you handed in is a link to another place, which is not followed. Hand in the"
            " notebook itself."
        )
    if not notebooks:
        return (
            f"There is no notebook in what you handed in ({names or 'it is empty'}). Hand in"
            f" {expected}."
        )
    if len(notebooks) > 1:
        return (
            f"There are {len(notebooks)} notebooks in what you handed in ({names}). Hand in only"
            f" {expected}."
        )
    if first.outside:
        return (
            "The name of your file leads out of the archive of the submissions. Hand in the"
            " notebook under a plain name."
        )
    if first.kind != "file":
        return "What you handed in is no regular file. Hand in the notebook itself."
    return None


def _by_cells(submission, known):
    """The assignment most of whose answers are in a notebook."""
    ids = {grade_id(cell) for cell in parse(content_of(submission))}
    shared = (
        {name: len(ids & set(answers)) for name, answers in known.items()}
        if isinstance(known, Mapping)
        else {}
    )
    best = max(shared, key=shared.get, default=None)
    return best if best and shared[best] else None


def _too_many(several):
    names = ", ".join(repr(it.member or it.path.name) for it in several[:5])
    return replace(
        several[0],
        problem=(
            f"You have handed in {len(several)} notebooks for this exercise ({names}). Hand in one."
        ),
    )
