"""`run.py`: a trouble gets one sentence, options pass through, interruptions are never trusted."""

import ast
import errno
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
needs_shell = pytest.mark.skipif(os.name == "nt", reason="the stand-in for uv is a shell script")

# A stand-in for uv. It notes how it was called; `sync` does what the file `mode` beside it says.
FAKE_UV = r"""#!/bin/sh
here=$(dirname "$0")
if [ "$1" = --version ]; then echo "uv $(cat "$here/version")"; exit 0; fi
echo "$@" >> "$here/calls"
env >> "$here/environment"
case "$(cat "$here/mode")" in
    full) echo "error: failed to write: No space left on device (os error 28)" >&2; exit 2;;
    says) cat "$here/said" >&2; exit 2;;
    offline) case "$*" in
        *--offline*) ;;
        *) echo "error: Failed to fetch: dns error" >&2; exit 2;;
        esac;;
    broken) echo "error: something else" >&2; exit 2;;
    long)
        if [ -e .venv/busy ]; then echo "two at once" >&2; exit 2; fi
        mkdir -p .venv; touch .venv/busy; sleep 1; rm .venv/busy;;
    slow) mkdir -p .venv/half; echo started >&2; sleep 30; exit 1;;
esac
mkdir -p .venv/bin
ln -sf "$PYTHON_FOR_TEST" .venv/bin/python
"""


@pytest.fixture
def run():
    """A fresh copy of run.py as a module."""
    specification = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def place(run, tmp_path, monkeypatch):
    """The module, working in an empty folder instead of in the course's."""
    monkeypatch.setattr(run, "ROOT", str(tmp_path))
    for name in "VENV", "PRIVATE", "UNFINISHED":
        inside = os.path.relpath(getattr(run, name), ROOT)
        monkeypatch.setattr(run, name, str(tmp_path / inside))
    (tmp_path / ".uv").mkdir()
    shutil.copy(ROOT / "uv.lock", tmp_path)
    return run


class Course:
    """A folder with run.py, a stand-in for uv, and a package `course` that prints its arguments."""

    def __init__(self, folder: Path):
        self.folder, self.tools = folder / "my course", folder / "tools"
        (self.folder / "course" / "app").mkdir(parents=True)
        self.tools.mkdir()
        shutil.copy(ROOT / "run.py", self.folder)
        shutil.copy(ROOT / "uv.lock", self.folder)
        (self.folder / "course" / "app" / "cli.py").write_text(
            "import sys\nprint(sys.argv[1:])\nsys.exit(7)\n"
        )
        (self.tools / "uv").write_text(FAKE_UV)
        (self.tools / "uv").chmod(0o755)
        self.set(mode="good", version="99.0.0")

    def set(self, **texts):
        for name, text in texts.items():
            (self.tools / name).write_text(text)

    def calls(self):
        return (self.tools / "calls").read_text().splitlines()

    def environment(self, **more):
        path = os.pathsep.join([str(self.tools), "/usr/bin", "/bin"])
        return os.environ | {"PATH": path, "PYTHON_FOR_TEST": sys.executable} | more

    def run(self, *arguments, python=sys.executable, **more):
        command = [python, str(self.folder / "run.py"), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=self.environment(**more), timeout=60
        )


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)


def sentence(error) -> str:
    """What a call of `stop` says: one line."""
    text = str(error.value.code)
    assert text.startswith("run.py: ") and "\n" not in text
    return text


# --- what is run, and in which environment
# ---------------------------------------------------------

TESTED = ["--group", "test", "--extra", "grading", "--extra", "site"]


@pytest.mark.parametrize(
    ("arguments", "options", "what"),
    [
        ([], [], ["course.app.cli", "lab"]),
        (
            ["--no-browser", "--port", "9999"],
            [],
            ["course.app.cli", "lab", "--no-browser", "--port", "9999"],
        ),
        (["check"], [], ["course.app.cli", "check"]),
        (["test"], TESTED, ["pytest"]),
        (["test", "-k", "a b"], TESTED, ["pytest", "-k", "a b"]),
        (["grade", "submitted"], ["--extra", "grading"], ["course.app.cli", "grade", "submitted"]),
    ],
)
def test_arguments_pass_through(run, arguments, options, what):
    assert run.plan(arguments) == (options, ["-m", *what])


