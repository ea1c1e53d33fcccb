"""The intake: finds submissions, reads files that may be anything, and takes from them the text of
the answers.

Of a notebook that was handed in only text counts: that of the answers, known by their `grade_id`,
and that of code cells that the student has added. It is put into the place that it has in the
released notebook; everything else, and so whatever was done to tests, tags, types and metadata, is
the release's. Files are never unpacked and never run here.

What is wrong is told in one message to the student: what it is, and what to do.
"""

import codecs
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

LARGEST = 10 << 20  # bytes of a notebook: answers have a few thousand, pictures up to a million
MOST_FILES = 200_000
DEEPEST = 8  # folders
MOODLE = re.compile(r"(?P<student>.+_\d+)_assignsubmission_(file|onlinetext)_?.*")
CANVAS = re.compile(r"(?P<name>[^_]+)(_LATE)?_(?P<user>\d+)_(?P<file>\d+)_(?P<rest>.+)")
IGNORED = ("__MACOSX", "feedback", "timestamp.txt")
AGAIN = "Open it in Jupyter, save it, and hand in the file that Jupyter has saved."
# What the locked cell `self_check` defines is not there while a notebook is graded, but calls of it
# may be left anywhere.
NO_CHECKS = 'def check(*names):\n    """Does nothing while a notebook is graded."""\n'


class IntakeError(ValueError):
    """Submissions that cannot be found or opened at all; says what to do, to the instructor."""


class Unreadable(ValueError):
    """A submission that cannot be read; the message is for the student."""


@dataclass(frozen=True)
class Submission:
    """A notebook that was handed in, or why there is none.

    Attributes
    ----------
    student : str
    assignment : str or None
        None if neither its place, its name nor its cells tell.
    path : pathlib.Path
        The notebook, or the archive that it is in.
    problem : str or None
        What keeps it from being read, for the student.
    member : str or None
        Name inside the archive.
    """

    student: str
    assignment: str | None
    path: Path
    problem: str | None = None
    member: str | None = None

    def content(self):
        """The bytes of the file.

        Raises
        ------
        Unreadable
            If it cannot be read, or should not be.
        """
        if self.problem:
            raise Unreadable(self.problem)
        return _from_archive(self.path, self.member) if self.member else _from_file(self.path)


@dataclass(frozen=True)
class Intake:
    """What a submission comes to.

    Attributes
    ----------
    cells : list of tuple
        As `box.Box.run` takes them: ("code", source, grade_id or None) and ("probe", task id).
        Empty if there is a problem.
    problem : str or None
        What keeps the whole notebook from being graded, for the student.
    notes : dict of str to str
        For the student, by the grade_id of the cell that it is about.
    """

    cells: list = field(default_factory=list)
    problem: str | None = None
    notes: dict = field(default_factory=dict)


# ---------------------------------------------------------------- finding


@dataclass(frozen=True)
class _Entry:
    """A file among the submissions: where it is below their folder, and what kind of thing it is."""

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
    found = {}
    for (student, said), group in _by_student(entries, names, not known).items():
        one = _choose(student, said, group, path, assignment, known)
        if assignment in (None, one.assignment):
            found.setdefault((one.assignment, student), []).append(one)
    if not found:
        of = f" of {assignment}" if assignment else ""
        raise IntakeError(
            f"There are no submissions{of} in {path}. Give nbgrader's folder `submitted`, a folder"
            " of notebooks, or a zip."
        )
    result = [several[0] if len(several) == 1 else _too_many(several) for several in found.values()]
    return sorted(result, key=lambda one: (one.assignment or "", one.student))


def _kind(mode):
    return "file" if stat.S_ISREG(mode) else "link" if stat.S_ISLNK(mode) else "other"


