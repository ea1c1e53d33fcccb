"""The experiments of the course: which arms are compared, on what data, over how many seeds.

An arm that claims judge "at its best setting" stands here once for each setting, with the setting
in its name: "few images, plain, learning rate 0.001". What the claims make of it is in
`course.lab.claims`.

The values of the settings were chosen on the runs of the first edition and on pilot runs with the
seeds 1000 to 1002, which no experiment has. "eight", "eight full", "cost", "large", "per second",
"per second full" and "moving input" are those of the first edition, and so are their runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from course.lab.trial import SHARED, merged

DENSE_LOOKS, CONV_LOOKS, EXACT_LOOKS = (64, 128), (24, 48), (8, 16)


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
        How many seeds the ledger's first look has, and its second, which is twice as many. They
        are of initial weights, order of the images, masks, and choice of images.
    first_seed : int
        The seeds are this one and those that follow.
    small : mapping
        Parameters of the version that runs in about a minute, where they differ; "seeds" is one of
        them.
    template : str
        Name of the notebook, without its ending.
    """

    question: str
    arms: Mapping[str, Mapping]
    common: Mapping = field(default_factory=dict)
    looks: tuple[int, int] = DENSE_LOOKS
    first_seed: int = 0
    small: Mapping = field(default_factory=dict)
    template: str = "train"

    @property
    def seeds(self):
        """How many seeds the first look has."""
        return self.looks[0]


def arm_name(*parts):
    """The name of an arm: setting, treatment, and the value of what is tuned."""
    return ", ".join(map(str, parts))


def options(**values):
    """An arm that differs in options of the model alone."""
    return {"options": values}


def swept(name, changes, parameter, values, **others):
    """An arm once for each value of a parameter, which it is named after.

    `parameter` is such as "learning_rate", or "options.rate" for an option of the model.
    """
    word = parameter.rpartition(".")[2].replace("_", " ")
    return {
        arm_name(name, f"{word} {value}"): merged(changes, {parameter: value}, others)
        for value in values
    }


def family(experiment, name):
    """The arms that are settings of one: all whose names begin with this one, as a tuple."""
    arms = EXPERIMENTS[experiment].arms
    return tuple(arm for arm in arms if arm.startswith(f"{name}, "))


BOTH = {"norm": "batch", "dense_rate": 0.4, "conv_rate": 0.1}
ALL_THREE = BOTH | {"augmentation": "shift_flip"}
BATCH = {"norm": "batch"}
# A run of the ledger is long enough for its network to fit its images, and short enough for a
# laptop: some hundred to a thousand steps. Adam's rates are below Keras's 0.001, because its best
# epoch is then not one of the first few, between which the loss jumps.
ADAM = (0.0002, 0.0005, 0.001)
USUAL = ADAM[1]  # of the arms that are at their best of several rates of dropout
DROPOUT = (0.2, 0.35, 0.5)
SGD = (0.03, 0.1, 0.3)
DEEP = (0.0003, 0.001, 0.003, 0.01)
GHOST = (0.0005, 0.001, 0.002)  # steps of 128 images are few
LEDGER = {"dataset": "fashion_mnist", "measure": ["best"]}
DENSE = LEDGER | {"model": "mlp", "options": {"width": 128}, "epochs": 20, "learning_rate": USUAL}
CONV = LEDGER | {
    "model": "cnn",
    "options": {"size": "small"},
    "train_size": 1_000,
    "epochs": 30,
}
# By the number of images: how many digits stand for them. There are fewer, and they are easier.
ON_DIGITS = {100: 50, 500: 150, 1_000: 300, 2_000: 600, 4_000: 900, 5_000: 1_000, 20_000: 1_197}


def tuned(name, changes, rates=ADAM):
    """An arm once for each learning rate."""
    return swept(name, changes, "learning_rate", rates)


