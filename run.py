#!/usr/bin/env python3
"""Set up the course and open it; needs nothing but Python 3.11, 3.12 or 3.13.

    python3 run.py                  make the environment, open JupyterLab on the first lesson
    python3 run.py --port 9999      options go to `jupyter lab`: --no-browser, --port, ...
    python3 run.py test             the same set-up, then all tests; options go to pytest
    python3 run.py torch            add PyTorch's CPU build (200 MB), which lesson 12 needs
    python3 run.py update           bring the newest version; what you wrote is kept
    python3 run.py check            any other word is a subcommand of `course`

The environment is made from uv.lock in the folder .venv, with the `uv` on the PATH or else with
one fetched into the folder .uv. From the second run on no network is needed. UV_DEFAULT_INDEX names
a mirror of the package index, SSL_CERT_FILE the certificate of a company or school.
"""

# Standard library only, and it must also parse and start on Python 3.6: a wrong Python gets a
# sentence that says what to do, not a SyntaxError.
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
PRIVATE = os.path.join(ROOT, ".uv")
UNFINISHED = os.path.join(PRIVATE, "unfinished")
UPDATE = os.path.join(ROOT, "course", "app", "update.py")
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)  # as requires-python in pyproject.toml
OLDEST_UV = (0, 11)  # as in the test group of pyproject.toml; the first with UV_SYSTEM_CERTS
TORCH = "torch>=2.6"  # as the extra in pyproject.toml
# What an instructor's commands need beyond a student's, by extra of pyproject.toml.
EXTRAS = {
    "release": "grading",
    "grade": "grading",
    "slides": "site",
    "present": "site",
    "site": "site",
}
SPACE_NEEDED = 3 * 1000**3  # bytes: the environment and the downloads kept by uv

# What a failed uv or pip prints, and the sentence for it: of the causes that fit, the first.
DISK_IS_FULL = "the disk became full; free about 3 GB and run this again."
MIRROR = (
    "the package server refuses a file or lacks it, see above: where only a mirror may be used, "
    "set UV_DEFAULT_INDEX to its address (it ends in /simple); if that is set, take another mirror "
    "or ask whoever runs it."
)
CAUSES = [
    (("no space left", "os error 28", "errno 28", "os error 112", "quota exceeded"), DISK_IS_FULL),
    (
        ("wheel for the current platform", "is not a supported wheel"),
        "TensorFlow does not exist for this machine or this kind of Python: the course runs on "
        "Linux (x86-64 or ARM, glibc 2.28 or newer; not on Alpine's musl), on macOS 12 or newer "
        "with Apple silicon (there with an arm64 Python, not one for Intel under Rosetta), and on "
        "64-bit Windows (on ARM with the x64 Python); Pythons of all kinds are on "
        "https://www.python.org/downloads/.",
    ),
    (
        ("certificate: expired", "certificate expired", "certificate has expired", "not valid yet"),
        "a certificate on the way to the packages is out of date: set this machine's clock right; "
        "if it is right, whoever runs this network or mirror must renew the certificate.",
    ),
    (
        ("invalid peer certificate", "certificate verify failed"),
        "this network puts in a certificate of its own, as those of companies and schools do: set "
        "UV_SYSTEM_CERTS=true if your browser trusts it, else SSL_CERT_FILE to the certificate's "
        "file (.pem; ask whoever runs the network), and run this again.",
    ),
    (
        ("(407)", "407 proxy", "proxy authorization required"),
        "the proxy wants a name and a password: set HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT and "
        "run this again.",
    ),
    (("client error (40", "403 forbidden", "401 unauthorized", "404 not found"), MIRROR),
    (
        (
            "error sending request",
            "dns error",
            "failed to fetch",
            "failed to download",
            "timed out",
            "network connectivity is disabled",
            "newconnectionerror",
            "name resolution",
            "proxyerror",
            "connection error",
            "connectionerror",
        ),
        "could not download the packages; the first set-up needs the Internet: check the "
        "connection (behind a proxy set HTTPS_PROXY) and run this again.",
    ),
    (("no matching distribution", "no solution found"), MIRROR),
]


def stop(sentence):
    """Leave with one sentence that says what to do."""
    raise SystemExit("run.py: " + sentence)


def plan(arguments):
    """Return what to add to `uv sync` and what to run with the Python of the environment."""
    if not arguments or arguments[0].startswith("-"):
        return [], ["-m", "course.app.cli", "lab"] + arguments
    if arguments[0] == "test":
        extras = ["--extra", "grading", "--extra", "site"]
        return ["--group", "test"] + extras, ["-m", "pytest"] + arguments[1:]
    if arguments[0] in EXTRAS:
        return ["--extra", EXTRAS[arguments[0]]], ["-m", "course.app.cli"] + arguments
    return [], ["-m", "course.app.cli"] + arguments


