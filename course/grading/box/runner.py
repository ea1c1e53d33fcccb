"""What runs in the box: a notebook in a process of its own, and the process that forks it.

This file and `values.py` are all of the course that the box holds (see `box`): they import only the
standard library, NumPy and, where a whole notebook is run, IPython.

Nothing here judges. Whatever a student's code does to this process, values are the only thing that
it can change.
"""

import builtins
import contextlib
import ctypes
import gc
import importlib.util
import io
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import warnings

try:
    import resource
except ImportError:  # Windows, where there is no box, but students' own checks
    resource = None

try:
    from course.grading import values
except ImportError:  # in the box, where the two files lie beside each other
    sys.path.insert(0, "/")
    import values

    del sys.path[0]


class _Capped(io.TextIOBase):
    """What a cell prints, up to so many characters."""

    def __init__(self, most):
        self.parts, self.left = [], most

    def writable(self):
        return True

    def write(self, text):
        if self.left > 0:
            self.parts.append(text[: self.left])
            self.left -= len(text)
            if self.left <= 0:
                self.parts.append("\n... (more was printed; it is not kept)")
        return len(text)


class _Alarm:
    """Raises TimeLimit after so many seconds, and again each second: a bare `except:` in a loop
    catches the first.
    """

    def __init__(self, seconds):
        self.seconds = seconds

    def __enter__(self):
        signal.signal(signal.SIGALRM, self.ring)
        self.on = True
        signal.setitimer(signal.ITIMER_REAL, self.seconds, 1)

    def ring(self, number, frame):
        if self.on:
            raise values.TimeLimit(f"This took longer than {self.seconds:g} seconds.")

    def __exit__(self, *_):
        self.on = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def make_shell():
    """IPython as in a notebook, without a front end: magics and display work, tracebacks are not
    formatted.
    """
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui=None):
            pass

        def enable_matplotlib(self, gui=None):
            return gui, "agg"

        def ask_exit(self):
            pass

        def _tee(self, channel):
            return (
                contextlib.nullcontext()
            )  # IPython would keep all that is printed, without a limit

        def showtraceback(self, *_, **__):
            pass

        showsyntaxerror = showindentationerror = showtraceback

    return Shell.instance(
        config=Config(
            {"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}}
        )
    )


def run_notebook(job, limits, shell, send):
    """Run the cells of a notebook one after the other, and the probes between them.

    Parameters
    ----------
    job : dict
        See `records.Job.to_dict`.
    limits : dict
        See `box.Limits`.
    shell : InteractiveShell
    send : callable
        Takes each event as it comes: start (of a cell or case), cell, case, end.
    """
    process = os.getpid()

    def no_input(prompt=""):
        raise EOFError(
            "Nobody is there to answer input() while your notebook is graded; assign a value"
            " instead."
        )

    builtins.input = no_input
    null = open(os.devnull, "w")
    space = shell.user_ns
    values.seed()
    for cell in job["cells"]:
        if "source" in cell:
            send({"event": "start"})
            text, error = _Capped(limits["text"]), None
            sys.stdout = sys.stderr = text
            try:
                with _Alarm(limits["cell_seconds"]):
                    done = shell.run_cell(cell["source"], store_history=False)
                error = done.error_before_exec or done.error_in_exec
            except BaseException as raised:
                error = raised
            finally:
                sys.stdout = sys.stderr = null
            if os.getpid() != process:
                os._exit(0)  # a fork made by the cell: there is one who reports
            error = error and values.told(error, space)
            send({"event": "cell", "text": "".join(text.parts), "error": error})
        else:
            sys.stdout = sys.stderr = null
            _run_cases(cell["task"], job["probes"][cell["task"]], limits, space, send)
            if os.getpid() != process:
                os._exit(0)
    send({"event": "end"})


def _run_cases(task_id, probe, limits, space, send):
    result = None
    for case, inputs in probe["cases"].items():
        # One case that never ends is enough to know: the others would only take their time as well.
        if not (result and result["error"] and result["error"]["type"] == "TimeoutError"):
            send({"event": "start"})
            try:
                with _Alarm(limits["cell_seconds"]):
                    result = values.run_case(
                        task_id, probe["source"], probe["parts"], space, inputs
                    )
            except BaseException as error:
                result = {
                    "defined": True,
                    "values": {},
                    "kinds": {},
                    "returned": "NoneType",
                    "error": values.told(error, space),
                }
        send({"event": "case", "task": task_id, "case": case, "result": result})


# ---------------------------------------------------------------- the process that all notebooks
# are forked from

# From Linux's headers.
_NEW_USER, _NEW_MOUNTS, _NEW_PIDS, _NEW_IPC, _NEW_NET = (
    0x10000000,
    0x00020000,
    0x20000000,
    0x08000000,
    0x40000000,
)
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_PROGRAMS, _REMOUNT, _BIND, _ALL, _PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    0x1000,
    0x4000,
    0x40000,
)
_SET_DEATH_SIGNAL, _DROP_BOUND = 1, 24
_SET_FILE_CAPABILITIES = 1 << 31
# Parts of /proc that change the machine. The user that is root outside could write them even
# without capabilities.
_DANGEROUS = ("acpi", "bus", "driver", "fs", "irq", "mtrr", "scsi", "sys", "sysrq-trigger")