def _two_by_two():
    """Batch norm, dropout, both, neither, on few images and on more; two of them on the fewest and
    the most.
    """
    arms = {}
    for name, size, epochs, batch in (
        ("fewest images", 100, 60, 20),
        ("few images", 1_000, 60, 64),
        ("more images", 5_000, 20, 64),
        ("most images", 20_000, 10, 128),
    ):
        common = {"train_size": size, "epochs": epochs, "batch_size": batch}
        beside = {"plain": {}, "batch norm": BATCH} if 100 < size < 20_000 else {"plain": {}}
        for kind, extra in beside.items():
            here = common | options(**extra)
            looks = ["best", "equal_training"] if len(beside) == 2 else ["best"]
            arms |= tuned(arm_name(name, kind), here | {"measure": looks})
            treatment = arm_name(name, "both" if extra else "dropout")
            arms |= swept(treatment, here, "options.rate", DROPOUT)
    for arm, looks in {
        f"plain, learning rate {USUAL}": ["best", "equal_training", "sparsity"],
        "dropout, rate 0.5": ["best", "monte_carlo", "dropout_on", "sparsity"],
        "both, rate 0.5": ["best", "monte_carlo"],
    }.items():
        for name in (arm_name("few images", arm), arm_name("more images", arm)):
            arms[name] = arms[name] | {"measure": looks}
    return arms


def _rates():
    """Rates by width and by number of images."""
    arms = {}
    for width in (64, 256):
        for name, size, epochs, batch in (
            ("few images", 500, 80, 50),
            ("more images", 4_000, 20, 64),
        ):
            common = options(width=width) | {
                "train_size": size,
                "epochs": epochs,
                "batch_size": batch,
            }
            for kind, rates in (
                ("below", (0, 0.1, 0.2)),
                ("within", (0.3, 0.4, 0.5)),
                ("above", (0.6, 0.7, 0.8)),
            ):
                where = arm_name(f"width {width}", name, kind)
                arms |= swept(where, common, "options.rate", rates)
    return arms


def _conv():
    """All that is asked of the small convolutional network: they share their plain arms."""
    arms = tuned("plain", {}, (0.001, 0.002, 0.004))
    for name, placement in (("batch norm", "before"), ("batch norm after", "after")):
        arms |= tuned(name, options(**BATCH, placement=placement), (0.002, 0.004, 0.008))
    for name, changes in (("dropout", {}), ("both", options(**BATCH) | {"learning_rate": 0.004})):
        arms |= swept(name, changes, "options.dense_rate", DROPOUT)
    for name, rates in (("low", (0.1, 0.2, 0.3)), ("high", (0.4, 0.5, 0.6))):
        arms |= swept(arm_name("elementwise", name), {}, "options.conv_rate", rates)
    spatial = options(conv_dropout="spatial")
    arms |= swept("spatial, low", spatial, "options.conv_rate", (0.1, 0.2, 0.3))
    for name in ("dropout", "both"):
        looked_at = arm_name(name, "dense rate 0.5")
        arms[looked_at] = arms[looked_at] | {"measure": ["best", "monte_carlo"]}
    return arms


def _batch_sizes():
    """The moving statistics are of about the last 640 images, whatever the size of a batch."""
    arms = {}
    for norm in ("batch", "layer"):
        for size in (2, 4, 8, 16, 64):
            changes = options(norm=norm) | {
                "batch_size": size,
                "batch_norm_momentum": 1 - size / 640,
            }
            rates = {16: (0.0005, 0.001, 0.002), 64: (0.001, 0.002, 0.004)}.get(
                size, (0.0001, 0.0003, 0.001)
            )
            arms |= tuned(arm_name(norm, f"batch {size}"), changes, rates)
    return arms


def _order():
    """Where dropout stands beside batch norm; two lengths for the shift of the variance."""
    arms = {}
    for width in (64, 256):
        network = options(width=width, depth=3, **BATCH)
        where = f"width {width}"
        arms |= tuned(arm_name("no dropout", where), network)
        for name, changes in (
            ("batch norm, then dropout", {}),
            ("dropout, then batch norm", options(dropout_order="before_norm")),
        ):
            here = merged(network, changes)
            arms |= swept(arm_name(name, where), here, "options.rate", (0.1, 0.25, 0.5))
            looks = {"measure": ["best", "variance_shift"]}
            long = arm_name(name, where, "rate 0.5")
            arms[long] = arms[long] | looks
            arms[arm_name("a quarter as long", name, where)] = merged(
                here, options(rate=0.5), {"epochs": 6}, looks
            )
        for rate in (0.25, 0.5, 0.7):
            arms[arm_name("last block", where, f"rate {rate}")] = merged(
                network, options(rate=[0, 0, rate])
            )
    return arms


