"""The named experiments: arms times seeds, and how each becomes a list of runs.

An experiment is data. A run is one execution of a template notebook in `notebooks/experiments/` with the
parameters of one arm and one seed; `course.sweeps` executes runs and keeps what they put out.
"""

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import papermill

from course import data

TEMPLATES = Path(__file__).resolve().parent.parent / "notebooks" / "experiments"
# Not part of what is computed, hence not of a run's key.
PLUMBING = ("save_to", "checkpoint")


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
        Parameters that all arms share; the rest are the template's defaults.
    seeds : int
        Repetitions: seeds 0, 1, ... of initial weights, order of the images, masks, and choice of images.
    small : mapping
        Parameters of the version that runs in about a minute, where they differ; "seeds" is one of them.
    template : str
        Name of the notebook, without its ending.
    """

    question: str
    arms: Mapping[str, Mapping]
    common: Mapping = field(default_factory=dict)
    seeds: int = 10
    small: Mapping = field(default_factory=dict)
    template: str = "train"


@dataclass(frozen=True)
class Run:
    """One execution of a template: all that decides what it puts out.

    Attributes
    ----------
    experiment, arm, template : str
    seed : int
    parameters : dict
        Every parameter of the template, defaults included, but for `PLUMBING`.
    """

    experiment: str
    arm: str
    seed: int
    template: str
    parameters: dict

    @property
    def key(self):
        """Hash of the whole configuration, the data and the backend: equal keys, equal results."""
        return _hash([self.setting, self.seed])

    @property
    def setting(self):
        """The same without the seed: what the runs of one arm have in common."""
        shared = {name: value for name, value in self.parameters.items() if name != "seed"}
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        return _hash([self.template, shared, data.identity(self.parameters["dataset"]), backend])


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class PlanError(ValueError):
    """An experiment, parameter or value that does not exist; says which there are."""


def plan(name, *, dataset=None, seeds=None, small=False, parameters=None, arms=None):
    """The runs of an experiment.

    Parameters
    ----------
    name : str
        Key of `EXPERIMENTS`.
    dataset : {"auto", "fashion_mnist", "digits"}, optional
        Instead of the experiment's own. Digits have fewer images: sizes are cut to what there is.
    seeds : int or iterable of int, optional
        How many, or which.
    small : bool
        The version that takes about a minute.
    parameters : mapping, optional
        Parameters of the template to change in every arm; "options.rate" is an entry of `options`.
    arms : iterable of str, optional
        Only these.

    Returns
    -------
    list of Run
        Seed by seed, so that a sweep that is stopped leaves whole pairs.

    Raises
    ------
    PlanError
        For an unknown experiment, arm, parameter or data set, or a bad number of seeds.
    """
    experiment = EXPERIMENTS[_known("experiment", name, EXPERIMENTS)]
    changes = {**(experiment.small if small else {}), **(parameters or {})}
    count = changes.pop("seeds", experiment.seeds)
    seeds = count if seeds is None else seeds
    if isinstance(seeds, int):
        if seeds < 1:
            raise PlanError(f"seeds is {seeds}; give a number of at least 1.")
        seeds = range(seeds)
    defaults = template_defaults(experiment.template)
    for parameter in changes:
        _known(f"parameter of {experiment.template}", parameter.split(".")[0], set(defaults) - set(PLUMBING))
    if "seed" in changes:
        raise PlanError("seed is not a parameter to set: each run has its own. Say how many with --seeds.")
    chosen = list(experiment.arms) if arms is None else [_known("arm", arm, experiment.arms) for arm in arms]
    runs = []
    for arm in chosen:
        values = _merged(defaults, experiment.common, experiment.arms[arm], changes)
        if dataset:
            values["dataset"] = dataset
        values = _with_data({name: value for name, value in values.items() if name not in PLUMBING})
        runs.append((arm, values))
    return [
        Run(name, arm, seed, experiment.template, {**values, "seed": seed}) for seed in seeds for arm, values in runs
    ]


def check(runs):
    """Refuse values that the template would refuse, before anything is started.

    Raises
    ------
    PlanError
    """
    from course import training  # not above: it takes seconds, and showing results needs none of it

    for run in {run.arm: run for run in runs if run.template == "train"}.values():
        try:
            config = training.config_from(run.parameters)
            sizes = {name: run.parameters[name] or None for name in ("train_size", "validation_size")}
            loaded = data.load(run.parameters["dataset"], **sizes)
            training.build(config, loaded)
        except (ValueError, TypeError) as error:
            raise PlanError(f"Arm {run.arm!r} cannot be run: {error}") from error


def template_defaults(name):
    """The parameters of a template and their defaults, read from its cell tagged `parameters`."""
    found = papermill.inspect_notebook(TEMPLATES / f"{name}.ipynb")
    return {parameter: ast.literal_eval(entry["default"]) for parameter, entry in found.items()}


def _merged(*layers):
    result = {}
    for layer in layers:
        for name, value in layer.items():
            name, _, entry = name.partition(".")
            if entry:
                value = {**result.get(name, {}), entry: value}
            elif isinstance(value, Mapping):
                value = {**result.get(name, {}), **value}
            result[name] = value
    return result


def _with_data(values):
    """With the data set's own name instead of `auto`, and sizes that it has."""
    name = data.resolve(_known("data set", values["dataset"], ("auto", *data.SIZES)))
    values["dataset"] = name
    if name == "digits":
        for part, most in zip(("train_size", "validation_size"), data.SIZES["digits"], strict=False):
            if values.get(part):
                values[part] = min(values[part], most)
    return values


def _known(what, name, known):
    if name in known:
        return name
    close = get_close_matches(str(name), list(known), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise PlanError(f"There is no {what} {name!r}.{hint} There are: {', '.join(sorted(known))}.")


ALL_THREE = {"norm": "batch", "dense_rate": 0.4, "conv_rate": 0.1, "augmentation": "shift_flip"}

EXPERIMENTS = {
    "eight": Experiment(
        question="What do augmentation, batch norm and dropout each bring a convolutional network, and together?",
        arms={
            "small": {"options": {"size": "small"}},
            "medium": {},
            "augmentation": {"options": {"augmentation": "shift_flip"}},
            "batch norm": {"options": {"norm": "batch"}},
            "dropout": {"options": {"dense_rate": 0.4, "conv_rate": 0.1}},
            "both": {"options": {"norm": "batch", "dense_rate": 0.4, "conv_rate": 0.1}},
            "all three": {"options": ALL_THREE},
            "large": {"options": {"size": "large", **ALL_THREE}},
        },
        common={
            "dataset": "fashion_mnist", "train_size": 4_000, "validation_size": 6_000, "model": "cnn",
            "options": {"size": "medium"}, "epochs": 60, "batch_size": 64, "learning_rate": 1e-3, "schedule": "cosine",
            "measure_every": 5, "measure": ["test"],
        },
        seeds=5,
        small={"train_size": 1_000, "epochs": 8, "measure_every": 2, "seeds": 1},
    ),
}  # fmt: skip
