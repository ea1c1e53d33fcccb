"""The claims that texts on batch norm and dropout make, each with the contrasts that test it.

Sources: **N** is a set of engineering notes on batch normalization and dropout in ten sections,
**E** a write-up of eight experiments on Fashion-MNIST; both are public and typical. A dash: no
text's claim, but a thing to know.

Fixed before the runs: the contrasts, what they are expected to be if the claim is right, and the
smallest difference that matters, which is one point of accuracy, 0.02 nats of loss, and 0.05 nats
or one point of a gap.
"""

from dataclasses import replace

from course.lab.catalogue import arm_name
from course.lab.verdict import Claim, Contrast

SMALLEST = {"accuracy": 0.01, "loss": 0.02, "gap_loss": 0.05, "gap_accuracy": 0.01}

ROUNDING = 1e-4  # float32 arithmetic on values of about 1


def less(experiment, one, other, metric, expected, smallest=None, note=""):
    """The contrast one - other of a metric."""
    terms = {(one, metric): 1.0, (other, metric): -1.0}
    name = f"{metric}: {one} minus {other}{note}"
    return Contrast(
        name, experiment, terms, expected, SMALLEST[metric] if smallest is None else smallest
    )


def within(experiment, arm, one, other, expected, smallest):
    """The contrast of two metrics of the same arm, one - other."""
    return Contrast(
        f"{arm}: {one} minus {other}",
        experiment,
        {(arm, one): 1.0, (arm, other): -1.0},
        expected,
        smallest,
    )


def value(experiment, arm, metric, expected, smallest, offset=0.0):
    """A metric against a number."""
    against = f" minus {offset:g}" if offset else ""
    return Contrast(
        f"{arm}: {metric}{against}", experiment, {(arm, metric): 1.0}, expected, smallest, offset
    )


def zero(metric, tolerance=ROUNDING):
    """A metric of the exact experiment that the claim says is 0, up to rounding."""
    return value("exact", "layers", metric, "same", tolerance)


def interaction(setting, metric, expected):
    """What dropout does beside batch norm, minus what it does alone."""
    terms = {
        (arm_name(setting, treatment), metric): sign
        for treatment, sign in (
            ("both", 1.0),
            ("batch norm", -1.0),
            ("dropout", -1.0),
            ("plain", 1.0),
        )
    }
    return Contrast(
        f"{metric}, {setting}: dropout beside batch norm minus dropout alone",
        "two by two",
        terms,
        expected,
        SMALLEST[metric],
    )


def over(settings, one, other, metric, expected, experiment="two by two"):
    """The same contrast in several settings."""
    return tuple(
        less(experiment, arm_name(where, one), arm_name(where, other), metric, expected)
        for where in settings
    )


SETTINGS = ("dense 1000", "dense 5000", "conv 1000")