def _shift():
    """Noise after each batch norm brings the covariate shift back (Santurkar et al. 2018)."""
    arms = {}
    for scale in (1.0, 0.5):
        for name, extra in (
            ("plain", {}),
            ("batch norm", BATCH),
            ("noisy batch norm", BATCH | {"drift": 0.3}),
        ):
            network = options(initial_scale=scale, **extra)
            arms |= tuned(arm_name(f"scale {scale}", name), network, SGD)
    return arms


def _kinds(settings, rates, kinds=(("plain", {}), ("batch norm", BATCH))):
    """Plain and with batch norm, in several settings, at several learning rates."""
    arms = {}
    for where, network in settings.items():
        for name, extra in kinds:
            arms |= tuned(arm_name(where, name), options(**network, **extra), rates)
    return arms


def _placement():
    arms = {}
    for kind, network in (("dense", {"depth": 3}), ("residual", {"depth": 6, "residual": True})):
        for placement in ("before", "after"):
            changes = options(**network, **BATCH, placement=placement)
            arms |= tuned(arm_name(kind, placement), changes)
    return arms


def _ghost():
    """How many images share their statistics: the noise of batch norm, and dropout beside it."""
    arms = {}
    for size in (128, 32, 16, 8):
        kind = "quiet" if size == 128 else f"noisy, {size} images"
        arms |= tuned(kind, {"ghost_size": size}, GHOST)
    for kind, size in (("quiet", 128), ("noisy", 8)):
        arms |= swept(f"{kind} and dropout", {"ghost_size": size}, "rate", DROPOUT)
    return arms


def _leakage():
    return {
        arm_name(norm, batches): options(norm=norm)
        | {"batches": batches.replace(" ", "_"), "measure": looks}
        for norm, looks in (("batch", ["best", "recomputed"]), ("none", ["best"]))
        for batches in ("shuffled", "by class")
    }


def _transformer(blocks):
    arms = {}
    for norm in ("layer", "batch", "none", "dyt"):
        arms |= tuned(norm, {"norm": norm, "blocks": blocks}, (0.001, 0.003, 0.01))
    return arms


def _early():
    """Dropout in the first half of the steps, and in none."""
    early = {"drop_until": 468, "learning_rate": 0.002}
    return tuned("none", {}, (0.001, 0.002, 0.004)) | swept(
        "early", early, "rate", (0.05, 0.1, 0.2)
    )


def _remedies():
    """What regularises beside batch norm, in place of dropout."""
    arms = tuned("none", {"measure": ["best", "effective_rate"]})
    arms |= swept("dropout", {}, "rate", DROPOUT)
    arms |= swept("label smoothing", {}, "label_smoothing", (0.03, 0.1, 0.2))
    arms |= swept("weight decay", {}, "weight_decay", (0.3, 1, 3))
    decay = {"weight_decay": 2, "measure": ["best", "effective_rate"]}
    return arms | tuned("decay", decay)


def _stochastic_depth():
    arms = tuned("all branches", {})
    return arms | swept("stochastic depth", {}, "survival", (0.95, 0.8, 0.6))


def _branches():
    arms = {}
    for name, changes in (
        ("batch norm alone", BATCH),
        ("residual", {"residual": True}),
        ("residual and batch norm", BATCH | {"residual": True}),
        ("residual with a branch from 0", {"residual": True, "branch": "zero"}),
    ):
        arms |= tuned(name, changes, DEEP)
    return arms


