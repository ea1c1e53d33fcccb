"""Hostile notebooks: none gains a point, a byte or a second beyond its limit, and none harms the
next one.

Each attack is bounded by itself, so that it harms nothing either where a box fails to hold it.
Reading what hidden cases a notebook is called with is no attack: it runs with them. They go no
further (see `judge`, `report`).
"""

import os
import resource
import secrets
import shutil
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from course.grading import values
from course.grading.box import Box, BoxError, Limits
from course.grading.records import CaseResult, CodeCell, Job, Probe, ProbeCell

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("bwrap") is None,
    reason="the box is made by bubblewrap, on Linux",
)
REPOSITORY = Path(__file__).parents[2]
MB = 1 << 20
LIMITS = Limits(
    seconds=7,
    cell_seconds=1.5,
    memory=400 * MB,
    processes=20,
    output=8 * MB,
    text=2000,
    disk=16 * MB,
)
SLACK = 10  # seconds of a busy machine
SECRET = secrets.token_hex(16)
RIGHT, WRONG = "def double(x):\n    return 2 * x", "def double(x):\n    return 3 * x"
INPUTS = {"one": {"x": np.arange(4.0)}, "two": {"x": np.ones((2, 2))}}


@pytest.fixture(scope="module")
def started():
    os.environ["COURSE_TEST_SECRET"] = SECRET
    try:
        with Box(keras=False, limits=LIMITS) as box:
            yield box
    except BoxError as error:
        pytest.skip(str(error))
    finally:
        del os.environ["COURSE_TEST_SECRET"]


@pytest.fixture
def box(started):
    """The box, of which is seen afterwards that an honest notebook is served as if nothing had
    been.
    """
    yield started
    report = run(started, RIGHT)
    assert (report.state, points(report)) == ("ok", 2)


@pytest.fixture
def patient(box, monkeypatch):
    """The box with more time, where another limit is meant to be met first."""
    monkeypatch.setattr(box, "limits", replace(LIMITS, seconds=60, cell_seconds=50))
    return box


def run(box, *cells, before=(), task="double"):
    """Run cells, with the task probed after those in `before` and at the end."""
    order = []
    for cell in before:
        order += [CodeCell(cell), ProbeCell(task)]
    order += [*map(CodeCell, cells), ProbeCell("last" if before else task)]
    probes = {name: Probe("", ("y",), INPUTS) for name in (task, "last")}
    report = box.run(Job(tuple(order), probes))
    assert report.seconds < box.limits.seconds + SLACK
    assert (report.message == "") == (report.state == "ok")
    return report


def points(report, task="double"):
    """How many cases are right, by a judge that only looks at numbers."""
    results = report.results.get(task, {})
    values = {case: results[case].values.get("y") for case in results}
    return sum(
        value is not None and np.array_equal(value, 2 * INPUTS[case]["x"])
        for case, value in values.items()
    )


def said(report):
    """What the last cell has printed, if it ran without an error."""
    assert report.state == "ok", report
    assert report.cells[-1].error is None, report.cells[-1]
    return report.cells[-1].text.split()


# ---------------------------------------------------------------- time


def test_a_loop_costs_its_cell_and_not_the_notebook(box):
    report = run(
        box,
        "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end:\n    pass",
        RIGHT,
    )
    assert report.state == "ok"
    error = report.cells[0].error
    assert (error.type, error.line) == ("TimeoutError", 3)
    assert points(report) == 2


def test_a_loop_in_an_answer_costs_its_task(box):
    report = run(box, "import time\ndef last(x):\n    time.sleep(30)", before=[RIGHT])
    assert report.state == "ok"
    assert points(report) == 2
    assert [result.error.type for result in report.results["last"].values()] == [
        "TimeoutError",
        "TimeoutError",
    ]


@pytest.mark.parametrize(
    "attack",
    [
        "import itertools, collections\ncollections.deque(itertools.repeat(1, 10**11), maxlen=0)",
        (
            "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end:\n    try:\n   "
            "     while time.monotonic() < end: pass\n    except BaseException:\n        pass"
        ),
        "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(30)",
    ],
    ids=["C", "catches everything", "ignores the alarm"],
)
def test_what_cannot_be_interrupted_is_killed_and_what_was_reached_counts(box, attack):
    report = run(box, attack, before=[RIGHT])
    assert report.state == "timeout"
    assert points(report) == 2 and "last" not in report.results


