"""What is handed in: found in whatever layout, read whatever it is, and rebuilt from nothing but
the text of answers.
"""

import copy
import json
import os
import stat
import zipfile

import pytest

from course.grading.find import IntakeError, find_submissions
from course.grading.read import NO_CHECKS, content_of, read
from course.grading.records import CodeCell, ProbeCell, Submission

KNOWN = {"02_batch_norm": {"forward", "backward"}, "04_dropout": {"drop"}}


def cell(source, grade_id=None, kind="code", **marks):
    metadata = {
        "nbgrader": {
            "grade_id": grade_id,
            "schema_version": 3,
            "grade": False,
            "solution": False,
            "locked": False,
            **marks,
        }
    }
    return {
        "cell_type": kind,
        "metadata": metadata if grade_id else {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


SKELETON = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        cell("# Batch norm", "title", "markdown", locked=True),
        cell("import numpy as np", "setup", locked=True),
        cell("check = 1", "self_check", locked=True),
        cell("def forward(x):\n    raise NotImplementedError()", "forward", solution=True),
        cell('check("forward")', "check_forward", grade=True, locked=True),
        cell("raise NotImplementedError()", "backward", solution=True),
        cell('check("backward")', "check_backward", grade=True, locked=True),
    ],
}
REBUILT = (
    CodeCell("import numpy as np", "setup"),
    CodeCell(NO_CHECKS, "self_check"),
    CodeCell("F", "forward"),
    ProbeCell("forward"),
    CodeCell("B", "backward"),
    ProbeCell("backward"),
)


def answered(**answers):
    notebook = copy.deepcopy(SKELETON)
    for one in notebook["cells"]:
        identity = one["metadata"]["nbgrader"]["grade_id"]
        one["source"] = {"forward": "F", "backward": "B", **answers}.get(identity, one["source"])
    return notebook


def by_id(notebook, grade_id):
    return next(
        one
        for one in notebook["cells"]
        if one["metadata"].get("nbgrader", {}).get("grade_id") == grade_id
    )


@pytest.fixture
def take(tmp_path):
    """Write a notebook, or bytes, and read it."""

    def write_and_read(content):
        path = tmp_path / "one.ipynb"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read(path, SKELETON, KNOWN)

    return write_and_read


def put(folder, *places, content=None):
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(json.dumps(content or answered()))
    return folder


def pairs(submissions):
    return [(one.student, one.assignment) for one in submissions]


# ---------------------------------------------------------------- rebuilding


def test_answers_come_into_the_released_notebook(take):
    result = take(answered())
    assert (result.cells, result.problem, result.notes) == (REBUILT, None, {})


def test_only_text_matters(take):
    """Tags, metadata, types, tests, versions: whatever a student does to them changes nothing."""
    notebook = answered()
    notebook |= {
        "nbformat_minor": 99,
        "metadata": {"kernelspec": 3, "celltoolbar": None},
        "more": 1,
    }
    for one in notebook["cells"]:
        one["metadata"]["tags"] = ["skip-execution", "raises-exception"]
        one["metadata"]["nbgrader"] |= {
            "schema_version": 2,
            "points": 1000,
            "grade": True,
            "solution": True,
            "locked": False,
        }
    by_id(notebook, "check_forward")["source"] = "points = 1000"
    by_id(notebook, "self_check")["source"] = "def check(*_): return True"
    by_id(notebook, "forward")["cell_type"] = "markdown"
    by_id(notebook, "backward")["source"] = ["B", 3]
    by_id(notebook, "backward")["cell_type"] = "raw"
    assert take(notebook).cells == REBUILT
    notebook["cells"] = [
        one
        for one in notebook["cells"]
        if one["metadata"]["nbgrader"]["grade_id"] in ("forward", "backward")
    ][::-1]
    assert take(notebook).cells == REBUILT


def test_a_changed_locked_cell_is_put_right_and_told(take):
    notebook = answered()
    by_id(notebook, "setup")["source"] = "import numpy as np\nimport os"
    result = take(notebook)
    assert result.cells == REBUILT and "setup" in result.notes["setup"]


def test_cells_of_ones_own_stay_at_their_place(take):
    notebook = answered()
    cells = notebook["cells"]
    cells.insert(4, cell("after forward"))
    cells.insert(5, cell("text", kind="markdown"))
    cells.insert(6, cell("and again", "renamed"))
    cells.insert(0, cell("first"))
    cells.append(cell("last"))
    cells.append(cell("  \n"))
    expected = list(REBUILT)
    expected[3:3] = [CodeCell("after forward"), CodeCell("and again")]
    assert take(notebook).cells == (CodeCell("first"), *expected, CodeCell("last"))


