"""Files that appear whole or not at all."""

import os

import pytest

from course.lab.files import write_whole


def test_bytes_and_text_are_written_in_folders_that_are_made(tmp_path):
    write_whole(tmp_path / "a" / "b" / "file", "é\n")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"\xc3\xa9\n"
    write_whole(tmp_path / "a" / "b" / "file", b"\xff")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"\xff"
    if os.name != "nt":
        assert (tmp_path / "a" / "b" / "file").stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"