def test_help_needs_no_set_up():
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "run.py test" in done.stdout


def test_nothing_points_at_another_environment(run):
    foreign = {
        "VIRTUAL_ENV": "x",
        "CONDA_PREFIX": "x",
        "UV_PROJECT_ENVIRONMENT": "x",
        "PYTHONPATH": "x",
    }
    kept = {"PATH": "p", "HOME": "h", "UV_CACHE_DIR": "c", "HTTPS_PROXY": "h"}
    assert run.clean_environment(foreign | kept) == kept | {"PIP_USER": "0"}


@needs_shell
def test_runs_and_passes_the_exit_code_on(course):
    done = course.run("--port", "9999", VIRTUAL_ENV="/nowhere", UV_PROJECT_ENVIRONMENT="/nowhere")
    assert (done.stdout.strip(), done.returncode) == ("['lab', '--port', '9999']", 7)
    assert course.calls()[0].startswith("sync --frozen --inexact --python ")
    assert "/nowhere" not in (course.tools / "environment").read_text()
    again = course.run("check", "more")
    assert (again.stdout.strip(), again.stderr, again.returncode) == ("['check', 'more']", "", 7)


@needs_shell
def test_keeps_an_environment_that_works_and_remakes_one_that_does_not(course):
    course.run("check")
    course.run("check")
    assert course.calls()[1].endswith(str(course.folder / ".venv/bin/python"))
    (course.folder / ".venv/bin/python").unlink()
    course.run("check")
    assert course.calls()[2] == course.calls()[0]


# --- Python
# ----------------------------------------------------------------------------------------


def test_parses_on_old_pythons():
    ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_versions_agree_with_pyproject(run):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest, newest = run.OLDEST_PYTHON, run.NEWEST_PYTHON
    assert (
        project["project"]["requires-python"]
        == f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
    )
    assert "uv>={}.{}".format(*run.OLDEST_UV) in project["dependency-groups"]["test"]
    assert project["project"]["optional-dependencies"]["torch"] == [run.TORCH]


@pytest.mark.parametrize("version", ["3 10", "3 14", "2 7"])
def test_wrong_python(run, monkeypatch, version):
    monkeypatch.setattr(run, "output", lambda command: version + " /usr/bin/python\n")
    with pytest.raises(SystemExit) as error:
        run.find_python()
    assert "needs Python 3.11, 3.12 or 3.13" in sentence(error)


def test_another_python_on_the_path_is_taken(run, monkeypatch):
    answers = {sys.executable: "3 10 /old", "python3.13": "3 13 /a folder/python3.13\n"}
    monkeypatch.setattr(run, "output", lambda command: answers.get(command[0], ""))
    assert run.find_python() == "/a folder/python3.13"


