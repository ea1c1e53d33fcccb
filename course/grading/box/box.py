"""The box: a student's notebook runs in it, and nothing but values comes out.

One process for each box imports what is slow to import, inside bubblewrap: it sees Python and
nothing else of this machine, no network and no file of the course, of other students or of the
grade book. For each notebook it forks a process that gets a world of its own in turn (see
`runner.zygote`): empty folders, its own process numbers, no way back. The grader's side is here. It
trusts the process that forks, and nothing that comes from the one that was forked.
"""

import json
import os
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from course.grading import values
from course.grading.box import runner
from course.grading.records import BOX_STATES, CaseResult, CellRun, Job, RaisedError, clean
from course.lab.errors import UserError

MODULES = ("IPython", "matplotlib.pyplot")
# TensorFlow with any backend: Keras imports it as soon as a seed is set.
KERAS_MODULES = (*MODULES, "tensorflow", "keras", "sklearn.datasets")
START_SECONDS = 600  # for imports, on a busy machine
GRACE_SECONDS = 3  # from the alarm in a cell to its end from outside
ON_WINDOWS = "Student code cannot be run on Windows. Grade on Linux (WSL is one)."
HOW_TO = (
    "Student code is run only where it can do no harm. On Linux install bubblewrap (`apt install"
    " bubblewrap`, `dnf install bubblewrap`); or pass --unboxed to run it with all that you may do"
    " yourself."
)


class BoxError(UserError):
    """There is no box, or none that holds; says what to do."""


@dataclass(frozen=True)
class Limits:
    """What a notebook may use.

    Attributes
    ----------
    seconds : float
        Wall time of the whole notebook.
    cell_seconds : float
        Of one cell, and of one case of a task. If a cell takes longer the later ones are run all
        the same, unless it cannot be interrupted.
    memory : int
        Bytes, of all its processes together; what is preloaded counts.
    processes : int
    output : int
        Bytes of all results together.
    text : int
        Characters that are kept of what a cell prints.
    disk : int
        Bytes in each of its temporary folders.
    """

    seconds: float = 300
    cell_seconds: float = 60
    memory: int = 3 << 30
    processes: int = 32
    output: int = 32 << 20
    text: int = 10_000
    disk: int = 64 << 20


@dataclass(frozen=True)
class BoxReport:
    """What came of a notebook.

    Attributes
    ----------
    state : str
        One of `records.BOX_STATES`. What was reached before the end is there in any case.
    message : str
        For the student; empty if the state is ok.
    results : dict of str to dict
        By task and case, a CaseResult.
    cells : list of CellRun
    seconds : float
        Wall time.
    memory : int
        Most bytes at a time, as far as seen.
    """

    state: str = "crash"
    message: str = ""
    results: dict = field(default_factory=dict)
    cells: list = field(default_factory=list)
    seconds: float = 0.0
    memory: int = 0


