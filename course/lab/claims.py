"""The claims that texts on batch norm and dropout make, each with the contrasts that test it.

Sources: **N** is a set of engineering notes on batch normalization and dropout in ten sections,
**E** a write-up of eight experiments on Fashion-MNIST; both are public and typical. A dash: no
text's claim, but a thing to know.

This is the second edition of the list. It is fixed, with the arms in `course.lab.catalogue`, in the
commit `REGISTERED`, before its runs: the contrasts, what they are expected to be if the claim is
right, and the smallest difference that matters. It was written with the runs of the first edition
known, and some of its settings were chosen on pilot runs whose seeds no experiment has. The claims
E1 to E8 and the controls on "moving input" are still judged on runs of the first edition.
`AMENDED` says what was changed after that, and why.

How it asks:

- "Better" is asked of test images (`best_test_loss`, `best_test_accuracy`), at the epoch that was
  best in validation loss, with each arm at its best of three settings or more, which validation
  loss chooses. A sentence about another moment is tested there: of training, at the last epoch
  (`train_loss`, `train_accuracy`); of a network that was trained on, at the last epoch, too.
- What a network does with its layers in another mode, or after further training, is read on the
  2,000 validation images. An accuracy over so few has a standard error of up to 0.011 in a run, of
  0.0014 in the mean of 64; the smallest difference that matters is seven times that.
- A sentence that one thing does less, or more, than another is asked as a difference of
  differences.
- One verb has one smallest difference: `SMALLEST`.
"""

from math import log2

from course.lab.catalogue import EXPERIMENTS, arm_name, family
from course.lab.verdict import Beside, Claim, Contrast

REGISTERED = "fc73b74"
# The claims in the first of these commits, the rule in the second; by a reading of the list when 20
# of its claims had been measured, none of these among them. Runs of faster, adapted-statistics,
# frozen-tuning and equal-training had been seen.
AMENDED_IN = ("1f90c48", "52337cd")
AMENDED = (
    "adapted-statistics and frozen-tuning: the shift of the images is bent, for a straight one is"
    " what recomputed statistics take away by construction; a control for four blocks; tuned on"
    " test images, unshifted ones, too.",
    "both-then-more and all arms of 'order': dropout at the learning rate 0.0005, as elsewhere.",
    "decay-as-rate: for Adam the effective rate falls with the length of the weights, not with its"
    " square.",
    "dynamic-tanh: a control, for where no norm is needed none is replaced.",
    "early-dropout: not on digits, which such a network does not underfit; no arm with dropout to"
    " the end, which no contrast asked about.",
    "early-stopping, redundant and the first part of resnet-152: one-sided, for what harms is"
    " superfluous, too.",
    "equal-training: on digits measured after each epoch.",
    "eval-mode on digits: sorted batches of 20 images, not of 128.",
    "faster: no longer by the best epoch, which also comes earlier where overfitting does.",
    "ics-cause: on digits, too.",
    "small-batch-threshold and eval-mode-afterwards: the words of the sentence alone, which leaned"
    " on the one before it.",
    "The rule: a tendency whose majority needs what supports in part holds, perhaps too little to"
    " matter; a choice by fewer seeds than planned is no look; a setting that never reaches what"
    " it is chosen by is not chosen.",
)

# The smallest difference that matters, by what is measured. "Is better than", "beats", "helps",
# "improves", "costs" and "spoils" mean a difference beyond it, "the same" one within it, and
# "replaces", "stands in for", "makes superfluous", "adds little" and "no more than" that it is not
# worse, or not more, by as much. The exceptions stand beside their contrasts: what is exact has the
# rounding of float32 as its bound, and "reaches a number" or "two to three times" have none.
SMALLEST = {
    "accuracy": 0.01,  # of test, validation or training images; of areas under ROC curves, too
    "loss": 0.02,  # nats, and so for gaps between two losses
    "calibration": 0.01,  # expected calibration error
    "share": 0.02,  # of units or of a variance
    "flips": 0.01,  # share of the predictions
    "jump": 0.01,  # standard deviations in five steps
    "epochs": 1.0,
    "log2": 0.5,  # of a learning rate: a factor of 1.4
}
KIND = {  # of a metric that its name does not tell by its end
    "foreign_auroc": "accuracy",
    "active_alive": "share",
    "dead": "share",
    "shift_measured": "share",
    "shift_error": "share",
    "epochs_to_target": "epochs",
    "best_epoch": "epochs",
    "log2_effective_rate": "log2",
    "loss_at_train_0.4": "loss",
}
ROUNDING = 1e-4  # float32 arithmetic on values of about 1

TEST_LOSS, TEST_ACCURACY = "best_test_loss", "best_test_accuracy"
GOOD = {TEST_LOSS: "lower", TEST_ACCURACY: "higher"}
WORDS = {
    TEST_LOSS: "test loss",
    TEST_ACCURACY: "test accuracy",
    "loss": "validation loss, last epoch",
    "train_loss": "training loss, last epoch",
    "train_accuracy": "training accuracy, last epoch",
    "loss_at_train_0.4": "validation loss at a training loss of 0.4",
    "best_train_loss": "training loss at the best epoch",
}

# What a claim's verdict is about.
TWO_BY_TWO = "dense networks of 2 x 256, with 1,000 and with 5,000 images"
WITH_CONV = f"{TWO_BY_TWO}; a small convolutional network with 1,000"
CONV = "a small convolutional network, 1,000 images, 450 steps"
DENSE = "dense networks, 2,000 images"
ARITHMETIC = "exact, up to rounding"
EIGHT = "the write-up's networks, with 4,000 images and with all"
TINY = (
    "a transformer of width 32 on 16 patches, 400 steps, 1 block and 6; of the latter 24 seeds, or"
    " 48 at the second look"
)
JUDGED = "; judged on 2,000 validation images"


def smallest(metric):
    """The smallest difference of a metric that matters."""
    kind = KIND.get(metric.removeprefix("mc_"), metric.rpartition("_")[2])
    return SMALLEST[kind]


def asked(experiment, name):
    """An arm by its name; if there is none of this name, the settings of it, as a tuple."""
    is_one = isinstance(name, tuple) or name in EXPERIMENTS[experiment].arms
    return name if is_one else family(experiment, name)


def contrast(name, experiment, metric, weights, expected, **options):
    """The sum of a metric over arms, with weights; an arm that has settings is at its best.

    `options` are those of `Contrast`: `smallest`, `offset`, `chosen_by`.
    """
    terms = {(asked(experiment, arm), metric): weight for arm, weight in weights.items()}
    chosen = {"smallest": smallest(metric)} | options
    return Contrast(
        f"{WORDS.get(metric, metric.replace('_', ' '))}: {name}",
        experiment,
        terms,
        expected,
        **chosen,
    )


def minus(experiment, one, other, metric, expected, note="", **options):
    """The contrast one - other."""
    return contrast(
        f"{one} - {other}{note}", experiment, metric, {one: 1, other: -1}, expected, **options
    )