def test_many_slow_cells_are_stopped_by_the_limit_for_all(box):
    report = run(box, *["import time; time.sleep(1.2)"] * 8, before=[RIGHT])
    assert report.state == "timeout" and "in all" in report.message
    assert points(report) == 2


# ---------------------------------------------------------------- memory, processes, disk


def test_an_array_that_is_too_large_is_an_error_of_its_cell(box):
    report = run(box, "x = bytearray(2 * 10**9)", RIGHT)
    assert report.state == "ok" and report.cells[0].error.type == "MemoryError"
    assert points(report) == 2


SHARED = (
    "import mmap\nkept = []\nfor _ in range(30):\n    kept.append(mmap.mmap(-1, 50 << 20))\n   "
    " kept[-1].write(b'x' * (50 << 20))"
)
CHILDREN = """
import os, time
for _ in range(12):
    if os.fork() == 0:
        kept = b'x' * (60 << 20)
        time.sleep(10)
        os._exit(0)
time.sleep(10)
"""


@pytest.mark.parametrize("attack", [SHARED, CHILDREN], ids=["shared", "of many processes"])
def test_memory_is_counted_in_all_its_forms(patient, attack):
    report = run(patient, attack, before=[RIGHT])
    assert report.state == "memory"
    assert points(report) == 2
    assert report.memory < 1600 * MB


@pytest.mark.parametrize("call", ["memfd_create", "memfd_secret", "shmget"])
def test_memory_that_belongs_to_no_process_cannot_be_had(box, call):
    numbers = {
        "x86_64": {"memfd_create": 319, "memfd_secret": 447, "shmget": 29},
        "aarch64": {"memfd_create": 279, "memfd_secret": 447, "shmget": 194},
    }
    if os.uname().machine not in numbers:
        pytest.skip("no filter for this processor")
    number = numbers[os.uname().machine][call]
    arguments = {"memfd_create": "b'x', 0", "memfd_secret": "0", "shmget": "0, 4096, 0o1600"}[call]
    code = (
        f"import ctypes\nc = ctypes.CDLL(None, use_errno=True)\nprint(c.syscall({number},"
        f" {arguments}), ctypes.get_errno())"
    )
    assert said(run(box, code)) == ["-1", "38"]


def test_no_other_world_can_be_made(box):
    code = """
import ctypes
c = ctypes.CDLL(None, use_errno=True)
first, second = c.unshare(0x10000000), c.unshare(0x20000)
print(first, second, c.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None), c.umount2(b"/tmp", 2))
print(open("/proc/self/status").read().split("CapEff:")[1].split()[0].strip("0") or "none")
try:
    print(open("/proc/sys/kernel/core_pattern", "r+"))
except OSError:
    print("refused")
"""
    assert said(run(box, code)) == ["-1", "-1", "-1", "-1", "none", "refused"]


def test_a_fork_bomb_is_put_out(patient):
    bomb = "import os, time\nfor _ in range(8):\n    os.fork()\ntime.sleep(10)"
    report = run(patient, bomb, before=[RIGHT])
    assert report.state == "processes"
    assert points(report) == 2


def test_a_disk_is_full_soon_and_is_ones_own(patient):
    code = """
import os
written, kept = 0, []
for folder in (os.environ["TMPDIR"], "/dev/shm", "."):
    for number in range(10):
        file = open(f"{folder}/{number}", "wb", buffering=0)
        kept.append(file)
        try:
            for _ in range(8):
                written += file.write(bytes(1 << 20))
        except OSError as error:
            pass
print(written >> 20)
"""
    assert 8 <= int(said(run(patient, code))[0]) <= 2 * LIMITS.disk // MB


def test_nothing_else_can_be_written(patient):
    code = """
import os
for folder, folders, files in os.walk("/"):
    left_out = ("/proc", "/dev/shm", os.environ["TMPDIR"])
    folders[:] = [one for one in folders if os.path.join(folder, one) not in left_out]
    if folder.count("/") > 3 and not folder.endswith("site-packages"):
        folders[:] = []  # of Python's many folders not each
    for name in files[:3]:
        try:
            if os.access(os.path.join(folder, name), os.W_OK) and not folder.startswith("/dev"):
                print(os.path.join(folder, name))
        except OSError:
            pass
    try:
        open(os.path.join(folder, "mine"), "w").close()
        print(folder)
    except OSError:
        pass
"""
    assert said(run(patient, code)) == []


