"""Whether this machine has what the course needs, one line for each thing, with the remedy.

Notebooks are committed with their outputs, so no line may show an absolute path.
"""

import importlib
import importlib.metadata
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.table import Table
from rich.text import Text

OK, WARN, FAIL = "OK", "WARN", "FAIL"
ROOT = Path(__file__).resolve().parents[2]
GIGABYTE = 1000**3
SET_UP = "Run `python3 run.py` in the course's folder: it installs what is missing."
THREAD_SETTINGS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Check:
    """One line of the table: what was looked at, how it is, and what to do if it is not OK."""

    name: str
    status: str
    detail: str
    remedy: str = ""


class CheckTable:
    """The lines as a table of Rich, which shows itself in a terminal and in a notebook."""

    def __init__(self, results: list[Check]):
        self.results = results

    def __rich__(self) -> Table:
        table = Table("what", "status", "found", "what to do")
        for line in self.results:
            # No colours: legible on every ground, light or dark.
            status = Text(line.status, style="bold" if line.status == OK else "bold reverse")
            # As Text, because Rich would read square brackets in an error message as markup.
            table.add_row(Text(line.name), status, Text(line.detail), Text(line.remedy))
        return table


def check_table() -> CheckTable:
    """Look at everything the course needs.

    Returns
    -------
    CheckTable
        Its `results` are what `check_all` returns.
    """
    return CheckTable(check_all())


def check_all() -> list[Check]:
    """Run all checks; one that breaks is itself a line that says FAIL.

    Returns
    -------
    list of Check
        One line for each of `CHECKS`, in their order. Paths in them are relative or begin with `~`.
    """
    lines = []
    for name, check in CHECKS.items():
        try:
            status, detail, remedy = check()
        except Exception as error:  # whatever it is, the other lines are still wanted
            status, detail = FAIL, f"{type(error).__name__}: {error}".strip(": \n")
            remedy = f"This check itself failed. {SET_UP}"
        lines.append(Check(name, status, without_paths(detail), without_paths(remedy)))
    return lines


def without_paths(text: str) -> str:
    """Return the text with the folders of this machine replaced by names that hold everywhere."""
    folders = {
        sys.prefix: ".venv",
        str(ROOT): ".",
        sys.base_prefix: "python",
        tempfile.gettempdir(): "$TMPDIR",
        str(Path.home()): "~",
    }
    for folder in sorted(folders, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder, folders[folder])
    return text


Line = tuple[str, str, str]  # status, detail, remedy


def python_version() -> Line:
    """Python 3.11 to 3.13, for which TensorFlow has packages."""
    detail = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= tuple(sys.version_info[:2]) <= (3, 13):
        return OK, detail, ""
    return FAIL, detail, "Install Python 3.11, 3.12 or 3.13 and start run.py with it."


def keras_and_backend() -> Line:
    """Keras 3 can be imported and computes with its backend."""
    backend = os.environ.get("KERAS_BACKEND", "")
    try:
        import keras

        keras.ops.sum(keras.ops.ones(3))
    except Exception as error:  # each backend breaks in its own way
        remedy = (
            f"Unset KERAS_BACKEND (it is {backend!r}), or install that backend."
            if backend
            else SET_UP
        )
        return FAIL, f"{type(error).__name__}: {error}", remedy
    detail = f"Keras {keras.__version__} on {keras.config.backend()}"
    if keras.config.floatx() != "float32" or keras.config.image_data_format() != "channels_last":
        remedy = "Remove keras.json from Keras' folder: the course needs float32, channels_last."
        return WARN, detail, remedy
    return OK, detail, ""


