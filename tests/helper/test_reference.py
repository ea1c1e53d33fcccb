"""course.reference against the Keras layers, against finite differences, against its own mutants.

Tolerances, and what they mean here:

- against Keras, in float32: |ours - keras| <= 1e-5 * max(1, max |keras|), the maximum taken over
  the values of a channel;
- against central finite differences (five points, step 1e-3, error of order step**4), in float64:
  |ours - numeric| <= 1e-7 * |ours| for each element, plus 1e-11 * max(1, max |ours|), because
  where terms of size one cancel to almost zero no relative accuracy is left to compare.

Each `check_...` takes the implementation `ref` as an argument. The property tests give it
course.reference; the last test gives it copies with one silent bug each and expects it to fail.
"""

import types
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import course.reference  # first, for it silences TensorFlow's log

# A short list of shapes, because JAX compiles each operation anew for each of them (a second).
SHAPES = [(1, 4), (16, 6), (3, 5, 4), (4, 2, 3, 6)]
EPSILONS = [1e-5, 1e-3, 0.1]
RATES = [0.0, 0.1, 0.25, 0.5, 0.8]
KINDS = ["batch", "batch inference", "layer", "group", "instance"]
property_test = settings(
    # JAX compiles each operation anew for each shape.
    max_examples=6 if keras.config.backend() == "jax" else 30,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# ---------------------------------------------------------------- what is compared


@st.composite
def norm_cases(draw, kinds=KINDS, dead_channels=True):
    kind, shape = draw(st.sampled_from(kinds)), draw(st.sampled_from(SHAPES))
    return norm_case(
        kind,
        shape,
        seed=draw(st.integers(0, 2**32 - 1)),
        channels_first=len(shape) == 4 and draw(st.booleans()),
        groups=draw(st.sampled_from([1, 2])) if kind == "group" else 1,
        epsilon=draw(st.sampled_from(EPSILONS)),
        scale=draw(st.sampled_from([0.3, 1.0, 5.0])),
        offset=draw(st.sampled_from([0.0, -1.0, 1.0])),
        dead_channel=dead_channels and draw(st.booleans()),
    )


def norm_case(
    kind,
    shape,
    seed=0,
    channels_first=False,
    groups=2,
    epsilon=1e-3,
    scale=1.0,
    offset=1.0,
    dead_channel=False,
):
    """Well-conditioned data: signs alternate along each axis, so no set has a tiny variance.

    (Two values drawn at random can lie arbitrarily close, and then neither float32 nor a finite
    difference with a fixed step can be right.) A dead channel, all zero, is the exception, for
    float32 only.
    """
    rng = np.random.default_rng(seed)
    signs = (-1.0) ** np.indices(shape).sum(axis=0)
    x = scale * (offset + signs + rng.uniform(-0.4, 0.4, shape))
    if len(shape) == 2 and (shape[0] == 1 or kind in ("group", "instance")):
        # Sets of one member: Keras computes x * inv_std - mean * inv_std, two large numbers alike.
        x, epsilon = x / np.abs(x).max(), max(epsilon, 1e-3)
    if dead_channel:
        x[..., 0] = 0.0
    c = shape[-1]
    return types.SimpleNamespace(
        kind=kind,
        x=x,
        dy=rng.normal(size=shape),
        gamma=rng.uniform(-2, 2, c),
        beta=rng.uniform(-2, 2, c),
        mean=scale * (offset + rng.uniform(-1, 1, c)),
        variance=scale**2 * rng.uniform(0.5, 2, c),
        groups=groups,
        epsilon=epsilon,
        channels_first=channels_first,
    )


def ours(ref, case, x, gamma, beta):
    """y and the function that maps dy to (dx, dgamma, dbeta)."""
    if case.kind == "batch inference":
        constants = (case.mean.astype(x.dtype), case.variance.astype(x.dtype), case.epsilon)
        y = ref.batch_norm_infer(x, gamma, beta, *constants)
        return y, lambda dy: ref.batch_norm_infer_backward(dy, x, gamma, *constants)
    extra = (case.groups,) if case.kind == "group" else ()
    name = {"batch": "batch_norm_train"}.get(case.kind, f"{case.kind}_norm")
    y, cache = getattr(ref, name)(x, gamma, beta, *extra, epsilon=case.epsilon)
    return y, lambda dy: getattr(ref, f"{case.kind}_norm_backward")(dy, cache)


def keras_layer(case, axis):
    """The Keras layer of the same name, and the keyword that sets its mode."""
    settings = {"axis": axis, "epsilon": case.epsilon}
    if case.kind.startswith("batch"):
        layer = keras.layers.BatchNormalization(**settings)
        return layer, {"training": case.kind == "batch"}
    if case.kind == "layer":
        return keras.layers.LayerNormalization(**settings), {}
    groups = case.groups if case.kind == "group" else -1
    return keras.layers.GroupNormalization(groups, **settings), {}


def keras_gradients(layer, x, dy, **call):
    """y, dx and the gradients of the layer's weights, from one forward pass of the layer."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **call)
            loss = tf.reduce_sum(y * dy)
        gradients = tape.gradient(loss, [x, *(w.value for w in layer.trainable_variables)])
    elif keras.backend.backend() == "jax":
        import jax

        def loss_and_y(x, weights):
            y, _ = layer.stateless_call(weights, constants, x, **call)
            return (y * dy).sum(), y

        weights = [w.value for w in layer.trainable_variables]
        constants = [w.value for w in layer.non_trainable_variables]
        (dx, dweights), y = jax.grad(loss_and_y, argnums=(0, 1), has_aux=True)(x, weights)
        gradients = [dx, *dweights]
    else:
        pytest.skip(f"no gradients here for the {keras.backend.backend()} backend")
    # Not keras.ops.convert_to_numpy: with Keras 3.15 and NumPy 2.4 it warns for variables.
    return [np.asarray(a) for a in (y, *gradients)]


def agree(actual, keras_value):
    assert actual.dtype == np.float32
    largest = np.abs(keras_value).max(axis=tuple(range(keras_value.ndim - 1)))
    error = np.abs(actual - keras_value) / np.maximum(1.0, largest)
    assert error.max() <= 1e-5, f"off by {error.max():.1e}"


def numeric_gradient(loss, array, step=1e-3):
    gradient = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        middle, values = array[i], []
        for offset in (2, 1, -1, -2):
            array[i] = middle + offset * step
            values.append(loss())
        array[i] = middle
        # Differences of outputs first, then their sum with dy: less is lost to rounding.
        gradient[i] = ((values[3] - values[0]) + 8 * (values[1] - values[2])).sum() / (12 * step)
    return gradient


def agree_numeric(actual, numeric):
    assert actual.dtype == np.float64
    floor = 1e-11 * max(1.0, np.abs(actual).max())
    np.testing.assert_allclose(actual, numeric, rtol=1e-7, atol=floor)


# ---------------------------------------------------------------- normalisation


def check_norm_against_keras(ref, case):
    """Forward and backward, channels last in ours, last or first in the Keras layer."""
    x, dy, gamma, beta = (a.astype("float32") for a in (case.x, case.dy, case.gamma, case.beta))
    axis = 1 if case.channels_first else -1
    layer, call = keras_layer(case, axis)
    x_keras, dy_keras = np.moveaxis(x, -1, axis), np.moveaxis(dy, -1, axis)
    layer.build(x_keras.shape)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    if case.kind == "batch inference":
        layer.moving_mean.assign(case.mean)
        layer.moving_variance.assign(case.variance)
    y_keras, dx_keras, *dweights_keras = keras_gradients(layer, x_keras, dy_keras, **call)

    y, backward = ours(ref, case, x, gamma, beta)
    dx, *dweights = backward(dy)
    agree(y, np.moveaxis(y_keras, axis, -1))
    agree(dx, np.moveaxis(dx_keras, axis, -1))
    for ours_, keras_ in zip(dweights, dweights_keras, strict=True):
        agree(ours_, keras_)


def check_norm_against_differences(ref, case):
    _, backward = ours(ref, case, case.x, case.gamma, case.beta)
    for analytic, array in zip(backward(case.dy), (case.x, case.gamma, case.beta), strict=True):
        numeric = numeric_gradient(
            lambda: ours(ref, case, case.x, case.gamma, case.beta)[0] * case.dy, array
        )
        agree_numeric(analytic, numeric)


def check_moving_statistics(ref, shape, momentum, steps, seed=0):
    """After each of k training steps, not only after the last."""
    rng = np.random.default_rng(seed)
    layer = keras.layers.BatchNormalization(momentum=momentum)
    ones, zeros = np.ones(shape[-1], "float32"), np.zeros(shape[-1], "float32")
    mean, variance = zeros, ones
    for _ in range(steps):
        x = rng.normal(rng.normal(), rng.uniform(0.5, 2), shape).astype("float32")
        layer(x, training=True)
        _, cache = ref.batch_norm_train(x, ones, zeros)
        mean = ref.update_moving(mean, cache.mean, momentum)
        variance = ref.update_moving(variance, cache.variance, momentum)
        agree(mean, np.asarray(layer.moving_mean))
        agree(variance, np.asarray(layer.moving_variance))


@pytest.mark.parametrize("kind", KINDS)
@settings(property_test, max_examples=4 if keras.config.backend() == "jax" else 10)
@given(data=st.data())
def test_norms_agree_with_keras(kind, data):
    check_norm_against_keras(course.reference, data.draw(norm_cases([kind])))


@property_test
@given(norm_cases(dead_channels=False))
def test_norm_gradients_agree_with_finite_differences(case):
    check_norm_against_differences(course.reference, case)


@property_test
@given(
    shape=st.sampled_from([s for s in SHAPES if s[0] > 1]),
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]),
    steps=st.integers(1, 10),
    seed=st.integers(0, 2**32 - 1),
)
def test_moving_statistics_agree_with_keras(shape, momentum, steps, seed):
    check_moving_statistics(course.reference, shape, momentum, steps, seed)


@property_test
@given(norm_cases(["batch"]))
def test_batch_norm_normalises(case):
    c = case.x.shape[-1]
    y, cache = course.reference.batch_norm_train(case.x, np.ones(c), np.zeros(c), epsilon=1e-12)
    positions = tuple(range(case.x.ndim - 1))
    np.testing.assert_allclose(y.mean(positions), 0, atol=1e-12)
    alive = cache.variance > 0
    np.testing.assert_allclose(y.var(positions)[alive], 1, rtol=1e-9)
    # gamma and beta can undo it
    undone, _ = course.reference.batch_norm_train(
        case.x, np.sqrt(cache.variance + case.epsilon), cache.mean, epsilon=case.epsilon
    )
    np.testing.assert_allclose(undone, case.x, rtol=1e-12, atol=1e-12)


def test_batch_of_one_gives_beta_and_no_gradient():
    x, beta = np.array([[3.0, -1.0]]), np.array([0.5, 7.0])
    y, cache = course.reference.batch_norm_train(x, np.ones(2), beta)
    assert (y == beta).all()
    assert (course.reference.batch_norm_backward(np.ones((1, 2)), cache)[0] == 0).all()


def test_one_group_is_layer_norm_only_without_positions():
    gamma, beta = np.ones(4), np.zeros(4)
    for shape, equal in [((3, 4), True), ((3, 2, 2, 4), False)]:
        x = np.random.default_rng(0).normal(size=shape)
        grouped, _ = course.reference.group_norm(x, gamma, beta, groups=1)
        layered, _ = course.reference.layer_norm(x, gamma, beta)
        assert np.allclose(grouped, layered) == equal


def test_the_pytorch_step_as_documented():
    # One step of torch.nn.BatchNorm1d's defaults on [0, 2], by hand: 0.9 * 1 + 0.1 * 2.
    _, cache = course.reference.batch_norm_train(np.array([[0.0], [2.0]]), [1], [0])
    moved = course.reference.update_moving(np.ones(1), cache.variance * 2 / (2 - 1), momentum=0.9)
    np.testing.assert_allclose(moved, 1.1)


# ---------------------------------------------------------------- dropout


class Replay(np.random.Generator):
    """A generator whose next random numbers reproduce a given mask at any rate below one."""

    def __init__(self, mask):
        super().__init__(np.random.PCG64(0))
        self.mask = mask

    def random(self, size):
        assert tuple(size) == self.mask.shape
        return np.where(self.mask, np.nextafter(1, 0), 0.0)


def check_dropout_against_keras(ref, spatial, shape, rate, seed=0):
    """Keras's mask, read off its output, must give Keras's y and dx."""
    rng = np.random.default_rng(seed)
    x = rng.choice([-1, 1], shape) * rng.uniform(0.5, 3, shape)
    x, dy = x.astype("float32"), rng.normal(size=shape).astype("float32")
    if spatial:
        layers = {3: keras.layers.SpatialDropout1D, 4: keras.layers.SpatialDropout2D}
        layer, forward = layers[len(shape)](rate, seed=seed % 1000), ref.spatial_dropout
    else:
        layer, forward = keras.layers.Dropout(rate, seed=seed % 1000), ref.inverted_dropout
    y_keras, dx_keras = keras_gradients(layer, x, dy, training=True)
    kept = y_keras != 0
    if spatial:
        positions = tuple(range(1, x.ndim - 1))
        assert (kept.all(positions) == kept.any(positions)).all()  # Keras drops whole channels
        kept = kept.all(positions, keepdims=True)

    y, mask = forward(x, rate, Replay(kept), training=True)
    assert mask.dtype == bool and (mask == kept).all()
    agree(y, y_keras)
    agree(ref.dropout_backward(dy, mask, rate), dx_keras)

    y, mask = forward(x, rate, None, training=False)
    assert mask is None and (y == x).all() and (ref.dropout_backward(dy, None, rate) == dy).all()
    assert (np.asarray(layer(x, training=False)) == x).all()


def check_dropout_against_differences(ref, kind, rate, training, seed=0):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    forward = getattr(ref, f"{kind}_dropout")

    def run():  # the same coin throws each time
        return forward(x, rate, np.random.default_rng(seed), training)

    numeric = numeric_gradient(lambda: run()[0] * dy, x)
    agree_numeric(ref.dropout_backward(dy, run()[1], rate), numeric)


def check_dropout_statistics(ref, rate, seed=0, draws=4000):
    """Expectation and variance over many masks, within five standard errors (seeds are fixed)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 2.0, (5, 8))
    repeated = np.broadcast_to(x, (draws, *x.shape))
    noise, mask = ref.inverted_dropout(repeated, rate, rng, training=True)
    noise = noise - x  # x * (mask / (1 - rate) - 1)
    factor = rate / (1 - rate)
    assert_near(noise.mean(axis=0), 0, np.sqrt(factor * x**2 / draws))
    # noise**2 is x**2 * factor**2 (kept) or x**2 (dropped)
    spread = np.sqrt((1 - rate) * (factor**2 - factor) ** 2 + rate * (1 - factor) ** 2)
    total = spread * np.sqrt((x**4).sum() / draws) / x.size
    assert_near((noise**2).mean(), factor * (x**2).mean(), total)
    # Neighbours, in the batch and in the layer, fall independently.
    dropped = mask - (1 - rate)
    error = rate * (1 - rate) / np.sqrt(mask[:, :, 1:].size)
    assert_near((dropped[:, :, 1:] * dropped[:, :, :-1]).mean(), 0, error)
    assert_near((dropped[:, 1:] * dropped[:, :-1]).mean(), 0, error * 1.1)

    classic, mask = ref.classic_dropout(repeated, rate, rng, training=True)
    at_inference, _ = ref.classic_dropout(x, rate, None, training=False)
    error = np.sqrt(rate * (1 - rate) * x**2 / draws)
    assert_near(classic.mean(axis=0), at_inference, error)
    np.testing.assert_allclose(at_inference, (1 - rate) * x)
    assert (classic[mask] == repeated[mask]).all() and (classic[~mask] == 0).all()


