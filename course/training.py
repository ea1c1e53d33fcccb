"""One honest training run: seeded, timed, re-measured in inference mode."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from inspect import signature
from numbers import Integral
from pathlib import Path
from platform import machine, system
from time import perf_counter

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from course import models

BUILDERS = {"mlp": models.mlp, "cnn": models.cnn}
OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": partial(keras.optimizers.AdamW, weight_decay=0.1),
    "sgd": keras.optimizers.SGD,
}
SCHEDULES = ("constant", "cosine")
# `train_on_batch` does it itself by now (keras-team/keras#22617), and twice costs time.
RESETS_METRICS = tuple(map(int, keras.version().split(".")[:2])) >= (3, 15)
CHECKPOINT_SECONDS = 20  # what a killed training may lose, besides the epoch it was in


@dataclass(frozen=True)
class Config:
    """All that decides a training run, besides the data.

    Parameters
    ----------
    model : {"mlp", "cnn"} or callable
        Builder in `course.models`, or a function of your own with the same frame:
        `build(input_shape, classes, *, seed, ...)` returns a keras.Model that is not compiled.
    options : mapping
        Keyword arguments of that builder, without `seed`.
    epochs : int
        Passes over the training set.
    batch_size : int
        Images a step. The images that do not fill the last batch of an epoch wait for the next
        epoch's shuffle, so that batch norm never sees a left-over batch of another size.
    optimizer : {"adam", "adamw", "sgd"}
        "sgd" is plain, without momentum or weight decay. "adamw" also takes a tenth of the learning
        rate off every weight at each step (Loshchilov and Hutter 2019).
    learning_rate : float
        Step size, at the start if there is a schedule.
    schedule : {"constant", "cosine"}
        "cosine" lets the learning rate fall to 0 at the last step.
    batch_norm_momentum : float
        Keras's `momentum` of every batch norm layer: the part of the moving statistics that is
        *kept* at each step. The course trains for a few hundred steps, too few for Keras's default
        of 0.99, so the default here is 0.9 (lesson 03 shows why).
    seed : int
        Fixes the initial weights, the order of the images, dropout and augmentation.
    """

    model: str | Callable = "mlp"
    options: Mapping = field(default_factory=dict)
    epochs: int = 5
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    batch_norm_momentum: float = 0.9
    seed: int = 0

    def __post_init__(self):
        if not callable(self.model):
            models.check_choice("model", self.model, BUILDERS)
        models.check_choice("optimizer", self.optimizer, OPTIMIZERS)
        models.check_choice("schedule", self.schedule, SCHEDULES)
        models.check_count("epochs", self.epochs)
        models.check_count("batch_size", self.batch_size)
        if "seed" in self.options:
            raise ValueError(
                "options holds a seed; give Config(seed=...) instead: it fixes everything random."
            )
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; give a number above 0.")
        if not 0 <= self.batch_norm_momentum < 1:
            raise ValueError(
                f"batch_norm_momentum is {self.batch_norm_momentum}; it is the part that is kept:"
                " from 0 to below 1."
            )
        if not (isinstance(self.seed, Integral) and 0 <= self.seed < 2**20):
            raise ValueError(f"seed is {self.seed!r}; give a whole number from 0 to {2**20 - 1}.")


def config_from(parameters):
    """The Config that a mapping describes, such as the parameters of a run; what Config does not
    know is left out.
    """
    return Config(
        **{one.name: parameters[one.name] for one in fields(Config) if one.name in parameters}
    )


@dataclass
class Run:
    """What a training run leaves behind.

    Attributes
    ----------
    config : Config
    model : keras.Model
        The trained, compiled model.
    history : pandas.DataFrame
        Tidy: one row an epoch, split, mode and metric, with columns epoch, split ("train" or
        "validation"), mode ("training": as Keras logs it, with dropout and augmentation on and
        averaged while the weights moved; "inference": measured after the epoch), metric ("loss",
        "accuracy", "seconds" of training since the start) and value. Epoch 0 is before training.
    statistics : pandas.DataFrame
        Tidy, empty unless recorded: step, layer, quantity, feature and value; see `train`.
    seconds : float
        Wall time spent in training steps; neither compiling nor measuring counts.
    completed : bool
        False if the run was interrupted; history and model are then those of the last finished
        epoch.
    provenance : dict
        Package versions, backend, kind of machine, data set.
    """

    config: Config
    model: keras.Model
    history: pd.DataFrame
    statistics: pd.DataFrame
    seconds: float
    completed: bool
    provenance: dict

    def curve(self, metric="loss", split="validation", mode="inference"):
        """The values of one metric over the epochs, as a pandas Series indexed by epoch."""
        rows = self.history.query("metric == @metric and split == @split and mode == @mode")
        return rows.set_index("epoch")["value"]

    def final(self, metric="accuracy", split="validation", mode="inference"):
        """The last value of a metric: after the last finished epoch."""
        return float(self.curve(metric, split, mode).iloc[-1])

    def gap(self, metric="loss"):
        """Overfitting gap after the last epoch, both sides in inference mode, positive when
        overfitted.

        Validation minus training for the loss, training minus validation for the accuracy.
        """
        difference = self.final(metric, "validation") - self.final(metric, "train")
        return difference if metric == "loss" else -difference


def build(config, data):
    """The compiled model that `train` would start from.

    Parameters
    ----------
    config : Config
    data : course.data.Data

    Returns
    -------
    keras.Model
    """
    builder = config.model if callable(config.model) else BUILDERS[config.model]
    known = [
        name for name, one in signature(builder).parameters.items() if one.kind is one.KEYWORD_ONLY
    ]
    for option in config.options:
        models.check_choice(f"An option of {builder.__name__}", option, known)
    keras.utils.set_random_seed(config.seed)
    model = builder(data.input_shape, data.classes, **config.options, seed=config.seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = config.batch_norm_momentum
    rate = float(config.learning_rate)  # Keras refuses a whole number
    if config.schedule == "cosine":
        steps = config.epochs * (len(data.x_train) // config.batch_size)
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        OPTIMIZERS[config.optimizer](rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def train(
    config,
    data,
    *,
    record_every=None,
    measure_every=1,
    measure_size=2_000,
    checkpoint=None,
    progress=True,
):
    """Train one model and measure it honestly.

    Before training and after each epoch (or every so many), loss and accuracy are measured in
    inference mode on the validation set and on the first `measure_size` training images: the loss
    that Keras logs for the training set has dropout and augmentation on, and must not be compared
    with the validation loss.

    Parameters
    ----------
    config : Config
    data : course.data.Data
    record_every : int, optional
        Record statistics every so many steps (and before the first): of each dense, conv, norm and
        activation layer's output over up to 256 training images in training mode ("mean",
        "variance") and inference mode ("inference_mean", "inference_variance"), and the
        "moving_mean" and "moving_variance" of each batch norm; each for every feature (channel).
    measure_every : int
        Measure after every so many epochs, and after the last.
    measure_size : int
        How many training images the training loss is re-measured on.
    checkpoint : path, optional
        A file that the state is saved to after an epoch, at most every 20 s, and that a killed
        training of the same config, data and backend goes on from. It is removed when the training
        is complete.
    progress : bool
        Show a progress bar (with the environment variable COURSE_PROGRESS=0 there is none; with
        "lines" a line of text tells of each measurement instead).

    Returns
    -------
    Run
        Ctrl-C (in Jupyter: Interrupt) ends the training early and returns what was done so far.

    Raises
    ------
    ValueError
        If the batch size exceeds the number of training images, an option of the model is unknown,
        or statistics are to be recorded in a run with a checkpoint, which does not hold them.
    """
    models.check_count("measure_every", measure_every)
    if checkpoint and record_every:
        raise ValueError(
            "A checkpoint does not hold recorded statistics: give checkpoint or record_every, not"
            " both."
        )
    count = len(data.x_train)
    if config.batch_size > count:
        raise ValueError(
            f"batch_size is {config.batch_size}, but there are only {count} training images."
        )
    model = build(config, data)
    engine = _engine(config, data)
    _copy_state(model, engine)
    recorder = _Recorder(engine, data.x_train[:256], record_every)
    order = np.random.default_rng(config.seed)
    steps = count // config.batch_size
    rows, seconds, completed = [], 0.0, False
    finished, saved = 0, perf_counter()
    if checkpoint:
        identity = json.dumps(
            [repr(config), data.provenance, data.input_shape, count, keras.config.backend()]
        )
        finished, seconds, rows = _load_checkpoint(checkpoint, identity, model)
        _copy_state(model, engine)
    bar = tqdm(
        total=config.epochs * steps,
        desc="training",
        unit="step",
        leave=False,
        file=sys.stdout,
        disable=not progress or os.environ.get("COURSE_PROGRESS") in ("0", "lines"),
    )
    with bar:
        try:
            rows += [] if finished else _measure(engine, data, 0, measure_size)
            for epoch in range(1, config.epochs + 1):
                # Our own shuffle: the arms of an experiment see the same batches on every backend.
                batches = order.permutation(count)[: steps * config.batch_size].reshape(steps, -1)
                if epoch <= finished:
                    bar.update(steps)
                    continue
                start, recording = perf_counter(), recorder.seconds
                logs = []
                for batch in batches:
                    # Not `fit`, whose start costs as much as some twenty of our small steps.
                    if not RESETS_METRICS:
                        # what is logged is of this batch alone, in every version of Keras
                        engine.reset_metrics()
                    logs.append(
                        engine.train_on_batch(
                            data.x_train[batch], data.y_train[batch], return_dict=True
                        )
                    )
                    recorder.step_done()
                    bar.update()
                seconds += perf_counter() - start - (recorder.seconds - recording)
                _copy_state(engine, model)
                logged = {
                    name: np.mean([log[name] for log in logs]) for name in ("loss", "accuracy")
                }
                logged["seconds"] = seconds
                rows += [
                    _row(epoch, "train", "training", metric, value)
                    for metric, value in logged.items()
                ]
                if epoch % measure_every == 0 or epoch == config.epochs:
                    rows += _measure(engine, data, epoch, measure_size)
                    if os.environ.get("COURSE_PROGRESS") == "lines":
                        print(
                            f"epoch {epoch} of {config.epochs}, {seconds:.0f} s, {_in_words(rows)}"
                        )
                if checkpoint and perf_counter() - saved > CHECKPOINT_SECONDS:
                    _save_checkpoint(checkpoint, identity, model, epoch, seconds, rows)
                    saved = perf_counter()
            completed = True
            if checkpoint:
                Path(checkpoint).unlink(missing_ok=True)
        except KeyboardInterrupt:
            _ENGINES.clear()  # stopped within a step, it may be in any state
            print(f"Interrupted: returning the epochs finished so far (of {config.epochs}).")
    return Run(
        config,
        model,
        pd.DataFrame(rows, columns=["epoch", "split", "mode", "metric", "value"]),
        recorder.table(),
        seconds,
        completed,
        _provenance(data),
    )


# The model that takes the steps, for the arm trained last. Compiling the training step costs more
# than many a short training, so the runs of one arm share it; each run's own model gets the state
# after every epoch.
_ENGINES = {}


def _engine(config, data):
    """A compiled model for all seeds of a config; its state is whatever was left in it."""
    # The model itself stands beside its name: a function defined anew in a notebook is another one.
    arm = (
        config.model,
        repr((replace(config, seed=0), data.input_shape, data.classes, len(data.x_train))),
    )
    if arm not in _ENGINES:
        _ENGINES.clear()
        engine = build(replace(config, seed=0), data)
        x, y = data.x_train[: config.batch_size], data.y_train[: config.batch_size]
        # TensorFlow traces a step that makes variables twice, so the optimizer's and the metrics'
        # are made before it.
        engine.optimizer.build(engine.trainable_variables)
        engine.compute_metrics(x, y, engine(x))
        # One step, so that compiling counts in nobody's seconds.
        engine.train_on_batch(x, y)
        _ENGINES[arm] = engine
    return _ENGINES[arm]


def _copy_state(source, target):
    """Copy weights, states of random generators and the optimizer's state from one model to its
    twin.
    """
    for model in (source, target):
        model.optimizer.build(model.trainable_variables)
    for one, other in zip(_state(source), _state(target), strict=True):
        # A copy, because on JAX a step gives the memory of its inputs away.
        other.assign(keras.ops.copy(one))


def _state(model):
    # By layer: the model's own list also holds its metrics, which come into being with the first
    # step.
    return [
        variable for layer in model.layers for variable in layer.variables
    ] + model.optimizer.variables


def _save_checkpoint(path, identity, model, epoch, seconds, rows):
    state = [keras.ops.convert_to_numpy(variable) for variable in _state(model)]
    progress = json.dumps({"identity": identity, "epoch": epoch, "seconds": seconds, "rows": rows})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            np.savez(file, *state, progress=progress)
            file.close()
            os.replace(file.name, path)  # a kill leaves the old state or the new one, never a half
        except BaseException:
            os.unlink(file.name)
            raise


def _load_checkpoint(path, identity, model):
    """Put the saved state into the model; the finished epochs, seconds and rows, or none of each."""
    nothing = 0, 0.0, []
    if not Path(path).exists():
        return nothing
    with np.load(path) as saved:
        progress = json.loads(str(saved["progress"]))
        if progress["identity"] != identity:
            print(
                "The checkpoint is of another config, data or backend: starting from the beginning."
            )
            return nothing
        model.optimizer.build(model.trainable_variables)
        for number, variable in enumerate(_state(model)):
            variable.assign(saved[f"arr_{number}"])
    return progress["epoch"], progress["seconds"], [tuple(row) for row in progress["rows"]]


def repeat(config, data, seeds, **options):
    """Train once a seed: the runs of one arm of an experiment.

    Parameters
    ----------
    config : Config
        Its seed is replaced by each of `seeds`.
    data : course.data.Data
    seeds : iterable of int
    **options
        Passed on to `train`.

    Returns
    -------
    list of Run
        In the order of `seeds`; an interrupted run is the last one.
    """
    runs = []
    for seed in seeds:
        runs.append(train(replace(config, seed=seed), data, **options))
        if not runs[-1].completed:
            break
    return runs


def table(arms):
    """The histories of several arms in one tidy table, with the columns arm and seed in front.

    Parameters
    ----------
    arms : mapping of str to list of Run

    Returns
    -------
    pandas.DataFrame
    """
    return pd.concat(
        [
            run.history.assign(arm=arm, seed=run.config.seed)[["arm", "seed", *run.history.columns]]
            for arm, runs in arms.items()
            for run in runs
        ],
        ignore_index=True,
    )


def evaluate(model, x, y, *, training=False, batch_size=1_000):
    """Mean cross-entropy loss and accuracy of a softmax classifier, in either mode.

    Parameters
    ----------
    model : keras.Model
        Puts out probabilities of shape (N, classes).
    x : array of shape (N, height, width, channels)
    y : array of int, shape (N,)
    training : bool
        Mode of dropout, batch norm and augmentation. True moves the moving statistics of batch
        norm.
    batch_size : int
        Images at a time; in training mode, the batches that batch norm sees.

    Returns
    -------
    dict
        "loss" (nats) and "accuracy" (0 to 1).
    """
    return _scores(predict(model, x, training=training, batch_size=batch_size), y)


def predict(model, x, *, training=False, batch_size=1_000):
    """What a model puts out for each image, in either mode.

    Parameters
    ----------
    model : keras.Model
    x : array of shape (N, height, width, channels)
    training, batch_size
        As for `evaluate`.

    Returns
    -------
    numpy.ndarray of shape (N, classes)
    """
    # Called directly: Keras's own `predict` compiles a graph first, which for a single look costs
    # more than it saves.
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(model(part, training=training))
            for part in _parts(x, batch_size)
        ]
    )


def call(model, x, training_layers=()):
    """Run a chain of layers with some of them in training mode and the rest in inference mode.

    `model(x, training=True)` switches batch norm *and* dropout. This switches them one kind at a
    time.

    Parameters
    ----------
    model : keras.Model
        A chain of layers, as `course.models` builds them.
    x : array of shape (N, height, width, channels)
    training_layers : type or tuple of types
        Layer classes to run in training mode, such as keras.layers.Dropout.

    Returns
    -------
    numpy.ndarray of shape (N, classes)
    """
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):  # a Sequential lists none
            x = layer(x, training=isinstance(layer, training_layers))
    return keras.ops.convert_to_numpy(x)


def recompute_statistics(model, x, batch_size=500):
    """Replace the moving statistics of every batch norm by averages over `x`, with dropout off.

    "Precise BN" (Wu and Johnson 2021, section 3): the weights stay as they are, and each batch
    counts the same, where the moving average of training favours the last ones and still holds its
    start.

    Parameters
    ----------
    model : keras.Model
        A chain of layers; changed in place.
    x : array of shape (N, height, width, channels)
        Training images.
    batch_size : int
        Images a batch; a left-over batch is left out.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [(layer.momentum, layer.trainable) for layer in norms]
    try:
        for layer in norms:
            layer.trainable = True  # a frozen layer would not take the new statistics
        for number in range(max(1, len(x) // batch_size)):
            for layer in norms:
                # Keeping number / (number + 1) of the old average weighs all batches alike.
                layer.momentum = number / (number + 1)
            call(
                model,
                x[number * batch_size : (number + 1) * batch_size],
                keras.layers.BatchNormalization,
            )
    finally:
        for layer, (momentum, trainable) in zip(norms, before, strict=True):
            layer.momentum, layer.trainable = momentum, trainable


def gradients(model, x, y):
    """Gradient of the mean cross-entropy loss, in training mode, with respect to each trainable
    variable.

    Works on every backend: it is read from the momentum after one step of an optimizer, and not
    from the change of the weights, in which rounding would swallow a small gradient. The model
    itself is left as it was.

    Parameters
    ----------
    model : keras.Model
    x : array of shape (N, height, width, channels)
    y : array of int, shape (N,)

    Returns
    -------
    dict of str to numpy.ndarray
        By the path of the variable, such as "dense_1/kernel".
    """
    probe = keras.models.clone_model(model)
    probe.set_weights(model.get_weights())
    # Keras's momentum after the first step is minus the learning rate times the gradient.
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    probe.compile(optimizer, loss="sparse_categorical_crossentropy", run_eagerly=True)
    probe.train_on_batch(x, y)
    return {
        variable.path: -keras.ops.convert_to_numpy(momentum)
        for variable, momentum in zip(probe.trainable_variables, optimizer.momentums, strict=True)
    }


def _measure(engine, data, epoch, measure_size):
    parts = {
        "train": (data.x_train[:measure_size], data.y_train[:measure_size]),
        "validation": (data.x_validation, data.y_validation),
    }
    # All parts have one size, the last one filled up: each shape would be compiled anew. Compiled
    # once for all epochs and seeds of an arm, it soon repays what the direct call of `predict`
    # saves.
    size = min(1_000, max(100, min(len(x) for x, _ in parts.values())))
    rows = []
    for split, (x, y) in parts.items():
        filled = np.pad(x, [(0, -len(x) % size), *[(0, 0)] * (x.ndim - 1)], mode="edge")
        probabilities = np.concatenate(
            [engine.predict_on_batch(part) for part in _parts(filled, size)]
        )[: len(x)]
        rows += [
            _row(epoch, split, "inference", metric, value)
            for metric, value in _scores(probabilities, y).items()
        ]
    return rows


def _parts(x, size):
    return (x[start : start + size] for start in range(0, len(x), size))


def _scores(probabilities, y):
    chosen = np.clip(probabilities[np.arange(len(y)), y], keras.config.epsilon(), 1.0)
    return {
        "loss": float(-np.log(chosen).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == y).mean()),
    }


def _in_words(rows):
    """The last measurement, for a log."""
    return ", ".join(f"{split} {metric} {value:.4f}" for _, split, _, metric, value in rows[-4:])


def _row(epoch, split, mode, metric, value):
    return epoch, split, mode, metric, float(value)


class _Recorder:
    """Records statistics of activations and moving statistics while a model trains."""

    def __init__(self, model, probe, every):
        self.every, self.probe = every, probe
        self.step, self.seconds, self.rows = 0, 0.0, []
        if not every:
            return
        models.check_count("record_every", every)
        self.layers = [
            layer
            for layer in model.layers
            if layer.name.split("_")[0] in ("dense", "conv", "norm", "activation")
        ]
        self.watched = keras.Model(model.input, [layer.output for layer in self.layers])
        self.record()

    def step_done(self):
        self.step += 1
        if self.every and self.step % self.every == 0:
            self.record()

    def record(self):
        start = perf_counter()
        norms = [
            layer for layer in self.layers if isinstance(layer, keras.layers.BatchNormalization)
        ]
        # A look in training mode would move the moving statistics; they are put back afterwards.
        saved = [
            [keras.ops.convert_to_numpy(weight) for weight in layer.weights] for layer in norms
        ]
        for training, prefix in ((True, ""), (False, "inference_")):
            outputs = self.watched(self.probe, training=training)
            for layer, output in zip(self.layers, outputs, strict=True):
                values = keras.ops.convert_to_numpy(output)
                values = values.reshape(-1, values.shape[-1])
                self._add(layer.name, prefix + "mean", values.mean(axis=0))
                self._add(layer.name, prefix + "variance", values.var(axis=0))
            for layer, weights in zip(norms, saved, strict=True):
                layer.set_weights(weights)
        for layer in norms:
            self._add(layer.name, "moving_mean", keras.ops.convert_to_numpy(layer.moving_mean))
            self._add(
                layer.name, "moving_variance", keras.ops.convert_to_numpy(layer.moving_variance)
            )
        self.seconds += perf_counter() - start

    def _add(self, layer, quantity, values):
        self.rows.append(
            pd.DataFrame(
                {
                    "step": self.step,
                    "layer": layer,
                    "quantity": quantity,
                    "feature": np.arange(len(values)),
                    "value": values,
                }
            )
        )

    def table(self):
        empty = pd.DataFrame(columns=["step", "layer", "quantity", "feature", "value"])
        return pd.concat(self.rows, ignore_index=True) if self.rows else empty


def _graphics_card():
    """The name of the GPU that Keras computes on, with a comma in front; empty if there is none."""
    # Each backend has its own word for where a tensor lies; `keras.distribution` does not know
    # PyTorch's.
    device = str(keras.ops.convert_to_tensor(0.0).device).lower()
    if "gpu" not in device and "cuda" not in device:
        return ""
    try:
        names = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        )
        return f", {names.stdout.splitlines()[0]}"
    except (OSError, subprocess.SubprocessError, IndexError):
        return ", a GPU"


def _provenance(data):
    return {
        "keras": keras.version(),
        "backend": keras.config.backend(),
        "backend_version": getattr(
            sys.modules.get(keras.config.backend()), "__version__", "unknown"
        ),
        "numpy": np.__version__,
        "machine": f"{system()} {machine()}, {os.cpu_count()} cores{_graphics_card()}",
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS", "all"),
        "data": data.provenance,
    }