def threads() -> Line:
    """The processor's cores that this process may use, and settings that leave some idle."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        cores = os.cpu_count() or 1
    limits = {name: os.environ[name] for name in THREAD_SETTINGS if os.environ.get(name)}
    detail = ", ".join(
        [f"{cores} core{'s' * (cores > 1)}", *(f"{n}={v}" for n, v in limits.items())]
    )
    wrong = [n for n, v in limits.items() if n != THREAD_SETTINGS[1] and v not in ("0", str(cores))]
    if wrong:
        remedy = f"Unset {' and '.join(wrong)} to use each core once, unless that is meant."
        return WARN, detail, remedy
    if cores == 1:
        remedy = "Lessons take about twice the minutes they announce; nothing else changes."
        return WARN, detail, remedy
    return OK, detail, ""


def memory() -> Line:
    """Memory that is free: a lesson needs less than 2 GB."""
    state = psutil.virtual_memory()
    free, total = state.available, state.total
    limit, used = (Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current"))
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()).isdigit():
        # In a container, as on Binder, the machine's memory is not all ours.
        total = min(total, int(most))
        free = min(free, int(most) - int(used.read_text()))
    detail = f"{free / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB free"
    if free < 2 * GIGABYTE:
        remedy = "Close other programs, or shut down other notebooks (menu Kernel), to free 2 GB."
        return FAIL if free < GIGABYTE / 2 else WARN, detail, remedy
    return OK, detail, ""


def free_disk() -> Line:
    """Disk space for results."""
    free = shutil.disk_usage(ROOT).free / GIGABYTE
    if free < 1:
        remedy = "Free at least 1 GB on the course's disk."
        return FAIL if free < 0.1 else WARN, f"{free:.2f} GB free", remedy
    return OK, f"{free:.0f} GB free", ""


def data_set() -> Line:
    """Whether the files of Fashion-MNIST are those of their publisher."""
    from course.data import FILES, REMEDY, DataError, read_file

    try:
        for name in FILES:
            read_file(name)
    except DataError as error:
        return FAIL, error.args[0], REMEDY
    return OK, "Fashion-MNIST is complete", ""


def write_access() -> Line:
    """Whether notebooks can be saved."""
    if not can_write(ROOT / "notebooks"):
        remedy = "Copy the course into a folder of your own: here your work cannot be saved."
        return FAIL, "notebooks/ is read-only", remedy
    return OK, "notebooks/ can be saved", ""


def can_write(folder: Path) -> bool:
    """Return whether a file can be made in a folder, or in the parent in which it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def jupyterlab() -> Line:
    """JupyterLab 4, and a kernel in this same environment for it to start."""
    try:
        version = importlib.metadata.version("jupyterlab")
        importlib.import_module("ipykernel")
    except ImportError as error:  # PackageNotFoundError is one, too
        return FAIL, f"not installed: {error.name}", SET_UP
    if int(version.partition(".")[0]) < 4:
        return WARN, f"JupyterLab {version}", f"The course needs JupyterLab 4. {SET_UP}"
    return OK, f"JupyterLab {version}", ""


def graphics() -> Line:
    """Matplotlib draws, and JupyterLab can show sliders."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        picture = io.BytesIO()
        # A canvas of its own: the backend the reader has chosen stays as it is.
        FigureCanvasAgg(Figure()).print_png(picture)
        widgets = importlib.import_module("ipywidgets").__version__
    except Exception as error:  # a broken library raises anything
        return FAIL, f"{type(error).__name__}: {error}", SET_UP
    manager = "labextensions/@jupyter-widgets/jupyterlab-manager/package.json"
    from jupyter_core.paths import jupyter_path

    if not any(Path(folder, manager).is_file() for folder in jupyter_path()):
        return WARN, "no sliders in JupyterLab", f"Sliders show as text only. {SET_UP}"
    return OK, f"Matplotlib draws, ipywidgets {widgets}", ""


CHECKS: dict[str, Callable[[], Line]] = {
    "Python": python_version,
    "Keras": keras_and_backend,
    "threads": threads,
    "memory": memory,
    "free disk": free_disk,
    "data set": data_set,
    "write access": write_access,
    "JupyterLab": jupyterlab,
    "graphics": graphics,
}
