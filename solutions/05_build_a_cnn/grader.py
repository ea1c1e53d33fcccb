"""Assignment 05: what is compared, and on which inputs.

Names, nesting and the way of building (functional, Sequential, a class) do not matter: see
`probes.py`.
"""

from pathlib import Path

from course.grading.tasks import Part, Task

PROBES = Path(__file__).with_name("probes.py").read_text(encoding="utf-8")

ORDER = "the layers in their order, as text"
WEIGHTS = "how many numbers are trained, and how many are stored without being trained"
INFERENCE = "the outputs at inference, with weights set by the checker"
TWICE = "an image put in twice gets the same at inference; not so in training"
MODES = f"three truth values: {TWICE}; training moves all moving statistics"


def _parts(order, weights, inference, modes, says=MODES):
    return (
        Part("order", order, ORDER, compare="equal"),
        Part("weights", weights, WEIGHTS, compare="equal"),
        Part("inference", inference, INFERENCE, rtol=1e-3, atol=1e-4),
        Part("modes", modes, says, compare="equal"),
    )


# ---------------------------------------------------------------- 1. conv_block


def _block(channels, filters, activation, rate):
    return {"channels": channels, "filters": filters, "activation": activation, "rate": rate}


conv_block = Task(
    id="conv_block",
    parts=_parts(2, 1, 1, 1),
    cases={
        "elu, rate 0.25": _block(2, 4, "elu", 0.25),
        "gelu, no dropout": _block(3, 5, "gelu", 0.0),
    },
    hidden={"tanh, rate 0.6": _block(1, 6, "tanh", 0.6)},
    probe=PROBES + "probe = probe_conv_block\n",
)

# ---------------------------------------------------------------- 2. residual_block


def _residual(channels, filters, strides):
    return {"channels": channels, "filters": filters, "strides": strides}


residual_block = Task(
    id="residual_block",
    parts=_parts(2, 1, 2, 1)[:3],
    cases={
        "same shape": _residual(4, 4, 1),
        "more channels": _residual(3, 5, 1),
        "half the size": _residual(4, 4, 2),
    },
    hidden={"half the size, more channels": _residual(4, 6, 2)},
    probe=PROBES + "probe = probe_residual_block\n",
)

# ---------------------------------------------------------------- 3. classifier_head


def _head(channels, classes, units, rate):
    return {"channels": channels, "classes": classes, "units": units, "rate": rate}


classifier_head = Task(
    id="classifier_head",
    parts=_parts(2, 1, 1, 1, says=f"two truth values: {TWICE}"),
    cases={"three classes": _head(5, 3, 8, 0.4), "no dropout": _head(3, 4, 6, 0.0)},
    hidden={"ten classes, rate 0.2": _head(2, 10, 12, 0.2)},
    probe=PROBES + "probe = probe_classifier_head\n",
)

# ---------------------------------------------------------------- 4. build_cnn


def _cnn(size, channels, classes, filters, rate):
    return {
        "size": size,
        "channels": channels,
        "classes": classes,
        "filters": filters,
        "rate": rate,
    }


build_cnn = Task(
    id="build_cnn",
    parts=_parts(2, 1, 2, 1),
    cases={
        "two equal blocks": _cnn(8, 1, 3, [4, 4], 0.5),
        "two blocks": _cnn(8, 3, 10, [3, 6], 0.2),
    },
    hidden={"three blocks": _cnn(8, 2, 4, [2, 4, 6], 0.4)},
    probe=PROBES + "probe = probe_build_cnn\n",
)

TASKS = (conv_block, residual_block, classifier_head, build_cnn)