def better(experiment, one, other, metrics=(TEST_LOSS, TEST_ACCURACY), note=""):
    """One is better than the other: a contrast for each metric."""
    return tuple(minus(experiment, one, other, metric, GOOD[metric], note) for metric in metrics)


def same(experiment, one, other, metrics=(TEST_LOSS, TEST_ACCURACY)):
    """One is as good as the other and no better."""
    return tuple(minus(experiment, one, other, metric, "same") for metric in metrics)


def no_worse(experiment, one, other, metrics=(TEST_LOSS, TEST_ACCURACY), note=""):
    """One replaces the other: it is better, or worse by less than matters."""
    return tuple(no_more(experiment, one, other, metric, GOOD[metric], note) for metric in metrics)


def no_more(experiment, one, other, metric, side="lower", note="", **options):
    """One is on this side of the other, or beyond it by less than matters."""
    bound = smallest(metric) if side == "lower" else -smallest(metric)
    note = f"{note}, against {bound:+g}"
    return minus(experiment, one, other, metric, side, note, offset=bound, smallest=0, **options)


def gain(name, experiment, metric, pair, other, expected, **options):
    """What a treatment does in one place minus what it does in another: pairs (with, without)."""
    weights = {pair[0]: 1, pair[1]: -1, other[0]: -1, other[1]: 1}
    return contrast(name, experiment, metric, weights, expected, **options)


def within(experiment, arm, one, other, expected):
    """The contrast of two metrics of the same arm, one - other."""
    name = f"{arm}: {one} - {other}".replace("_", " ")
    terms = {(arm, one): 1, (arm, other): -1}
    return Contrast(name, experiment, terms, expected, smallest(one))


def value(experiment, arm, metric, expected, offset=0.0, least=None):
    """A metric against a number."""
    against = f" - {offset:g}" if offset else ""
    return Contrast(
        f"{arm}: {metric.replace('_', ' ')}{against}",
        experiment,
        {(arm, metric): 1},
        expected,
        smallest(metric) if least is None else least,
        offset,
    )


def of_small_batches(size, expected):
    """What batches of this size cost batch norm, against layer norm and against batches of 64."""
    return gain(
        f"batch norm - layer norm with batches of {size} - the same with 64",
        "batch sizes",
        TEST_LOSS,
        (f"batch, batch {size}", f"layer, batch {size}"),
        ("batch, batch 64", "layer, batch 64"),
        expected,
    )


def threshold(costs, sizes=(2, 4, 8, 16, 64), least=SMALLEST["loss"]):
    """The size of a batch from which on it costs less than matters: on a straight line over the
    logarithm of the size, which ends in no cost at the last of them.
    """
    costs = [*costs, 0.0]
    for place in reversed(range(len(costs) - 1)):
        if costs[place] >= least:
            share = (costs[place] - least) / (costs[place] - costs[place + 1])
            return sizes[place] * (sizes[place + 1] / sizes[place]) ** share
    return sizes[0]


def told(contrasts):
    """Contrasts that are told beside a claim, as they are."""
    return tuple(Beside(one.name, (one,)) for one in contrasts)


def zero(metric, tolerance=ROUNDING):
    """A metric of the exact experiment that the claim says is 0, up to rounding."""
    return value("exact", "layers", metric, "same", least=tolerance)


SIZES = ("few images", "more images")  # 1,000 and 5,000 Fashion-MNIST, 300 and 1,000 digits
FIXED = "rate 0.5"  # arms of "two by two" that measures with many passes are asked of
PLAIN = "plain, learning rate 0.0005"  # at the learning rate of those
TRANSFORMERS = {"transformer": " (1 block)", "transformer, six blocks": " (6 blocks)"}
PROTOCOLS = {"eight": " (4,000 images)", "eight full": " (all images)"}
MEDIUM = ("medium", "augmentation", "batch norm", "dropout", "both")  # all three: not among them


def both_places(one, other, metrics, how=better):
    """The same contrasts in the dense networks of "two by two" and in the convolutional one."""
    places = [("two by two", arm_name(size, one), arm_name(size, other)) for size in SIZES]
    return tuple(
        found
        for experiment, first, second in (*places, ("conv", one, other))
        for found in how(experiment, first, second, metrics)
    )


def interaction(experiment, where=""):
    """What dropout does beside batch norm, minus what it does alone."""
    both, norm, dropout, plain = (
        arm_name(*filter(None, (where, kind)))
        for kind in ("both", "batch norm", "dropout", "plain")
    )
    return gain(
        f"dropout beside batch norm - dropout alone ({where or 'conv'})",
        experiment,
        TEST_LOSS,
        (both, norm),
        (dropout, plain),
        "higher",
    )


def of_eight(name, weights, metric, expected, **options):
    """The same contrast on both protocols of the eight experiments."""
    return tuple(
        contrast(name + note, experiment, metric, weights, expected, **options)
        for experiment, note in PROTOCOLS.items()
    )


def more_of_eight(one, other, *metrics):
    """One of the eight is better than another in these metrics; less in a gap."""
    return tuple(
        found
        for metric in metrics
        for found in of_eight(
            f"{one} - {other}",
            {one: 1, other: -1},
            metric,
            "higher" if metric.endswith("accuracy") else "lower",
        )
    )


def best_of_eight(one, others, *metrics):
    """One of the eight is better than the best of others, chosen on validation images."""
    return tuple(
        found
        for metric in metrics
        for found in of_eight(
            f"{one} - the best of the other {len(others)}",
            {one: 1, others: -1},
            metric,
            "higher" if metric.endswith("accuracy") else "lower",
            chosen_by=metric.removeprefix("test_"),
        )
    )


LAYERS = "What the layers compute"
NORM = "Batch norm"
TRAINED = "Moving statistics"
DROPOUT = "Dropout"
TOGETHER = "Both together"
PLACES = "Placement"
INSTEAD = "In their place"
WRITE_UP = "The eight experiments of E"
GROUPS = (LAYERS, NORM, TRAINED, DROPOUT, TOGETHER, PLACES, INSTEAD, WRITE_UP)

LITTLE_TO_REPLACE = (
    "Each at its best, dropout lowers the loss by 0.017 here, and the control asks for 0.02: there"
    " is too little to stand in for."
)