def old_pythons() -> list[str]:
    """Pythons of this machine that are too old for the course."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [shutil.which(f"python3.{minor}") for minor in range(6, 11)]
    found += [str(path) for path in versions.glob("3.[6-9].*/bin/python")]
    found += [str(path) for path in versions.glob("3.10.*/bin/python")]
    works = [
        p
        for p in found
        if p and subprocess.run([p, "--version"], capture_output=True).returncode == 0
    ]
    return works[:2]


@needs_shell
def test_a_real_old_python_gets_a_sentence(course, tmp_path):
    if not (pythons := old_pythons()):
        pytest.skip("no Python 3.6 to 3.10 on this machine")
    for python in pythons:
        done = course.run("check", python=python, PATH=str(tmp_path))
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "needs Python 3.11, 3.12 or 3.13" in done.stderr.splitlines()[-1]


# --- uv
# --------------------------------------------------------------------------------------------


@needs_shell
@pytest.mark.parametrize(
    ("version", "good"), [("0.10.12", False), ("0.11.0", True), ("1.0.0", True), ("?", False)]
)
def test_an_old_uv_is_not_used(run, course, version, good):
    course.set(version=version)
    assert run.uv_is_good(str(course.tools / "uv")) == good


def test_no_venv(place, monkeypatch):
    monkeypatch.setattr(place, "output", lambda command: "")
    monkeypatch.setattr(place.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit) as error:
        place.find_uv(sys.executable)
    assert "apt install python3-venv" in sentence(error)


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError(...)': /simple/uv/\n"
            "ERROR: No matching distribution found for uv",
            "check the connection",
        ),
        ("ERROR: No matching distribution found for uv", "set UV_DEFAULT_INDEX"),
        (
            "WARNING: Retrying after connection broken by 'SSLError(SSLCertVerificationError(1, "
            "'[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate "
            "in certificate chain'))': /simple/uv/\nERROR: No matching distribution found for uv",
            "SSL_CERT_FILE",
        ),
        ("OSError: [Errno 28] No space left on device", "free about 3 GB"),
        ("a riddle", "install uv yourself"),
    ],
)
def test_uv_cannot_be_fetched(place, tmp_path, monkeypatch, log, remedy):
    monkeypatch.setattr(place, "uv_is_good", lambda uv: False)
    monkeypatch.setattr(place, "watched", lambda command: (1, log))
    with pytest.raises(SystemExit) as error:
        place.find_uv(sys.executable)
    assert remedy in sentence(error)
    assert list((tmp_path / ".uv").iterdir()) == []


def test_an_interrupted_fetch_leaves_nothing_and_a_broken_uv_is_replaced(
    place, tmp_path, monkeypatch
):
    """What stands in .uv/uv but does not run is fetched anew."""
    uv = Path(place.program(str(tmp_path / ".uv" / "uv"), "uv"))
    uv.parent.mkdir(parents=True)
    uv.write_text("half a download")
    monkeypatch.setattr(place.shutil, "which", lambda name: None)

    def interrupted(command):
        raise KeyboardInterrupt

    def complete(command):
        if "venv" in command:
            new = Path(place.program(command[-1], "uv"))
            new.parent.mkdir(parents=True)
            new.write_text("complete")
        return 0, ""

    monkeypatch.setattr(place, "watched", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.find_uv(sys.executable)
    assert os.listdir(tmp_path / ".uv") == ["uv"] and uv.read_text() == "half a download"
    monkeypatch.setattr(place, "watched", complete)
    monkeypatch.setattr(place, "uv_is_good", lambda path: Path(path).read_text() == "complete")
    assert place.find_uv(sys.executable) == str(uv)
    assert os.listdir(tmp_path / ".uv") == ["uv"] and uv.read_text() == "complete"


# --- disk, network, write access, interruption
# -----------------------------------------------------


def test_a_second_set_up_waits_for_the_first(place, monkeypatch, capsys):
    """Each would else take the other's unfinished environment for that of an interrupted set-up,
    and remove it.
    """
    at_work, most = [], []

    def synchronise(options):
        at_work.append(options)
        most.append(len(at_work))
        time.sleep(0.3)
        return at_work.pop()

    monkeypatch.setattr(place, "synchronise", synchronise)
    with ThreadPoolExecutor() as pool:
        assert sorted(pool.map(place.make_environment, (["one"], ["other"]))) == [
            ["one"],
            ["other"],
        ]
    assert most == [1, 1]
    assert capsys.readouterr().err.count("waiting for it") == 1


@needs_shell
def test_two_set_ups_at_once_from_two_terminals(course):
    course.set(mode="long")
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(course.run, ("one", "other")))
    assert [done.stdout.strip() for done in both] == ["['one']", "['other']"]
    said = "".join(done.stderr for done in both)
    assert said.count("waiting for it") == 1
    assert "interrupted" not in said and "two at once" not in said


@pytest.mark.skipif(os.name == "nt", reason="Windows has locks of its own")
def test_a_file_system_without_locks_does_as_before(place, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(place, "synchronise", lambda options: options)
    assert place.make_environment(["third"]) == ["third"]


def test_windows_locks_with_its_own_module(place, tmp_path, monkeypatch):
    """A stand-in for msvcrt: its lock is refused once, as another process has it."""
    answers = [PermissionError(errno.EACCES, "locked"), None]

    def locking(number, mode, size):
        answer = answers.pop(0)
        if answer:
            raise answer

    module = SimpleNamespace(locking=locking, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", module)
    monkeypatch.setattr(place, "os", SimpleNamespace(name="nt"))
    with open(tmp_path / "lock", "a") as lock:
        assert place.is_locked(lock) is True and place.is_locked(lock) is False


def test_full_disk_is_seen_before_anything_is_made(place, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**12, 10**12, 10**9)
    monkeypatch.setattr(place.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(SystemExit) as error:
        place.make_environment([])
    assert "needs 3 GB" in sentence(error)
    assert os.listdir(tmp_path / ".uv") == ["lock"]


# What uv 0.13 and pip print (those of the machines: uv sync --python-platform ...).
NO_WHEEL = (
    "error: Distribution `tensorflow==2.21.0 @ registry+https://pypi.org/simple` can't be "
    "installed because it doesn't have a source distribution or wheel for the current platform\n\n"
    "hint: You're on {}, but `tensorflow` (v2.21.0) only has wheels for the following platforms: "
    "`manylinux_2_27_aarch64`, `manylinux_2_27_x86_64`, `macosx_12_0_arm64`"
)
FETCH = "error: Failed to fetch: `https://pypi.org/simple/keras/`\n  Caused by: "
SENDING = FETCH + "error sending request for url (https://pypi.org/simple/keras/)\n  Caused by: "
SAYS = {
    "Intel Mac, or Rosetta": (NO_WHEEL.format("macOS (`macosx_13_0_x86_64`)"), "arm64 Python"),
    "Windows on ARM": (NO_WHEEL.format("Windows (`win_arm64`)"), "on ARM with the x64 Python"),
    "Alpine": (NO_WHEEL.format("Linux (`musllinux_1_2_x86_64`)"), "not on Alpine's musl"),
    "company": (
        SENDING + "client error (Connect)\n  Caused by: invalid peer certificate: UnknownIssuer",
        "UV_SYSTEM_CERTS=true if your browser trusts it, else SSL_CERT_FILE",
    ),
    "expired": (SENDING + "invalid peer certificate: Expired", "clock"),
    "expired, newer uv": (
        SENDING + "invalid peer certificate: certificate expired: verification time 1767225600",
        "clock",
    ),
    "mirror": (
        "error: Failed to download `keras==3.15.1`\n  Caused by: Failed to fetch: `https://x.whl`\n"
        "  Caused by: HTTP status client error (403 Forbidden) for url (https://x.whl)",
        "set UV_DEFAULT_INDEX to its address",
    ),
    "proxy": (
        SENDING + "tunnel error: proxy authorization required (407)",
        "HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT",
    ),
}


@needs_shell
@pytest.mark.parametrize("name", SAYS)
def test_a_set_up_that_fails_says_the_true_cause(course, name):
    said, remedy = SAYS[name]
    course.set(mode="says", said=said + "\n")
    for _ in range(2):  # nothing was begun, so the second start does not speak of an interruption
        done = course.run("check")
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1 and last.startswith("run.py: ") and remedy in last
        for other in {remedy for _, remedy in SAYS.values()} - {remedy}:
            assert "wheel for the current" in said or other not in last
        assert "check the connection" not in last and ".venv" not in last
        assert "interrupted" not in done.stderr


@needs_shell
def test_the_machines_are_named_as_in_the_readme(course):
    course.set(mode="says", said=SAYS["Alpine"][0] + "\n")
    last = course.run("check").stderr.splitlines()[-1]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for machine in "glibc 2.28", "Apple silicon", "macOS 12", "64-bit Windows", "x64 Python":
        assert machine in last and machine in readme


@needs_shell
@pytest.mark.parametrize(
    ("mode", "remedy"),
    [
        ("full", "free about 3 GB and run this again."),
        ("offline", "check the connection (behind a proxy set HTTPS_PROXY) and run this again."),
        ("broken", "says above why; the next start makes it anew."),
    ],
)
def test_uv_fails(course, mode, remedy):
    course.set(mode=mode)
    done = course.run("check")
    assert done.returncode == 1 and done.stderr.splitlines()[-1].endswith(remedy)


@needs_shell
def test_without_a_network_an_environment_that_stands_is_used(course):
    course.run("check")
    course.set(mode="offline")
    done = course.run("check")
    assert done.stdout.strip() == "['check']" and course.calls()[-1].endswith("--offline")


@needs_shell
def test_a_mirror_is_asked_before_the_addresses_in_the_lock(course):
    """Real uv with --frozen downloads from nowhere else than the lock says: see the next test."""
    course.run("check", UV_DEFAULT_INDEX="https://mirror.example.org/simple")
    venv, export, install, sync = (call.split()[0:2] for call in course.calls())
    assert [venv[0], export[0], install, sync] == [
        "venv",
        "export",
        ["pip", "install"],
        ["sync", "--frozen"],
    ]
    course.run("check", UV_DEFAULT_INDEX="https://mirror.example.org/simple")
    assert [call.split()[0] for call in course.calls()[4:]] == ["export", "pip", "sync"]
    assert "PIP_INDEX_URL=https://mirror.example.org/simple" in (
        course.tools / "environment"
    ).read_text(encoding="utf-8")


LOCKED = """
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "tiny"
version = "1.0"
source = {{ registry = "https://pypi.org/simple" }}
wheels = [{{ url = "http://127.0.0.1:9/{wheel}", hash = "sha256:{hash}" }}]

