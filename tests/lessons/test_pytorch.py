"""Lesson 12 and its conventions: course.reference and Keras against PyTorch, and the lesson without
PyTorch.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest

from course import reference

LESSON = Path(__file__).parents[2] / "notebooks" / "12_pytorch.ipynb"
FORWARD = dict(rtol=1e-5, atol=1e-5)
BACKWARD = dict(rtol=1e-4, atol=1e-5)


@pytest.fixture
def torch():
    return pytest.importorskip(
        "torch", reason="PyTorch is not installed; install the extra: python3 run.py torch"
    )


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def arrays(rng, shape):
    """x, dy, gamma and beta, far from their defaults."""
    x = rng.normal(2, 3, shape).astype("float32")
    dy, gamma, beta = (
        rng.normal(size=size).astype("float32") for size in (shape, shape[-1:], shape[-1:])
    )
    return x, dy, gamma, beta


def first(array):
    """Channels last to channels first."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def with_weights(torch, module, **values):
    module.load_state_dict(
        {name: torch.tensor(value) for name, value in values.items()}, strict=False
    )
    return module


def gradients(torch, module, x, dy):
    """Output, and gradients with respect to input, gamma and beta; everything channels last."""
    x = torch.tensor(first(x), requires_grad=True)
    y = module(x)
    y.backward(torch.tensor(first(dy)))
    return last(y), last(x.grad), module.weight.grad.numpy(), module.bias.grad.numpy()


@pytest.mark.parametrize("shape", [(8, 5), (6, 4, 3, 5)], ids=["dense", "images"])
def test_batch_norm_in_training(torch, rng, shape):
    x, dy, gamma, beta = arrays(rng, shape)
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    module = with_weights(torch, kind(5, eps=1e-3, momentum=0.1), weight=gamma, bias=beta)
    y, *found = gradients(torch, module, x, dy)

    ours, cache = reference.batch_norm_train(x, gamma, beta)
    np.testing.assert_allclose(ours, y, **FORWARD)
    for one, other in zip(reference.batch_norm_backward(dy, cache), found, strict=True):
        np.testing.assert_allclose(one, other, **BACKWARD)
    m = x.size // 5
    mean = reference.update_moving(np.zeros(5), cache.mean, momentum=0.9)
    variance = reference.update_moving(np.ones(5), cache.variance * m / (m - 1), momentum=0.9)
    np.testing.assert_allclose(module.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(module.running_var.numpy(), variance, rtol=1e-5)

    layer = keras.layers.BatchNormalization(momentum=0.9)
    layer.build(x.shape)
    layer.set_weights([gamma, beta, np.zeros(5), np.ones(5)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x, training=True)), y, **FORWARD)
    moving_mean, moving_variance = layer.get_weights()[2:]
    np.testing.assert_allclose(moving_mean, module.running_mean.numpy(), rtol=1e-4)
    predicted = moving_variance + (moving_variance - 0.9) / (m - 1)
    np.testing.assert_allclose(predicted, module.running_var.numpy(), rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 5), (6, 4, 3, 5)], ids=["dense", "images"])
def test_batch_norm_at_inference(torch, rng, shape):
    x, dy, gamma, beta = arrays(rng, shape)
    mean, variance = rng.normal(size=5).astype("float32"), rng.uniform(0.1, 4, 5).astype("float32")
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    values = dict(weight=gamma, bias=beta, running_mean=mean, running_var=variance)
    module = with_weights(torch, kind(5, eps=1e-3), **values).eval()
    y, *found = gradients(torch, module, x, dy)
    np.testing.assert_allclose(
        reference.batch_norm_infer(x, gamma, beta, mean, variance), y, **FORWARD
    )
    ours = reference.batch_norm_infer_backward(dy, x, gamma, mean, variance)
    for one, other in zip(ours, found, strict=True):
        np.testing.assert_allclose(one, other, **BACKWARD)

    layer = keras.layers.BatchNormalization()
    layer.build(x.shape)
    layer.set_weights([gamma, beta, mean, variance])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x, training=False)), y, **FORWARD)


def test_a_batch_of_one(torch):
    x = np.full((1, 3), 7, "float32")
    beta = np.arange(3, dtype="float32")
    np.testing.assert_allclose(reference.batch_norm_train(x, np.ones(3), beta)[0], [beta])
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm1d(3)(torch.tensor(x))