def zygote(settings):
    """Import once what is slow to import, then fork a process for each notebook, watch it, and say
    how it ended.

    This process never reads a student's work, so that nothing of one can get into the next.

    Parameters
    ----------
    settings : dict
        control (number of the socket to the grader), boxed, modules (to be imported).
    """
    control = socket.socket(fileno=settings["control"])
    warnings.filterwarnings(
        "ignore", message=".*fork.*"
    )  # of a process with threads: Keras is imported, but was not used
    for name in settings["modules"]:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    if "matplotlib" in sys.modules:
        _quiet_plots()
    shell = make_shell()
    if settings["boxed"]:
        _uncover_proc()
    gc.collect()
    gc.freeze()  # else the first collection in each fork copies all pages
    _say(control, {"ready": True})
    waiting = b""
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not data:
            return
        waiting += data
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            order = json.loads(line)
            if (
                order["order"] == "run"
            ):  # an order to kill comes too late here: that notebook has ended
                _say(control, _fork(order, descriptors, control, shell, settings["boxed"]))


def _say(control, message):
    control.sendall(json.dumps(message).encode() + b"\n")


def _quiet_plots():
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    def show(*_, **__):
        plt.close("all")

    plt.show = show


def _fork(order, descriptors, control, shell, boxed):
    """Run one notebook in a fork; returns how it ended."""
    limits, begun = order["limits"], time.monotonic()
    folder = f"{tempfile.gettempdir()}/work" if boxed else tempfile.mkdtemp(prefix="notebook_")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            control.close()
            status = _become_job(*descriptors, folder, limits, shell, boxed)
        finally:
            os._exit(status)
    for descriptor in descriptors:
        os.close(descriptor)
    ended = {"done": order["number"], "killed": None, "memory": 0}
    watched = [control]
    if hasattr(os, "pidfd_open"):
        watched.append(os.pidfd_open(child))
    while True:
        ready, _, _ = select.select(watched, [], [], 0.02)
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            break
        jobs = _processes(child, boxed)
        memory = sum(process.memory for process in jobs)
        ended["memory"] = max(ended["memory"], memory)
        if control in ready:
            data = control.recv(1 << 16)
            if not data:
                ended["killed"] = "gone"
            if any(json.loads(line)["number"] == order["number"] for line in data.splitlines()):
                ended["killed"] = "asked"
        if len(jobs) > limits["processes"]:
            ended["killed"] = "processes"
        elif (
            memory > limits["memory"]
            and sum(_share(process.pid, process.memory) for process in jobs) > limits["memory"]
        ):
            ended["killed"] = "memory"
        elif time.monotonic() - begun > limits["seconds"]:
            ended["killed"] = "timeout"
        if ended["killed"]:
            status = _kill(child, boxed)
            break
    for descriptor in watched[1:]:
        os.close(descriptor)
    if not boxed:
        _kill_all(
            _processes(child, boxed)
        )  # what it left behind; in the box it is gone with its namespace
        shutil.rmtree(folder, ignore_errors=True)
    if ended["killed"] == "gone":
        os._exit(0)
    return {**ended, "status": status, "seconds": time.monotonic() - begun}


class _Process:
    """A process of a notebook, from /proc."""

    def __init__(self, pid, memory):
        self.pid, self.memory = pid, memory


def _processes(child, boxed):
    """The processes of the notebook that runs; without the one that only waits for it. Empty where
    there is no /proc.
    """
    processes = []
    try:
        names = os.listdir("/proc")
    except OSError:
        return processes
    others = {1, os.getpid(), os.getppid()}  # in the box nobody else is in this namespace
    for name in names:
        if not name.isdigit() or int(name) in others:
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue  # has ended meanwhile
        if boxed and int(name) == child or not boxed and int(fields[3]) != child:
            continue
        processes.append(_Process(int(name), int(fields[21]) * resource.getpagesize()))
    return processes


