"""One honest training run: seeded, timed, re-measured in inference mode."""

import os
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from time import perf_counter

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from course import models, modes
from course.config import Config, check_choice, check_count
from course.data import Data
from course.modes import LOSS, stop_before_softmax

MAKERS = {  # of `OPTIMIZERS`
    "adam": keras.optimizers.Adam,
    "adamw": partial(keras.optimizers.AdamW, weight_decay=0.1),
    "sgd": keras.optimizers.SGD,
}


@dataclass
class Run:
    """A training run: what its hooks see while it goes on, and what it leaves behind.

    Attributes
    ----------
    config : Config
    model : keras.Model
        The compiled model, with the state of the last finished epoch.
    rows : list of (epoch, split, mode, metric, value)
        See `history`.
    seconds : float
        Wall time spent in training steps; neither compiling nor measuring counts.
    epoch, step : int
        How many are finished.
    completed : bool
        False if the run was interrupted.
    statistics : pandas.DataFrame or None
        Where an experiment asked for them: what `course.lab.recorder` recorded of the layers.
    best : list of numpy.ndarray or None
        Likewise: the weights with the least validation loss.
    data, engine : course.data.Data, keras.Model
        Only while it goes on: the data, and the compiled twin of the model, which takes the steps.
    """

    config: Config
    model: keras.Model
    rows: list = field(default_factory=list)
    seconds: float = 0.0
    epoch: int = 0
    step: int = 0
    completed: bool = False
    statistics: pd.DataFrame | None = None
    best: list | None = None
    data: Data | None = None
    engine: keras.Model | None = None

    @property
    def history(self):
        """Tidy: one row an epoch, split, mode and metric, as a pandas DataFrame.

        Columns: epoch (0 is before training), split ("train" or "validation"), mode ("training":
        as Keras logs it, with dropout and augmentation on and averaged while the weights moved;
        "inference": measured after the epoch), metric ("loss", "accuracy", "seconds" of training
        since the start) and value.
        """
        return pd.DataFrame(self.rows, columns=["epoch", "split", "mode", "metric", "value"])

    def curve(self, metric="loss", split="validation", mode="inference"):
        """The values of one metric over the epochs, as a pandas Series indexed by epoch."""
        rows = self.history.query("metric == @metric and split == @split and mode == @mode")
        return rows.set_index("epoch")["value"]

    def final(self, metric="accuracy", split="validation", mode="inference"):
        """The last value of a metric: after the last finished epoch."""
        return float(self.curve(metric, split, mode).iloc[-1])

    def gap(self, metric="loss"):
        """Overfitting gap after the last epoch, in inference mode, positive when overfitted.

        Validation minus training for the loss, training minus validation for the accuracy.
        """
        difference = self.final(metric, "validation") - self.final(metric, "train")
        return difference if metric == "loss" else -difference


