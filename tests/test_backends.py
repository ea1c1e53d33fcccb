"""The core of the suite once more on another Keras backend."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

TESTS = Path(__file__).parent
CORE = ("test_reference.py", "test_models.py", "test_training.py", "test_plots.py")


def test_the_core_passes_on_jax():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed; install the extra: uv sync --extra jax")
    if keras.config.backend() == "jax":
        pytest.skip("this run is on JAX already")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(TESTS / name) for name in CORE)]
    done = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, cwd=TESTS.parent
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout


def test_the_package_never_names_a_backend():
    """`keras` and `keras.ops` only: the course runs on any backend."""
    sources = sorted((TESTS.parent / "course").rglob("*.py"))
    assert sources
    for source in sources:
        for line in source.read_text(encoding="utf-8").splitlines():
            assert not line.strip().startswith(
                ("import tensorflow", "from tensorflow", "import jax", "from jax", "import torch", "from torch")
            ), f"{source.name}: {line}"