[[package]]
name = "project"
version = "1.0"
source = {{ virtual = "." }}
dependencies = [{{ name = "tiny" }}]

[package.metadata]
requires-dist = [{{ name = "tiny" }}]
"""


def test_real_uv_takes_the_locked_versions_from_a_mirror(place, tmp_path, monkeypatch):
    """A mirror as a folder with one package, which the lock says is on a server that is down."""
    uv = shutil.which("uv", path=os.path.dirname(sys.executable)) or shutil.which("uv")
    if not uv:
        pytest.skip("uv is not installed here")
    wheel = "tiny-1.0-py3-none-any.whl"
    folder = tmp_path / "mirror" / "tiny"
    folder.mkdir(parents=True)
    about = "tiny-1.0.dist-info"
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", f"tiny.py,,\n{about}/RECORD,,\n")
    (folder / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
    sha256 = hashlib.sha256((folder / wheel).read_bytes()).hexdigest()
    (tmp_path / "uv.lock").write_text(LOCKED.format(wheel=wheel, hash=sha256))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "project"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["tiny"]\n'
    )
    monkeypatch.setattr(place, "find_uv", lambda python: uv)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    with pytest.raises(SystemExit) as error:  # without the mirror the server is asked, in vain
        place.make_environment([])
    assert "could not download" in sentence(error)
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "mirror").as_uri())
    python = place.make_environment([])
    assert subprocess.run([python, "-c", "import tiny"], cwd=tmp_path).returncode == 0


# The .pth file that names the course's folder is read in the code page of Western Windows.
IN_CODE_PAGE = """
import io
real = io.TextIOWrapper
io.TextIOWrapper = lambda file, encoding=None, **more: real(
    file, encoding="cp1252" if encoding == "locale" else encoding, **more
)
import site
site.main()
import course
"""


def pythons():
    """One Python of this machine for each version that the course runs on, by version."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = {f"3.{sys.version_info[1]}": getattr(sys, "_base_executable", sys.executable)}
    for minor in 11, 12, 13:
        for path in (shutil.which(f"python3.{minor}"), *versions.glob(f"3.{minor}.*/bin/python")):
            if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
                found.setdefault(f"3.{minor}", str(path))
    return found