def build(config, data):
    """The compiled keras.Model that `train` would start from, for a Config and a data set."""
    modes.check_precision()
    builder = config.model if callable(config.model) else getattr(models, config.model)
    parameters = signature(builder).parameters.values()
    known = [option.name for option in parameters if option.kind is option.KEYWORD_ONLY]
    for option in config.options:
        check_choice(f"An option of {builder.__name__}", option, known)
    keras.utils.set_random_seed(config.seed)
    model = builder(data.input_shape, data.classes, **config.options, seed=config.seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = config.batch_norm_momentum
    if not model.compiled:  # a builder may choose its own loss and optimizer
        steps = config.epochs * (len(data.x_train) // config.batch_size)
        model.compile(optimizer(config, steps), loss=LOSS, metrics=["accuracy"])
    return model


def probabilities(model, outputs):
    """Of the outputs of a model that may stop before its softmax."""
    stops = getattr(model.layers[-1], "activation", 0) is keras.activations.linear
    return keras.ops.softmax(outputs) if stops else outputs


def optimizer(config, steps):
    """The keras.optimizers.Optimizer that a Config asks for, in a training of so many steps."""
    rate = float(config.learning_rate)  # Keras refuses a whole number
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    return MAKERS[config.optimizer](rate)


class Hook:
    """Something that is done beside a training: override what you need."""

    def begin(self, run):
        """Before the first step; what goes on from an earlier run sets `run.epoch`."""

    def step_done(self, run):
        """After each step."""

    def epoch_done(self, run):
        """After each epoch, when it has been measured."""

    def end(self, run):
        """At the end, however it came; `run.completed` tells."""


def shuffled(rng, data, size):
    """The batches of an epoch: indices of shape (steps, size). Too few for a batch are left out."""
    count = len(data.x_train) // size
    return rng.permutation(len(data.x_train))[: count * size].reshape(count, size)


def train(
    config,
    data,
    *,
    measure_every=1,
    measure_size=2_000,
    hooks=(),
    batches=shuffled,
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
    measure_every : int
        Measure after every so many epochs, and after the last.
    measure_size : int
        How many training images the training loss is re-measured on.
    hooks : iterable of Hook
        What else is to be done after a step or an epoch.
    batches : callable
        Called as batches(rng, data, size) for each epoch; see `shuffled`.
    progress : bool
        Whether to show a bar: see `Progress`.

    Returns
    -------
    Run
        Ctrl-C (in Jupyter: Interrupt) ends the training early and returns what was done so far.

    Raises
    ------
    ValueError
        If there are too few training images for a batch, or an option of the model is unknown.
    """
    check_count("measure_every", measure_every)
    count, size = len(data.x_train), config.batch_size
    if size > count:
        raise ValueError(f"batch_size is {size}, but there are only {count} training images.")
    run = Run(config, build(config, data), data=data, engine=_engine(config, data))
    _copy_state(run.model, run.engine)
    hooks = [*hooks, Progress(progress)]
    rng = np.random.default_rng(config.seed)
    for hook in hooks:
        hook.begin(run)
    try:
        run.rows += [] if run.epoch else _measure(run, measure_size)
        for epoch in range(1, config.epochs + 1):
            # Our own shuffle: the arms of an experiment see the same batches on every backend.
            order = batches(rng, data, size)
            if epoch <= run.epoch:
                continue
            logs = []
            for batch in order:
                logs.append(_step(run, batch))
                for hook in hooks:
                    hook.step_done(run)
            _copy_state(run.engine, run.model)
            run.epoch = epoch
            means = {name: np.mean([log[name] for log in logs]) for name in ("loss", "accuracy")}
            run.rows += rows(epoch, "train", "training", means | {"seconds": run.seconds})
            if epoch % measure_every == 0 or epoch == config.epochs:
                run.rows += _measure(run, measure_size)
            for hook in hooks:
                hook.epoch_done(run)
        run.completed = True
    except KeyboardInterrupt:
        _ENGINES.clear()  # stopped within a step, it may be in any state
        print(f"Interrupted: returning the epochs finished so far (of {config.epochs}).")
    finally:
        for hook in hooks:
            hook.end(run)
    run.data = run.engine = None
    return run


# The model that takes the steps, for the arm trained last. Compiling the training step costs more
# than many a short training, so the runs of one arm share it; each run's own model gets the state
# after every epoch.
_ENGINES = {}


def _engine(config, data):
    """A compiled model for all seeds of a config; its state is whatever was left in it."""
    # The model itself stands beside its name: a function defined anew in a notebook is another one.
    plain = replace(config, seed=0)
    arm = config.model, repr((plain, data.input_shape, data.classes, len(data.x_train)))
    if arm not in _ENGINES:
        _ENGINES.clear()
        engine = stop_before_softmax(build(plain, data))
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
    """Copy weights and the states of random generators and optimizer from a model to its twin."""
    for model in (source, target):
        model.optimizer.build(model.trainable_variables)
    for one, other in zip(state(source), state(target), strict=True):
        # A copy, because on JAX a step gives the memory of its inputs away.
        other.assign(keras.ops.copy(one))


def state(model):
    """The variables that a training changes: of all layers, and of the optimizer."""
    # By layer: the model's own list also holds its metrics, which the first step brings into being.
    of_layers = [variable for layer in model.layers for variable in layer.variables]
    return of_layers + model.optimizer.variables


def repeat(config, data, seeds, **options):
    """Train once for each seed, which replaces the config's: the runs of one arm, a list of Run.

    An interrupted run is the last one. The options are those of `train`.
    """
    runs = []
    for seed in seeds:
        runs.append(train(replace(config, seed=seed), data, **options))
        if not runs[-1].completed:
            break
    return runs


def _step(run, batch):
    """One step on the images of these indices: what Keras logs of it."""
    start, engine, data = perf_counter(), run.engine, run.data
    # Not `fit`, whose start costs as much as some twenty of our small steps.
    engine.reset_metrics()  # what is logged is of this batch alone, in every version of Keras
    log = engine.train_on_batch(data.x_train[batch], data.y_train[batch], return_dict=True)
    run.step += 1
    run.seconds += perf_counter() - start
    return log


def _measure(run, measure_size):
    """Loss and accuracy in inference mode, as rows of the history."""
    data = run.data
    train = data.x_train[:measure_size], data.y_train[:measure_size]
    splits = {"train": train, "validation": (data.x_validation, data.y_validation)}
    # All parts have one size, the last one filled up: each shape would be compiled anew. Compiled
    # once for all epochs and seeds of an arm, it soon repays what the direct call of `predict`
    # saves.
    size = min(1_000, max(100, min(len(x) for x, _ in splits.values())))
    found = []
    for split, (x, y) in splits.items():
        filled = np.pad(x, [(0, -len(x) % size), *[(0, 0)] * (x.ndim - 1)], mode="edge")
        outputs = [run.engine.predict_on_batch(part) for part in modes.parts(filled, size)]
        outputs = probabilities(run.engine, np.concatenate(outputs)[: len(x)])
        measured = modes.scores(keras.ops.convert_to_numpy(outputs), y)
        found += rows(run.epoch, split, "inference", measured)
    return found


def rows(epoch, split, mode, metrics):
    """Rows of a history, from a mapping of metrics."""
    return [(epoch, split, mode, metric, float(value)) for metric, value in metrics.items()]


class Progress(Hook):
    """A bar of the steps. COURSE_PROGRESS=0 leaves it out; "lines" prints each measurement."""

    def __init__(self, shown=True):
        self.how = os.environ.get("COURSE_PROGRESS", "bar") if shown else "0"

    def begin(self, run):
        steps = len(run.data.x_train) // run.config.batch_size
        count = {"total": run.config.epochs * steps, "initial": run.epoch * steps, "unit": "step"}
        look = {"desc": "training", "leave": False, "file": sys.stdout}
        self.bar = tqdm(**count, **look, disable=self.how in ("0", "lines"))

    def step_done(self, run):
        self.bar.update()

    def epoch_done(self, run):
        if self.how == "lines" and run.rows[-1][2] == "inference":
            told = ", ".join(f"{row[1]} {row[3]} {row[4]:.4f}" for row in run.rows[-4:])
            of = f"epoch {run.epoch} of {run.config.epochs}"
            print(f"{of}, {run.seconds:.0f} s, {told}")

    def end(self, run):
        self.bar.close()