def _in_folder(folder):
    entries, waiting = [], [(folder, ())]
    while waiting:
        place, parts = waiting.pop()
        try:
            there = [one for one in os.scandir(place) if not _ignored(one.name)]
        except OSError as error:
            raise IntakeError(f"The folder {place} cannot be read ({error.strerror}).") from error
        if not there and parts:
            entries.append(_entry(parts, "folder"))
        for one in sorted(there, key=lambda one: one.name):
            if not one.is_dir(follow_symlinks=False):
                entries.append(
                    _entry((*parts, one.name), _kind(one.stat(follow_symlinks=False).st_mode))
                )
            elif len(parts) < DEEPEST:
                waiting.append((place / one.name, (*parts, one.name)))
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
        student, said = _whose(entry, names, any_folder)
        if student:
            groups.setdefault((student, said), []).append(entry)
    with_notebook = {
        student
        for (student, _), group in groups.items()
        if any(entry.is_notebook for entry in group)
    }
    # Other files beside a student's notebooks are no submissions of their own.
    return {
        (student, said): group
        for (student, said), group in groups.items()
        if said or student not in with_notebook or any(entry.is_notebook for entry in group)
    }


def _whose(entry, names, any_folder):
    """Student and assignment (None if not said) by the place of a file; no student if it is no
    submission.

    any_folder: whether the folder in a student's one is the assignment's, whatever it is called.
    """
    folders, said = entry.folders, None
    if folders and folders[0] in names:
        said, *folders = folders
    if folders and (match := MOODLE.fullmatch(folders[0])):
        return match["student"], said or _said(entry.name, names)
    if len(folders) > 1:
        said = said or (folders[1] if folders[1] in names or any_folder else None)
    if folders:
        return folders[0], said or (_said(entry.name, names) if entry.is_notebook else None)
    if entry.is_notebook or CANVAS.fullmatch(entry.name):
        student, of_file = _of_file(entry.name, names)
        return student, said or of_file
    return None, None


def _of_file(name, names):
    """Student and assignment from the name of a file."""
    stem, said = PurePosixPath(name).stem, _said(name, names)
    if match := CANVAS.fullmatch(name):
        return f"{match['name']}_{match['user']}", said
    student = (
        re.sub(rf"[\s_.-]*{re.escape(said)}[\s_.-]*", "_", stem).strip("_ .-") if said else stem
    )
    return student or stem, said


def _said(name, names):
    """The assignment that a file's name names; the longest if several do."""
    return max((one for one in names if one in name), key=len, default=None)


def _choose(student, said, group, path, assignment, known):
    """The one notebook of a student's files, or what is wrong with them."""
    notebooks = [entry for entry in group if entry.is_notebook]
    exactly = [entry for entry in notebooks if said and entry.name == f"{said}.ipynb"]
    if len(exactly) == 1:
        notebooks = exactly
    entry = (notebooks or group)[0]
    place = path if entry.member else path.joinpath(*entry.folders, entry.name)
    one = Submission(
        student,
        said or assignment,
        place,
        _fault(notebooks, group, said or assignment),
        entry.member,
    )
    if one.assignment is None and one.problem is None:
        try:
            one = replace(one, assignment=_by_cells(one, known))
        except Unreadable as error:
            return replace(one, problem=str(error))
        if one.assignment is None:
            which = f" ({', '.join(known)})" if known else ""
            one = replace(
                one,
                problem=(
                    "Neither the name nor the cells of your notebook tell which exercise it"
                    f" is{which}. {AGAIN}"
                ),
            )
    return one


def _fault(notebooks, group, said):
    """What keeps a student's files from being one notebook; None if nothing does."""
    expected = f"{said}.ipynb" if said else "the notebook (its name ends in .ipynb)"
    names = ", ".join(repr(one.name) for one in (notebooks or group)[:5] if one.name)
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
    return (
        None
        if first.kind == "file"
        else "What you handed in is no regular file. Hand in the notebook itself."
    )


def _by_cells(submission, known):
    """The assignment most of whose answers are in a notebook."""
    ids = {_grade_id(cell) for cell in _parse(submission.content())}
    shared = (
        {name: len(ids & set(answers)) for name, answers in known.items()}
        if isinstance(known, Mapping)
        else {}
    )
    best = max(shared, key=shared.get, default=None)
    return best if best and shared[best] else None


