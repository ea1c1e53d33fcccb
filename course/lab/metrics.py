"""The metrics that each measure gives, by name, so that plans and claims can be checked.

Without Keras: an experiment is planned in a fraction of a second. Key and value are those of
`course.lab.measures.MEASURES`, whose functions say what each metric is.
"""

from course.config import check_choice

EQUAL_LOSS = 0.4  # training loss at which "equal_training" compares

METRICS = {
    "final": "accuracy train_accuracy gap_accuracy logged_accuracy loss train_loss gap_loss"
    " logged_loss weights seconds",
    "best": "best_epoch best_epoch_log2 best_loss best_accuracy best_train_loss best_test_loss"
    " best_test_accuracy",
    "equal_training": f"loss_at_train_{EQUAL_LOSS}",
    "test": "test_loss test_accuracy",
    "mirrored": "mirrored_accuracy mirrored_loss test_mirrored_accuracy",
    "recomputed": "recomputed_loss recomputed_accuracy",
    "batch_statistics": "batch_1_accuracy batch_2_accuracy batch_8_accuracy batch_32_accuracy"
    " batch_128_accuracy sorted_accuracy polluted_accuracy",
    "adapted": "shifted_accuracy adapted_accuracy",
    "fine_tuning": "tuned_accuracy tuned_frozen_accuracy tuned_shifted_accuracy"
    " tuned_shifted_frozen_accuracy",
    "dropout_on": "dropout_on_accuracy dropout_on_loss flips",
    "monte_carlo": "mc_accuracy mc_loss mc_calibration calibration temperature half_loss"
    " half_calibration mc_half_loss mc_half_calibration scaled_loss scaled_calibration"
    " foreign_auroc mc_foreign_auroc",
    "sparsity": "active_alive dead",
    "effective_rate": "log2_effective_rate",
    "variance_shift": "shift_measured shift_predicted shift_error shift_moving",
    "drift": "jump travel",
    "target": "epochs_to_target seconds_to_target",
}


def names_of(measure):
    """The metrics that a measure gives, by its name."""
    check_choice("A measure", measure, METRICS)
    return tuple(METRICS[measure].split())
