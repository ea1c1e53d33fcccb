"""`python3 run.py update` brings the new version and loses nothing that a reader wrote."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if not shutil.which("git"):
    pytest.skip("git is not installed", allow_module_level=True)
LESSON, EXERCISE = "notebooks/03_modes.ipynb", "exercises/02/02.ipynb"
TABLE = "results/per second/runs.parquet"
TODAY = f"mine/{date.today().isoformat()}"


def notebook(*sources, count=1):
    """A notebook of code cells, as JupyterLab would save it after a run."""
    cells = [
        {
            "cell_type": "code",
            "execution_count": count,
            "outputs": [{"name": "stdout", "output_type": "stream", "text": f"{count}\n"}],
            "metadata": {},
            "source": source.splitlines(keepends=True),
        }
        for source in sources
    ]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


class Folder:
    """A folder with a course in it: the publisher's, or a reader's clone."""

    def __init__(self, path):
        self.path = path

    def git(self, *arguments):
        name = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        command = ["git", "-C", str(self.path), *name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def write(self, files):
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text, encoding="utf-8", newline="")

    def read(self, name):
        return (self.path / name).read_bytes().decode("utf-8")

    def commit(self, files, remove=()):
        self.write(files)
        for name in remove:
            (self.path / name).unlink()
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "a change")

    def update(self, code=0):
        command = [sys.executable, str(self.path / "run.py"), "update"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def mine(self):
        """What was put aside: path to content."""
        folder = self.path / "mine"
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(self.path).as_posix(): self.read(path) for path in paths}


NEW = {
    LESSON: notebook("import course", "new = 1"),
    EXERCISE: notebook("def answer():\n    '''new'''"),
    TABLE: "the course's new results",
    "course/models.py": "new = 1\n",
    "notebooks/14_new.ipynb": notebook("new"),
}


@pytest.fixture
def publisher(tmp_path):
    folder = Folder(tmp_path / "publisher")
    folder.path.mkdir()
    folder.git("init", "--quiet", "--initial-branch=main")
    for name in "run.py", "course/app/update.py", ".gitignore":
        folder.write({name: (ROOT / name).read_text(encoding="utf-8")})
    old = {
        LESSON: notebook("import course", "old = 1"),
        EXERCISE: notebook("def answer():\n    pass"),
        TABLE: "the course's results",
        "course/models.py": "old = 1\n",
        "docs/gone.md": "an old guide\n",
    }
    folder.commit(old)
    return folder


@pytest.fixture
def reader(publisher, tmp_path):
    """A clone in a folder with a space and letters beyond ASCII in its name."""
    folder = Folder(tmp_path / "Kurs für Ada")
    publisher.git("clone", "--quiet", str(publisher.path), str(folder.path))
    return folder


def assert_newest(reader, publisher):
    """The files and the commit are the publisher's, and git sees nothing else."""
    assert reader.git("rev-parse", "HEAD") == publisher.git("rev-parse", "HEAD")
    assert reader.git("branch", "--show-current").strip() == "main"
    for name in publisher.git("ls-files", "-z").split("\0")[:-1]:
        assert reader.read(name) == publisher.read(name)
    assert reader.git("diff", "HEAD") == ""
    assert not (reader.path / ".git" / "update-begun").exists()


def test_what_a_reader_changed_is_kept_aside_and_the_rest_is_new(reader, publisher):
    answered, swept = notebook("def answer():\n    return 42"), "her own results"
    reader.write(
        {
            LESSON: notebook("import course", "old = 1", count=100),  # run, and no more
            EXERCISE: answered,
            TABLE: swept,
            "course/models.py": "hers = 1\n",
            "notebooks/hers.ipynb": notebook("hers"),
            "results/per second/ab12/row.json": "{}",
            "notebooks/14_new.ipynb": notebook("of the name of a new lesson"),
        }
    )
    publisher.commit(NEW, remove=["docs/gone.md"])
    said = reader.update()
    assert_newest(reader, publisher)
    assert reader.mine() == {
        f"{TODAY}/{EXERCISE}": answered,
        f"{TODAY}/{TABLE}": swept,
        f"{TODAY}/course/models.py": "hers = 1\n",
        f"{TODAY}/notebooks/14_new.ipynb": notebook("of the name of a new lesson"),
    }
    assert reader.read("notebooks/hers.ipynb") == notebook("hers")
    assert reader.read("results/per second/ab12/row.json") == "{}"
    assert not (reader.path / "docs/gone.md").exists()
    assert reader.git("status", "--porcelain").split() == ["??", "notebooks/hers.ipynb"]
    kept, run = said.split("You ran these")
    assert f"now in {TODAY}/" in kept and EXERCISE in kept and LESSON in run and LESSON not in kept
    assert "newest version already" in reader.update()