def assert_near(value, expected, standard_error):
    assert (np.abs(value - expected) <= 5 * standard_error + 1e-12).all()


def check_spatial_masks(ref, shape, rate, seed=0):
    rng = np.random.default_rng(seed)
    y, mask = ref.spatial_dropout(np.ones(shape), rate, rng, training=True)
    positions = tuple(range(1, len(shape) - 1))
    assert mask.shape == (shape[0], *[1] * len(positions), shape[-1])
    assert (y == mask / (1 - rate)).all()
    throws = mask.reshape(shape[0], shape[-1])
    assert_near(throws.mean(), 1 - rate, np.sqrt(rate * (1 - rate) / throws.size))
    if rate:  # neither samples nor channels share their throws
        assert (throws != throws[0]).any() and (throws != throws[:, :1]).any()


@property_test
@given(
    spatial=st.booleans(),
    shape=st.sampled_from([s for s in SHAPES if len(s) > 2]),
    rate=st.sampled_from(RATES),
    seed=st.integers(0, 2**32 - 1),
)
def test_dropout_agrees_with_keras(spatial, shape, rate, seed):
    check_dropout_against_keras(course.reference, spatial, shape, rate, seed)


@property_test
@given(
    kind=st.sampled_from(["inverted", "spatial"]),
    rate=st.floats(0, 0.9),
    training=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_dropout_gradients_agree_with_finite_differences(kind, rate, training, seed):
    check_dropout_against_differences(course.reference, kind, rate, training, seed)


@pytest.mark.parametrize("rate", RATES)
def test_dropout_expectation_and_variance(rate):
    check_dropout_statistics(course.reference, rate)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("shape", [(40, 7, 30), (40, 3, 3, 30)])
def test_spatial_masks(shape, rate):
    check_spatial_masks(course.reference, shape, rate)


def test_keras_accepts_rate_one_and_returns_zeros_we_refuse():
    layer = keras.layers.Dropout(1.0)
    assert not np.asarray(layer(np.ones((2, 2), "float32"), training=True)).any()
    with pytest.raises(ValueError, match="rate is 1.0; give the probability of dropping"):
        course.reference.inverted_dropout(np.ones((2, 2)), 1.0, np.random.default_rng(0), True)


# ---------------------------------------------------------------- types, purity, bad input


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_arguments_are_not_changed(dtype):
    ref, rng = course.reference, np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 4, 3, 2, 6)).astype(dtype)
    c = np.arange(1.0, 7.0)  # float64: must not promote
    half = np.float64(0.5)  # a NumPy scalar promotes float32 arrays; must not here
    before = [a.copy() for a in (x, dy, c)]

    results = [ref.batch_norm_infer(x, c, c, c, c, half)]
    results += ref.batch_norm_infer_backward(dy.astype("float64"), x, c, c, c, half)
    for norm in ("batch_norm_train", "layer_norm", "instance_norm"):
        y, cache = getattr(ref, norm)(x, c, c, epsilon=half)
        results += [y, *cache[:5], *ref.batch_norm_backward(dy.astype("float64"), cache)]
    results += [ref.update_moving(x[0, 0, 0], c, half)]
    for forward in (ref.inverted_dropout, ref.spatial_dropout, ref.classic_dropout):
        for training in (True, False):
            y, mask = forward(x, half, rng, training)
            assert not np.shares_memory(y, x)
            results += [y, ref.dropout_backward(dy, mask, half)]
    assert {a.dtype.name for a in results} == {dtype}
    assert all((a == b).all() for a, b in zip((x, dy, c), before, strict=True))