def _too_many(several):
    names = ", ".join(repr(one.member or one.path.name) for one in several[:5])
    return replace(
        several[0],
        problem=(
            f"You have handed in {len(several)} notebooks for this exercise ({names}). Hand in one."
        ),
    )


# ---------------------------------------------------------------- reading


def _from_file(path):
    flags = (
        os.O_RDONLY
        | getattr(os, "O_NOFOLLOW", 0)
        | getattr(os, "O_NONBLOCK", 0)
        | getattr(os, "O_CLOEXEC", 0)
        | getattr(os, "O_BINARY", 0)
    )
    try:
        if path.is_symlink():  # where there is no O_NOFOLLOW
            raise Unreadable(
                "What you handed in is a link to another file, which is not followed. Hand in the"
                " notebook itself."
            )
        if path.is_dir():
            raise Unreadable("What you handed in is a folder. Hand in the notebook itself.")
        # Without waiting: what is no file may never give anything.
        descriptor = os.open(path, flags)
    except OSError as error:
        raise Unreadable(
            f"Your file cannot be read ({error.strerror}). Hand it in again."
        ) from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("What you handed in is no regular file. Hand in the notebook itself.")
        _refuse_size(status.st_size)
        content = file.read(LARGEST + 1)
    _refuse_size(len(content))
    return content


def _from_archive(path, member):
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(member)
            if info.flag_bits & 1:
                raise Unreadable("Your file is encrypted. Hand in the notebook without a password.")
            _refuse_size(info.file_size)
            with archive.open(info) as file:
                content = file.read(LARGEST + 1)  # whatever size it has said that it has
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(
            "Your file is damaged in the archive of the submissions. Hand it in again."
        ) from error
    _refuse_size(len(content))
    return content


def _refuse_size(size):
    if size > LARGEST:
        raise Unreadable(
            f"Your notebook has {'more than ' if size == LARGEST + 1 else ''}{size / (1 << 20):.0f}"
            f" MB; no more than {LARGEST >> 20} MB are accepted. Nearly always this is output: in"
            " Jupyter choose Edit, Clear Outputs of All Cells, save, and hand it in again."
        )


def _parse(content):
    """The cells of a notebook: a list of dicts.

    Raises
    ------
    Unreadable
    """
    if not content.strip():
        raise Unreadable(
            "Your file is empty. Save the notebook in Jupyter, look at its size, and hand it in"
            " again."
        )
    if content.startswith(b"PK"):
        raise Unreadable("Your file is a zip archive. Hand in the notebook that is in it.")
    if (
        content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
        or b"\0" in content[:200]
    ):
        raise Unreadable(
            "Your file is text in UTF-16; a notebook is UTF-8. Some other program has changed it."
            f" {AGAIN}"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable(
            "Your file is no notebook: it is not text in UTF-8. Some other program may have"
            f" changed it. {AGAIN}"
        ) from None
    if text.lstrip().startswith("<"):
        raise Unreadable(
            "Your file is a web page and no notebook. Hand in the notebook itself (its name ends in"
            " .ipynb), not an export of it."
        )
    try:
        notebook = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(
            "Your file is no notebook, or a damaged one: it cannot be understood from line"
            f" {error.lineno} on. {AGAIN}"
        ) from None
    except RecursionError:
        raise Unreadable(f"Your file is no notebook: it is nested too deeply. {AGAIN}") from None
    except ValueError:
        raise Unreadable(f"Your file is no notebook, or a damaged one. {AGAIN}") from None
    if not isinstance(notebook, dict):
        raise Unreadable(f"Your file is no notebook: it has no cells. {AGAIN}")
    version = notebook.get("nbformat")
    if type(version) is int and version != 4:
        age = "an old" if version < 4 else "an unknown"
        raise Unreadable(
            f"Your notebook is in {age} format ({version}, where 4 is needed). {AGAIN}"
        )
    if type(version) is not int or not isinstance(notebook.get("cells"), list):
        raise Unreadable(f"Your file is no notebook: it does not have the parts of one. {AGAIN}")
    if not notebook["cells"]:
        raise Unreadable(
            "Your notebook has no cells. Take the released notebook, write your answers into it,"
            " save it and hand it in."
        )
    return [cell for cell in notebook["cells"] if isinstance(cell, dict)]


def _grade_id(cell):
    """What nbgrader calls a cell; None if it calls it nothing."""
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, Mapping) else None
    identity = marks.get("grade_id") if isinstance(marks, Mapping) else None
    return identity if isinstance(identity, str) else None