CLAIMS = [
    # What the layers compute
    Claim(
        "formula",
        "Four steps give each feature mean 0 and variance 1, then scale and shift it.",
        "N",
        (zero("formula_error"), zero("normalized_mean"), zero("normalized_variance_error")),
        "Ioffe and Szegedy 2015, algorithm 1. The variance is var / (var + epsilon), a little"
        " below 1.",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    Claim(
        "undo",
        "Gamma and beta can restore what was normalized.",
        "N",
        (zero("undo_error", 1e-3),),
        "With gamma = sqrt(variance + epsilon) and beta = mean (Ioffe and Szegedy 2015,"
        " section 3).",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    Claim(
        "per-channel",
        "In a convolutional network a channel has one mean and one variance, over images, rows and"
        " columns.",
        "N",
        (zero("channel_error"),),
        "Ioffe and Szegedy 2015, section 3.2.",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    Claim(
        "inference-deterministic",
        "At inference batch norm does not depend on the batch.",
        "N",
        (zero("inference_difference"),),
        "It uses its moving statistics then.",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    Claim(
        "scale-invariance",
        "With batch norm after them, the scale of the weights does not matter.",
        "-",
        (zero("scale_invariance_error", 1e-3),),
        "Ioffe and Szegedy 2015, section 3.3. Epsilon is what is left of the scale.",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    Claim(
        "fold",
        "At inference batch norm folds into the convolution before it.",
        "-",
        (zero("fold_error", 1e-3),),
        "An affine map of each channel after a linear map is a linear map with other weights. It"
        " is done before a network is quantised (Jacob et al. 2018, section 3.2).",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    Claim(
        "accumulation",
        "With batch norm, gradients accumulated over small batches are not those of a large one.",
        "-",
        (value("exact", "layers", "accumulated_error", "higher", least=0.01),),
        "Each small batch is normalized by itself. Smallest difference: 1 % of the gradient.",
        controls=(zero("accumulated_error_plain", 1e-3),),
        scope="one batch of 64 images against four of 16; the control: without batch norm they are"
        " equal",
        group=LAYERS,
    ),
    Claim(
        "layer-norm-features",
        "Layer norm uses all features of an example.",
        "N",
        (zero("layer_norm_all_features_error"), zero("group_norm_all_error")),
        "Keras's LayerNormalization takes the last axis: in a transformer a token, in a"
        " convolutional network a pixel. The layer norm of the paper is"
        " GroupNormalization(groups=1) there, or LayerNormalization(axis=[1, 2, 3]).",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    Claim(
        "classic-scaling",
        "Inverted dropout multiplies by 1 - rate at inference.",
        "N",
        (zero("classic_error"),),
        "That is classic dropout (Srivastava et al. 2014). Inverted dropout divides by 1 - rate in"
        " training and is the identity at inference, in Keras and in PyTorch.",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    Claim(
        "expectation",
        "Inverted dropout keeps the expectation, and its variance is rate / (1 - rate) times the"
        " square.",
        "-",
        (
            zero("inverted_training_error"),
            value("exact", "layers", "expectation_error", "lower", 3.0, least=0),
            zero("variance_error", 0.1),
        ),
        "The expectation is measured over masks: in standard errors it must stay below 3.",
        scope="over 2,000 masks",
        group=LAYERS,
    ),
    Claim(
        "ensemble",
        "At inference dropout averages over exponentially many sub-networks.",
        "N",
        (zero("ensemble_error"), zero("ensemble_deep_error")),
        "Exact for one layer before a softmax, with the normalized geometric mean (Srivastava et"
        " al. 2014; Baldi and Sadowski 2013); with a hidden layer it is an approximation.",
        scope="all masks of eight inputs, without a hidden layer and with one",
        group=LAYERS,
    ),
    Claim(
        "recurrent",
        "Recurrent dropout: on inputs and outputs, not on the hidden state (use variational"
        " dropout).",
        "N",
        (
            value("exact", "layers", "recurrent_drops_state", "same", least=0.01),
            value("exact", "layers", "recurrent_mask_constant", "same", 1.0, least=0.01),
        ),
        "It contradicts itself: variational dropout (Gal and Ghahramani 2016b) does drop the state,"
        " with one mask for a whole sequence, and so does Keras's recurrent_dropout.",
        scope=ARITHMETIC,
        group=LAYERS,
    ),
    # Batch norm
    Claim(
        "ics-cause",
        "Batch norm works because it keeps the inputs of the layers still (internal covariate"
        " shift).",
        "N, E",
        tuple(
            found
            for where in ("scale 1.0", "scale 0.5")
            for noisy, norm, plain in [
                [arm_name(where, kind) for kind in ("noisy batch norm", "batch norm", "plain")]
            ]
            for found in (
                minus(
                    "covariate shift",
                    noisy,
                    norm,
                    "train_loss",
                    "higher",
                    " (what the shift costs)",
                    chosen_by="train_loss",
                ),
                contrast(
                    f"{noisy} - the middle between the other two (is half of the benefit lost?)",
                    "covariate shift",
                    "train_loss",
                    {noisy: 1, norm: -0.5, plain: -0.5},
                    "higher",
                    chosen_by="train_loss",
                ),
                minus(
                    "covariate shift",
                    noisy,
                    plain,
                    "train_loss",
                    "same",
                    " (is all of it lost?)",
                    chosen_by="train_loss",
                ),
            )
        ),
        "Disputed: Santurkar et al. 2018 put noise after batch norm, which brings the shift back,"
        " and the networks trained nearly as well. Both speak of training: so training loss, each"
        " arm at the learning rate that is best in it. Noise may cost something that is not shift.",
        controls=(
            minus(
                "moving input",
                "noisy batch norm",
                "batch norm",
                "jump",
                "higher",
                " (noise brings the shift back)",
            ),
            *(
                minus(
                    "covariate shift",
                    f"scale {scale}, batch norm",
                    f"scale {scale}, plain",
                    "train_loss",
                    "lower",
                    " (there is a benefit)",
                    chosen_by="train_loss",
                )
                for scale in (1.0, 0.5)
            ),
        ),
        disappears=True,
        scope="dense networks of 6 x 128, gradient descent, 465 steps; He's initial weights and"
        " half of them",
        group=NORM,
    ),
    Claim(
        "higher-lr",
        "Batch norm allows higher learning rates.",
        "N, E",
        tuple(
            found
            for rate in (1.0, 3.0)
            for found in better(
                "learning rates",
                f"depth 3, batch norm, learning rate {rate}",
                f"depth 3, plain, learning rate {rate}",
            )
        ),
        "Ioffe and Szegedy 2015, section 4.2.1; Bjorck et al. 2018.",
        scope="dense networks of 3 x 128, gradient descent with learning rates of 1 and 3",
        group=NORM,
    ),
    Claim(
        "faster",
        "Batch norm speeds up training.",
        "N, E",
        (
            minus(
                "learning rates",
                "depth 3, batch norm",
                "depth 3, plain",
                "epochs_to_target",
                "lower",
                chosen_by="epochs_to_target",
            ),
        ),
        "To a validation accuracy of 0.78, on digits of 0.9. A step with batch norm takes longer;"
        " seconds are not asked, because all seeds of an arm share one clock.",
        scope="dense networks of 3 x 128, gradient descent, each at its best of five learning"
        " rates; counted in epochs",
        group=NORM,
    ),
    Claim(
        "initialisation",
        "Batch norm makes the initialisation matter less.",
        "N",
        tuple(
            gain(
                f"scale {scale} - scale 1, with batch norm - without",
                "initial scales",
                metric,
                (f"scale {scale}, batch norm", "scale 1.0, batch norm"),
                (f"scale {scale}, plain", "scale 1.0, plain"),
                GOOD[metric],
            )
            for scale in (0.05, 10.0)
            for metric in (TEST_LOSS, TEST_ACCURACY)
        ),
        "The output of batch norm does not depend on the scale of the weights before it, while the"
        " variance of its input is far above epsilon. At a scale of 0.05 it is not.",
        scope="dense networks of 6 x 128, Adam; He's initial weights times 0.05 and times 10",
        group=NORM,
    ),
    Claim(
        "depth",
        "Batch norm makes deeper networks trainable.",
        "N",
        tuple(
            minus(
                "depths",
                f"{where}, batch norm",
                f"{where}, plain",
                "train_accuracy",
                "higher",
                chosen_by="train_loss",
            )
            for where in ("depth 20, scale 1", "depth 40, scale 1", "depth 20, scale 0.5")
        ),
        "Yang et al. 2019: in plain networks with batch norm gradients grow exponentially with"
        " depth. The sentence is about training: so training accuracy.",
        scope="dense networks of 20 and 40 layers of 64, Adam, 310 steps; He's initial weights,"
        " and half of them with 20 layers",
        group=NORM,
    ),
    Claim(
        "resnet-152",
        "Batch norm made networks of 152 layers practical.",
        "N",
        (
            no_more(
                "branches",
                "batch norm alone",
                "residual and batch norm",
                "train_accuracy",
                "higher",
                " (is it enough?)",
                chosen_by="train_loss",
            ),
            *(
                minus(
                    "branches",
                    other,
                    "residual and batch norm",
                    "train_accuracy",
                    "lower",
                    " (is it needed?)",
                    chosen_by="train_loss",
                )
                for other in ("residual", "residual with a branch from 0")
            ),
        ),
        "He et al. 2015: residual connections did, with batch norm. Branches at He's scale double"
        " the variance in each block; a factor that starts at 0 cures that, too (De and Smith"
        " 2020).",
        scope="dense networks of 40 layers, 310 steps: nowhere near 152, but deep enough to fail",
        group=NORM,
    ),
    Claim(
        "mild-regulariser",
        "The noise of batch norm regularises and often reduces the need for dropout.",
        "N, E",
        (
            *better("ghost", "noisy", "quiet"),
            gain(
                "dropout beside noisy batch norm - beside quiet batch norm",
                "ghost",
                TEST_LOSS,
                ("noisy and dropout", "noisy, 8 images"),
                ("quiet and dropout", "quiet"),
                "higher",
            ),
        ),
        "Luo et al. 2019. Noisy: 32, 16 or 8 of the 128 images of a batch share their statistics"
        " (ghost batches: Hoffer et al. 2017), at the best of nine settings, with the learning"
        " rates; quiet: all 128, at the best of three. That favours the noise a little.",
        scope="dense networks of 2 x 128, batches of 128, 2,000 images",
        group=NORM,
        beside=told(same("ghost", "noisy", "quiet", ["best_train_loss"])),
    ),
    Claim(
        "equal-training",
        "Batch norm generalises better at equal training loss.",
        "-",
        tuple(
            minus(
                "two by two",
                f"{size}, batch norm",
                f"{size}, plain",
                "loss_at_train_0.4",
                "lower",
                chosen_by="loss_at_train_0.4",
            )
            for size in SIZES
        ),
        "Validation loss when the training loss first falls to 0.4: so neither is further in its"
        " training. On validation images, for there is no epoch to choose.",
        scope=TWO_BY_TWO,
        group=NORM,
    ),
    Claim(
        "decay-as-rate",
        "Weight decay before batch norm acts as a learning rate.",
        "-",
        (
            *(
                minus(
                    "remedies",
                    f"decay, learning rate {rate}",
                    f"none, learning rate {rate}",
                    "log2_effective_rate",
                    "higher",
                )
                for rate in (0.0005, 0.001)
            ),
            *same("remedies", "decay", "none"),
        ),
        "Van Laarhoven 2017: the scale of the weights does not matter, their step in proportion to"
        " it does. So decay raises the effective rate, and brings nothing that another learning"
        " rate does not. Here AdamW, on the weights before batch norm alone: by how much a step"
        " turns them, in base-2 logarithms.",
        scope="dense networks of 2 x 256 with batch norm, 2,000 images, 620 steps",
        group=NORM,
    ),
    Claim(
        "small-batch",
        "Batch norm needs batches of at least 16.",
        "N",
        tuple(of_small_batches(size, "higher") for size in (2, 8)),
        "Wu and He 2018: on ImageNet the error grows below 16 images a device.",
        scope="dense networks of 2 x 128, 1,000 images; the moving statistics are of as many images"
        " for every size",
        group=NORM,
    ),
    Claim(
        "small-batch-threshold",
        "Small batches begin to hurt batch norm below 8 to 16 images.",
        "N",
        (of_small_batches(4, "higher"), of_small_batches(16, "same")),
        "N names two thresholds. What counts is images times rows times columns, and how alike"
        " those values are.",
        scope="dense networks of 2 x 128, 1,000 images",
        group=NORM,
        beside=(
            Beside(
                "the size of a batch from which on that costs less than 0.02 (2: any)",
                tuple(of_small_batches(size, "higher") for size in (2, 4, 8, 16)),
                threshold,
                ".1f",
            ),
        ),
    ),
    Claim(
        "leakage",
        "Batches of one class spoil batch norm.",
        "-",
        (
            minus("leakage", "batch, by class", "batch, shuffled", TEST_LOSS, "higher"),
            minus("leakage", "batch, by class", "batch, shuffled", TEST_ACCURACY, "lower"),
            gain(
                "by class - shuffled, with batch norm - without",
                "leakage",
                TEST_ACCURACY,
                ("batch, by class", "batch, shuffled"),
                ("none, by class", "none, shuffled"),
                "lower",
            ),
        ),
        "Each class is normalized by its own statistics in training, and by those of all classes"
        " at inference. Such batches are bad for any network: hence the difference of differences.",
        scope=DENSE,
        group=NORM,
    ),
    # Moving statistics
    Claim(
        "eval-mode",
        "With batch statistics at inference a prediction depends on its neighbours.",
        "N",
        tuple(
            within("modes", "two blocks", metric, "accuracy", "lower")
            for metric in ("batch_1_accuracy", "batch_8_accuracy", "sorted_accuracy")
        ),
        "A single image, batches of 8, and batches sorted by class; validation images, last epoch.",
        scope=DENSE + JUDGED,
        group=TRAINED,
    ),
    Claim(
        "eval-mode-afterwards",
        "Using batch statistics at inference also spoils the moving statistics for later ones.",
        "-",
        tuple(
            within("modes", arm, "polluted_accuracy", "accuracy", "lower")
            for arm in ("two blocks", "four blocks")
        ),
        "Here: inference after one pass in training mode over the validation images, sorted by"
        " class, in 15 batches, with a momentum of 0.9.",
        scope=DENSE + JUDGED,
        group=TRAINED,
    ),
    Claim(
        "momentum-steps",
        "With a momentum of 0.99 inference can be trusted only after hundreds of steps.",
        "-",
        tuple(
            within("momentum", arm_name(f"{steps} steps", how), "loss", "recomputed_loss", expected)
            for steps, expected in ((100, "higher"), (300, "same"))
            for how in ("constant", "cosine")
        ),
        "After n steps 0.99 ** n of the initial statistics is left: 37 % after 100, 5 % after 300."
        " The loss at the end of training, minus that with statistics recomputed.",
        scope=f"{DENSE}, a constant and a falling learning rate",
        group=TRAINED,
    ),
    Claim(
        "lag",
        "Where the learning rate falls to 0, the moving statistics no longer lag.",
        "-",
        (within("momentum", "1000 steps, cosine", "loss", "recomputed_loss", "same"),),
        "They lag because the weights move.",
        controls=(within("momentum", "1000 steps, constant", "loss", "recomputed_loss", "higher"),),
        disappears=True,
        scope=f"{DENSE}, 1,000 steps, a momentum of 0.99",
        group=TRAINED,
    ),
    Claim(
        "adapted-statistics",
        "Recomputed statistics repair a shifted input.",
        "-",
        tuple(
            found
            for arm in ("two blocks", "four blocks")
            for found in (
                within("modes", arm, "adapted_accuracy", "shifted_accuracy", "higher"),
                Contrast(
                    f"{arm}: adapted accuracy - the middle between shifted and unshifted",
                    "modes",
                    {
                        (arm, "adapted_accuracy"): 1,
                        (arm, "shifted_accuracy"): -0.5,
                        (arm, "accuracy"): -0.5,
                    },
                    "higher",
                    SMALLEST["accuracy"],
                ),
            )
        ),
        "AdaBN (Li et al. 2016): recomputed on images without labels. To repair is to win back more"
        " than half.",
        controls=tuple(
            within("modes", arm, "shifted_accuracy", "accuracy", "lower")
            for arm in ("two blocks", "four blocks")
        ),
        scope=f"{DENSE}; contrast, brightness and gamma changed in all pixels alike{JUDGED}",
        group=TRAINED,
    ),
    Claim(
        "frozen-tuning",
        "In fine-tuning with small batches batch norm is better frozen.",
        "-",
        tuple(
            within("modes", arm, f"{tuned}_frozen_accuracy", f"{tuned}_accuracy", "higher")
            for arm in ("two blocks", "four blocks")
            for tuned in ("tuned", "tuned_shifted")
        ),
        "In inference mode, `trainable = False` in Keras. Object detectors are tuned so, with few"
        " images a device.",
        scope=f"{DENSE}; tuned on 100 new images in batches of 4: like the old ones, and shifted"
        + JUDGED,
        group=TRAINED,
    ),
    # Dropout
    Claim(
        "overfit",
        "Dropout reduces overfitting.",
        "N, E",
        both_places("dropout", "plain", [TEST_LOSS]),
        "Srivastava et al. 2014. Asked of the loss at the best epoch: a smaller gap at the last one"
        " may be nothing but a higher training loss.",
        scope=WITH_CONV,
        group=DROPOUT,
        beside=told(both_places("dropout", "plain", ["best_train_loss"], same)),
    ),
    Claim(
        "early-stopping",
        "Early stopping makes dropout superfluous.",
        "-",
        tuple(
            found
            for size in SIZES
            for found in no_worse("two by two", f"{size}, plain", f"{size}, dropout")
        ),
        "The reverse of `overfit`: what dropout does for a network that is trained on, at the last"
        " epoch, it no longer does where each is stopped at its best.",
        controls=tuple(
            minus("two by two", f"{size}, dropout, {FIXED}", f"{size}, {PLAIN}", "loss", "lower")
            for size in SIZES
        ),
        disappears=True,
        scope=TWO_BY_TWO,
        group=DROPOUT,
    ),
    Claim(
        "dropout-accuracy",
        "Dropout improves the accuracy.",
        "-",
        both_places("dropout", "plain", [TEST_ACCURACY]),
        "Srivastava et al. 2014 report errors, not losses.",
        scope=WITH_CONV,
        group=DROPOUT,
    ),
    Claim(
        "dropout-epochs",
        "Dropout needs two to three times as many epochs.",
        "-",
        tuple(
            minus(
                "two by two",
                f"few images, dropout, {FIXED}",
                f"few images, {PLAIN}",
                "best_epoch_log2",
                expected,
                f", against a factor of {factor}",
                offset=log2(factor),
                smallest=0,
            )
            for factor, expected in ((2, "higher"), (3, "lower"))
        ),
        "Srivastava et al. 2014, section 10. To the epoch of the lowest validation loss, with a"
        " rate of 0.5 and the same learning rate; the base-2 logarithm of the factor.",
        scope="dense networks of 2 x 256, 1,000 images, 60 epochs",
        group=DROPOUT,
        beside=(
            Beside(
                "the factor (geometric mean)",
                (
                    minus(
                        "two by two",
                        f"few images, dropout, {FIXED}",
                        f"few images, {PLAIN}",
                        "best_epoch_log2",
                        "higher",
                    ),
                ),
                lambda means: 2 ** means[0],
                ".2f",
            ),
        ),
    ),
    Claim(
        "early-dropout",
        "Dropout in the first half of the training helps a network that underfits.",
        "-",
        (
            minus("early dropout", "early", "none", "train_loss", "lower", chosen_by="train_loss"),
            *better("early dropout", "early", "none", [TEST_LOSS]),
        ),
        "Liu et al. 2023: early dropout lowers the training loss at the end. So training loss, and"
        " test loss.",
        scope="dense networks of 2 x 64, 20,000 images, 936 steps",
        group=DROPOUT,
    ),
    Claim(
        "sparsity",
        "With dropout fewer units are active.",
        "E, N",
        tuple(
            found
            for size in SIZES
            for dropout, plain in [(f"{size}, dropout, {FIXED}", f"{size}, {PLAIN}")]
            for found in (
                minus("two by two", dropout, plain, "active_alive", "lower"),
                no_more("two by two", dropout, plain, "dead"),
            )
        ),
        "Srivastava et al. 2014, section 7.2 and figure 8, for a rate of 0.5. Active: the share of"
        " outputs above 0, among the units that are ever above 0; and no more units are dead.",
        scope=f"{TWO_BY_TWO}; the first layer at the last epoch",
        group=DROPOUT,
    ),
    Claim(
        "rate-sweep",
        "Good rates for dense layers are 0.3 to 0.5.",
        "N",
        tuple(
            found
            for width in (64, 256)
            for size in SIZES
            for other in ("below", "above")
            for found in better(
                "rates",
                f"width {width}, {size}, within",
                f"width {width}, {size}, {other}",
                [TEST_LOSS],
            )
        ),
        "Within: the best of 0.3, 0.4 and 0.5; below: of 0, 0.1 and 0.2; above: of 0.6, 0.7 and"
        " 0.8. A rate is no constant of nature.",
        scope="dense networks of 2 x 64 and 2 x 256, with 500 and with 4,000 images",
        group=DROPOUT,
    ),
    Claim(
        "data-size",
        "Dropout helps most at a middling number of images.",
        "-",
        tuple(
            gain(
                f"what dropout does with few images - with the {other}",
                "two by two",
                metric,
                ("few images, dropout", "few images, plain"),
                (f"{other} images, dropout", f"{other} images, plain"),
                expected,
                chosen_by=chosen_by,
            )
            for other, metric, expected, chosen_by in (
                ("fewest", TEST_LOSS, "lower", "best_loss"),
                ("most", TEST_LOSS, "lower", "best_loss"),
                ("most", TEST_ACCURACY, "higher", "best_loss"),
                ("fewest", "loss", "lower", "loss"),
                ("most", "loss", "lower", "loss"),
            )
        ),
        "Srivastava et al. 2014, section 7.4 and figure 10, on MNIST. At the best epoch, and, as"
        " there, at the last.",
        scope="dense networks of 2 x 256; 100, 1,000 and 20,000 images",
        group=DROPOUT,
    ),
    Claim(
        "conv-dropout",
        "Convolutional layers want low rates.",
        "N, E",
        better("conv", "elementwise, low", "elementwise, high"),
        "Low: the best of 0.1, 0.2 and 0.3; high: of 0.4, 0.5 and 0.6.",
        scope=CONV,
        group=DROPOUT,
    ),
    Claim(
        "spatial-dropout",
        "Spatial dropout suits convolutional layers better than elementwise dropout.",
        "N, E",
        better("conv", "spatial, low", "elementwise, low"),
        "Tompson et al. 2015. Each at the best of the rates 0.1, 0.2 and 0.3.",
        scope=CONV,
        group=DROPOUT,
    ),
    Claim(
        "dropout-off",
        "Dropout must be off at inference.",
        "N",
        tuple(
            found
            for arm in [f"few images, dropout, {FIXED}"]
            for found in (
                within("two by two", arm, "dropout_on_accuracy", "accuracy", "lower"),
                within("two by two", arm, "dropout_on_loss", "loss", "higher"),
                value("two by two", arm, "flips", "higher"),
            )
        ),
        "Left on for one pass; Monte Carlo dropout, which averages many, is another matter"
        " (`mc-dropout`).",
        scope=f"dense networks of 2 x 256, 1,000 images, a rate of 0.5{JUDGED}",
        group=DROPOUT,
    ),
    Claim(
        "train-loss-mode",
        "With dropout, the training loss that Keras logs can be compared with the validation loss.",
        "-",
        tuple(
            within("two by two", f"{size}, dropout, {FIXED}", "logged_loss", "train_loss", "same")
            for size in SIZES
        ),
        "It is measured with dropout on, and while the weights move. Against the training loss in"
        " inference mode, at the last epoch.",
        scope=TWO_BY_TWO,
        group=DROPOUT,
    ),
    Claim(
        "train-loss-moving",
        "Without dropout and batch norm, the training loss that Keras logs is that of the network.",
        "-",
        tuple(
            within("two by two", f"{size}, {PLAIN}", "logged_loss", "train_loss", "same")
            for size in SIZES
        ),
        "It is measured while the weights move: a mean over the epoch. At the last epoch.",
        scope=TWO_BY_TWO,
        group=DROPOUT,
    ),
    Claim(
        "mc-dropout",
        "Averaging over masks at test time improves the predictions.",
        "-",
        (
            *(
                within("two by two", f"{size}, {kind}, {FIXED}", "mc_loss", "loss", "lower")
                for size in SIZES
                for kind in ("dropout", "both")
            ),
            *(
                within("conv", f"{kind}, dense rate 0.5", "mc_loss", "loss", "lower")
                for kind in ("dropout", "both")
            ),
        ),
        "Gal and Ghahramani 2016. Averages are less sure: good for a network that is too sure, bad"
        " for one that is not sure enough. Validation loss at the last epoch.",
        scope=f"{WITH_CONV}; a rate of 0.5, 30 masks",
        group=DROPOUT,
    ),
    Claim(
        "mc-foreign",
        "Averaging over masks tells foreign images from those of the data better than one pass.",
        "-",
        tuple(
            within(
                "two by two",
                f"{size}, {kind}, {FIXED}",
                "mc_foreign_auroc",
                "foreign_auroc",
                "higher",
            )
            for size in SIZES
            for kind in ("dropout", "both")
        ),
        "What it was made for: to know what one does not know. Area under the ROC curve, the images"
        " of the other data set being foreign.",
        scope=f"{TWO_BY_TWO}; a rate of 0.5, 30 masks",
        group=DROPOUT,
    ),
    Claim(
        "temperature",
        "Temperature scaling calibrates better than averaging over masks.",
        "-",
        tuple(
            within(
                "two by two",
                f"{size}, {kind}, {FIXED}",
                "scaled_calibration",
                "mc_half_calibration",
                "lower",
            )
            for size in SIZES
            for kind in ("dropout", "both")
        ),
        "Guo et al. 2017: one number, fitted on half of the validation images; both are judged on"
        " the other half. Expected calibration error.",
        scope=f"{TWO_BY_TWO}; a rate of 0.5, 30 masks",
        group=DROPOUT,
    ),
    Claim(
        "calibration-floor",
        "The expected calibration error of a perfectly calibrated network is above 0.",
        "-",
        (value("exact", "layers", "calibration_floor", "higher", least=SMALLEST["calibration"]),),
        "It is a mean of absolute differences, and those of chance do not cancel.",
        scope="2,000 predictions",
        group=DROPOUT,
    ),
    # Both together
    Claim(
        "variance-shift",
        "Dropout before batch norm makes the variance at inference differ from that in training.",
        "N, E",
        (
            *(
                value(
                    "order",
                    f"dropout, then batch norm, width {width}, rate 0.5",
                    "shift_measured",
                    "lower",
                    1.0,
                )
                for width in (64, 256)
            ),
            value(
                "order",
                "dropout, then batch norm, width 64, rate 0.5",
                "shift_error",
                "same",
            ),
        ),
        "Li et al. 2019; the last contrast is formula against measurement.",
        scope=f"{DENSE}, a rate of 0.5",
        group=TOGETHER,
    ),
    Claim(
        "shift-width",
        "The shift of the variance is smaller in wide layers.",
        "-",
        tuple(
            minus(
                "order",
                arm_name(*prefix, order, "width 256", *rest),
                arm_name(*prefix, order, "width 64", *rest),
                "shift_measured",
                "higher",
            )
            for order in ("batch norm, then dropout", "dropout, then batch norm")
            for prefix, rest in (((), ("rate 0.5",)), (("a quarter as long",), ()))
        ),
        "The ratio of the variances, which is 1 without a shift. The first edition's own lesson"
        " said so after three runs; its ledger, after 48, said the reverse.",
        scope=f"{DENSE}, a rate of 0.5; 186 and 744 steps",
        group=TOGETHER,
    ),
    Claim(
        "redundant",
        "Where there is batch norm, dropout adds little.",
        "E",
        both_places("batch norm", "both", [TEST_LOSS, TEST_ACCURACY], no_worse),
        "So batch norm alone is no worse than both.",
        scope=WITH_CONV,
        group=TOGETHER,
    ),
    Claim(
        "interaction",
        "Dropout does less beside batch norm than alone.",
        "E",
        (*(interaction("two by two", size) for size in SIZES), interaction("conv")),
        "A positive interaction: dropout lowers the loss less, where batch norm is.",
        scope=WITH_CONV,
        group=TOGETHER,
    ),
    Claim(
        "both-solve",
        "Use both in most deep networks.",
        "N",
        both_places("both", "batch norm", [TEST_LOSS])
        + both_places("both", "dropout", [TEST_LOSS]),
        "",
        kind="most of",
        scope=WITH_CONV,
        group=TOGETHER,
    ),
    Claim(
        "both-then-more",
        "They solve different problems: dropout lowers the loss where batch norm is.",
        "N",
        tuple(
            found
            for width in (64, 256)
            for found in better(
                "order",
                f"batch norm, then dropout, width {width}",
                f"no dropout, width {width}",
                [TEST_LOSS],
            )
        ),
        "E says the contrary (`redundant`).",
        scope="dense networks of 3 x 64 and 3 x 256 with batch norm, 2,000 images",
        group=TOGETHER,
    ),
    # Placement
    Claim(
        "placement-bn",
        "Before or after the activation: either works.",
        "N",
        (
            *(
                contrast(
                    "after - before, mean of a dense and a residual network",
                    "placement",
                    metric,
                    {
                        "dense, after": 0.5,
                        "dense, before": -0.5,
                        "residual, after": 0.5,
                        "residual, before": -0.5,
                    },
                    "same",
                )
                for metric in (TEST_LOSS, TEST_ACCURACY)
            ),
            *same("conv", "batch norm after", "batch norm"),
        ),
        "N also says both that after is more common in modern networks and that before is standard;"
        " the ResNets, MobileNets and EfficientNets in keras.applications have it before.",
        scope="dense networks of 3 x 128 and residual ones of 6 x 128, 2,000 images; a small"
        " convolutional network, 1,000",
        group=PLACES,
    ),
    Claim(
        "bn-before-dropout",
        "Batch norm before dropout is the better order.",
        "E",
        tuple(
            found
            for width in (64, 256)
            for found in better(
                "order",
                f"batch norm, then dropout, width {width}",
                f"dropout, then batch norm, width {width}",
            )
        ),
        "Li et al. 2019. Each order at its best of the rates 0.1, 0.25 and 0.5.",
        scope="dense networks of 3 x 64 and 3 x 256, 2,000 images",
        group=PLACES,
    ),
    Claim(
        "dropout-last",
        "Beside batch norm, dropout in the last block alone is better than everywhere.",
        "N, E",
        tuple(
            found
            for width in (64, 256)
            for found in better(
                "order", f"last block, width {width}", f"batch norm, then dropout, width {width}"
            )
        ),
        "Li et al. 2019 advise dropout after all batch norm layers. Each at its best of three"
        " rates, so that neither drops too much.",
        scope="dense networks of 3 x 64 and 3 x 256, 2,000 images",
        group=PLACES,
    ),
    # In their place
    Claim(
        "zero-branch",
        "A residual branch that starts at 0 replaces batch norm.",
        "-",
        no_worse("branches", "residual with a branch from 0", "residual and batch norm"),
        "SkipInit (De and Smith 2020): each branch times a learned number that starts at 0. The"
        " control: without either, residual connections do worse.",
        controls=better("branches", "residual and batch norm", "residual", [TEST_LOSS]),
        scope="dense residual networks of 40 layers, 2,000 images, 310 steps",
        group=INSTEAD,
    ),
    Claim(
        "stochastic-depth",
        "Stochastic depth helps beside batch norm.",
        "-",
        better("stochastic depth", "stochastic depth", "all branches"),
        "Huang et al. 2016, for residual networks of over a hundred layers.",
        scope="dense residual networks of 9 x 128 with batch norm, 2,000 images",
        group=INSTEAD,
    ),
    Claim(
        "label-smoothing",
        "Beside batch norm, label smoothing stands in for dropout.",
        "-",
        no_worse("remedies", "label smoothing", "dropout"),
        "Szegedy et al. 2016. Judged by the ordinary loss, which it does not train for. The"
        " control: dropout helps there.",
        controls=better("remedies", "dropout", "none", [TEST_LOSS]),
        scope="dense networks of 2 x 256 with batch norm, 2,000 images",
        group=INSTEAD,
        afterwards=LITTLE_TO_REPLACE,
    ),
    Claim(
        "weight-decay",
        "Beside batch norm, weight decay stands in for dropout.",
        "-",
        no_worse("remedies", "weight decay", "dropout"),
        "AdamW (Loshchilov and Hutter 2019), on the weights before batch norm. The control: dropout"
        " helps there.",
        controls=better("remedies", "dropout", "none", [TEST_LOSS]),
        scope="dense networks of 2 x 256 with batch norm, 2,000 images",
        group=INSTEAD,
        afterwards=LITTLE_TO_REPLACE,
    ),
    Claim(
        "norm-transformer",
        "Transformers do better with layer norm.",
        "N",
        tuple(
            found
            for experiment, blocks in TRANSFORMERS.items()
            for other in ("batch", "none")
            for found in better(experiment, "layer", other, note=blocks)
        ),
        "That the large language models have layer or RMS norm is true; the test is whether it does"
        " better in a tiny one.",
        scope=TINY,
        group=INSTEAD,
    ),
    Claim(
        "dynamic-tanh",
        "Dynamic tanh replaces layer norm in a transformer.",
        "-",
        tuple(
            found
            for experiment, blocks in TRANSFORMERS.items()
            for found in no_worse(experiment, "dyt", "layer", note=blocks)
        ),
        "Zhu et al. 2025, for large ones. The control: without a norm it does worse.",
        controls=tuple(
            found
            for experiment, blocks in TRANSFORMERS.items()
            for found in better(experiment, "layer", "none", [TEST_LOSS], blocks)
        ),
        scope=TINY,
        group=INSTEAD,
        afterwards="A single block loses little without a norm, so there is little to replace; in"
        " six, which train with a norm only, dynamic tanh does better than layer norm.",
    ),
    # The eight experiments of E
    Claim(
        "E1",
        "The small network hits its capacity.",
        "E",
        more_of_eight("medium", "small", "train_accuracy"),
        "Capacity: it fits its training images less well than the medium one.",
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E2",
        "The medium network overfits, but beats the small one.",
        "E",
        of_eight("medium", {"medium": 1}, "gap_loss", "higher")
        + more_of_eight("medium", "small", "test_accuracy"),
        "E speaks of accuracy.",
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E3",
        "Augmentation helps.",
        "E",
        more_of_eight("augmentation", "medium", "test_accuracy", "test_loss"),
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E4",
        "Batch norm: better accuracy and loss, and yet it overfits.",
        "E",
        more_of_eight("batch norm", "medium", "test_accuracy", "test_loss")
        + of_eight("batch norm", {"batch norm": 1}, "gap_loss", "higher"),
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E5",
        "Dropout: the accuracy stays the same, the loss gets better.",
        "E",
        of_eight("dropout - medium", {"dropout": 1, "medium": -1}, "test_accuracy", "same")
        + more_of_eight("dropout", "medium", "test_loss"),
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E6",
        "Batch norm and dropout together: no more accuracy than either alone, but a clearly lower"
        " loss.",
        "E",
        tuple(
            found
            for one in ("batch norm", "dropout")
            for found in (
                *(
                    no_more(experiment, "both", one, "test_accuracy", note=note)
                    for experiment, note in PROTOCOLS.items()
                ),
                *more_of_eight("both", one, "test_loss"),
            )
        ),
        "E reports +0.001 accuracy from one run: less than the standard error of an accuracy over"
        " 10,000 images.",
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E7",
        "All three together: the smallest gap, and the best of the medium networks.",
        "E",
        best_of_eight("all three", MEDIUM, "gap_loss", "test_loss", "test_accuracy"),
        "Against the best of the others: which one that is, validation images say.",
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E8",
        "The large network with all three is better than the medium one with all three.",
        "E",
        more_of_eight("large", "all three", "test_accuracy", "test_loss"),
        'E says "the best", of all eight, and reports 0.948 validation accuracy, trained on all'
        " images: two claims more (`E8-best`, `E8-number`).",
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E8-best",
        "The large network with all three is the best of the eight.",
        "E",
        best_of_eight("large", ("small", *MEDIUM, "all three"), "test_loss", "test_accuracy"),
        "Against the best of the others: which one that is, validation images say.",
        scope=EIGHT,
        group=WRITE_UP,
    ),
    Claim(
        "E8-number",
        "The large network with all three reaches an accuracy of 0.948.",
        "E",
        tuple(
            value("large, frozen", "large, all images", metric, "higher", 0.948, least=0)
            for metric in ("accuracy", "test_accuracy")
        ),
        "E's number, of one run and another network, on validation images. Networks and recipes"
        " were tried on the seeds 0 to 2 until one reached it; this asks seeds that took no part in"
        " that, of validation and of test images. To reach a number needs no smallest difference.",
        scope="all images, 200 epochs, the recipe of lesson 10, frozen once chosen",
        group=WRITE_UP,
        afterwards="Its runs wait for a GPU: 200 epochs on all images each.",
    ),
]

# Why a claim has another verdict than in the first edition, whose contrasts, runs and rule were
# others; where it is but another word for the same (`ledger.RENAMED`), nothing stands here.
REASONS = {
    "mild-regulariser": "The contrast: asked of test loss and accuracy, with noise and without,"
    " each at its best, in place of a gap that was mostly a higher training loss.",
    "small-batch": "The contrast: what batch norm loses against layer norm, beyond what it loses at"
    " 64 images, each at its best learning rate.",
    "small-batch-threshold": "The contrast: what batch norm loses beyond its loss at 64 images, in"
    " place of whether two norms are equal; at 16 images that is still more than matters.",
    "train-loss-mode": "The contrast and more seeds: asked with dropout alone, by 64 seeds;"
    " what the moving weights do is a claim of its own, `train-loss-moving`.",
    "depth": "The contrast: asked of training accuracy, each arm at its best learning rate, and at"
    " two scales of the initial weights; at half of He's, batch norm helps.",
    "momentum-steps": "The contrast and more seeds: asked of the loss, by 64 seeds in place of 8;"
    " with a constant learning rate the statistics lag after 300 steps, too.",
    "overfit": "The contrast: asked of the test loss at the best epoch, in place of the gap at the"
    " last one, where dropout lowers the loss by 0.04 to 0.19: `early-stopping` does it, too.",
    "data-size": "The contrast: asked of loss and accuracy, each at its best setting and epoch, by"
    " 64 seeds; what is seen at the last epoch is gone at the best one.",
    "mc-dropout": "The contrast: asked of the loss alone, by 64 seeds, with batch norm, too; it"
    " lowers the loss of networks that are too sure, and raises that of the others.",
    "redundant": "The rule and the contrast: 'no more' in place of 'the same', each at its best"
    " setting and epoch; in the loss, dropout adds 0.027 to batch norm with 1,000 images.",
    "interaction": "The contrast: each at its best setting and epoch, by 64 seeds; beside batch"
    " norm dropout lowers the loss by as much as alone, or by more.",
    "both-solve": "The contrast and the rule: each at its best setting and epoch; of six, one is"
    " supported, two in part.",
    "rate-sweep": "The contrast: the best of 0.3, 0.4 and 0.5 against the best below and above, for"
    " two widths and two numbers of images; above is worse, below is as good.",
    "norm-transformer": "The contrast: against batch norm and against none, each at its best"
    " learning rate, with one block and with six; six without a norm do not train.",
    "conv-dropout": "The contrast: low rates and high ones, each at their best (`spatial-dropout`"
    " is a claim of its own); the loss supports it, the accuracy refutes it.",
    "placement-bn": "The rule and the contrast: one refuted part refutes, and each arm is asked of"
    " at its best learning rate and epoch, by 64 seeds in place of 8 in dense networks.",
    "bn-before-dropout": "The contrast: each order at its best of three rates and at its best"
    " epoch, in place of one rate at the last epoch.",
    "dropout-last": "The contrast: both at their best of three rates and at their best epoch, in"
    " place of one rate at the last epoch; 64 seeds in place of 8.",
    "E1": "The contrast: capacity is asked of the training images alone, 4,000 and all.",
    "E2": "The contrast: asked of test images, and of all images, too; with 4,000 the medium"
    " network beats the small one by less than matters.",
    "E3": "The contrast: asked of test images, and of all images, too, where augmentation gains no"
    " accuracy that matters.",
    "E6": "The contrast and the rule: 'no more' in place of 'the same', asked of all images, too,"
    " where the loss of both is not below that of dropout alone; one refuted part refutes.",
    "E8": "The smallest difference: 'better' is by 0.01 of accuracy and 0.02 of loss, in place of"
    " by anything.",
    "E8-best": "The contrast and the smallest difference: better than the best of the others by"
    " what matters, and with all images, too.",
}

# What is so by convention, or of one number: facts, which no seeds are needed for.
FACTS = [
    Claim(
        "epsilon",
        "Epsilon is about 1e-5.",
        "N",
        (
            value("exact", "layers", "keras_epsilon", "same", 1e-5, least=1e-6),
            value("exact", "layers", "pytorch_epsilon", "same", 1e-5, least=1e-6),
        ),
        "A convention: Keras takes 1e-3, PyTorch 1e-5. It matters where a feature's variance is not"
        " far above it.",
        scope="Keras and PyTorch",
        group=LAYERS,
    ),
    Claim(
        "determinism",
        "The same seed gives the same run.",
        "-",
        (
            zero("rerun_difference", 1e-6),
            value("exact", "layers", "rerun_difference_other_seed", "higher", least=1e-3),
        ),
        "On one machine, one backend and one thread. With more threads, convolutions differ in the"
        " last digits, and training magnifies that.",
        scope="one machine, one backend, one thread",
        group=LAYERS,
    ),
]