def bad_input():
    r, rng = course.reference, np.random.default_rng(0)
    x, c, image = np.ones((4, 3)), np.ones(3), np.ones((2, 4, 4, 3))
    nan = np.where(np.eye(4, 3), np.nan, x)
    _, cache = r.batch_norm_train(x, c, c)
    yield lambda: r.batch_norm_train(x.astype(int), c, c), TypeError, r"x has dtype int64; convert"
    yield lambda: r.layer_norm(x.astype("float16"), c, c), TypeError, "Half precision overflows"
    yield lambda: r.batch_norm_train(nan, c, c), ValueError, "3 of the 12 values of x are NaN"
    yield lambda: r.batch_norm_train(x * np.inf, c, c), ValueError, "infinite"
    yield lambda: r.batch_norm_train(c, c, c), ValueError, r"x has shape \(3,\); it needs the form"
    yield lambda: r.batch_norm_train(x[:0], c, c), ValueError, "not empty"
    yield lambda: r.instance_norm(np.float64(1), c, c), ValueError, r"x has shape \(\)"
    yield (
        lambda: r.batch_norm_train(x, c[:2], c),
        ValueError,
        r"gamma has shape \(2,\), but the last",
    )
    yield lambda: r.group_norm(x, c, x, 1), ValueError, r"beta has shape \(4, 3\), but the last"
    yield lambda: r.batch_norm_train(image, np.ones(4), c), ValueError, "channels first"
    yield lambda: r.batch_norm_train(x, c * np.nan, c), ValueError, "values of gamma are NaN"
    yield (
        lambda: r.batch_norm_train(x, c, c, epsilon=0),
        ValueError,
        "epsilon is 0; give a number above 0",
    )
    yield (
        lambda: r.layer_norm(x, c, c, epsilon=np.nan),
        ValueError,
        "epsilon is nan; give a number above",
    )
    yield lambda: r.layer_norm(x, c, c, epsilon=c), ValueError, r"epsilon is array\(.*; give a"
    yield lambda: r.group_norm(x, c, c, 2), ValueError, r"groups=2 must divide .* \[1, 3\]"
    yield lambda: r.group_norm(x, c, c, 0), ValueError, "groups=0 must divide"
    yield lambda: r.group_norm(x, c, c, 3.0), ValueError, "groups=3.0 must divide"
    yield lambda: r.batch_norm_backward(x.T, cache), ValueError, r"dy has shape \(3, 4\); expected"
    yield lambda: r.batch_norm_backward(nan, cache), ValueError, "values of dy are NaN"
    yield lambda: r.batch_norm_infer(x, c, c, c[:1], c), ValueError, r"moving_mean has shape \(1,\)"
    yield lambda: r.batch_norm_infer(x, c, c, c, -c), ValueError, "negative entry. Is it swapped"
    yield (
        lambda: r.batch_norm_infer(x, c, c, c, c, -1),
        ValueError,
        "epsilon is -1; give a number above",
    )
    yield lambda: r.batch_norm_infer_backward(c, x, c, c, c), ValueError, "dy has shape"
    yield (
        lambda: r.update_moving(c, x),
        ValueError,
        r"batch_value has shape \(4, 3\); expected \(3,\)",
    )
    yield lambda: r.update_moving(c, c * np.nan), ValueError, "values of batch_value are NaN"
    yield (
        lambda: r.update_moving(c, c, 99),
        ValueError,
        "momentum is 99; give the share kept, from 0 to 1",
    )
    yield lambda: r.update_moving(c, c, None), ValueError, "momentum is None; give the share kept"
    yield lambda: r.dropout_mask((3,), 1, rng), ValueError, "rate is 1; give the prob.* below 1"
    yield lambda: r.inverted_dropout(x, 30, rng, True), ValueError, "0.3 for 30 %"
    yield lambda: r.inverted_dropout(x, -0.1, rng, True), ValueError, "rate is -0.1; give"
    yield lambda: r.inverted_dropout(x, np.nan, rng, False), ValueError, "rate is nan; give"
    yield lambda: r.classic_dropout(x, "half", rng, True), ValueError, "rate is 'half'; give"
    yield lambda: r.inverted_dropout(x, 0.5, 42, True), TypeError, "rng=42 must be a generator"
    yield lambda: r.inverted_dropout(nan, 0.5, rng, True), ValueError, "values of x are NaN"
    yield lambda: r.inverted_dropout([1, 2], 0.5, rng, True), TypeError, "x has dtype int64"
    yield lambda: r.spatial_dropout(x, 0.5, rng, True), ValueError, r"the form \(N, L, C\) or"
    yield lambda: r.dropout_backward(x, c > 0, 0.5), ValueError, r"mask of shape \(3,\)"
    yield lambda: r.dropout_backward(x, x, 0.5), ValueError, "dtype float64 is not a boolean one"
    yield lambda: r.dropout_backward(x, x.T > 0, 0.5), ValueError, "is not a boolean one"
    yield lambda: r.dropout_backward(x, x > 0, 2), ValueError, "rate is 2; give"