@needs_shell
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("name", ["Kurs Müller", "Kurs Ángel", "课程"])
def test_the_course_is_found_in_a_folder_beyond_ascii(run, tmp_path, monkeypatch, version, name):
    """In code page 1252 the UTF-8 of ü is two other letters, and that of Á no text at all."""
    if version not in pythons():
        pytest.skip(f"no Python {version} on this machine")
    root = tmp_path / name
    (root / "course").mkdir(parents=True)
    (root / "course" / "__init__.py").touch()
    (root / "notebooks").mkdir()
    subprocess.run([pythons()[version], "-m", "venv", "--without-pip", root / ".venv"], check=True)
    (packages,) = (root / ".venv").glob("lib/python3*/site-packages")
    path = packages / "_editable_impl_batchnorm_dropout_course.pth"
    path.write_bytes(str(root).encode())  # as uv and hatchling write it

    def found():
        python = [str(root / ".venv/bin/python"), "-S", "-c", IN_CODE_PAGE]
        done = subprocess.run(
            python, cwd=root / "notebooks", env={"PATH": os.defpath}, capture_output=True
        )
        return done.returncode == 0

    assert found() == (version == "3.13")
    monkeypatch.setattr(run, "ROOT", str(root))
    monkeypatch.setattr(run, "VENV", str(root / ".venv"))
    run.name_folder_in_ascii()
    assert found() and path.read_bytes().isascii()