def test_a_lost_answer_costs_its_task_only(take):
    notebook = answered()
    notebook["cells"].remove(by_id(notebook, "backward"))
    result = take(notebook)
    assert result.problem is None
    assert result.cells == tuple(cell for cell in REBUILT if cell != CodeCell("B", "backward"))
    assert (
        list(result.notes) == ["backward"]
        and "Copy it from the released notebook" in result.notes["backward"]
    )


def test_of_two_answers_none_is_chosen(take):
    notebook = answered()
    notebook["cells"].append(cell("F2", "forward"))
    result = take(notebook)
    assert CodeCell("B", "backward") in result.cells and not any(
        isinstance(cell, CodeCell) and cell.source in ("F", "F2") for cell in result.cells
    )
    assert list(result.notes) == ["forward"] and "delete all but one" in result.notes["forward"]
    notebook["cells"][-1]["source"] = "F"
    assert take(notebook).cells == REBUILT


def test_another_exercise_is_named(take):
    notebook = {**SKELETON, "cells": [cell("D", "drop"), cell("import numpy", "setup")]}
    assert "04_dropout" in take(notebook).problem
    notebook["cells"] = [cell("def forward(x): pass"), cell("x", "setup")]
    assert "None of the cells for your answers" in take(notebook).problem


@pytest.mark.parametrize(
    "junk",
    [
        {"metadata": None},
        {"metadata": []},
        {"metadata": {"nbgrader": 3}},
        {"metadata": {"nbgrader": {"grade_id": ["a"]}}},
        {"source": None},
        {"source": {"a": 1}},
        {"cell_type": 7, "source": "x"},
        {},
    ],
)
def test_broken_cells_hurt_nobody(take, junk):
    notebook = answered()
    notebook["cells"] += [junk, None, 3, "x", []]
    assert take(notebook).cells[: len(REBUILT)] == REBUILT


# ---------------------------------------------------------------- files that are no notebooks