@pytest.mark.parametrize(("call", "error", "message"), list(bad_input()))
def test_bad_input_is_refused_with_a_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---------------------------------------------------------------- would a silent bug be noticed?


def norms(kind, **changes):
    """The two checks of one kind of normalisation, by name, on one fixed case."""
    case = dict(kind=kind, shape=(4, 2, 3, 6), **changes)
    return {
        "keras": lambda ref: check_norm_against_keras(ref, norm_case(**case)),
        "differences": lambda ref: check_norm_against_differences(ref, norm_case(**case)),
    }


BATCH, INFERENCE, GROUP = norms("batch"), norms("batch inference"), norms("group", groups=3)
MOVING = {"moving": lambda ref: check_moving_statistics(ref, (4, 3), 0.9, steps=3)}
DROPOUT = {
    "keras": lambda ref: check_dropout_against_keras(ref, False, (3, 5, 4), 0.25),
    "differences": lambda ref: check_dropout_against_differences(ref, "inverted", 0.25, True),
    "statistics": lambda ref: check_dropout_statistics(ref, 0.25),
}
CLASSIC = {"statistics": lambda ref: check_dropout_statistics(ref, 0.25)}
SPATIAL = {
    "keras": lambda ref: check_dropout_against_keras(ref, True, (4, 2, 3, 6), 0.25),
    "masks": lambda ref: check_spatial_masks(ref, (40, 3, 3, 30), 0.25),
}

