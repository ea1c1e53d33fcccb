"""The core of the suite once more on another Keras backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = Path(__file__).parents[2]
CORE = ("reference", "models", "training", "plots")


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") == "jax", reason="this run is on JAX already")
def test_the_core_passes_on_jax():
    tests = [str(TESTS / f"test_{name}.py") for name in CORE]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    # Most of the time is XLA's, which compiles each function for each shape; what it compiles runs
    # only a few times.
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    settings = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": quick}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-7_000:] + done.stderr[-1_000:]
    assert " passed" in done.stdout


def test_a_run_is_trained_and_described_on_pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed: python3 run.py torch")
    test = f"{TESTS / 'test_training.py'}::test_history_is_tidy_and_complete"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", test]
    done = subprocess.run(
        command,
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, (
        done.stdout[-5_000:] + done.stderr[-1_000:]
    )


def test_the_package_never_names_a_backend():
    """`keras` and `keras.ops` only: the course runs on any backend.

    But for many seeds at once, which JAX alone can do, and which imports it when it is the backend.
    """
    sources = sorted((ROOT / "course").rglob("*.py"))
    assert sources
    for source in sources:
        at_once = source.relative_to(ROOT).as_posix() == "course/lab/many.py"
        for line in source.read_text(encoding="utf-8").splitlines():
            if at_once and line.startswith(" ") and line.strip() == "import jax":
                continue
            assert not line.strip().startswith(
                (
                    "import tensorflow",
                    "from tensorflow",
                    "import jax",
                    "from jax",
                    "import torch",
                    "from torch",
                )
            ), f"{source.name}: {line}"