CLAIMS = [
    Claim(
        "formula",
        "Four steps give each feature mean 0 and variance 1, then scale and shift it.",
        "N",
        (zero("formula_error"), zero("normalized_mean"), zero("normalized_variance_error")),
        "Ioffe and Szegedy 2015, algorithm 1. The variance is var / (var + epsilon), a little"
        " below 1.",
    ),
    Claim(
        "undo",
        "Gamma and beta can restore what was normalized.",
        "N",
        (zero("undo_error", 1e-3),),
        "With gamma = sqrt(variance + epsilon) and beta = mean (Ioffe and Szegedy 2015,"
        " section 3).",
    ),
    Claim(
        "epsilon",
        "Epsilon is about 1e-5.",
        "N",
        (
            value("exact", "layers", "keras_epsilon", "same", 1e-6, offset=1e-5),
            value("exact", "layers", "pytorch_epsilon", "same", 1e-6, offset=1e-5),
        ),
        "A convention: Keras takes 1e-3, PyTorch 1e-5. It matters where a feature's variance is not"
        " far above it.",
        afterwards="the library",
    ),
    Claim(
        "per-channel",
        "In a convolutional network a channel has one mean and one variance, over images, rows and"
        " columns.",
        "N",
        (zero("channel_error"),),
        "Ioffe and Szegedy 2015, section 3.2.",
    ),
    Claim(
        "ics-cause",
        "Batch norm works because it keeps the inputs of the layers still (internal covariate"
        " shift).",
        "N, E",
        (
            less("moving input", "plain", "batch norm", "jump", "higher", 0.01),
            less(
                "moving input",
                "noisy batch norm",
                "batch norm",
                "jump",
                "higher",
                0.01,
                note=" (noise brings the shift back)",
            ),
            less(
                "moving input",
                "batch norm",
                "noisy batch norm",
                "accuracy",
                "higher",
                note=" (and then it helps less)",
            ),
        ),
        "Disputed: Santurkar et al. 2018 put noise behind batch norm, and the networks trained as"
        " well.",
        afterwards="whether one asks what batch norm does, or why it helps",
    ),
    Claim(
        "higher-lr",
        "Batch norm allows higher learning rates.",
        "N, E",
        tuple(
            less(
                "learning rates",
                arm_name("batch norm", f"learning rate {rate}"),
                arm_name("plain", f"learning rate {rate}"),
                "accuracy",
                "higher",
            )
            for rate in (1.0, 3.0)
        ),
        "Ioffe and Szegedy 2015, section 4.2.1; Bjorck et al. 2018.",
    ),
    Claim(
        "faster",
        "Batch norm speeds up training.",
        "N, E",
        (
            less(
                "learning rates",
                "batch norm, learning rate 0.1",
                "plain, learning rate 0.1",
                "epochs_to_target",
                "lower",
                0.5,
            ),
            less(
                "learning rates",
                "batch norm, learning rate 0.1",
                "plain, learning rate 0.1",
                "seconds_to_target",
                "lower",
                0.05,
            ),
        ),
        "Two clocks: epochs, and seconds, of which a step with batch norm takes more.",
        afterwards="the clock: fewer epochs, each of which takes longer",
    ),
    Claim(
        "initialisation",
        "Batch norm makes the initialisation matter less.",
        "N",
        tuple(
            less(
                "initial scales",
                arm_name("batch norm", f"scale {scale}"),
                arm_name("plain", f"scale {scale}"),
                "accuracy",
                "higher",
            )
            for scale in (0.05, 10.0)
        ),
        "The output of batch norm does not depend on the scale of the weights before it.",
    ),
    Claim(
        "depth",
        "Batch norm makes deeper networks trainable.",
        "N",
        (
            less("depths", "depth 20, batch norm", "depth 20, plain", "accuracy", "higher"),
            less(
                "depths",
                "depth 40, batch norm",
                "depth 40, residual and batch norm",
                "accuracy",
                "same",
                0.05,
            ),
        ),
        "Yang et al. 2019: in plain networks with batch norm gradients grow exponentially with"
        " depth.",
        afterwards="how deep: at depth 40 batch norm without residual connections is not enough",
    ),
    Claim(
        "mild-regulariser",
        "The noise of batch norm regularises and often reduces the need for dropout.",
        "N, E",
        (
            less(
                "ghost",
                "8 images share statistics",
                "128 images share statistics",
                "gap_loss",
                "lower",
                0.02,
            ),
            less(
                "ghost",
                "8 images share statistics",
                "128 images share statistics",
                "accuracy",
                "higher",
            ),
            *over(SETTINGS, "batch norm", "plain", "gap_loss", "lower"),
        ),
        "Luo et al. 2019; ghost batches: Hoffer et al. 2017.",
        afterwards="the measure and the setting: the noise lowers the gap, and no gain in accuracy"
        " follows",
    ),
    Claim(
        "inference-deterministic",
        "At inference batch norm does not depend on the batch.",
        "N",
        (zero("inference_difference"),),
        "It uses its moving statistics then.",
    ),
    Claim(
        "small-batch",
        "Batch norm needs batches of at least 16.",
        "N",
        (
            less(
                "batch sizes", "dense batch, batch 2", "dense layer, batch 2", "accuracy", "lower"
            ),
            less(
                "batch sizes", "dense batch, batch 8", "dense layer, batch 8", "accuracy", "lower"
            ),
            less("batch sizes", "conv batch, batch 2", "conv group, batch 2", "accuracy", "lower"),
        ),
        "Wu and He 2018: on ImageNet the error grows below 16 images a device.",
        afterwards="the size of the batch: clear at 2, and not at 8",
    ),
    Claim(
        "small-batch-threshold",
        "The trouble begins below 8 to 16 images.",
        "N",
        (
            less(
                "batch sizes", "dense batch, batch 16", "dense layer, batch 16", "accuracy", "same"
            ),
            less(
                "batch sizes", "dense batch, batch 4", "dense layer, batch 4", "accuracy", "lower"
            ),
            Contrast(
                "accuracy: conv batch minus group, batch 2, minus the same at batch 16",
                "batch sizes",
                {
                    ("conv batch, batch 2", "accuracy"): 1,
                    ("conv group, batch 2", "accuracy"): -1,
                    ("conv batch, batch 16", "accuracy"): -1,
                    ("conv group, batch 16", "accuracy"): 1,
                },
                "lower",
                0.01,
            ),
        ),
        "N names two thresholds. What counts is images times rows times columns, and how alike"
        " those values are.",
        afterwards="the kind of layer",
    ),
    Claim(
        "placement-bn",
        "Before or after the activation: either works.",
        "N",
        tuple(
            less("placement", arm_name(kind, "after"), arm_name(kind, "before"), metric, "same")
            for kind in ("dense", "residual", "conv")
            for metric in ("accuracy", "loss")
        ),
        "N also says both that after is more common in modern networks and that before is standard;"
        " the ResNets, MobileNets and EfficientNets in keras.applications have it before.",
        afterwards="the kind of network and the measure",
    ),
    Claim(
        "classic-scaling",
        "Inverted dropout multiplies by 1 - rate at inference.",
        "N",
        (zero("classic_error"),),
        "That is classic dropout (Srivastava et al. 2014). Inverted dropout divides by 1 - rate in"
        " training and is the identity at inference, in Keras and in PyTorch.",
    ),
    Claim(
        "expectation",
        "Inverted dropout keeps the expectation, and its variance is rate / (1 - rate) times the"
        " square.",
        "-",
        (
            zero("inverted_training_error"),
            value("exact", "layers", "expectation_error", "lower", 0.0, offset=3.0),
            zero("variance_error", 0.1),
        ),
        "The expectation is measured over masks: in standard errors it must stay below 3.",
    ),
    Claim(
        "ensemble",
        "At inference dropout averages over exponentially many sub-networks.",
        "N",
        (zero("ensemble_error"), zero("ensemble_deep_error")),
        "Exact for one layer before a softmax, with the normalized geometric mean (Srivastava et"
        " al. 2014; Baldi and Sadowski 2013); with a hidden layer it is an approximation.",
        afterwards="the depth: exact for one layer, approximate beyond",
    ),
    Claim(
        "overfit",
        "Dropout reduces overfitting.",
        "N, E",
        over(SETTINGS, "dropout", "plain", "gap_loss", "lower"),
        "Srivastava et al. 2014.",
    ),
    Claim(
        "co-adaptation",
        "With dropout fewer units are active.",
        "E, N",
        tuple(
            less(
                "two by two",
                arm_name(where, "dropout"),
                arm_name(where, "plain"),
                "active",
                "lower",
                0.02,
            )
            for where in SETTINGS[:2]
        ),
        "Srivastava et al. 2014, section 7.2 and figure 8, for a rate of 0.5.",
    ),
    Claim(
        "rate-sweep",
        "Good rates for dense layers are 0.3 to 0.5.",
        "N",
        (
            less("rates", "rate 0.3", "rate 0", "loss", "lower"),
            less("rates", "rate 0.5", "rate 0", "loss", "lower"),
            less("rates", "rate 0.5", "rate 0.7", "loss", "lower"),
            less("rates", "rate 0.4", "rate 0.1", "accuracy", "higher"),
        ),
        "It depends on the width and on the data: a rate is no constant of nature.",
        afterwards="the measure, the width and the number of images",
    ),
    Claim(
        "data-size",
        "Dropout helps most at a middling number of images.",
        "-",
        (
            Contrast(
                "accuracy: what dropout adds with 1,000 images minus with 100",
                "data size",
                {
                    ("1000 images, dropout", "accuracy"): 1,
                    ("1000 images, plain", "accuracy"): -1,
                    ("100 images, dropout", "accuracy"): -1,
                    ("100 images, plain", "accuracy"): 1,
                },
                "higher",
                0.01,
            ),
            Contrast(
                "accuracy: what dropout adds with 1,000 images minus with 20,000",
                "data size",
                {
                    ("1000 images, dropout", "accuracy"): 1,
                    ("1000 images, plain", "accuracy"): -1,
                    ("20000 images, dropout", "accuracy"): -1,
                    ("20000 images, plain", "accuracy"): 1,
                },
                "higher",
                0.01,
            ),
        ),
        "Srivastava et al. 2014, section 7.4 and figure 10, on MNIST.",
        afterwards="which end it is compared with",
    ),
    Claim(
        "conv-dropout",
        "Convolutional layers want lower rates, and spatial dropout suits them.",
        "N, E",
        (
            less("conv dropout", "conv 0.2", "conv 0.5", "accuracy", "higher"),
            less("conv dropout", "spatial 0.2", "conv 0.2", "accuracy", "higher"),
        ),
        "Tompson et al. 2015.",
        afterwards="which of the two statements",
    ),
    Claim(
        "dropout-off",
        "Dropout must be off at inference.",
        "N",
        (
            within(
                "two by two",
                "dense 1000, dropout",
                "dropout_on_accuracy",
                "accuracy",
                "lower",
                0.01,
            ),
            within("two by two", "dense 1000, dropout", "dropout_on_loss", "loss", "higher", 0.02),
            value("two by two", "dense 1000, dropout", "flips", "higher", 0.01),
        ),
        "Left on for one pass; Monte Carlo dropout, which averages many, is another matter"
        " (mc-dropout).",
    ),
    Claim(
        "eval-mode",
        "With batch statistics at inference a prediction depends on its neighbours.",
        "N",
        (
            within("modes", "dense", "batch_1_accuracy", "accuracy", "lower", 0.01),
            within("modes", "dense", "batch_8_accuracy", "accuracy", "lower", 0.01),
            within("modes", "dense", "sorted_accuracy", "accuracy", "lower", 0.01),
        ),
        "A single image, batches of 8, and batches sorted by class.",
    ),
    # Until its runs were there, this contrast was part of eval-mode, whose sentence it does not
    # test.
    Claim(
        "eval-mode-afterwards",
        "Such use also spoils the moving statistics for the predictions after it.",
        "-",
        (within("modes", "dense", "polluted_accuracy", "accuracy", "lower", 0.01),),
        "Here: inference after one pass in training mode over 2,000 images sorted by class, with a"
        " momentum of 0.9.",
    ),
    Claim(
        "momentum-steps",
        "With a momentum of 0.99 inference can be trusted only after hundreds of steps.",
        "-",
        (
            within("momentum", "93 steps", "accuracy", "recomputed_accuracy", "lower", 0.01),
            within("momentum", "310 steps", "accuracy", "recomputed_accuracy", "lower", 0.01),
            within("momentum", "992 steps", "accuracy", "recomputed_accuracy", "same", 0.01),
        ),
        "After n steps 0.99 ** n of the initial statistics is left: 37 % after 100, 5 % after 300.",
        afterwards="what is left of the start, and how fast the weights still move",
    ),
    Claim(
        "train-loss-mode",
        "The training loss that Keras logs can be compared with the validation loss.",
        "-",
        (
            within("two by two", "dense 1000, dropout", "logged_loss", "train_loss", "same", 0.02),
            within("two by two", "dense 1000, plain", "logged_loss", "train_loss", "same", 0.02),
        ),
        "It is measured with dropout on, and while the weights move.",
    ),
    Claim(
        "variance-shift",
        "Dropout before batch norm makes the variance at inference differ from that in training.",
        "N, E",
        (
            value(
                "order",
                "dropout, then batch norm, width 64",
                "shift_measured",
                "lower",
                0.02,
                offset=1.0,
            ),
            value(
                "order",
                "dropout, then batch norm, width 512",
                "shift_measured",
                "lower",
                0.02,
                offset=1.0,
            ),
            value("order", "dropout, then batch norm, width 64", "shift_error", "same", 0.02),
        ),
        "Li et al. 2019; the last contrast is formula against measurement.",
    ),
    Claim(
        "bn-before-dropout",
        "Batch norm before dropout is the better order.",
        "E",
        tuple(
            less(
                "order",
                arm_name("batch norm, then dropout", f"width {width}"),
                arm_name("dropout, then batch norm", f"width {width}"),
                metric,
                way,
            )
            for width in (64, 512)
            for metric, way in (("accuracy", "higher"), ("loss", "lower"))
        ),
        "Li et al. 2019.",
        afterwards="the width and the measure",
    ),
    Claim(
        "dropout-last",
        "Beside batch norm, dropout in the last block alone is better than everywhere.",
        "N, E",
        tuple(
            less(
                "order",
                arm_name("dropout in the last block", f"width {width}"),
                arm_name("batch norm, then dropout", f"width {width}"),
                metric,
                way,
            )
            for width in (64, 512)
            for metric, way in (("accuracy", "higher"), ("loss", "lower"))
        ),
        "Li et al. 2019 advise dropout behind all batch norm layers.",
        afterwards="the width",
    ),
    Claim(
        "redundant",
        "Where there is batch norm, dropout adds little.",
        "E",
        tuple(
            less(
                "two by two", arm_name(where, "both"), arm_name(where, "batch norm"), metric, "same"
            )
            for where in SETTINGS
            for metric in ("accuracy", "loss")
        ),
        "",
        afterwards="the measure: it changes the loss more than the accuracy",
    ),
    Claim(
        "interaction",
        "Dropout does less beside batch norm than alone.",
        "E",
        tuple(interaction(where, "loss", "higher") for where in SETTINGS),
        "A positive interaction: dropout lowers the loss less, where batch norm is.",
        afterwards="the network and the number of images",
    ),
    Claim(
        "both-solve",
        "Use both in most deep networks.",
        "N",
        tuple(
            contrast
            for where in SETTINGS
            for contrast in (
                less(
                    "two by two",
                    arm_name(where, "both"),
                    arm_name(where, "batch norm"),
                    "loss",
                    "lower",
                ),
                less(
                    "two by two",
                    arm_name(where, "both"),
                    arm_name(where, "dropout"),
                    "loss",
                    "lower",
                ),
            )
        ),
        "",
        afterwards="which of the two is there already, the network and the number of images",
    ),
    Claim(
        "both-then-more",
        "They solve different problems: dropout lowers the loss where batch norm is.",
        "N",
        over(SETTINGS, "both", "batch norm", "loss", "lower"),
        "E says the contrary (`redundant`).",
        afterwards="the network and the number of images",
    ),
    Claim(
        "mc-dropout",
        "Averaging over masks at test time improves the predictions.",
        "-",
        tuple(
            contrast
            for where in SETTINGS
            for contrast in (
                within("two by two", arm_name(where, "dropout"), "mc_loss", "loss", "lower", 0.02),
                within(
                    "two by two",
                    arm_name(where, "dropout"),
                    "mc_accuracy",
                    "accuracy",
                    "higher",
                    0.01,
                ),
                within(
                    "two by two",
                    arm_name(where, "dropout"),
                    "mc_calibration",
                    "calibration",
                    "lower",
                    0.01,
                ),
            )
        ),
        "Gal and Ghahramani 2016.",
        afterwards="the measure, and whether the network is too sure or not sure enough",
    ),
    Claim(
        "E1",
        "The small network hits its capacity.",
        "E",
        (
            less("eight", "medium", "small", "train_accuracy", "higher", 0.01),
            less("eight", "medium", "small", "accuracy", "higher"),
        ),
        "Capacity: it fits its training images less well than the medium one.",
    ),
    Claim(
        "E2",
        "The medium network overfits, but beats the small one.",
        "E",
        (
            value("eight", "medium", "gap_loss", "higher", 0.05),
            less("eight", "medium", "small", "accuracy", "higher"),
        ),
        "",
        afterwards="which half of the sentence",
    ),
    Claim(
        "E3",
        "Augmentation helps.",
        "E",
        (
            less("eight", "augmentation", "medium", "accuracy", "higher"),
            less("eight", "augmentation", "medium", "loss", "lower"),
        ),
        "",
        afterwards="the measure",
    ),
    Claim(
        "E4",
        "Batch norm: better accuracy and loss, and yet it overfits.",
        "E",
        (
            less("eight", "batch norm", "medium", "accuracy", "higher"),
            less("eight", "batch norm", "medium", "loss", "lower"),
            value("eight", "batch norm", "gap_loss", "higher", 0.05),
        ),
        "",
        afterwards="which part of the sentence",
    ),
    Claim(
        "E5",
        "Dropout: the accuracy stays the same, the loss gets better.",
        "E",
        (
            less("eight", "dropout", "medium", "accuracy", "same"),
            less("eight", "dropout", "medium", "loss", "lower"),
        ),
        "",
        afterwards="which half of the sentence",
    ),
    Claim(
        "E6",
        "Batch norm and dropout together: no more accuracy than either alone, but a clearly lower"
        " loss.",
        "E",
        tuple(
            less("eight", "both", one, metric, way)
            for one in ("batch norm", "dropout")
            for metric, way in (("accuracy", "same"), ("loss", "lower"))
        ),
        "E reports +0.001 accuracy from one run: less than the standard error of an accuracy over"
        " 10,000 images.",
        afterwards="what it is compared with",
    ),
    Claim(
        "E7",
        "All three together: the smallest gap, and the best of the medium networks.",
        "E",
        (
            *(
                less("eight", "all three", one, "gap_loss", "lower", 0.02)
                for one in ("both", "augmentation")
            ),
            *(less("eight", "all three", one, "loss", "lower") for one in ("both", "augmentation")),
            *(
                less("eight", "all three", one, "accuracy", "higher", 0.0)
                for one in ("both", "augmentation")
            ),
        ),
        "",
        afterwards="what it is compared with, and in what",
    ),
    Claim(
        "E8",
        "The large network with all three is better than the medium one with all three.",
        "E",
        (
            less("eight", "large", "all three", "accuracy", "higher", 0.0),
            less("eight", "large", "all three", "loss", "lower", 0.0),
        ),
        'E says "the best", of all eight, and reports 0.948 validation accuracy, trained on all'
        " images: two claims more (`E8-best`, `E8-number`).",
        afterwards="the measure",
    ),
    Claim(
        "E8-best",
        "The large network with all three is the best of the eight.",
        "E",
        tuple(
            less("eight", "large", one, metric, way, 0.0)
            for one in ("small", "medium", "augmentation", "batch norm", "dropout", "both")
            for metric, way in (("accuracy", "higher"), ("loss", "lower"))
        ),
        "Became a claim of its own when the runs had been seen: `E8` compares the large network"
        " with one arm alone.",
        afterwards="what it is compared with, and in what",
    ),
    Claim(
        "E8-number",
        "The large network with all three reaches an accuracy of 0.948.",
        "E",
        (value("large", "large, all images", "accuracy", "higher", 0.0, offset=0.948),),
        "E's number, of one run and another network; here within the seconds that the results name."
        " The question is whether it can be reached: networks and recipes were tried until one did"
        " (lesson 08, section 8).",
    ),
    Claim(
        "resnet-152",
        "Batch norm made networks of 152 layers practical.",
        "N",
        (
            less(
                "depths",
                "depth 40, batch norm",
                "depth 40, residual and batch norm",
                "accuracy",
                "same",
                0.05,
            ),
            less(
                "depths",
                "depth 40, residual",
                "depth 40, residual and batch norm",
                "accuracy",
                "lower",
                0.05,
            ),
        ),
        "He et al. 2015: residual connections did, with batch norm. Here at depth 40: is batch norm"
        " alone as good as both, and are residual connections alone worse than both?",
        afterwards="the partner: it takes both",
    ),
    Claim(
        "recurrent",
        "Recurrent dropout: on inputs and outputs, not on the hidden state (use variational"
        " dropout).",
        "N",
        (
            value("exact", "layers", "recurrent_drops_state", "same", 0.01),
            value("exact", "layers", "recurrent_mask_constant", "same", 0.01, offset=1.0),
        ),
        "It contradicts itself: variational dropout (Gal and Ghahramani 2016b) does drop the state,"
        " with one mask for a whole sequence, and so does Keras's recurrent_dropout.",
        afterwards="which half of the sentence",
    ),
    Claim(
        "layer-norm-features",
        "Layer norm uses all features of an example.",
        "N",
        (zero("layer_norm_all_features_error"), zero("group_norm_all_error")),
        "Keras's LayerNormalization takes the last axis: in a transformer a token, in a"
        " convolutional network a pixel. The layer norm of the paper is"
        " GroupNormalization(groups=1) there.",
        afterwards="the layer and the shape of its input",
    ),
    Claim(
        "leakage",
        "Batches of one class spoil batch norm.",
        "-",
        (less("leakage", "by class", "shuffled", "accuracy", "lower"),),
        "Each class is normalized by its own statistics in training, and by everybody's at"
        " inference.",
    ),
    Claim(
        "norm-transformer",
        "Transformers do better with layer norm.",
        "N",
        (
            less("transformer", "layer", "batch", "accuracy", "higher"),
            less("transformer", "layer", "none", "accuracy", "higher"),
        ),
        "That the large language models have layer or RMS norm is true; the test is whether it does"
        " better in a tiny one.",
        afterwards="what it is compared with",
    ),
    Claim(
        "determinism",
        "The same seed gives the same run.",
        "-",
        (
            zero("rerun_difference", 1e-6),
            value("exact", "layers", "rerun_difference_other_seed", "higher", 1e-3),
        ),
        "On one machine, one backend and one thread. With more threads, convolutions differ in the"
        " last digits, and training magnifies that.",
    ),
]