NOTEBOOK = json.dumps(answered()).encode()
BROKEN = {
    "nothing": (b"", "is empty"),
    "white space": (b" \n\n", "is empty"),
    "cut off": (NOTEBOOK[:-40], "damaged"),
    "text": (b"def forward(x): pass", "no notebook"),
    "UTF-16": (NOTEBOOK.decode().encode("utf-16"), "UTF-16"),
    "UTF-16 without mark": (NOTEBOOK.decode().encode("utf-16-le"), "UTF-16"),
    "Latin-1": (b'{"cells": "\xfc"}', "not text in UTF-8"),
    "zip": (b"PK\x03\x04" + bytes(30), "zip archive"),
    "web page": (b"<!DOCTYPE html><html>", "web page"),
    "list": (b"[1, 2]", "no cells"),
    "number": (b"3", "no cells"),
    "another JSON": (b'{"a": 1}', "parts of one"),
    "old": (b'{"nbformat": 3, "worksheets": []}', "old format (3"),
    "new": (b'{"nbformat": 5, "cells": []}', "unknown format (5"),
    "version is text": (b'{"nbformat": "4", "cells": [1]}', "parts of one"),
    "version is true": (b'{"nbformat": true, "cells": [1]}', "parts of one"),
    "no cells": (b'{"nbformat": 4, "cells": []}', "no cells"),
    "cells are none": (b'{"nbformat": 4, "cells": {"a": 1}}', "parts of one"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "long number": (b'{"nbformat": ' + b"9" * 10_000 + b"}", "damaged"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_notebook_is_told_in_plain_words(take, name):
    content, expected = BROKEN[name]
    result = take(content)
    assert expected in result.problem and result.cells == ()
    assert (
        result.problem.endswith(".")
        and "Traceback" not in result.problem
        and "Error" not in result.problem
    )


def test_a_mark_of_utf_8_is_no_harm(take):
    assert take(b"\xef\xbb\xbf" + NOTEBOOK).cells == REBUILT


def test_a_huge_output_is_told_how_to_clear(take, tmp_path):
    path = tmp_path / "huge.ipynb"
    with open(path, "wb") as file:
        file.truncate(100 << 20)  # takes no room on the disk
    problem = read(path, SKELETON).problem
    assert "100 MB" in problem and "Clear Outputs" in problem


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "real.ipynb").write_bytes(NOTEBOOK)
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "real.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    for name, expected in {
        "link": "link",
        "folder": "folder",
        "pipe": "no regular file",
        "missing": "cannot be read",
    }.items():
        assert expected in read(tmp_path / f"{name}.ipynb", SKELETON).problem
    assert read("/dev/zero", SKELETON).problem


# ---------------------------------------------------------------- finding


def test_nbgraders_layout(tmp_path):
    put(
        tmp_path,
        "submitted/ada/02_batch_norm/02_batch_norm.ipynb",
        "submitted/ada/02_batch_norm/.ipynb_checkpoints/x-checkpoint.ipynb",
    )
    put(
        tmp_path,
        "submitted/ada/04_dropout/mine.ipynb",
        "submitted/bob/02_batch_norm/02_batch_norm.ipynb",
        "submitted/bob/02_batch_norm/try.ipynb",
    )
    (tmp_path / "submitted/ada/02_batch_norm/timestamp.txt").write_text("now")
    (tmp_path / "submitted/eve/02_batch_norm").mkdir(parents=True)
    for path in (tmp_path, tmp_path / "submitted"):
        found = find_submissions(path, known=KNOWN)
        assert pairs(found) == [
            ("ada", "02_batch_norm"),
            ("bob", "02_batch_norm"),
            ("eve", "02_batch_norm"),
            ("ada", "04_dropout"),
        ]
        assert [one.problem is None for one in found] == [True, True, False, True]
        assert "it is empty" in found[2].problem and "02_batch_norm.ipynb" in found[2].problem
        assert found[1].path.name == "02_batch_norm.ipynb"
    assert pairs(find_submissions(tmp_path, "04_dropout")) == [("ada", "04_dropout")]
    with pytest.raises(IntakeError, match="no submissions of 07_repair"):
        find_submissions(tmp_path, "07_repair", KNOWN)


def test_a_flat_folder(tmp_path):
    put(tmp_path, "ada_02_batch_norm.ipynb", "02_batch_norm-bob.ipynb", "eve.ipynb")
    put(tmp_path, "dan.ipynb", content={**SKELETON, "cells": [cell("D", "drop")]})
    put(tmp_path, "fay.ipynb", content={**SKELETON, "cells": [cell("D")]})
    (tmp_path / "notes.txt").write_text("mine")
    found = find_submissions(tmp_path, known=KNOWN)
    assert pairs(found) == [
        ("fay", None),
        ("ada", "02_batch_norm"),
        ("bob", "02_batch_norm"),
        ("eve", "02_batch_norm"),
        ("dan", "04_dropout"),
    ]
    assert "which exercise" in found[0].problem
    assert all(one.problem is None for one in found[1:])
    found = find_submissions(tmp_path, "02_batch_norm")
    assert pairs(found) == [(name, "02_batch_norm") for name in ("ada", "bob", "dan", "eve", "fay")]
    assert pairs(find_submissions(tmp_path / "eve.ipynb", known=KNOWN)) == [
        ("eve", "02_batch_norm")
    ]


def test_a_folder_for_each_assignment(tmp_path):
    put(
        tmp_path,
        "02_batch_norm/ada.ipynb",
        "04_dropout/bob_04_dropout.ipynb",
        "04_dropout/eve/answer.ipynb",
    )
    assert pairs(find_submissions(tmp_path, known=KNOWN)) == [
        ("ada", "02_batch_norm"),
        ("bob", "04_dropout"),
        ("eve", "04_dropout"),
    ]


def test_two_notebooks_of_one_student_are_one_problem(tmp_path):
    put(tmp_path, "ada_02_batch_norm.ipynb", "ada-02_batch_norm.ipynb", "ada.ipynb")
    (one,) = find_submissions(tmp_path, known=KNOWN)
    assert (one.student, one.assignment) == (
        "ada",
        "02_batch_norm",
    ) and "Hand in one" in one.problem
    put(tmp_path / "more", "bob/02_batch_norm/a.ipynb", "bob/02_batch_norm/b.ipynb")
    (one,) = find_submissions(tmp_path / "more", known=KNOWN)
    assert "There are 2 notebooks" in one.problem and "'a.ipynb', 'b.ipynb'" in one.problem


def test_links_are_named_and_not_followed(tmp_path):
    secret = put(tmp_path / "secret", "02_batch_norm/02_batch_norm.ipynb")
    there = tmp_path / "submitted"
    put(there, "ada/02_batch_norm/02_batch_norm.ipynb")
    (there / "bob").symlink_to(secret)
    (there / "eve").mkdir()
    (there / "eve" / "02_batch_norm").symlink_to(secret / "02_batch_norm")
    (there / "dan" / "02_batch_norm").mkdir(parents=True)
    (there / "dan" / "02_batch_norm" / "02_batch_norm.ipynb").symlink_to(
        secret / "02_batch_norm" / "02_batch_norm.ipynb"
    )
    found = {one.student: one for one in find_submissions(tmp_path, "02_batch_norm", KNOWN)}
    assert found["ada"].problem is None and len(found) == 4
    for name in ("bob", "eve", "dan"):
        assert "link" in found[name].problem
        assert "link" in read(found[name], SKELETON).problem


def archive(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_archives_of_learning_management_systems(tmp_path):
    moodle = archive(
        tmp_path / "moodle.zip",
        {
            "Ada Lovelace_123_assignsubmission_file_/02_batch_norm.ipynb": NOTEBOOK,
            "Bob_Ross_124_assignsubmission_file/my answer.ipynb": NOTEBOOK,
            "Eve_125_assignsubmission_file_/answer.pdf": b"%PDF",
            "__MACOSX/x.ipynb": b"",
        },
    )
    found = find_submissions(moodle, known=KNOWN)
    assert pairs(found) == [
        ("Eve_125", None),
        ("Ada Lovelace_123", "02_batch_norm"),
        ("Bob_Ross_124", "02_batch_norm"),
    ]
    assert "answer.pdf" in found[0].problem
    assert all(read(one, SKELETON).cells == REBUILT for one in found[1:])
    canvas = archive(
        tmp_path / "canvas.zip",
        {
            "adalovelace_12_345_02_batch_norm.ipynb": NOTEBOOK,
            "bobross_LATE_13_346_02_batch_norm-1.ipynb": NOTEBOOK,
            "eve_14_347_answer.pdf": b"",
        },
    )
    found = find_submissions(canvas, "02_batch_norm")
    assert pairs(found) == [
        ("adalovelace_12", "02_batch_norm"),
        ("bobross_13", "02_batch_norm"),
        ("eve_14", "02_batch_norm"),
    ]
    assert [one.problem is None for one in found] == [True, True, False]
    assert read(found[1], SKELETON).cells == REBUILT


def test_an_archive_of_a_folder(tmp_path):
    flat = archive(
        tmp_path / "flat.zip", {"class/ada.ipynb": NOTEBOOK, "class/bob.ipynb": NOTEBOOK}
    )
    assert pairs(find_submissions(flat, "02_batch_norm")) == [
        ("ada", "02_batch_norm"),
        ("bob", "02_batch_norm"),
    ]
    deep = archive(
        tmp_path / "deep.zip", {"submitted/ada/02_batch_norm/02_batch_norm.ipynb": NOTEBOOK}
    )
    one = archive(tmp_path / "one.zip", {"ada\\02_batch_norm\\02_batch_norm.ipynb": NOTEBOOK})
    for path in (deep, one):
        (found,) = find_submissions(path, known=KNOWN)
        assert (found.student, found.assignment) == ("ada", "02_batch_norm") and read(
            found, SKELETON
        ).cells == REBUILT


def test_hostile_archives(tmp_path):
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        link = zipfile.ZipInfo("link.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("../../outside.ipynb", NOTEBOOK)
        file.writestr("/absolute.ipynb", NOTEBOOK)
        file.writestr("bomb.ipynb", bytes(50 << 20))
        file.writestr("damaged.ipynb", NOTEBOOK)
        file.writestr("encrypted.ipynb", NOTEBOOK)
        file.writestr("good.ipynb", NOTEBOOK)
        infos = {info.filename: info for info in file.infolist()}
        infos["encrypted.ipynb"].flag_bits |= 1
        infos["bomb.ipynb"].file_size = 1000  # which is not true
    content = bytearray(path.read_bytes())
    place = infos["damaged.ipynb"].header_offset + 30 + len("damaged.ipynb")
    content[place : place + 100] = bytes(100)
    path.write_bytes(content)
    before = sorted(os.listdir(tmp_path.parent))
    found = {one.student: read(one, SKELETON) for one in find_submissions(path, "02_batch_norm")}
    expected = {
        "link": "link",
        "outside": "leads out",
        "absolute": "leads out",
        "bomb": "",
        "damaged": "damaged",
        "encrypted": "encrypted",
    }
    for name, text in expected.items():
        assert found[name].problem and text in found[name].problem, name
    assert found["good"].cells == REBUILT and len(found) == 7
    assert (
        sorted(os.listdir(tmp_path)) == ["hostile.zip"]
        and sorted(os.listdir(tmp_path.parent)) == before
    )


def test_what_is_there_is_told_to_the_instructor(tmp_path):
    (tmp_path / "damaged.zip").write_bytes(b"PK\x03\x04 and so on")
    (tmp_path / "list.csv").write_text("a")
    (tmp_path / "empty").mkdir()
    for name, expected in {
        "damaged.zip": "Download it again",
        "list.csv": "no notebook",
        "nowhere": "no folder",
        "empty": "no submissions",
    }.items():
        with pytest.raises(IntakeError, match=expected):
            find_submissions(tmp_path / name, known=KNOWN)


def test_a_student_with_other_files_has_one_submission(tmp_path):
    put(tmp_path, "ada/02_batch_norm.ipynb")
    (tmp_path / "ada" / "data.csv").write_text("1")
    found = find_submissions(tmp_path, known=KNOWN)
    assert pairs(found) == [("ada", "02_batch_norm")] and content_of(found[0]) == NOTEBOOK
    assert isinstance(found[0], Submission)