def _share(pid, memory):
    """Memory of a process, with what several share counted once: exact, but slower to know."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return memory


def _kill(child, boxed):
    """Kill a notebook with all that it has started; returns the status of the process that waited
    for it.
    """
    while True:
        jobs = _processes(child, boxed)
        _kill_all(jobs)
        if not boxed or not jobs:
            _kill_all([_Process(child, 0)])
        for _ in range(10):
            finished, status = os.waitpid(child, os.WNOHANG)
            if finished:
                return status
            time.sleep(0.005)


def _kill_all(processes):
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except OSError:
            pass


def _become_job(job_in, results_out, folder, limits, shell, boxed):
    """In the fork: close the door behind, read the notebook, run it. Returns the exit status."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    # The two that are needed get the lowest numbers, and all others are closed.
    job_in, results_out = os.dup(job_in), os.dup(results_out)
    top = max(job_in, results_out) + 1
    os.dup2(job_in, top)
    os.dup2(results_out, top + 1)
    os.dup2(top, 3, inheritable=False)
    os.dup2(top + 1, 4, inheritable=False)
    os.closerange(5, max(1024, top + 2))

    def send(event):
        block = values.pack(event)
        view = memoryview(len(block).to_bytes(8, "big") + block)
        while view:
            view = view[os.write(4, view) :]

    try:
        if boxed:
            _unshare()
            inner = os.fork()
            # waits, so that the zygote knows; the other is process 1 of its own world, and all end
            # with it
            if inner:
                os.close(3)
                os.close(4)
                _, status = os.waitpid(inner, 0)
                return os.waitstatus_to_exitcode(status) & 0xFF
            _own_world(limits)
            os.mkdir(folder)
        os.chdir(folder)
        _set_limits(limits, boxed)
        with open(3, "rb") as file:
            job = values.unpack(file.read(), most_text=1 << 30)
    except BaseException as error:
        send({"event": "refused", "why": f"{type(error).__name__}: {error}"})
        return 1
    run_notebook(job, limits, shell, send)
    os._exit(0)  # at once: whatever the student's code has registered for the end is not run


def _call(function, *arguments):
    """Call a function of the C library."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}{arguments}: {os.strerror(number)}")


def _uncover_proc():
    """For root bubblewrap covers parts of /proc, and under a /proc with covers Linux allows no
    other one.
    """
    for name in _DANGEROUS:
        try:
            _call("umount2", f"/proc/{name}".encode(), 2)
        except OSError:
            pass  # not covered
    # As root, a process without this one could not be root in a world inside this one.
    _keep_capabilities(_SET_FILE_CAPABILITIES if os.getuid() == 0 else 0)


def _unshare():
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEW_USER | _NEW_MOUNTS | _NEW_PIDS | _NEW_IPC | _NEW_NET)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _own_world(limits):
    """Empty folders, an own /proc, and no rights to change any of it."""
    _call("prctl", _SET_DEATH_SIGNAL, signal.SIGKILL)
    _call("mount", b"none", b"/", None, _ALL | _PRIVATE, None)
    _call("mount", b"proc", b"/proc", b"proc", _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS, None)
    for folder in (tempfile.gettempdir().encode(), b"/dev/shm"):
        size = f"size={limits['disk']},nr_inodes=20000,mode=700".encode()
        _call("mount", b"tmpfs", folder, b"tmpfs", _NO_SETUID | _NO_DEVICES, size)
    # No world inside this one: in its own world a process may mount memory without a limit.
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    try:
        with open("/proc/sys/kernel/pid_max", "w") as file:
            file.write("512")  # processes and threads; since Linux 6.14 this is the namespace's own
    except OSError:
        pass
    for name in _DANGEROUS:
        place = f"/proc/{name}".encode()
        if os.path.exists(place):
            _call("mount", place, place, None, _BIND, None)
            _call(
                "mount",
                b"none",
                place,
                None,
                _BIND | _REMOUNT | _READ_ONLY | _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS,
                None,
            )
    for number in range(64):
        try:
            _call("prctl", _DROP_BOUND, number, 0, 0, 0)
        except OSError:
            break  # the kernel has no more of them
    _keep_capabilities()


def _keep_capabilities(kept=0):
    """Give up all capabilities but those in a mask of the first 32."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    _call("capset", header, (ctypes.c_uint32 * 6)(kept, kept))


def _set_limits(limits, boxed):
    """Limits that the kernel watches. The other side of the fork watches the sums over all
    processes.
    """
    space, data = _address_space()
    wanted = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": int(limits["seconds"] * (os.cpu_count() or 1)) + 5,
        "RLIMIT_FSIZE": limits["disk"],
        "RLIMIT_NOFILE": 256,
    }
    if data:
        # So that one large array is an error in its cell, and not the end of the notebook.
        wanted["RLIMIT_DATA"] = data + limits["memory"]
        wanted["RLIMIT_AS"] = space + limits["memory"] + (16 << 30)
    if boxed:  # unboxed it would count all processes of the user
        wanted["RLIMIT_NPROC"] = limits["processes"] + 256  # threads count, too
    for name, value in wanted.items():
        hard = resource.getrlimit(getattr(resource, name))[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(getattr(resource, name), (value, value))


def _address_space():
    """Bytes of address space, and of data in it, that this process has; 0 where the system does not
    tell.
    """
    try:
        with open("/proc/self/status") as file:
            sizes = dict(line.split(":", 1) for line in file)
        return int(sizes["VmSize"].split()[0]) * 1024, int(sizes["VmData"].split()[0]) * 1024
    except OSError:
        return 0, 0


if __name__ == "__main__":
    zygote(json.loads(sys.argv[1]))