class Box:
    """A process that runs notebooks, one at a time; a context manager, for one thread.

    Parameters
    ----------
    keras : bool
        Whether Keras is imported beforehand. Notebooks that import it work in any case, but start
        slowly.
    limits : Limits
    boxed : bool
        False runs students' code without a box, with all that this user may do.
    """

    def __init__(self, keras=True, limits=Limits(), boxed=True):
        self.modules = KERAS_MODULES if keras else MODULES
        self.limits, self.boxed = limits, boxed
        self._process = self._control = self._errors = self._home = None
        self._waiting, self._number = b"", 0

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End the process; what it holds in memory is free then."""
        if self._process is None:
            return
        self._control.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        self._home.cleanup()
        self._process = None

    def run(self, job):
        """Run a notebook.

        Parameters
        ----------
        job : Job

        Returns
        -------
        BoxReport

        Raises
        ------
        BoxError
            If there is no box. Never because of what the notebook does.
        """
        try:
            if self._process is not None and self._process.poll() is not None:
                self.close()
            if self._process is None:
                self._start()
            report, gone = self._run(job)
        except (
            BaseException
        ):  # whoever interrupts must not find the rest of this notebook in the next one's place
            self._kill()
            raise
        if gone:
            self._kill()
        return report

    def _kill(self):
        if self._process is not None:
            self._process.kill()
            self.close()

    # ---------------------------------------------------------------- starting

    def _start(self):
        if os.name != "posix":
            raise BoxError(ON_WINDOWS)
        walls = _bubblewrap() if self.boxed else []
        ours, theirs = socket.socketpair()
        self._errors, self._home = (
            tempfile.TemporaryFile(),
            tempfile.TemporaryDirectory(prefix="unboxed_", ignore_cleanup_errors=True),
        )
        with theirs, _forbidden_calls() as calls:
            settings = {"control": theirs.fileno(), "boxed": self.boxed, "modules": self.modules}
            python = [
                sys.executable,
                "-P",
                "-s",
                "/runner.py" if self.boxed else runner.__file__,
                json.dumps(settings),
            ]
            command, passed = python, [theirs.fileno()]
            if self.boxed:
                seccomp = ["--seccomp", str(calls.fileno())] if calls else []
                command = [*walls, *seccomp, "--", *python]
                passed += [calls.fileno()] if calls else []
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=passed,
                env=_environment(_scratch() if self.boxed else self._home.name),
                cwd="/",
                start_new_session=True,
            )
        self._control, self._waiting = ours, b""
        ours.settimeout(START_SECONDS)
        try:
            answer = self._answer()
            # One empty notebook, so that what is wrong with the box shows now and not as every
            # student's crash.
            report = self._run(Job())[0] if answer else None
        except TimeoutError:
            answer, report = None, None
        if report is None or report.state != "ok":
            why = self._last_words() if report is None else report.message
            raise BoxError(
                f"The box did not start: {why} {HOW_TO}"
                if self.boxed
                else f"Python did not start: {why}"
            )

    def _last_words(self):
        self._errors.seek(0)
        lines = self._errors.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
        return f"{lines[-1].rstrip('.')}." if lines else "it gave no reason."

    def _answer(self):
        """The next message of the process that forks; None if it is gone. Waits as long as the
        socket's timeout says.
        """
        while b"\n" not in self._waiting:
            try:
                data = self._control.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self._waiting += data
        line, _, self._waiting = self._waiting.partition(b"\n")
        return json.loads(line)

    # ---------------------------------------------------------------- running

    def _run(self, job):
        """The report, and whether the process that forks is gone."""
        begun = time.monotonic()
        self._number += 1
        job_out, job_in = os.pipe()
        results_out, results_in = os.pipe()
        with (
            open(results_out, "rb", buffering=0) as results,
            open(job_in, "wb", buffering=0) as given,
        ):
            order = {"order": "run", "number": self._number, "limits": asdict(self.limits)}
            try:
                socket.send_fds(
                    self._control, [json.dumps(order).encode() + b"\n"], [job_out, results_in]
                )
            except OSError:
                pass  # the process that forks is gone, which is seen below
            finally:
                os.close(job_out)
                os.close(results_in)
            events = _Events(job, self.limits)
            killed = self._exchange(values.pack(job.to_dict()), given, results, events)
        state, message = _verdict(killed["killed"], events, self.limits)
        report = BoxReport(
            state, message, events.results, events.cells, time.monotonic() - begun, killed["memory"]
        )
        return report, "done" not in killed

    def _exchange(self, data, given, results, events):
        """Give the notebook in and take results out, until the process that forks says how the
        notebook has ended.
        """
        data, asked, ended = memoryview(data), False, None
        latest = time.monotonic() + self.limits.seconds + 4 * GRACE_SECONDS
        for file in given, results:
            os.set_blocking(file.fileno(), False)
        self._control.settimeout(GRACE_SECONDS)
        with selectors.DefaultSelector() as ready:
            ready.register(self._control, selectors.EVENT_READ)
            ready.register(results, selectors.EVENT_READ)
            ready.register(given, selectors.EVENT_WRITE)
            while ended is None:
                for key, _ in ready.select(0.2):
                    if key.fileobj is given:
                        try:
                            data = data[given.write(data) or 0 :]
                        except OSError:
                            data = data[:0]  # nobody reads
                        if not data:
                            ready.unregister(given)
                            given.close()
                    elif key.fileobj is results:
                        if not (some := results.read(1 << 18)):
                            ready.unregister(results)
                        events.feed(some or b"")
                    else:
                        ended = self._answer() or {"killed": "crash", "memory": 0}
                if ended is None and not asked and (events.trouble or events.overdue()):
                    asked = True
                    self._control.sendall(
                        json.dumps({"order": "kill", "number": self._number}).encode() + b"\n"
                    )
                if ended is None and time.monotonic() > latest:
                    self._process.kill()
                    ended = {"killed": "timeout", "memory": 0}
        # To here and no further: something may be left that holds the pipe open, outside the box.
        while not events.trouble and (some := results.read(1 << 18)):
            events.feed(some)
        return ended


class _Events:
    """What a notebook sends, taken apart without any trust."""

    def __init__(self, job, limits):
        self.limits, self.probes = limits, job.probes
        self.ids = [cell.id for cell in job.code_cells]
        self.budget = 2 * (len(self.ids) + job.count_of_cases) + 1
        self.results, self.cells = {}, []
        self.trouble = self.refused = None
        self.complete = self.running = False
        self.begun, self.bytes, self.data = time.monotonic(), 0, bytearray()

    def overdue(self):
        """Whether the cell or case that runs has taken longer than it may, and its alarm has not
        stopped it.
        """
        return (
            self.running
            and time.monotonic() - self.begun > self.limits.cell_seconds + GRACE_SECONDS
        )

    def feed(self, data):
        self.bytes += len(data)
        self.data += data
        if self.bytes > self.limits.output:
            self.trouble = "output"
        while not self.trouble and len(self.data) >= 8:
            length = int.from_bytes(self.data[:8], "big")
            if length > self.limits.output:
                self.trouble = "garbled"
            if len(self.data) < 8 + length:
                return
            self.budget -= 1
            try:
                self._take(values.unpack(bytes(self.data[8 : 8 + length])))
            except (ValueError, TypeError, KeyError, AttributeError):
                self.trouble = "garbled"
            if self.budget < 0:
                self.trouble = "garbled"
            del self.data[: 8 + length]

    def _take(self, event):
        self.begun, kind = time.monotonic(), event["event"]
        if kind == "start":
            self.running = True
        elif kind == "cell":
            self.running = False
            identity = self.ids[len(self.cells)] if len(self.cells) < len(self.ids) else None
            text = clean(event["text"], self.limits.text + 100)
            self.cells.append(CellRun(identity, text, RaisedError.from_dict(event["error"])))
        elif kind == "case":
            self.running = False
            probe = self.probes[event["task"]]
            if event["case"] not in probe.cases:
                raise ValueError("an unknown case")
            result = CaseResult.from_dict(event["result"], probe.parts)
            self.results.setdefault(event["task"], {})[event["case"]] = result
        elif kind == "end":
            self.complete = True
        elif kind == "refused" and not self.running and not self.cells and not self.results:
            self.refused = clean(event["why"], 200)
        else:
            raise ValueError("an unknown event")


def _verdict(killed, events, limits):
    """State and message for the student."""
    if events.refused:
        return "crash", f"{events.refused}."
    if events.trouble == "output":
        how = "output"
    elif events.trouble:
        how = "disturbed"
    elif killed or not events.complete:
        how = killed or "ended"
    else:
        return "ok", ""
    messages = {
        "output": (
            f"Your notebook gave back more than {limits.output >> 20} MB and was stopped; return"
            " only what the tasks ask for."
        ),
        "disturbed": (
            "Your notebook disturbed the grading of itself and was stopped; it must not write to"
            " files that it has not opened."
        ),
        "timeout": (
            f"Your notebook took longer than {limits.seconds:g} seconds in all and was stopped;"
            " look for what takes long, or never ends."
        ),
        "asked": (
            "A cell of your notebook, or a function of yours, took longer than"
            f" {limits.cell_seconds:g} seconds and was stopped; look for a loop that never ends."
        ),
        "memory": (
            f"Your notebook used more than {limits.memory / (1 << 30):.1f} GB of memory and was"
            " stopped; look for an array or a list that grows without end."
        ),
        "processes": (
            f"Your notebook started more than {limits.processes} processes and was stopped; the"
            " tasks need none."
        ),
    }
    ended = (
        "The Python process of your notebook ended before its last cell; look for a call of exit,"
        " or a crash in a library, and restart the kernel and run all cells."
    )
    state = "timeout" if how == "asked" else how if how in BOX_STATES else "crash"
    return state, messages.get(how, ended)


# ---------------------------------------------------------------- bubblewrap


def _bubblewrap():
    """The command of a box, without what runs in it."""
    program = shutil.which("bwrap")
    if not sys.platform.startswith("linux") or program is None:
        raise BoxError(f"There is no bubblewrap here. {HOW_TO}")
    command = [
        program,
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
    ]
    if os.getuid() == 0:
        command += [
            "--cap-add",
            "CAP_SYS_ADMIN",
            "--cap-add",
            "CAP_SETFCAP",
        ]  # see runner._uncover_proc
    for path, how in sorted(_seen().items()):  # a folder before what is in it
        command += (
            ["--symlink", os.readlink(path), path]
            if how == "link"
            else ["--tmpfs", path]
            if how == "hide"
            else ["--ro-bind", path, path]
        )
    command += [
        "--ro-bind",
        values.__file__,
        "/values.py",
        "--ro-bind",
        runner.__file__,
        "/runner.py",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--size",
        str(256 << 20),
        "--tmpfs",
        _scratch(),
    ]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def _seen():
    """What is seen in the box, by path: what Python needs, read-only; within that, nothing of the
    course.
    """
    python = Path(os.path.realpath(sys.executable)).parent.parent
    prefixes = {
        Path(p)
        for p in (
            sys.prefix,
            sys.base_prefix,
            sys.exec_prefix,
            os.path.realpath(sys.base_prefix),
            python,
        )
    }
    seen = {}
    for path in map(
        Path,
        (
            "/usr",
            "/lib",
            "/lib32",
            "/lib64",
            "/bin",
            "/sbin",
            "/etc/ld.so.cache",
            "/etc/alternatives",
        ),
    ):
        if path.is_symlink():
            seen[str(path)] = "link"
        elif path.exists():
            seen[str(path)] = "bind"
    seen |= {str(path): "bind" for path in prefixes}
    if "/" in seen:
        raise BoxError(
            "Python is installed in the root of the file system; use one in a folder of its own."
            f" {HOW_TO}"
        )
    course = Path(__file__).resolve().parents[2]
    packages = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    hidden = course if str(course.parent) in packages else course.parent
    if any(hidden != Path(path) and hidden.is_relative_to(path) for path in seen):
        seen[str(hidden)] = "hide"
    return seen


def _scratch():
    """The folder for temporary files in the box: /tmp, unless what is seen lies there."""
    return "/scratch" if any(path.startswith("/tmp/") for path in _seen()) else "/tmp"


def _environment(home):
    """Environment of the process that forks: nothing from outside but Keras's backend."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": home,
        "IPYTHONDIR": f"{home}/.ipython",
        "MPLCONFIGDIR": f"{home}/.matplotlib",
        "KERAS_HOME": f"{home}/.keras",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "USER": "student",
        "NO_COLOR": "1",
        "MPLBACKEND": "agg",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "2",
        "KERAS_BACKEND": _backend(),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _backend():
    """The backend that Keras would take here."""
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    try:
        folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
        return json.loads((folder / "keras.json").read_text())["backend"]
    except (OSError, ValueError, KeyError):
        return "tensorflow"