TRANSFORMER = LEDGER | {"epochs": 10, "batch_size": 50, "schedule": "cosine"}

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
LARGE = {
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
        common=LARGE,
        looks=(3, 6),
        small={"train_size": 2_000, "epochs": 4, "seeds": 1},
    ),
    "large, frozen": Experiment(
        "Does it come as far with seeds that took no part in choosing its recipe?",
        arms={"large, all images": {}},
        common=LARGE,
        looks=(5, 10),
        first_seed=100,
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
    "moving input": Experiment(
        "Does batch norm help because it holds the input of each layer still?",
        arms={
            "plain": {},
            "batch norm": options(norm="batch"),
            "noisy batch norm": options(norm="batch", drift=0.3),
        },
        common={
            "dataset": "fashion_mnist",
            "model": "mlp",
            "options": {"width": 128, "depth": 6},
            "epochs": 15,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "measure_every": 5,
            "record_every": 5,
            "measure": ["drift"],
        },
        looks=(8, 16),
        small={"epochs": 5, "seeds": 2},
    ),
    "exact": Experiment(
        "What do the layers of Keras compute, digit for digit?",
        arms={"layers": {}},
        common={"dataset": "digits"},
        looks=EXACT_LOOKS,
        small={"seeds": 2},
        template="exact",
    ),
    "two by two": Experiment(
        "Batch norm, dropout, both, neither: what does each do beside the other?",
        arms=_two_by_two(),
        common=merged(DENSE, options(width=256)),
        small={"seeds": 1},  # shorter, some would not fit their images as well as is asked
    ),
    "rates": Experiment(
        "How much dropout is good for a dense network?",
        arms=_rates(),
        common=DENSE | {"learning_rate": 0.001},
        small={"epochs": 10, "seeds": 1},
    ),
    "learning rates": Experiment(
        "Which learning rates does gradient descent bear with batch norm, and does it get there"
        " sooner?",
        arms=_kinds({"depth 3": {"depth": 3}}, (0.03, 0.1, 0.3, 1.0, 3.0)),
        common=DENSE | {"optimizer": "sgd", "measure": ["best", "target"]},
        small={"epochs": 6, "seeds": 2},
    ),
    "covariate shift": Experiment(
        "How much of what batch norm brings does it lose when its outputs are shaken?",
        arms=_shift(),
        common=merged(DENSE, options(depth=6), {"optimizer": "sgd", "epochs": 15}),
        small={"epochs": 5, "seeds": 2},
    ),
    "initial scales": Experiment(
        "How much does the size of the initial weights matter?",
        arms=_kinds(
            {f"scale {scale}": {"initial_scale": scale} for scale in (0.05, 1.0, 10.0)},
            (0.0003, 0.001, 0.003),
        ),
        common=merged(DENSE, options(depth=6), {"epochs": 15}),
        small={"epochs": 6, "seeds": 2},
    ),
    "depths": Experiment(
        "Does batch norm make deep networks trainable, by initial weights?",
        arms=_kinds(
            {
                "depth 20, scale 1": {"depth": 20},
                "depth 40, scale 1": {"depth": 40},
                "depth 20, scale 0.5": {"depth": 20, "initial_scale": 0.5},
            },
            DEEP,
        ),
        common=merged(DENSE, options(width=64), {"epochs": 10}),
        small={"epochs": 4, "seeds": 1},
    ),
    "branches": Experiment(
        "What makes 40 layers trainable: batch norm, residual connections, or a small branch?",
        arms=_branches(),
        common=LEDGER | {"depth": 40, "width": 64, "epochs": 10},
        small={"epochs": 4, "seeds": 1},
        template="variants",
    ),
    "batch sizes": Experiment(
        "How small may a batch be?",
        arms=_batch_sizes(),
        common=DENSE | {"train_size": 1_000, "epochs": 6},
        small={"train_size": 500, "epochs": 3, "seeds": 1},
    ),
    "placement": Experiment(
        "Batch norm before or after the activation?",
        arms=_placement(),
        common=DENSE,
        small={"epochs": 5, "seeds": 2},
    ),
    "order": Experiment(
        "Dropout before batch norm, after it, or in the last block alone?",
        arms=_order(),
        common=DENSE | {"epochs": 24},
        small={"train_size": 500, "seeds": 1},  # of few epochs, some arms are another's quarter
    ),
    "momentum": Experiment(
        "After how many steps can inference be trusted, when the momentum is 0.99?",
        arms={
            arm_name(f"{25 * epochs} steps", schedule): {"epochs": epochs, "schedule": schedule}
            for epochs in (4, 12, 40)
            for schedule in ("constant", "cosine")
        },
        common=merged(
            DENSE,
            options(**BATCH),
            {
                "batch_size": 80,
                "learning_rate": 0.001,
                "batch_norm_momentum": 0.99,
                "measure": ["best", "recomputed"],
            },
        ),
        small={"seeds": 3},
    ),
    "modes": Experiment(
        "What happens with the statistics of the batch at inference, and on other images?",
        arms={"two blocks": {}, "four blocks": options(depth=4)},
        common=merged(
            DENSE,
            options(**BATCH),
            {"measure": ["best", "batch_statistics", "adapted", "fine_tuning"]},
        ),
        small={"epochs": 5, "seeds": 2},
    ),
    "leakage": Experiment(
        "What does batch norm learn from batches of one class?",
        arms=_leakage(),
        common=LEDGER | {"epochs": 10, "batch_size": 32},
        small={"epochs": 4, "seeds": 1},
        template="leakage",
    ),
    "ghost": Experiment(
        "Does the noise of small batches in batch norm regularise?",
        arms=_ghost(),
        common=LEDGER | {"epochs": 25, "batch_size": 128, "learning_rate": GHOST[1]},
        small={"epochs": 5, "seeds": 1},
        template="ghost",
    ),
    "early dropout": Experiment(
        "Does dropout in the first half of the steps help a network that underfits?",
        arms=_early(),
        common=LEDGER
        | {
            "train_size": 20_000,
            "width": 64,
            "epochs": 6,
            "batch_size": 128,
            "schedule": "cosine",
        },
        small={"train_size": 2_000, "epochs": 4, "seeds": 1},
        template="variants",
    ),
    "remedies": Experiment(
        "What can stand in for dropout beside batch norm?",
        arms=_remedies(),
        common=LEDGER | {"norm": "batch", "width": 256, "epochs": 20, "learning_rate": USUAL},
        small={"epochs": 5, "seeds": 1},
        template="variants",
    ),
    "stochastic depth": Experiment(
        "Is it good to leave out whole branches, beside batch norm?",
        arms=_stochastic_depth(),
        common=LEDGER
        | {
            "norm": "batch",
            "residual": True,
            "depth": 9,
            "width": 128,
            "epochs": 20,
            "learning_rate": USUAL,
        },
        small={"epochs": 5, "seeds": 1},
        template="variants",
    ),
    "transformer": Experiment(
        "Which norm does a tiny transformer want?",
        arms=_transformer(1),
        common=TRANSFORMER,
        small={"epochs": 3, "seeds": 1},
        template="transformer",
    ),
    "transformer, six blocks": Experiment(
        "And one of six blocks?",
        arms=_transformer(6),
        common=TRANSFORMER,
        looks=CONV_LOOKS,
        small={"epochs": 2, "seeds": 1},
        template="transformer",
    ),
    "conv": Experiment(
        "What do batch norm and dropout do in a small convolutional network, and where?",
        arms=_conv(),
        common=CONV | {"learning_rate": 0.002},
        looks=CONV_LOOKS,
        small={"epochs": 4, "seeds": 1},
    ),
}