# ---------------------------------------------------------------- the end of the process


@pytest.mark.parametrize(
    "attack",
    [
        "import os\nos._exit(0)",
        "import ctypes\nctypes.string_at(0)",
        "import os\nos.kill(os.getpid(), 9)",
        "import os\nos.closerange(0, 200)",
    ],
    ids=["_exit", "segmentation fault", "kill", "closed files"],
)
def test_a_process_that_ends_is_a_crash_and_what_was_reached_counts(box, attack):
    report = run(box, f"{attack}\nprint(1)", RIGHT.replace("double", "last"), before=[RIGHT])
    assert report.state in (
        "crash",
        "ok" if "getpid" in attack else "crash",
    )  # process 1 cannot kill itself
    assert points(report) == 2


def test_exit_is_an_error_of_its_cell(box):
    report = run(box, "exit()", "import sys\nsys.exit(1)", RIGHT)
    assert report.state == "ok" and points(report) == 2


def test_signals_reach_nobody_else(box):
    code = """
import os
seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
print(*seen)
if seen == [1]:  # else there is no box, and others would be hit
    for pid in [-1, *range(2, 600)]:
        try:
            os.kill(pid, 9)
            print("hit", pid)
        except OSError:
            pass
"""
    assert said(run(box, code)) == ["1"]


def test_a_fork_of_the_notebook_reports_nothing(box):
    report = run(
        box,
        f"import os\n{WRONG}\nif os.fork():\n    os.wait()\n   "
        f" {RIGHT.replace(chr(10), chr(10) + '    ')}",
    )
    assert report.state == "ok" and len(report.cells) == 1 and points(report) == 2


def test_nothing_outlives_the_notebook(box):
    length = f"31.{secrets.randbelow(10**9)}"
    code = f"""
import os, subprocess
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/usr/bin/sleep", ["sleep", "{length}"])
    os._exit(0)
os.wait()
subprocess.Popen(["sleep", "{length}"], start_new_session=True)
"""
    report = run(box, code, RIGHT)
    assert report.state == "ok" and points(report) == 2
    left = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            left += [process] if length.encode() in process.read_bytes() else []
        except OSError:
            pass
    assert left == []


# ---------------------------------------------------------------- secrets of others


@pytest.fixture
def hidden(tmp_path):
    """Files with a secret: beside the course's own, and where grade books would be."""
    here = REPOSITORY / f".secret_{os.getpid()}"
    places = [here, tmp_path / "gradebook.db", tmp_path / "submitted" / "bob" / "answer.ipynb"]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(SECRET)
        place.chmod(0o666)
    yield [str(place) for place in places]
    assert [place.read_text() for place in places] == [SECRET] * 3
    here.unlink()


def test_files_of_others_are_not_there(patient, hidden):
    paths = [
        *hidden,
        *map(
            str,
            (
                REPOSITORY / "solutions",
                REPOSITORY / "course",
                Path.home() / ".ssh",
                "/etc/passwd",
                "/etc/shadow",
            ),
        ),
    ]
    code = f"""
import os
half = {SECRET[:16]!r}
for path in {paths}:
    for mode in "r", "r+", "w":
        try:
            open(path, mode)
            print("opened", path)
        except OSError:
            pass
    if os.path.lexists(path) or os.path.lexists("/proc/1/root" + path):
        print("there", path)
skipped = ("/usr", "/lib", "/sys", "/proc", {sys.prefix!r}, {sys.base_prefix!r})
places = list(os.walk("/proc/1"))
for folder, folders, files in os.walk("/"):
    folders[:] = [one for one in folders if not os.path.join(folder, one).startswith(skipped)]
    places.append((folder, folders, files))
for folder, folders, files in places:
    for name in files:
        path = os.path.join(folder, name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                if half.encode() + {SECRET[16:]!r}.encode() in (file.read(1 << 20) or b''):
                    print("found", path)
        except OSError:
            pass
try:
    import course
    print("course")
except ImportError:
    pass
print(*[name for name, value in os.environ.items() if half in value])
"""
    assert said(run(patient, code)) == []


