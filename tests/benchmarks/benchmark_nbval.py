"""How much sooner nbval is through the lessons with warm kernels than with normal ones.

    .venv/bin/python tests/benchmark_nbval.py [02 10 ...]

Both run the same lessons, one after the other on one thread: the seconds that a lesson's own cells
take are the same, the start of the kernel and the import of Keras are not. Run it on a machine that
does nothing else; all lessons twice take half an hour.
"""

import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1] / "lessons"))
from test_notebooks import LESSONS, nbval  # noqa: E402

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
KERNELS = {"normal": {"JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner"}, "warm": {}}


def main(
    lessons: Annotated[
        list[str] | None, typer.Argument(help="Numbers of lessons; by default all.")
    ] = None,
) -> None:
    paths = [path for path in LESSONS if not lessons or path.stem[:2] in lessons]
    wall = {}
    for name, settings in KERNELS.items():
        with tempfile.TemporaryDirectory() as scratch:
            start = perf_counter()
            results = nbval(paths, ONE_THREAD | settings, Path(scratch))
            wall[name] = perf_counter() - start
        assert not any(wrong for wrong, _ in results.values()), results
        cells = sum(seconds for _, seconds in results.values())
        print(
            f"{name:6} kernels: {wall[name]:6.0f} s for {len(paths)} lessons, whose cells took"
            f" {cells:.0f} s"
        )
    print(f"Warm kernels are {wall['normal'] / wall['warm']:.2f} times as fast.")


if __name__ == "__main__":
    typer.run(main)