def test_layer_norm(torch, rng):
    x, dy, gamma, beta = arrays(rng, (7, 5))
    module = with_weights(torch, torch.nn.LayerNorm(5, eps=1e-3), weight=gamma, bias=beta)
    y, *found = gradients(torch, module, x, dy)
    ours, cache = reference.layer_norm(x, gamma, beta)
    np.testing.assert_allclose(ours, y, **FORWARD)
    for one, other in zip(reference.layer_norm_backward(dy, cache), found, strict=True):
        np.testing.assert_allclose(one, other, **BACKWARD)


@pytest.mark.parametrize(
    "groups", [1, 2, 6], ids=["layer norm over (H, W, C)", "two groups", "instance norm"]
)
def test_group_norm(torch, rng, groups):
    x, dy, gamma, beta = arrays(rng, (4, 3, 5, 6))
    module = with_weights(torch, torch.nn.GroupNorm(groups, 6, eps=1e-3), weight=gamma, bias=beta)
    y, *found = gradients(torch, module, x, dy)
    ours, cache = reference.group_norm(x, gamma, beta, groups)
    np.testing.assert_allclose(ours, y, **FORWARD)
    for one, other in zip(reference.group_norm_backward(dy, cache), found, strict=True):
        np.testing.assert_allclose(one, other, **BACKWARD)


def test_instance_norm(torch, rng):
    x, dy, gamma, beta = arrays(rng, (4, 3, 5, 6))
    module = torch.nn.InstanceNorm2d(6, eps=1e-3, affine=True)
    y, *found = gradients(torch, with_weights(torch, module, weight=gamma, bias=beta), x, dy)
    ours, cache = reference.instance_norm(x, gamma, beta)
    np.testing.assert_allclose(ours, y, **FORWARD)
    for one, other in zip(reference.instance_norm_backward(dy, cache), found, strict=True):
        np.testing.assert_allclose(one, other, **BACKWARD)


def test_dropout_given_pytorchs_mask(torch, rng):
    """Scaled in training by 1 / (1 - rate), forward and backward; the identity at inference."""
    x, dy = (rng.normal(size=(50, 40)).astype("float32") for _ in range(2))
    torch.manual_seed(0)
    module, inputs = torch.nn.Dropout(0.3), torch.tensor(x, requires_grad=True)
    y = module(inputs)
    y.backward(torch.tensor(dy))
    mask = y.detach().numpy() != 0
    assert abs(mask.mean() - 0.7) < 0.05
    np.testing.assert_allclose(y.detach().numpy(), np.where(mask, x, 0) / 0.7, rtol=1e-6)
    np.testing.assert_allclose(
        inputs.grad.numpy(), reference.dropout_backward(dy, mask, 0.3), rtol=1e-6
    )
    same = module.eval()(torch.tensor(x)).numpy()
    np.testing.assert_array_equal(same, reference.inverted_dropout(x, 0.3, rng, training=False)[0])


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_scales_alike(torch, rng, rate):
    x = np.ones((100, 80), "float32")
    outputs = (
        reference.inverted_dropout(x, rate, rng, training=True)[0],
        keras.ops.convert_to_numpy(keras.layers.Dropout(rate, seed=0)(x, training=True)),
        torch.nn.Dropout(rate)(torch.tensor(x)).numpy(),
    )
    for output in outputs:
        np.testing.assert_allclose(np.unique(output), [0, 1 / (1 - rate)], rtol=1e-6)
        assert abs((output == 0).mean() - rate) < 0.03


def test_dropout_of_whole_feature_maps(torch, rng):
    x = np.ones((20, 3, 4, 30), "float32")
    for output in (
        reference.spatial_dropout(x, 0.5, rng, training=True)[0],
        last(torch.nn.Dropout2d(0.5)(torch.tensor(first(x)))),
    ):
        assert not output.std(axis=(1, 2)).any()
        np.testing.assert_allclose(np.unique(output), [0, 2])


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_the_lesson_stops_cleanly_without_pytorch(tmp_path, error):
    """A package that cannot be imported, in front of the real one: the lesson says so, and nothing
    below runs.
    """
    package = tmp_path / "fake" / "torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise {error}('blocked by a test')\n", encoding="utf-8")
    lesson = nbformat.read(LESSON, 4)
    for cell in lesson.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(lesson, tmp_path / "lesson.ipynb")
    path = os.pathsep.join([str(tmp_path / "fake"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        "--inplace",
        "lesson.ipynb",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    outputs = [
        output
        for cell in nbformat.read(tmp_path / "lesson.ipynb", 4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert {output.output_type for output in outputs} == {"stream"}
    assert {output.name for output in outputs} == {"stdout"}
    message = "".join(output.text for output in outputs)
    assert "python3 run.py torch" in message
    assert len(message.splitlines()) <= 8, "later cells put something out"
