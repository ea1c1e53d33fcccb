"""Kernels that start warm: forked from a process that has imported Keras and has not used it yet.

The import of Keras on TensorFlow costs 7 to 9 CPU seconds, a large part of what a short notebook
takes. This kernel provisioner of jupyter_client lets Python's own fork server
(`multiprocessing.forkserver`) do it once. JupyterLab, papermill and nbval use it where the
environment says JUPYTER_DEFAULT_PROVISIONER_NAME=course-warm, as `course lab` makes it say on
Linux. Whatever does not fit gets a normal kernel: another interpreter, other packages or settings
than those imported, a system that cannot fork, any failure.

Nothing outlives its user: kernels see that the process that asked for them is gone, however it
went, and the fork server goes with the last of them. It costs about 0.4 GB while it waits; most of
that is memory that its kernels share with it.
"""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import types
from multiprocessing import resource_tracker

from jupyter_client.provisioning import LocalProvisioner

# `course` first: it quietens TensorFlow. None of its modules, which may be edited while the process
# waits.
PRELOADED = ["course", "keras", "matplotlib.figure", "pandas", "scipy.stats", "ipykernel.kernelapp"]
# What those read when they are imported: a kernel with other values must import them itself.
SETTINGS = (
    "CUDA_",
    "HOME",
    "JAX_",
    "KERAS_",
    "LD_",
    "MKL_",
    "OMP_",
    "OPENBLAS_",
    "PYTHON",
    "TF_",
    "XLA_",
)
NAME, CHOICE = "course-warm", "JUPYTER_DEFAULT_PROVISIONER_NAME"
PATIENCE = "COURSE_WARM_SECONDS"  # how long a kernel may wait for the import; by default not at all


class _Server:
    """The fork server of this process: one for all its kernels."""

    def __init__(self):
        self.ready = threading.Event()
        self.lock = threading.Lock()
        self.begun = threading.Lock()  # taken by the first who starts, and never released
        self.imported = self.context = self.path = None

    def start(self):
        """Begin to import, in the background; later calls do nothing."""
        if hasattr(os, "fork") and self.begun.acquire(blocking=False):
            self.imported = imported_by(os.environ)
            threading.Thread(target=self._import, daemon=True).start()

    def _import(self):
        try:
            # What a fresh interpreter has, without what this process has put on its own path.
            question = [sys.executable, "-c", "import sys; print(*sys.path[1:], sep='\\n')"]
            self.path = subprocess.run(
                question, capture_output=True, text=True, check=True
            ).stdout.splitlines()
            self.context = multiprocessing.get_context("forkserver")
            self.context.set_forkserver_preload(PRELOADED)
            # Ctrl-C in a terminal reaches all its processes, but it is JupyterLab's, not the
            # import's.
            resource_tracker.ensure_running()  # takes the block away if it comes later
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            self.fork(os.getpid)  # returns when the imports are done
            self.ready.set()
        except Exception as error:
            self.imported = None  # fits no kernel, so that none waits
            _say_why(error)

    def fork(self, function, *arguments):
        """A process that has everything imported and calls a function."""
        process = self.context.Process(target=function, args=arguments, daemon=True)
        with self.lock:
            # multiprocessing would run this process's own script in the new one; a kernel has none.
            script, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
            try:
                process.start()
            finally:
                sys.modules["__main__"] = script
        return process


_server = _Server()


def imported_by(environment):
    """What a kernel must have in common with the process that it is forked from."""
    # Installing, updating or removing a package changes the time of the folder it is in.
    folders = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    settings = sorted(
        (name, value) for name, value in environment.items() if name.startswith(SETTINGS)
    )
    return sys.prefix, [os.stat(folder).st_mtime_ns for folder in sorted(folders)], settings


class _Forked:
    """A forked process with the methods of subprocess.Popen that LocalProvisioner calls."""

    stdin = stdout = stderr = None

    def __init__(self, process):
        self.process, self.pid = process, process.pid
        self.kill, self.terminate = process.kill, process.terminate

    def poll(self):
        return self.process.exitcode

    def wait(self):
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)


class WarmProvisioner(LocalProvisioner):
    """Forks a kernel where that gives the same as starting one, and else starts one."""

    async def launch_kernel(self, cmd, **options):
        process = await fork_kernel(cmd, options)
        if process is None:
            return await super().launch_kernel(cmd, **options)
        self.process, self.pid, self.pgid = process, process.pid, process.pid
        self.cwd = options.get("cwd") or os.getcwd()
        return self.connection_info


async def fork_kernel(command, options):
    """A forked kernel, or None if a normal one is to be started.

    Parameters
    ----------
    command : list of str
        As the kernel specification gives it.
    options : mapping
        Arguments of subprocess.Popen: cwd, env, ...
    """
    environment = dict(options.get("env") or os.environ)
    module = ["-m", "ipykernel_launcher"]
    redirected = any(options.get(name) is not None for name in ("stdin", "stdout", "stderr"))
    if command[:3] != [sys.executable, *module] or redirected:
        return None
    try:
        _server.start()
        end = time.monotonic() + float(environment.get(PATIENCE, 0))
        while _server.imported == imported_by(environment):
            if _server.ready.is_set():
                arguments = (
                    command[3:],
                    environment,
                    str(options.get("cwd") or os.getcwd()),
                    _server.path,
                )
                return _Forked(_server.fork(_become_kernel, *arguments))
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.05)  # JupyterLab serves its pages meanwhile
    except Exception as error:  # whatever goes wrong here, there is a kernel that takes longer
        _say_why(error)
    return None


def _say_why(error):
    print(
        f"No warm kernel ({type(error).__name__}: {error}); starting a normal one.", file=sys.stderr
    )


def _end_with_user():
    multiprocessing.parent_process().join()  # the user, not the fork server
    os.killpg(0, signal.SIGKILL)


def _become_kernel(arguments, environment, folder, path):
    """Run in the forked process: what `python -m ipykernel_launcher` does."""
    os.setsid()  # a group of its own, so that an interrupt reaches the kernel and what it starts
    threading.Thread(target=_end_with_user, daemon=True).start()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # Else the user's own code could start no processes.
    multiprocessing.current_process().daemon = False
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.path[:] = path
    # With the number of the fork server the kernel notices when that is gone.
    sys.argv = ["ipykernel_launcher.py", *arguments, f"--IPKernelApp.parent_handle={os.getppid()}"]
    # Only its first lines were wanted, and they may have been edited.
    sys.modules.pop("course", None)
    import random

    import numpy as np
    from ipykernel import kernelapp

    random.seed()
    np.random.seed()  # else all kernels would draw the same numbers
    kernelapp.launch_new_instance()


def _load_jupyter_server_extension(server):
    """Begin to import when `course lab` starts, seconds before the page asks for a kernel."""
    if os.environ.get(CHOICE) == NAME:
        _server.start()