def clean_environment(environment):
    """Return a copy in which nothing points uv, pip or Python at somebody else's environment."""
    foreign = {
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "PYTHONHOME",
        "PYTHONPATH",
        "PIP_TARGET",
        "PIP_PREFIX",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PROJECT",
        "UV_WORKING_DIR",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_LOCKED",
        "UV_NO_EDITABLE",
    }
    clean = {name: value for name, value in environment.items() if name not in foreign}
    clean["PIP_USER"] = "0"  # `user = true` in a pip.conf makes pip refuse to fill a venv
    # The pip that fetches uv takes the mirror and the certificate that uv is told.
    for pip, uv in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE"):
        if clean.get(uv):
            clean.setdefault(pip, clean[uv])
    return clean


def program(folder, name):
    """Return the path of a program inside a virtual environment."""
    return os.path.join(folder, *(["Scripts", name + ".exe"] if os.name == "nt" else ["bin", name]))


def output(command):
    """Return what a command prints, or an empty string if it cannot run or fails."""
    # A Windows user's name, and so the path of her Python, may hold any letter.
    environment = dict(clean_environment(os.environ), PYTHONIOENCODING="utf-8")
    try:
        answer = subprocess.check_output(command, stderr=subprocess.DEVNULL, env=environment)
        return answer.decode(errors="replace")
    except (OSError, subprocess.CalledProcessError):
        return ""


def suitable_python(command):
    """Return the interpreter that a command starts if the course runs on it, else None."""
    # The base interpreter, because the virtual environment it is asked from may be removed.
    ask = (
        "import sys; print(*sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"
    )
    words = output(command + ["-c", ask]).split(None, 2)
    if len(words) == 3 and OLDEST_PYTHON <= (int(words[0]), int(words[1])) <= NEWEST_PYTHON:
        return words[2].strip()
    return None


def find_python():
    """Return this interpreter, or one on the PATH if the course does not run on this one."""
    commands = [[sys.executable]]
    for version in "3.12", "3.13", "3.11":
        commands += [["python" + version], ["py", "-" + version]]  # `py` finds them on Windows
    for command in commands:
        python = suitable_python(command)
        if python:
            return python
    return stop(
        "this is Python %d.%d, but the course needs Python 3.11, 3.12 or 3.13; install one from "
        "https://www.python.org/downloads/ and start run.py with it." % sys.version_info[:2]
    )


def cause(log):
    """Return the sentence for what a failed command has printed, or None."""
    log = log.lower()
    for signs, sentence in CAUSES:
        if any(sign in log for sign in signs):
            return sentence
    return None


def watched(command):
    """Run a command, show what it prints, and return its exit code and what it printed."""
    lines = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        for line in process.stdout:
            lines.append(line.decode(errors="replace"))
            # Not the list of all packages, nor that nothing is to be done.
            if not lines[-1].startswith(
                (" + ", " - ", " ~ ", "Audited", "Checked", "Using Python")
            ):
                sys.stderr.write(lines[-1])
                sys.stderr.flush()
    return process.returncode, "".join(lines)


def uv_is_good(uv):
    """Return whether this uv runs and is new enough for uv.lock."""
    version = re.match(r"uv (\d+)\.(\d+)", output([uv, "--version"]))
    return bool(version) and (int(version.group(1)), int(version.group(2))) >= OLDEST_UV


def find_uv(python):
    """Return a uv that is good: the one on the PATH, the private one, or one fetched now."""
    private = os.path.join(PRIVATE, "uv")
    for uv in shutil.which("uv"), program(private, "uv"):
        if uv and uv_is_good(uv):
            return uv
    if not output([python, "-c", "import ensurepip, venv; print('found')"]):
        stop(
            "this Python lacks the module venv; install it (Debian and Ubuntu: "
            "`sudo apt install python3-venv`) or install uv, and run this again."
        )
    with open(os.path.join(ROOT, "uv.lock"), encoding="utf-8") as lock:
        locked = re.search(r'name = "uv"\nversion = "([^"]+)"', lock.read())
    wanted = "uv==" + locked.group(1) if locked else "uv>=%d.%d" % OLDEST_UV
    print("Fetching %s into the folder .uv ..." % wanted, file=sys.stderr)
    # Made aside and moved when complete, so that an interrupted attempt is never trusted.
    with tempfile.TemporaryDirectory(dir=PRIVATE) as folder:
        new = os.path.join(folder, "uv")
        pip = [program(new, "python"), "-m", "pip", "--disable-pip-version-check", "install"]
        for command in [python, "-m", "venv", new], pip + ["--quiet", wanted]:
            code, log = watched(command)
            if code:
                stop(
                    cause(log)
                    or "could not make the folder .uv, see above; install uv yourself "
                    "(https://docs.astral.sh/uv/) and run this again."
                )
        shutil.rmtree(private, ignore_errors=True)
        os.rename(new, private)
    if not uv_is_good(program(private, "uv")):
        stop("the uv fetched does not run here; install uv yourself (https://docs.astral.sh/uv/).")
    return program(private, "uv")


def make_environment(options):
    """Bring the folder .venv to the state of uv.lock and return its Python."""
    with alone():
        return synchronise(options)