@needs_shell
def test_pytorch_is_added_as_its_cpu_build(course):
    done = course.run("torch")
    assert done.returncode == 0 and "restart the kernel" in done.stderr
    sync, pip = course.calls()
    assert sync.startswith("sync --frozen --inexact")
    assert pip.startswith("pip install --python ") and pip.endswith(
        ".venv/bin/python --torch-backend=cpu torch>=2.6"
    )
    course.set(mode="offline")
    done = course.run("torch")
    assert (
        done.returncode == 1 and "could not download the packages" in done.stderr.splitlines()[-1]
    )


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES])
def test_unwritable_folder(place, monkeypatch, reason):
    def refuse(dir):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(place.tempfile, "TemporaryFile", refuse)
    with pytest.raises(SystemExit) as error:
        place.make_environment([])
    assert "a folder of your own" in sentence(error)


@needs_shell
def test_ctrl_c_is_quiet_and_the_half_made_environment_is_not_trusted(course):
    """uv takes a package that was copied only in part for installed, so .venv is made anew."""
    course.set(mode="slow")
    command = [sys.executable, str(course.folder / "run.py"), "check"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=course.environment(),
        start_new_session=True,
    ) as process:
        for line in process.stderr:
            if "started" in line:
                break
        os.killpg(
            process.pid, signal.SIGINT
        )  # what a terminal does: everything in it gets the signal
        rest = process.stderr.read()
    assert process.returncode == 130 and "Traceback" not in rest
    course.set(mode="good")
    done = course.run("check")
    assert "interrupted" in done.stderr and not (course.folder / ".venv/half").exists()
    assert course.run("check").stderr == ""


# --- and once for real
# -----------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path):
    """The files that git tracks, in a folder with a space and other letters in its name."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("this is not a git checkout, so there is no list of the course's files")
    if shutil.disk_usage(tmp_path).free < 4 * 1000**3:
        pytest.skip("less than 4 GB free for temporary files")
    folder = tmp_path / "ein frischer Klon für Müller"
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():  # a file just removed is still on git's list
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    yield folder
    shutil.rmtree(folder)  # 2 GB that pytest would keep


def test_set_up_from_nothing_then_again_without_a_network(clone, tmp_path):
    """Bootstraps uv, makes the environment, runs `course check`; then starts JupyterLab offline."""
    (tmp_path / "empty").mkdir()
    python = getattr(sys, "_base_executable", sys.executable)
    plain = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    plain |= {"PATH": str(tmp_path / "empty"), "VIRTUAL_ENV": str(tmp_path / "elsewhere")}

    def call(*arguments, **more):
        start = time.perf_counter()
        command = [python, str(clone / "run.py"), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=plain | more, cwd=tmp_path, timeout=900
        )
        return done, time.perf_counter() - start

    first, seconds = call("check")
    if "could not download" in first.stderr:
        pytest.skip("the package index cannot be reached: " + first.stderr.splitlines()[-1])
    assert first.returncode == 0, first.stderr
    assert "Fetching uv" in first.stderr and "write access" in first.stdout
    assert not (tmp_path / "elsewhere").exists()

    nowhere = dict.fromkeys(
        ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
        "http://127.0.0.1:9",
    )
    second, again = call("--version", **nowhere)  # goes through to `jupyter lab`
    print(f"\nset-up and check {seconds:.0f} s, second start {again:.1f} s")
    assert second.returncode == 0, second.stderr
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", second.stdout.strip()) and second.stderr == ""
    assert again < 30