# System calls that the grader forbids: memory that belongs to no process, and so is not seen by who
# watches (memfd_create, memfd_secret, shmget), and doors of the kernel that no notebook needs (bpf,
# io_uring_setup, userfaultfd, perf_event_open, add_key, request_key, keyctl). Architecture as in
# linux/audit.h, numbers as in asm/unistd.h.
FORBIDDEN = {
    "x86_64": (0xC000003E, (319, 447, 29, 321, 425, 323, 298, 248, 249, 250)),
    "aarch64": (0xC00000B7, (279, 447, 194, 280, 425, 282, 241, 217, 218, 219)),
}


def _forbidden_calls():
    """A filter for seccomp, which makes those calls fail as if the kernel had none; a file, empty
    on another processor.
    """
    file = tempfile.TemporaryFile()
    if os.uname().machine in FORBIDDEN:
        architecture, numbers = FORBIDDEN[os.uname().machine]
        load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
        # Jumps count the instructions that are left out; the last instruction is the refusal.
        last = len(numbers) + 5
        program = [
            (load, 0, 0, 4),
            (equal, 0, last - 2, architecture),
            (load, 0, 0, 0),
            (at_least, last - 4, 0, 0x40000000),
        ]
        program += [
            (equal, last - place - 1, 0, number) for place, number in enumerate(numbers, start=4)
        ]
        program += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050000 | 38)]
        file.write(b"".join(struct.pack("HBBI", *one) for one in program))
        file.seek(0)
    return file
