"""Reads a file that may be anything, and takes from it the text of the answers.

Of a notebook that was handed in only text counts: that of the answers, known by their `grade_id`,
and that of code cells that the student has added. It is put into the place that it has in the
released notebook; everything else, and so whatever was done to tests, tags, types and metadata, is
the release's. Files are never unpacked and never run here.

What is wrong is told in one message to the student: what it is, and what to do.
"""

import codecs
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from course.grading.records import CodeCell, Intake, ProbeCell, Submission

LARGEST = 10 << 20  # bytes of a notebook: answers have a few thousand, pictures up to a million
AGAIN = "Open it in Jupyter, save it, and hand in the file that Jupyter has saved."
# What the locked cell `self_check` defines is not there while a notebook is graded, but calls of it
# may be left anywhere.
NO_CHECKS = 'def check(*names):\n    """Does nothing while a notebook is graded."""\n'


class Unreadable(ValueError):
    """A submission that cannot be read; the message is for the student."""


# ---------------------------------------------------------------- reading


def content_of(submission):
    """The bytes of the file that was handed in.

    Raises
    ------
    Unreadable
        If it cannot be read, or should not be.
    """
    if submission.problem:
        raise Unreadable(submission.problem)
    if submission.member:
        return _from_archive(submission.path, submission.member)
    return _from_file(submission.path)


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


def parse(content):
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


def grade_id(cell):
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
        cells = parse(content_of(submission))
    except Unreadable as error:
        return Intake(problem=str(error))
    released = {identity: cell for cell in skeleton["cells"] if (identity := grade_id(cell))}
    answers = [
        identity
        for identity, cell in released.items()
        if cell["cell_type"] == "code" and cell["metadata"]["nbgrader"].get("solution")
    ]
    texts, added, place = {}, {}, None
    for cell in cells:
        identity = grade_id(cell)
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
    ids = {grade_id(cell) for cell in cells} - {None}
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
    cells, notes = [CodeCell(source) for source in added.get(None, ())], {}
    for identity, cell in released.items():
        given = texts.get(identity, [])
        if identity in answers:
            if note := _note_on_answer(identity, given):
                notes[identity] = note
            else:
                cells.append(CodeCell(given[0], identity))
        elif identity == "self_check":
            cells.append(CodeCell(NO_CHECKS, identity))
        elif identity.startswith("check_"):
            cells.append(ProbeCell(identity.removeprefix("check_")))
        elif cell["cell_type"] == "code":
            cells.append(CodeCell(_source(cell), identity))
            if any(text.strip() != _source(cell).strip() for text in given):
                notes[identity] = (
                    f"The locked cell {identity} was changed; the released one was used. Write what"
                    " you need into a cell of your own."
                )
        cells += [CodeCell(source) for source in added.get(identity, ())]
    return Intake(tuple(cells), None, notes)


def _note_on_answer(identity, given):
    """What keeps an answer's cells from being one answer; None if nothing does."""
    if not given:
        return (
            f"The cell for this answer ({identity}) was not found in your notebook. Copy it from"
            " the released notebook, write your answer into it, and hand the notebook in again."
        )
    if len(set(given)) > 1:
        return (
            f"There are {len(given)} cells for this answer ({identity}), with different text, and"
            " nobody can tell which one you mean; none was graded. A copied cell keeps its mark:"
            " delete all but one, and hand the notebook in again."
        )
    return None
