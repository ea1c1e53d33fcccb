"""`course check`: every trouble is a line that says WARN or FAIL and what to do; `course lab`; the
lock.
"""

import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import namedtuple
from pathlib import Path

import jupyter_core.paths
import psutil
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

import course.data
from course.app import cli, environment
from course.app.cli import lessons as commands
from course.app.environment import CHECKS, FAIL, OK, WARN, Check, CheckTable, check_all, check_table

ROOT = Path(__file__).resolve().parents[2]
GB = 1000**3


def missing(*_, **__):
    raise importlib.metadata.PackageNotFoundError("jupyterlab")


def patch_memory(patch, available):
    state = namedtuple("state", "available total")(available, 8 * GB)
    patch.setattr(psutil, "virtual_memory", lambda: state)


def patch_disk(patch, free):
    patch.setattr(shutil, "disk_usage", lambda folder: namedtuple("usage", "free")(free))


def patch_cores(patch, cores, **settings):
    patch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    for name in environment.THREAD_SETTINGS:
        patch.delenv(name, raising=False)
    for name, value in settings.items():
        patch.setenv(name, value)


def patch_writable(patch, *names):
    patch.setattr(environment, "can_write", lambda folder: folder.name in names)


def patch_data(patch):
    sums = dict.fromkeys(course.data.FILES, "of another file")
    patch.setattr(course.data, "FILES", sums)


def patch_backend(patch):
    patch.setenv("KERAS_BACKEND", "numpi")
    patch.setitem(sys.modules, "keras", None)


TROUBLES = {
    "too old": (
        "Python",
        FAIL,
        "Install Python 3.11",
        lambda p: p.setattr(sys, "version_info", (3, 10, 4)),
    ),
    "too new": (
        "Python",
        FAIL,
        "Install Python 3.11",
        lambda p: p.setattr(sys, "version_info", (3, 14, 0)),
    ),
    "no Keras": ("Keras", FAIL, "run.py", lambda p: p.setitem(sys.modules, "keras", None)),
    "wrong backend": ("Keras", FAIL, "Unset KERAS_BACKEND (it is 'numpi')", patch_backend),
    "one core": ("threads", WARN, "twice the minutes", lambda p: patch_cores(p, 1)),
    "idle cores": (
        "threads",
        WARN,
        "Unset OMP_NUM_THREADS",
        lambda p: patch_cores(p, 4, OMP_NUM_THREADS="1"),
    ),
    "little memory": ("memory", WARN, "Close other programs", lambda p: patch_memory(p, 1 * GB)),
    "no memory": ("memory", FAIL, "Close other programs", lambda p: patch_memory(p, GB / 4)),
    "little disk": ("free disk", WARN, "Free at least 1 GB", lambda p: patch_disk(p, GB / 2)),
    "no disk": ("free disk", FAIL, "Free at least 1 GB", lambda p: patch_disk(p, 0)),
    "missing data": (
        "data set",
        FAIL,
        "the folder of the course",
        lambda p: p.setattr(course.data, "FOLDER", ROOT / "no such folder"),
    ),
    "damaged data": ("data set", FAIL, "the folder of the course", patch_data),
    "read-only": ("write access", FAIL, "folder of your own", lambda p: patch_writable(p)),
    "no JupyterLab": (
        "JupyterLab",
        FAIL,
        "run.py",
        lambda p: p.setattr(importlib.metadata, "version", missing),
    ),
    "JupyterLab 3": (
        "JupyterLab",
        WARN,
        "needs JupyterLab 4",
        lambda p: p.setattr(importlib.metadata, "version", lambda name: "3.6.8"),
    ),
    "no Matplotlib": (
        "graphics",
        FAIL,
        "run.py",
        lambda p: p.setitem(sys.modules, "matplotlib.figure", None),
    ),
    "no sliders": (
        "graphics",
        WARN,
        "Sliders show as text",
        lambda p: p.setattr(jupyter_core.paths, "jupyter_path", lambda: []),
    ),
}


@pytest.fixture
def calm(monkeypatch):
    """A machine on which nothing is wrong, whatever the real one lacks."""
    patch_cores(monkeypatch, 2)
    patch_memory(monkeypatch, 4 * GB)
    patch_disk(monkeypatch, 50 * GB)
    patch_writable(monkeypatch, "notebooks")
    monkeypatch.setattr(
        Path, "is_file", lambda path, real=Path.is_file: "cgroup" not in str(path) and real(path)
    )
    return monkeypatch


def test_all_is_well(calm):
    lines = check_all()
    assert [line.name for line in lines] == list(CHECKS)
    assert {(line.status, line.remedy) for line in lines} == {(OK, "")}, lines


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_has_its_remedy(calm, trouble):
    name, status, remedy, break_it = TROUBLES[trouble]
    with calm.context() as patch:
        break_it(patch)
        found, detail, advice = CHECKS[name]()
    assert (found, bool(detail)) == (status, True)
    assert remedy in advice