def _on_digits(experiment, keep_batch, longer, often):
    """The same arms on scikit-learn's digits, in about as many steps or `longer`.

    There are fewer images, so a batch has half of what it has, unless its size is in question.
    Their epochs are short: measured as often as the others, not more, unless `often`.
    """
    arms = {}
    for arm, changes in experiment.arms.items():
        values = SHARED | merged(experiment.common, changes)
        images, batch = ON_DIGITS[values["train_size"]], values["batch_size"]
        steps = values["epochs"] * (values["train_size"] // batch)
        batch = batch if keep_batch else batch // 2
        epochs = max(1, round(longer * steps / (images // batch)))
        arms[arm] = {
            **changes,
            "train_size": images,
            "batch_size": batch,
            "epochs": epochs,
            "measure_every": 1 if often else max(1, epochs // values["epochs"]),
        }
    common = {**experiment.common, "dataset": "digits"}
    small = {name: value for name, value in experiment.small.items() if name != "train_size"}
    return replace(experiment, arms=arms, common=common, small=small)


# Dense networks are asked twice; whether a verdict depends on the data is then a finding.
ON_BOTH = (
    "two by two",
    "rates",
    "learning rates",
    "covariate shift",
    "moving input",
    "initial scales",
    "depths",
    "branches",
    "batch sizes",
    "placement",
    "order",
    "momentum",
    "modes",
    "leakage",
    "ghost",
    "remedies",
    "stochastic depth",
    "transformer",
)
EXPERIMENTS |= {
    f"{name} digits": _on_digits(
        EXPERIMENTS[name],
        keep_batch=name in ("batch sizes", "ghost"),
        # With dropout their best epoch comes late, and comes into the claims.
        longer=2 if name == "two by two" else 1,
        # The epoch in which a training loss falls to a number is one of the first.
        often=name == "two by two",
    )
    for name in ON_BOTH
}