PATHS = "(direct + through_mean + through_variance)"
INVERSE = "inv_std = 1.0 / np.sqrt(variance + epsilon)\n    x_hat"
INVERSE_INFER = "1.0 / np.sqrt(variance + _epsilon(epsilon))"
ALL_BUT_LAST = "axes=tuple(range(x.ndim - 1))"
SCALED = "return np.where(mask, x, 0) / (1.0 - rate), mask  #"
SPATIAL_SHAPE = "(len(x), *[1] * (x.ndim - 2), x.shape[-1])"
# bug: (text of course/reference.py, what replaces it, checks, the names of those that must fail)
BUGS = {
    "statistics detached": (PATHS, "(direct)", BATCH, "keras differences"),
    "mean detached": (PATHS, "(direct + through_variance)", BATCH, "keras differences"),
    "variance detached": (PATHS, "(direct + through_mean)", BATCH, "keras differences"),
    "gamma left out of dx": (
        "dx_hat = (dy * cache.gamma)",
        "dx_hat = dy",
        BATCH,
        "keras differences",
    ),
    "dgamma from y, not x_hat": (
        "return (dy * x_hat).sum(",
        "return dy.sum(",
        BATCH,
        "keras differences",
    ),
    "variance over n - 1": (
        '((values - mean) ** 2).mean(axes, keepdims=True, dtype="float64")',
        'values.var(axes, keepdims=True, ddof=1, dtype="float64")',
        BATCH | MOVING,
        "keras differences moving",
    ),
    "epsilon outside the root": (
        INVERSE,
        "inv_std = 1.0 / (np.sqrt(variance) + epsilon)\n    x_hat",
        BATCH,
        "keras differences",
    ),
    "no square root": (
        INVERSE,
        "inv_std = 1.0 / (variance + epsilon)\n    x_hat",
        BATCH,
        "keras differences",
    ),
    "no epsilon at inference": (INVERSE_INFER, "1.0 / np.sqrt(variance)", INFERENCE, "keras"),
    "statistics over the batch alone": (ALL_BUT_LAST, "axes=(0,)", BATCH, "keras"),
    "statistics of a sample, not the batch": (ALL_BUT_LAST, "axes=(1, 2)", BATCH, "keras"),
    "groups of every third channel": (
        (
            "axes = (*range(1, x.ndim - 1), x.ndim)  # all but sample and group\n"
            "    shape = (*x.shape[:-1], groups, channels // groups)"
        ),
        "axes = tuple(range(1, x.ndim))\n    shape = (*x.shape[:-1], channels // groups, groups)",
        GROUP,
        "keras",
    ),
    "momentum reversed": (
        "momentum * moving + (1.0 - momentum) * batch_value\n\n",
        "(1.0 - momentum) * moving + momentum * batch_value\n\n",
        MOVING,
        "moving",
    ),
    "rate keeps": (
        "rng.random(shape) >= rate",
        "rng.random(shape) < rate",
        DROPOUT,
        "keras statistics",
    ),
    "not rescaled": (
        SCALED,
        "return np.where(mask, x, 0), mask  #",
        DROPOUT,
        "keras differences statistics",
    ),
    "divided by rate": (
        SCALED,
        SCALED.replace("(1.0 - rate)", "rate"),
        DROPOUT,
        "keras differences statistics",
    ),
    "mask forgotten backward": (
        "np.where(_mask(mask, dy), dy, 0) / (1.0 - rate)",
        "dy / (1.0 - rate)",
        DROPOUT,
        "keras differences",
    ),
    "the same mask for all samples": (
        "mask = dropout_mask(x.shape, rate, rng)\n    " + SCALED,
        "mask = np.repeat(dropout_mask((1, *x.shape[1:]), rate, rng), len(x), axis=0)\n    "
        + SCALED,
        DROPOUT,
        "keras statistics",
    ),
    "classic scales by rate": (
        "return x * (1.0 - rate)",
        "return x * rate",
        CLASSIC,
        "statistics",
    ),
    "classic is not scaled": (
        "return x * (1.0 - rate)",
        "return x * 1.0",
        CLASSIC,
        "statistics",
    ),
    "spatial mask a pixel": (SPATIAL_SHAPE, "x.shape", SPATIAL, "keras masks"),
    "spatial mask for all samples": (
        SPATIAL_SHAPE,
        "(1, *[1] * (x.ndim - 2), x.shape[-1])",
        SPATIAL,
        "keras masks",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_silent_bugs_are_noticed(bug):
    right, wrong, checks, must_fail = BUGS[bug]
    source = Path(course.reference.__file__).read_text(encoding="utf-8")
    assert source.count(right) == 1, "course/reference.py has changed: update this bug"
    mutant = types.ModuleType("mutant")
    exec(compile(source.replace(right, wrong), "mutant", "exec"), mutant.__dict__)

    noticed = []
    for name, check in checks.items():
        check(course.reference)  # it passes what is right ...
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check(mutant)
        except AssertionError:  # ... and notices what is wrong
            noticed.append(name)
    assert set(must_fail.split()) <= set(noticed), f"only {noticed} noticed it"


def test_large_batches_of_images_keep_their_digits():
    """64 maps of 28x28 pixels far from zero: float32 gives what float64 gives."""
    x = np.random.default_rng(0).normal(3.0, 1.0, size=(64, 28, 28, 4)).astype("float32")
    gamma, beta = np.ones(4), np.zeros(4)
    single, _ = course.reference.batch_norm_train(x, gamma, beta)
    double, _ = course.reference.batch_norm_train(x.astype("float64"), gamma, beta)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=1e-5)