def test_nothing_of_one_notebook_is_there_for_the_next(box):
    leave = """
import os, builtins, sys, IPython, numpy
for folder in (os.environ["TMPDIR"], "/dev/shm", os.path.expanduser("~"), "."):
    open(folder + "/left", "w").write("left")
os.environ["LEFT"] = builtins.left = numpy.left = "left"
sys.path.insert(0, "left")
numpy.ones = None
get_ipython().input_transformers_cleanup.append(lambda lines: ["print('left')\\n"])
get_ipython().events.register("pre_run_cell", lambda *_: print("left"))
import ast
class Change(ast.NodeTransformer):
    def visit_Constant(self, node):
        return ast.copy_location(ast.Constant("left"), node)
get_ipython().ast_transformers.append(Change())
"""
    look = """
import os, builtins, sys, numpy
folders = (os.environ["TMPDIR"], "/dev/shm", os.path.expanduser("~"), ".")
print(*[folder for folder in folders if os.path.exists(folder + "/left")])
left = [module for module in (builtins, numpy) if hasattr(module, "left")]
print(*[name for name in ("LEFT",) if name in os.environ], *left)
print(*[1 for path in sys.path if path == "left"], *([1] if numpy.ones is None else []))
"""
    run(box, leave)
    assert said(run(box, look)) == []


def test_no_door_is_left_open(box):
    code = """
import os
for name in os.listdir("/proc/self/fd"):
    try:
        place = os.readlink("/proc/self/fd/" + name)
    except OSError:
        continue
    if place != "/dev/null":
        print(place.split(":")[0])
"""
    assert said(run(box, code)) == ["pipe"]  # that of the results


def test_there_is_no_network(box, tmp_path):
    """Neither the network, nor servers of this machine, nor sockets that have no place in the file
    system.
    """
    reached, servers = [], []
    name = f"\0course-{SECRET[:8]}"
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_UNIX, name),
        (socket.AF_UNIX, str(tmp_path / "s")),
    ):
        server = socket.socket(family)
        server.bind(address)
        server.listen()
        servers.append(server)

        def accept(server=server):
            try:
                reached.append(server.accept())
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
    code = f"""
import socket
for family, address in (
    (socket.AF_INET, ("127.0.0.1", {servers[0].getsockname()[1]})),
    (socket.AF_UNIX, {name!r}),
    (socket.AF_UNIX, {str(tmp_path / "s")!r}),
    (socket.AF_INET, ("1.1.1.1", 53)),
):
    one = socket.socket(family)
    one.settimeout(0.4)
    try:
        one.connect(address)
        print("reached", address)
    except OSError:
        pass
"""
    assert said(run(box, code)) == []
    assert reached == []
    for server in servers:
        server.close()


def test_no_other_process_can_be_looked_into(box):
    code = """
import ctypes
c = ctypes.CDLL(None, use_errno=True)
c.ptrace.restype = ctypes.c_long
for pid in range(2, 100):
    if c.ptrace(16, pid, None, None) == 0:
        print("attached", pid)
    try:
        open(f"/proc/{pid}/mem", "rb").close()
        print("opened", pid)
    except OSError:
        pass
"""
    assert said(run(box, code)) == []


# ---------------------------------------------------------------- points