def test_the_next_update_on_the_same_day_overwrites_nothing(reader, publisher):
    for number in 1, 2, 3:
        reader.write({"course/models.py": f"hers = {number}\n"})
        publisher.commit({"course/models.py": f"new = {number}\n"})
        reader.update()
        assert_newest(reader, publisher)
    assert reader.mine() == {
        f"{TODAY}/course/models.py": "hers = 1\n",
        f"{TODAY}_2/course/models.py": "hers = 2\n",
        f"{TODAY}_3/course/models.py": "hers = 3\n",
    }


def test_nothing_is_copied_that_the_new_version_has_or_that_was_deleted(reader, publisher):
    reader.write({"course/models.py": NEW["course/models.py"], LESSON: NEW[LESSON]})
    (reader.path / EXERCISE).unlink()
    publisher.commit(NEW)
    reader.update()
    assert_newest(reader, publisher)
    assert reader.mine() == {}


@pytest.mark.parametrize(
    "written",
    [
        notebook("import course", "# what I think\nold = 1"),
        notebook("import course", "old = 1", "more = 2"),
        notebook("old = 1", "import course"),
        "not a notebook any more",
        "[]",
    ],
)
def test_every_change_of_a_notebook_but_its_outputs_is_kept(reader, publisher, written):
    reader.write({LESSON: written})
    publisher.commit(NEW)
    reader.update()
    assert_newest(reader, publisher)
    assert reader.mine() == {f"{TODAY}/{LESSON}": written}


def test_own_commits_are_kept_in_a_branch_and_own_files_where_they_were(reader, publisher):
    reader.commit({"course/models.py": "hers = 1\n", "exercises/09/own.ipynb": notebook("own")})
    reader.write({"exercises/10/staged [a*].md": "staged\n"})
    reader.git("add", "--all")
    hers = reader.git("rev-parse", "HEAD")
    publisher.commit(NEW)
    said = reader.update()
    assert_newest(reader, publisher)
    branch = f"mine_{date.today().isoformat()}"
    assert reader.git("rev-parse", branch) == hers and branch in said
    assert reader.mine() == {f"{TODAY}/course/models.py": "hers = 1\n"}
    assert reader.read("exercises/09/own.ipynb") == notebook("own")
    assert reader.read("exercises/10/staged [a*].md") == "staged\n"
    # A second time: the branch's name is taken.
    reader.commit({"course/models.py": "hers = 2\n"})
    publisher.commit({"course/models.py": "newer = 1\n"})
    reader.update()
    assert reader.git("show", f"{branch}_2:course/models.py") == "hers = 2\n"
    assert reader.git("rev-parse", branch) == hers


def test_own_commits_on_the_newest_version_are_left_alone(reader, publisher):
    reader.commit({"course/models.py": "hers = 1\n"})
    assert "newest version already" in reader.update()
    assert reader.read("course/models.py") == "hers = 1\n" and reader.mine() == {}


def test_a_folder_in_the_place_of_a_new_file_and_a_file_in_that_of_a_new_folder(reader, publisher):
    reader.write({"docs/new.md/hers.txt": "1", "data": "2"})
    publisher.commit({"docs/new.md": "new\n", "data/set.gz": "new\n"})
    reader.update()
    assert_newest(reader, publisher)
    assert reader.mine() == {f"{TODAY}/docs/new.md/hers.txt": "1", f"{TODAY}/data": "2"}


def test_windows_line_ends_are_no_change(reader, publisher):
    reader.git("config", "core.autocrlf", "true")
    (reader.path / "course/models.py").unlink()
    reader.git("checkout", "--", "course/models.py")
    assert reader.read("course/models.py") == "old = 1\r\n"
    publisher.commit(NEW)
    reader.update()
    assert reader.read("course/models.py") == "new = 1\r\n" and reader.mine() == {}