def _source(cell):
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""


# ---------------------------------------------------------------- rebuilding


def read(submission, skeleton, known=()):
    """Take the answers from a submission and put them into the released notebook.

    Parameters
    ----------
    submission : Submission or path
    skeleton : mapping
        The released notebook, as nbformat or json reads it.
    known : mapping of str to collection of str, optional
        The grade_ids of the answers of all assignments by their names: to tell which one this is if
        it is another.

    Returns
    -------
    Intake
    """
    if not isinstance(submission, Submission):
        submission = Submission("", None, Path(submission))
    try:
        cells = _parse(submission.content())
    except Unreadable as error:
        return Intake(problem=str(error))
    released = {identity: cell for cell in skeleton["cells"] if (identity := _grade_id(cell))}
    answers = [
        identity
        for identity, cell in released.items()
        if cell["cell_type"] == "code" and cell["metadata"]["nbgrader"].get("solution")
    ]
    texts, added, place = {}, {}, None
    for cell in cells:
        identity = _grade_id(cell)
        if identity in released:
            place = identity
            texts.setdefault(identity, []).append(_source(cell))
        elif cell.get("cell_type") == "code" and _source(cell).strip():
            added.setdefault(place, []).append(_source(cell))
    if not any(answer in texts for answer in answers):
        return Intake(problem=_another(cells, answers, known))
    return _rebuilt(released, answers, texts, added)


def _another(cells, answers, known):
    """What to say of a notebook with none of the answers' cells."""
    ids = {_grade_id(cell) for cell in cells} - {None}
    for name, others in known.items() if isinstance(known, Mapping) else ():
        if ids & (set(others) - set(answers)):
            return (
                f"Your notebook is that of another exercise: {name}. Hand in the notebook of this"
                " one."
            )
    return (
        "None of the cells for your answers is in your notebook: it is not the one of this"
        " exercise, or they were lost in a copy. Take the released notebook, write your answers"
        " into its cells, and hand it in."
    )


def _rebuilt(released, answers, texts, added):
    cells, notes = [("code", source, None) for source in added.get(None, ())], {}
    for identity, cell in released.items():
        if identity in answers:
            found = set(texts.get(identity, ()))
            if len(found) == 1:
                cells.append(("code", *found, identity))
            elif found:
                notes[identity] = (
                    f"There are {len(texts[identity])} cells for this answer ({identity}), with"
                    " different text, and nobody can tell which one you mean; none was graded. A"
                    " copied cell keeps its mark: delete all but one, and hand the notebook in"
                    " again."
                )
            else:
                notes[identity] = (
                    f"The cell for this answer ({identity}) was not found in your notebook. Copy it"
                    " from the released notebook, write your answer into it, and hand the notebook"
                    " in again."
                )
        elif identity == "self_check":
            cells.append(("code", NO_CHECKS, identity))
        elif identity.startswith("check_"):
            cells.append(("probe", identity.removeprefix("check_")))
        elif cell["cell_type"] == "code":
            cells.append(("code", _source(cell), identity))
            if any(text.strip() != _source(cell).strip() for text in texts.get(identity, ())):
                notes[identity] = (
                    f"The locked cell {identity} was changed; the released one was used. Write what"
                    " you need into a cell of your own."
                )
        cells += [("code", source, None) for source in added.get(identity, ())]
    return Intake(cells, None, notes)