_GROUPS = {
    "What the layers compute": (
        "formula",
        "undo",
        "epsilon",
        "per-channel",
        "inference-deterministic",
        "classic-scaling",
        "expectation",
        "ensemble",
        "recurrent",
        "layer-norm-features",
        "determinism",
    ),
    "Batch norm": (
        "ics-cause",
        "higher-lr",
        "faster",
        "initialisation",
        "depth",
        "resnet-152",
        "mild-regulariser",
        "small-batch",
        "small-batch-threshold",
        "eval-mode",
        "eval-mode-afterwards",
        "momentum-steps",
        "leakage",
        "norm-transformer",
    ),
    "Dropout": (
        "overfit",
        "co-adaptation",
        "rate-sweep",
        "data-size",
        "conv-dropout",
        "dropout-off",
        "train-loss-mode",
        "mc-dropout",
    ),
    "Both together": ("variance-shift", "redundant", "interaction", "both-solve", "both-then-more"),
    "Placement": ("placement-bn", "bn-before-dropout", "dropout-last"),
    "The eight experiments of E": (
        "E1",
        "E2",
        "E3",
        "E4",
        "E5",
        "E6",
        "E7",
        "E8",
        "E8-best",
        "E8-number",
    ),
}

_GROUP = {id: group for group, ids in _GROUPS.items() for id in ids}
CLAIMS = [replace(claim, group=_GROUP[claim.id]) for claim in CLAIMS]
FACTS = [claim for claim in CLAIMS if claim.id in ("epsilon", "determinism")]
CLAIMS = [claim for claim in CLAIMS if claim not in FACTS]
