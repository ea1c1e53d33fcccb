"""The core of the suite once more on another Keras backend."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def test_the_core_passes_on_jax(core_on_jax):
    process, log = core_on_jax
    if process is None:
        pytest.skip("JAX is not installed (uv sync --extra jax), or this run is on JAX already")
    assert process.wait() == 0, log.read_text()[-7_000:]
    assert " passed" in log.read_text()


def test_the_package_never_names_a_backend():
    """`keras` and `keras.ops` only: the course runs on any backend."""
    sources = sorted((TESTS.parent / "course").rglob("*.py"))
    assert sources
    for source in sources:
        for line in source.read_text(encoding="utf-8").splitlines():
            assert not line.strip().startswith(
                ("import tensorflow", "from tensorflow", "import jax", "from jax", "import torch", "from torch")
            ), f"{source.name}: {line}"