@contextlib.contextmanager
def alone():
    """Wait until no other run.py sets up or updates.

    They would take each other's half-made environment for a broken one.
    """
    try:
        os.makedirs(PRIVATE, exist_ok=True)
        tempfile.TemporaryFile(dir=ROOT).close()
        lock = open(os.path.join(PRIVATE, "lock"), "a")
    except OSError as error:
        stop(
            cause(str(error))
            or "cannot write to the course's folder (%s); copy the course to a "
            "folder of your own and run this again."
            % error.strerror
        )
    with lock:  # its end, or that of this process, ends the lock
        if is_locked(lock):
            print("Another run.py is at work here: waiting for it ...", file=sys.stderr)
            while is_locked(lock):
                time.sleep(0.2)
        yield


def is_locked(lock):
    """Whether another process has locked this file; else it is now ours."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:  # a file system without locks
        pass
    return False


def synchronise(options):
    """Make the environment, or bring it up to date; its Python."""
    python = program(VENV, "python")
    if os.path.exists(UNFINISHED):
        # uv takes a package whose files were copied only in part for installed.
        print("The last set-up was interrupted: making the environment anew.", file=sys.stderr)
        shutil.rmtree(VENV, ignore_errors=True)
    ready = suitable_python([python])
    # An environment that works is kept, also when this run.py was started with another Python.
    interpreter = python if ready else find_python()
    if not ready:
        print("Setting up, once (about 600 MB to download) ...", file=sys.stderr)
        if shutil.disk_usage(ROOT).free < SPACE_NEEDED:
            stop("the disk is too full; the set-up needs 3 GB: free some and run this again.")
    uv = find_uv(ready or interpreter)
    sync = [uv, "sync", "--frozen", "--inexact", "--python", interpreter]
    if options or not ready:
        # At once: Keras takes far longer to import wherever Python may not write what it compiled.
        sync.append("--compile-bytecode")
    commands = [sync + options]
    if os.environ.get("UV_DEFAULT_INDEX"):
        # With --frozen uv downloads from where uv.lock says, whatever the mirror: so the same
        # versions come from the mirror first, and there is nothing left to download.
        listed = os.path.join(PRIVATE, "locked.txt")
        export = [uv, "export", "--quiet", "--frozen", "--no-emit-project", "-o", listed]
        install = [uv, "pip", "install", "--python", python, "--no-deps", "-r", listed]
        commands = [export + options, install] + commands
        if not ready:
            commands.insert(0, [uv, "venv", "--clear", "--python", interpreter, VENV])
    open(UNFINISHED, "w").close()
    code, log = all_watched(commands)
    # Where a download fails, uv has not touched the environment yet.
    untouched = bool(cause(log)) and cause(log) != DISK_IS_FULL
    if code and ready and untouched:
        code, log = all_watched([command + ["--offline"] for command in commands])
    if code == 0:
        name_folder_in_ascii()
    if code == 0 or untouched:
        os.remove(UNFINISHED)
    if code:
        stop(
            cause(log)
            or "uv could not make the environment, and says above why; the next start "
            "makes it anew."
        )
    return python


def all_watched(commands):
    """Run commands up to the first that fails; exit code and print of the last that ran."""
    for command in commands:
        code, log = watched(command)
        if code:
            break
    return code, log


def name_folder_in_ascii():
    """Let the environment find the course by a relative path.

    uv writes the folder's name in UTF-8, and on Windows Python 3.11 and 3.12 read such a .pth file
    in the system's code page: from a folder such as Müller they find nothing, or do not start.
    """
    for folder in ["Lib/site-packages", "lib/python3*/site-packages"]:
        name = os.path.join(glob.escape(VENV), folder, "*batchnorm_dropout_course.pth")
        for path in glob.glob(name):
            with open(path, "w", encoding="ascii") as file:
                file.write(os.path.relpath(ROOT, os.path.dirname(path)) + "\n")


def add_torch():
    """Put PyTorch's CPU build into the environment; PyPI's is for GPUs, and ten times larger."""
    python = make_environment([])
    uv = find_uv(suitable_python([python]))
    code, log = watched([uv, "pip", "install", "--python", python, "--torch-backend=cpu", TORCH])
    if code:
        stop(cause(log) or "uv could not install PyTorch, see above; lesson 12 alone needs it.")
    print("PyTorch is installed: restart the kernel of lesson 12 and run it.", file=sys.stderr)
    return 0


def main(arguments):
    """Set up, then run what the arguments ask for."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    os.chdir(ROOT)
    if arguments == ["torch"]:
        return add_torch()
    if arguments[:1] == ["update"]:
        with alone():
            return subprocess.call([find_python(), UPDATE] + arguments[1:])
    options, what = plan(arguments)
    command = [make_environment(options)] + what
    environment = clean_environment(os.environ)
    if os.name != "nt":
        os.execve(command[0], command, environment)  # Ctrl-C and signals then reach it alone
    # Windows cannot replace a process: wait, and leave Ctrl-C to the program that was started.
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.call(command, env=environment)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