def test_a_read_only_folder_is_found_out(tmp_path):
    assert environment.can_write(tmp_path / "not" / "yet")
    (tmp_path / "file").write_text("")
    assert not environment.can_write(tmp_path / "file")
    tmp_path.chmod(0o500)
    try:
        if os.name == "nt" or os.geteuid() == 0:
            pytest.skip("the file system refuses root nothing")
        assert not environment.can_write(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_memory_of_a_container(calm, tmp_path):
    """On Binder the machine has much memory, but the container may use 2 GB of it."""
    patch_memory(calm, 64 * GB)
    (tmp_path / "memory.max").write_text(f"{2 * GB}\n")
    (tmp_path / "memory.current").write_text(f"{GB}\n")
    calm.setattr(environment, "Path", lambda folder, name: tmp_path / name)
    assert CHECKS["memory"]()[:2] == (WARN, "1.0 of 2.0 GB free")


def test_a_check_that_breaks_is_a_line_and_shows_no_path(monkeypatch):
    def broken():
        raise RuntimeError(
            f"no {Path.home() / 'x'}, {ROOT / 'course'}, {sys.prefix}/lib and [/red]"
        )

    monkeypatch.setitem(CHECKS, "Keras", broken)
    table = check_table()
    line = next(line for line in table.results if line.name == "Keras")
    assert (
        line.status == FAIL
        and "run.py" in line.remedy
        and line.detail.startswith("RuntimeError: no ~")
    )
    for folder in Path.home(), ROOT, sys.prefix:
        assert str(folder) not in printed(table)


def printed(table, **options):
    console = Console(file=io.StringIO(), width=110, **options)
    console.print(table)
    return console.file.getvalue()


def test_the_table_says_its_state_in_words_everywhere():
    lines = [
        Check("a", OK, "fine"),
        Check("b", WARN, "x < y & z", "do [this]"),
        Check("c", FAIL, "no", "do that"),
    ]
    table = CheckTable(lines)
    shown = [
        [cell.strip() for cell in row.split("│")[1:-1]]
        for row in printed(table).splitlines()
        if row.startswith("│")
    ]
    assert shown == [[line.name, line.status, line.detail, line.remedy] for line in lines]
    # Of a terminal that shows them, too, no colours: only bold (1) and the swap of both (7).
    coded = printed(table, force_terminal=True, color_system="truecolor")
    assert set(re.findall(r"\x1b\[([\d;]+)m", coded)) <= {"0", "1", "1;7"}


@pytest.mark.parametrize(("status", "code"), [(OK, 0), (WARN, 0), (FAIL, 1)])
def test_course_check_exits_1_on_a_failure(monkeypatch, status, code):
    monkeypatch.setattr(
        environment, "check_all", lambda: [Check("disk", status, "some", "buy one")]
    )
    done = CliRunner().invoke(cli.app, ["check"])
    assert done.exit_code == code and status in done.stdout and "buy one" in done.stdout


def test_the_command_line_starts_without_keras():
    code = "import sys, course.app.cli, course.app.environment; print('keras' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        == "False\n"
    )


def test_lab_passes_its_options_on(monkeypatch):
    called = []

    def start(command):
        called.extend(command)
        raise SystemExit(5)

    monkeypatch.setattr(commands.os, "execve", lambda program, command, environment: start(command))
    monkeypatch.setattr(commands.subprocess, "call", start)  # on Windows
    monkeypatch.setattr(commands.signal, "signal", lambda *_: None)
    monkeypatch.setattr(commands, "FIRST_LESSON", "pyproject.toml")
    done = CliRunner().invoke(cli.app, ["lab", "--no-browser", "--port", "9999", "--help"])
    assert done.exit_code == 5 and called[:3] == [sys.executable, "-m", "jupyterlab"]
    assert called[-4:] == ["--no-browser", "--port", "9999", "--help"]


def test_lab_without_lessons_says_where_they_are(monkeypatch):
    monkeypatch.setattr(commands, "FIRST_LESSON", "notebooks/no_such.ipynb")
    done = CliRunner().invoke(cli.app, ["lab"])
    assert done.exit_code == 1 and "Clone the whole course" in done.stdout


# --- one list of dependencies
# ----------------------------------------------------------------------


def test_the_lock_is_up_to_date():
    uv = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")
    if not uv:
        pytest.skip("no uv: install the group `test`")
    done = subprocess.run([uv, "lock", "--check"], cwd=ROOT, capture_output=True, text=True)
    if re.search(
        "dns error|error sending request|failed to fetch|timed out", done.stderr, re.IGNORECASE
    ):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, f"run `uv lock`: {done.stderr}"


def test_environment_yml_is_no_second_list():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert conda["dependencies"] == ["python=3.12", "pip", {"pip": ["-e ."]}]