CHEATS = {
    "patched NumPy": (
        """
import numpy as np
for name in ("allclose", "array_equal", "isclose", "all"):
    setattr(np, name, lambda *_, **__: True)
np.testing.assert_allclose = np.testing.assert_array_equal = lambda *_, **__: None
"""
    ),
    "patched builtins": (
        """
import builtins, json, numpy as np
builtins.all = builtins.any = builtins.isinstance = lambda *_: True
builtins.len = lambda _: 1
json.dumps = lambda *_, **__: '{"event": "end"}'
"""
    ),
    "patched runner": (
        """
import sys
frame = sys._getframe()
while frame:
    for module in [frame.f_globals, vars(frame.f_globals.get("values", sys))]:
        module["run_case"] = lambda *_: {
            "defined": True,
            "values": {"y": True, "points": 2},
            "kinds": {},
            "returned": "right",
            "error": None,
        }
    frame = frame.f_back
"""
    ),
    "input transformer": "get_ipython().input_transformers_cleanup.append(lambda lines: [])",
    "always equal": (
        """
class Right:
    __eq__ = __ge__ = __le__ = lambda *_: True
    __ne__ = lambda *_: False
    __hash__ = object.__hash__
    shape, dtype, ndim, size = (4,), "float64", 1, 4
    __array_ufunc__ = lambda *_, **__: True
    def __bool__(self): return True
    def __float__(self): return 0.0
def double(x): return Right()
"""
    ),
    "equal array": (
        """
import numpy as np
class Right(np.ndarray):
    __eq__ = lambda *_: np.True_
    __array_ufunc__ = lambda *_, **__: np.True_
    __array_function__ = lambda *_, **__: True
def double(x): return np.zeros(4).view(Right)
"""
    ),
    "the input changed": "def double(x):\n    x[...] = 0\n    return x",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_no_trick_gains_a_point(box, cheat):
    cells = (CHEATS[cheat],) if "def double" in CHEATS[cheat] else (WRONG, CHEATS[cheat])
    report = run(box, *cells)
    if "input" in cheat or "def double" in CHEATS[cheat]:
        assert report.state == "ok"
    assert points(report) == 0
    for result in report.results.get("double", {}).values():
        assert type(result) is CaseResult
        assert all(
            type(value) is np.ndarray and value.dtype.kind in "biufcU"
            for value in result.values.values()
        )


SEND = """
import os, numpy as np
def send(data):
    for number in range(3, 10):
        try:
            if "pipe" in os.readlink(f"/proc/self/fd/{number}"):
                while data:
                    data = data[os.write(number, data):]
        except OSError:
            pass
"""


def forged(head, rest=b""):
    body = len(head).to_bytes(8, "big") + head + rest
    return len(body).to_bytes(8, "big") + body


class Touch:
    """What makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_forged_results_are_no_code(box, tmp_path):
    import io
    import pickle

    touched = tmp_path / "touched"
    archive = io.BytesIO()
    np.savez(archive, np.array([Touch(touched)], dtype=object))
    for data in (pickle.dumps(Touch(touched)), archive.getvalue()):
        for block in (data, len(data).to_bytes(8, "big") + data, forged(data)):
            report = run(box, f"{SEND}\nsend({block!r})", before=[RIGHT])
            assert report.state == "crash" and points(report) == 2
    assert not touched.exists()


def test_forged_results_cannot_be_larger_than_what_is_sent(box):
    import io
    import zipfile

    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y.npy", bytes(100 * MB))
    bomb = zipped.getvalue()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    empty = b'{"tree": {"array": 0}, "arrays": [["%s", [%s]]]}'
    for block in (
        len(bomb).to_bytes(8, "big") + bomb,
        forged(empty % (b"<f8", b"1000000000000")),
        forged(empty % (b"<U0", b"1000000000000")),
        forged(empty % (b"|O", b"1"), b"12345678"),
        forged(b'{"tree": ' + b"[" * 10**5 + b"]" * 10**5 + b', "arrays": []}'),
        (1 << 60).to_bytes(8, "big") + bytes(100),
    ):
        report = run(box, f"{SEND}\nsend({block!r})", before=[RIGHT])
        assert report.state == "crash" and points(report) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


def test_results_without_end_are_cut_off(patient):
    block = (LIMITS.output - 8).to_bytes(8, "big")
    report = run(
        patient,
        f"{SEND}\nsend({block!r})\nfor _ in range(64):\n    send(bytes(1 << 20))",
        before=[RIGHT],
    )
    assert report.state == "output" and points(report) == 2


def test_events_without_end_are_cut_off(box):
    event = values.pack({"event": "start"})
    block = len(event).to_bytes(8, "big") + event
    report = run(box, f"{SEND}\nfor _ in range(10**4):\n    send({block!r} * 10)", before=[RIGHT])
    assert report.state == "crash" and points(report) == 2


def test_a_value_that_is_too_large_has_only_a_kind(box):
    report = run(box, "import numpy as np\ndef double(x):\n    return np.zeros(3 << 20)")
    assert report.state == "ok"
    result = report.results["double"]["one"]
    assert result.values == {} and result.kinds == {"y": "ndarray, too large"}


def test_output_without_end_is_cut_off(box):
    flood = (
        "import os, sys, time\nend = time.monotonic() + 1\nwhile time.monotonic() < end:\n   "
        " print('x' * 10**5)\n    os.write(1, b'y' * 10**5)\n    os.write(2, b'y' * 10**5)"
    )
    report = run(box, flood, "raise ValueError('z' * 10**7)", RIGHT)
    assert report.state == "ok" and points(report) == 2
    text = report.cells[0].text
    assert len(text) < LIMITS.text + 100 and set(text[:100]) == {"x"}
    assert len(report.cells[1].error.message) <= values.LONGEST_MESSAGE