# --- killed half way
# --------------------------------------------------------------------------------------


def killed(reader, moment, tmp_path):
    """Kill an update as the named git command begins, before it has done anything."""
    tools = tmp_path / f"tools {moment}"
    tools.mkdir()
    real = shutil.which("git")
    program = tools / "git"
    program.write_text(
        f'#!/bin/sh\ncase " $* " in *" {moment} "*) touch "{tools}/reached"; sleep 60;; esac\n'
        f'exec "{real}" "$@"\n'
    )
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, str(reader.path / "run.py"), "update"]
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        deadline = time.monotonic() + 30
        while not (tools / "reached").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    assert (tools / "reached").exists()


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for git is a shell script")
@pytest.mark.parametrize("moment", ["fetch", "hash-object", "branch", "rm", "reset"])
def test_killed_at_any_moment_the_next_update_goes_on(reader, publisher, tmp_path, moment):
    reader.commit({"exercises/09/own.ipynb": notebook("own")})
    mine = {EXERCISE: notebook("def answer():\n    return 42"), TABLE: "her own results"}
    reader.write(mine)
    publisher.commit(NEW)
    killed(reader, moment, tmp_path)
    for name, text in mine.items():
        assert reader.read(name) == text
    reader.update()
    assert_newest(reader, publisher)
    assert reader.mine() == {f"{TODAY}/{name}": text for name, text in mine.items()}
    assert reader.read("exercises/09/own.ipynb") == notebook("own")


def test_killed_while_files_are_replaced_the_next_update_goes_on(reader, publisher):
    """Some files are new, one is cut off, git's lock is there, and the commit is the old one."""
    hers = notebook("def answer():\n    return 42")
    reader.write({f"{TODAY}/{EXERCISE}": hers, **NEW, "course/models.py": "ne"})
    for name in "index.lock", "update-begun":
        (reader.path / ".git" / name).touch()
    publisher.commit(NEW)
    reader.update()
    assert_newest(reader, publisher)
    assert reader.mine() == {f"{TODAY}/{EXERCISE}": hers, f"{TODAY}/course/models.py": "ne"}


def test_another_git_at_work_is_not_disturbed(reader, publisher):
    reader.write({"course/models.py": "hers = 1\n"})
    publisher.commit(NEW)
    (reader.path / ".git" / "index.lock").touch()
    assert "another git is at work here" in reader.update(code=1)
    assert reader.read("course/models.py") == "hers = 1\n"
    (reader.path / ".git" / "index.lock").unlink()
    reader.update()
    assert_newest(reader, publisher)
    assert reader.mine() == {f"{TODAY}/course/models.py": "hers = 1\n"}


# --- no update
# ------------------------------------------------------------------------------------------


def test_no_network_no_clone_no_branch_and_half_a_merge_get_a_sentence(reader, publisher):
    def refuses(words):
        before = reader.git("status", "--porcelain")
        said = reader.update(code=1)
        assert words in said and len(said.splitlines()) == 1
        assert reader.git("status", "--porcelain") == before and reader.mine() == {}

    publisher.commit(NEW)
    reader.write({LESSON: notebook("hers")})
    address = reader.git("remote", "get-url", "origin").strip()
    reader.git("remote", "set-url", "origin", "http://127.0.0.1:9/course.git")
    refuses("could not be fetched; nothing was changed")
    reader.git("remote", "set-url", "origin", address)
    reader.git("switch", "--quiet", "--detach")
    refuses("git switch main")
    reader.git("switch", "--quiet", "-c", "own")
    refuses("follows none of the course's")
    reader.git("switch", "--quiet", "main")
    reader.git("stash")  # what readers are told elsewhere: pull, and the stash back on top
    reader.git("pull", "--quiet")
    with pytest.raises(subprocess.CalledProcessError):
        reader.git("stash", "pop")
    refuses("half merged")
    shutil.rmtree(reader.path / ".git")
    assert "not made by git" in reader.update(code=1)


def test_the_course_itself_ignores_what_is_put_aside():
    done = subprocess.run(
        ["git", "check-ignore", "mine/2026-11-27/notebooks/03.ipynb"], cwd=ROOT, capture_output=True
    )
    if done.returncode == 128:
        pytest.skip("this is not a git checkout")
    assert done.returncode == 0
