"""Interactive figures: pictures with sliders, for trying out what a lesson derives."""

from course.explorers.batch_norm import batch_norm_formula, batch_size_noise, moving_statistics
from course.explorers.dropout import dropout_mask, rates_by_layer, variance_shift
from course.explorers.explorer import Explorer, Prediction, predict_first

__all__ = [
    "Explorer",
    "Prediction",
    "batch_norm_formula",
    "batch_size_noise",
    "dropout_mask",
    "moving_statistics",
    "predict_first",
    "rates_by_layer",
    "variance_shift",
]
