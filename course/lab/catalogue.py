"""The experiments of the course: which arms are compared, on what data, over how many seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from course.lab.trial import merged


@dataclass(frozen=True)
class Experiment:
    """Arms to be compared, seed by seed.

    Parameters
    ----------
    question : str
        What it is to answer, in a sentence.
    arms : mapping of str to mapping
        By the name of the arm: the parameters of the template in which it differs.
    common : mapping
        Parameters that all arms share; the rest are at their defaults (`course.lab.trial`).
    looks : (int, int)
        Repetitions: seeds 0, 1, ... of initial weights, order of the images, masks, and choice of
        images.
    small : mapping
        Parameters of the version that runs in about a minute, where they differ; "seeds" is one of
        them.
    template : str
        Name of the notebook, without its ending.
    """

    question: str
    arms: Mapping[str, Mapping]
    common: Mapping = field(default_factory=dict)
    looks: tuple[int, int] = (8, 16)
    small: Mapping = field(default_factory=dict)
    template: str = "train"

    @property
    def seeds(self):
        return self.looks[0]


def arm_name(setting, treatment):
    """The name of an arm that is one of several treatments, each in several settings."""
    return f"{setting}, {treatment}"


def options(**values):
    """An arm that differs in options of the model alone."""
    return {"options": values}


BOTH = {"norm": "batch", "dense_rate": 0.4, "conv_rate": 0.1}
ALL_THREE = BOTH | {"augmentation": "shift_flip"}
BATCH = {"norm": "batch"}
# Of the ledger: long enough for the networks to fit their images, short enough for a laptop.
MIXED = {
    "dataset": "fashion_mnist",
    "model": "mlp",
    "epochs": 15,
    "measure_every": 5,
}  # dense where an arm says no more
DENSE = merged(MIXED, options(width=128))
CONV = {
    "dataset": "fashion_mnist",
    "model": "cnn",
    "options": {"size": "small"},
    "epochs": 12,
    "measure_every": 4,
}


def _two_by_two():
    """Batch norm, dropout, both, neither: dense and conv, with few and with more images."""
    kinds = {
        "plain": {},
        "batch norm": BATCH,
        "dropout": {"rate": 0.5},
        "both": BATCH | {"rate": 0.5},
    }
    arms = {}
    for kind, extra in kinds.items():
        looks = ["monte_carlo", "dropout_on", "active"] if "rate" in extra else ["active"]
        for size, epochs in ((1_000, 30), (5_000, 15)):
            few = {"train_size": size, "epochs": epochs, "measure": looks}
            arms[arm_name(f"dense {size}", kind)] = merged(DENSE, options(width=256, **extra), few)
        conv = {"dense_rate" if name == "rate" else name: value for name, value in extra.items()}
        few = {"train_size": 1_000, "epochs": 30, "measure": looks}
        arms[arm_name("conv 1000", kind)] = merged(CONV, options(**conv), few)
    return arms


def _batch_sizes():
    arms = {}
    for norm in ("batch", "layer"):
        for size in (2, 4, 8, 16, 64):
            looks = ["recomputed"] if norm == "batch" else []
            changes = {"batch_size": size, "measure": looks}
            arms[arm_name(f"dense {norm}", f"batch {size}")] = (
                options(width=128, norm=norm) | changes
            )
    for norm in ("batch", "group"):
        for size in (2, 16):
            changes = {"batch_size": size, "epochs": 4}
            arms[arm_name(f"conv {norm}", f"batch {size}")] = merged(
                CONV, options(norm=norm), changes
            )
    return arms


def _order():
    arms = {}
    for width in (64, 512):
        for name, extra in {
            "batch norm, then dropout": {"rate": 0.5},
            "dropout, then batch norm": {"rate": 0.5, "dropout_order": "before_norm"},
            "dropout in the last block": {"rate": [0, 0, 0.5]},
            "no dropout": {},
        }.items():
            looks = ["variance_shift"] if extra.get("rate") == 0.5 else []
            network = options(width=width, depth=3, norm="batch", **extra)
            arms[arm_name(name, f"width {width}")] = network | {"measure": looks}
    return arms


EIGHT = {
    "small": options(size="small"),
    "medium": {},
    "augmentation": options(augmentation="shift_flip"),
    "batch norm": options(norm="batch"),
    "dropout": options(dense_rate=0.4, conv_rate=0.1),
    "both": options(**BOTH),
    "all three": options(**ALL_THREE),
    "large": options(size="pyramid", **ALL_THREE),
}
EIGHT_PROTOCOL = {
    "dataset": "fashion_mnist",
    "train_size": 4_000,
    "validation_size": 6_000,
    "model": "cnn",
    "options": {"size": "medium"},
    "epochs": 60,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "measure_every": 5,
    "measure": ["test"],
}

# Dropout before the softmax alone: masks of the maps would cost time, too. Shifts by whole pixels
# do not blur what they shift, and weight decay is what lets a large step end well.
LARGE_RECIPE = {
    "size": "pyramid",
    "norm": "batch",
    "augmentation": "pixel_shift_flip_erase",
    "dense_rate": 0.2,
    "conv_rate": 0,
}
PER_SECOND = {
    "dataset": "fashion_mnist",
    "train_size": 6_000,
    "validation_size": 6_000,
    "model": "cnn",
    "options": LARGE_RECIPE,
    "epochs": 12,
    "batch_size": 128,
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "measure_every": 2,
}

EXPERIMENTS = {
    "eight": Experiment(
        "What do augmentation, batch norm and dropout each bring a convolutional network, and"
        " together?",
        arms=EIGHT,
        common=EIGHT_PROTOCOL,
        looks=(5, 10),
        small={"train_size": 1_000, "epochs": 8, "measure_every": 2, "seeds": 1},
    ),
    "eight full": Experiment(
        "And what do they bring on all of Fashion-MNIST? In 24 epochs, which want a GPU, or a"
        " night.",
        arms=EIGHT,
        common=EIGHT_PROTOCOL
        | {
            "train_size": 0,
            "epochs": 24,
            "batch_size": 256,
            "learning_rate": 2e-3,
            "measure_every": 4,
        },
        looks=(5, 10),
        small={"train_size": 1_000, "epochs": 8, "batch_size": 64, "measure_every": 2, "seeds": 1},
    ),
    "cost": Experiment(
        "What does a run of each of the eight cost? For a machine that does nothing else:"
        " `--workers 1`.",
        arms=EIGHT,
        common=EIGHT_PROTOCOL | {"epochs": 3, "measure": []},
        looks=(2, 4),
        small={"seeds": 1},
    ),
    "large": Experiment(
        "How far does the large network come on all of Fashion-MNIST?",
        arms={"large, all images": {}},
        common={
            "dataset": "fashion_mnist",
            "train_size": 0,
            "validation_size": 6_000,
            "model": "cnn",
            "options": LARGE_RECIPE,
            "epochs": 200,
            "batch_size": 256,
            "optimizer": "adamw",
            "learning_rate": 4e-3,
            "schedule": "cosine",
            "measure_every": 5,
            "measure": ["test", "mirrored"],
        },
        looks=(3, 6),
        small={"train_size": 2_000, "epochs": 4, "seeds": 1},
    ),
    "per second": Experiment(
        "Which network is the better one for its seconds? In as many epochs as take about equally"
        " long.",
        arms={
            "pyramid": {},
            "residual": options(size="residual") | {"epochs": 7},
            "double": options(size="double") | {"epochs": 6},
            "wide": options(size="wide") | {"epochs": 4},
        },
        common=PER_SECOND,
        looks=(5, 10),
        small={"train_size": 1_000, "seeds": 1},
    ),
    "per second full": Experiment(
        "And on all images, against the better of the networks that are brute force?",
        arms={"pyramid": {}, "double": options(size="double") | {"epochs": 6}},
        common=PER_SECOND | {"train_size": 0, "epochs": 13},
        looks=(4, 8),
        small={"train_size": 2_000, "seeds": 1},
    ),
    "exact": Experiment(
        "What do the layers of Keras compute, digit for digit?",
        arms={"layers": {}},
        common={"dataset": "digits"},
        small={"seeds": 2},
        template="exact",
    ),
    "two by two": Experiment(
        "Batch norm, dropout, both, neither: what does each do beside the other?",
        arms=_two_by_two(),
        small={"epochs": 10, "seeds": 1},
    ),
    "rates": Experiment(
        "How much dropout is good for a dense network?",
        arms={
            f"rate {rate}": options(rate=rate)
            for rate in (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
        },
        common=DENSE | {"epochs": 30, "measure_every": 10},
        small={"epochs": 10, "seeds": 2},
    ),
    "data size": Experiment(
        "For how many training images does dropout help most?",
        arms={
            arm_name(f"{size} images", name): (
                options(rate=rate) | {"train_size": size, "epochs": epochs, "batch_size": 50}
            )
            for size, epochs in ((100, 150), (500, 60), (1_000, 40), (5_000, 15), (20_000, 8))
            for name, rate in (("plain", 0), ("dropout", 0.5))
        },
        common=merged(DENSE, options(width=256), {"measure_every": 200}),
        small={"epochs": 8, "seeds": 2},
    ),
    "conv dropout": Experiment(
        "Where and how should a convolutional network drop?",
        arms={
            "none": {},
            "dense 0.5": options(dense_rate=0.5),
            "conv 0.2": options(conv_rate=0.2),
            "spatial 0.2": options(conv_rate=0.2, conv_dropout="spatial"),
            "conv 0.5": options(conv_rate=0.5),
        },
        common=CONV | {"epochs": 15, "measure_every": 5},
        small={"epochs": 5, "seeds": 1},
    ),
    "learning rates": Experiment(
        "Which learning rates does gradient descent bear with batch norm, and does it get there"
        " sooner?",
        arms={
            arm_name(name, f"learning rate {rate}"): options(**extra) | {"learning_rate": rate}
            for name, extra in (("plain", {}), ("batch norm", BATCH))
            for rate in (0.1, 1.0, 3.0)
        },
        common=merged(
            DENSE,
            options(depth=3),
            {"optimizer": "sgd", "measure_every": 1, "measure": ["target"]},
        ),
        small={"epochs": 6, "seeds": 2},
    ),
    "initial scales": Experiment(
        "How much does the size of the initial weights matter?",
        arms={
            arm_name(name, f"scale {scale}"): options(initial_scale=scale, **extra)
            for name, extra in (("plain", {}), ("batch norm", BATCH))
            for scale in (0.05, 1.0, 10.0)
        },
        common=merged(DENSE, options(depth=6)),
        small={"epochs": 6, "seeds": 2},
    ),
    "depths": Experiment(
        "Which of batch norm and residual connections makes deep networks trainable?",
        arms={
            "depth 20, plain": options(depth=20),
            "depth 20, batch norm": options(depth=20, norm="batch"),
            "depth 40, batch norm": options(depth=40, norm="batch"),
            "depth 40, residual": options(depth=40, residual=True),
            "depth 40, residual and batch norm": options(depth=40, residual=True, norm="batch"),
        },
        common=merged(DENSE, options(width=64), {"epochs": 10}),
        small={"epochs": 4, "seeds": 1},
    ),
    "batch sizes": Experiment(
        "How small may a batch be?",
        arms=_batch_sizes(),
        common=MIXED | {"train_size": 1_000, "epochs": 6, "measure_every": 6},
        small={"train_size": 500, "epochs": 3, "seeds": 1},
    ),
    "placement": Experiment(
        "Batch norm before or after the activation?",
        arms={
            arm_name(kind, placement): merged(common, options(norm="batch", placement=placement))
            for kind, common in (
                ("dense", merged(DENSE, options(depth=3))),
                ("residual", merged(DENSE, options(depth=6, residual=True))),
                ("conv", CONV),
            )
            for placement in ("before", "after")
        },
        small={"epochs": 5, "seeds": 2},
    ),
    "order": Experiment(
        "Dropout before batch norm, behind it, or in the last block alone?",
        arms=_order(),
        common=DENSE,
        small={"epochs": 5, "seeds": 1},
    ),
    "momentum": Experiment(
        "After how many steps can inference be trusted, when the momentum is 0.99?",
        arms={f"{31 * epochs} steps": {"epochs": epochs} for epochs in (3, 10, 32)},
        common=merged(
            DENSE,
            options(norm="batch"),
            {"batch_norm_momentum": 0.99, "measure": ["recomputed"]},
        ),
        small={"seeds": 3},
    ),
    "moving input": Experiment(
        "Does batch norm help because it holds the input of each layer still?",
        arms={
            "plain": {},
            "batch norm": options(norm="batch"),
            "noisy batch norm": options(norm="batch", drift=0.3),
        },
        common=merged(
            DENSE,
            options(depth=6),
            {
                "optimizer": "sgd",
                "learning_rate": 0.1,
                "record_every": 5,
                "measure": ["drift"],
            },
        ),
        small={"epochs": 5, "seeds": 2},
    ),
    "modes": Experiment(
        "What happens with the statistics of the batch at inference?",
        arms={
            "dense": options(width=128, norm="batch"),
            "conv": merged(CONV, options(norm="batch")),
        },
        common=MIXED | {"measure": ["batch_statistics"]},
        small={"epochs": 5, "seeds": 2},
    ),
    "leakage": Experiment(
        "What does batch norm learn from batches of one class?",
        arms={"shuffled": {}, "by class": {"batches": "by_class"}},
        common=options(norm="batch")
        | {
            "dataset": "fashion_mnist",
            "epochs": 10,
            "batch_size": 32,
            "measure": ["recomputed"],
        },
        small={"seeds": 2},
        template="leakage",
    ),
    "ghost": Experiment(
        "Does the noise of small batches in batch norm regularise?",
        arms={f"{size} images share statistics": {"ghost_size": size} for size in (128, 32, 8, 4)},
        common={"dataset": "fashion_mnist", "epochs": 10, "batch_size": 128},
        small={"seeds": 2},
        template="ghost",
    ),
    "transformer": Experiment(
        "Which norm does a tiny transformer want?",
        arms={norm: {"norm": norm} for norm in ("layer", "batch", "none")},
        common={
            "dataset": "fashion_mnist",
            "epochs": 10,
            "batch_size": 50,
            "learning_rate": 0.005,
            "schedule": "cosine",
        },
        small={"seeds": 1},
        template="transformer",
    ),
}
