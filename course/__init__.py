"""Helper package of the course on batch normalization and dropout."""

import os

# TensorFlow writes C++ log lines into the notebooks unless both are set before
# its first import (one alone still leaves lines about oneDNN).
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
