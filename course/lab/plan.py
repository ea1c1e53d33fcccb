"""The named experiments: arms times seeds, and how each becomes a list of runs.

An experiment is data. A run is one execution of a template notebook in `notebooks/experiments/`
with the parameters of one arm and one seed; `course.lab.sweep` executes runs and keeps what they put
out.
"""

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from course import data
from course.lab.catalogue import EXPERIMENTS
from course.lab.errors import UserError

TEMPLATES = Path(__file__).resolve().parents[2] / "notebooks" / "experiments"
# Not part of what is computed, hence not of a run's key.
PLUMBING = ("save_to", "checkpoint")
BACKENDS = ("tensorflow", "jax", "torch")  # of Keras; the usual one first


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
        return self.key_on(backend())

    def key_on(self, backend):
        """The key on a backend of Keras, one of `BACKENDS`."""
        return _hash([self.setting_on(backend), self.seed])

    @property
    def setting(self):
        """The same without the seed: what the runs of one arm have in common."""
        return self.setting_on(backend())

    def setting_on(self, backend):
        """The setting on a backend of Keras, one of `BACKENDS`."""
        shared = {name: value for name, value in self.parameters.items() if name != "seed"}
        return _hash([self.template, shared, data.identity(self.parameters["dataset"]), backend])


def backend():
    """The backend of Keras that runs are computed on; a worker's own setting does not count."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def _hash(value):
    # Changed, it would orphan all results there are: their keys would be asked for no more.
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class PlanError(UserError, ValueError):
    """An experiment, parameter or value that does not exist; says which there are."""


def trials(name, *, dataset=None, seeds=None, small=False, parameters=None, arms=None):
    """The runs of an experiment.

    Parameters
    ----------
    name : str
        Key of `EXPERIMENTS`.
    dataset : {"fashion_mnist", "digits"}, optional
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
    experiment = EXPERIMENTS[known("experiment", name, EXPERIMENTS)]
    changes = {**(experiment.small if small else {}), **(parameters or {})}
    count = changes.pop("seeds", experiment.seeds)
    seeds = count if seeds is None else seeds
    if isinstance(seeds, (int, float, str)):
        if not isinstance(seeds, int) or seeds < 1:
            raise PlanError(f"seeds is {seeds!r}; give a whole number of at least 1.")
        seeds = range(seeds)
    defaults = template_defaults(experiment.template)
    for parameter, value in changes.items():
        first, _, entry = parameter.partition(".")
        known(f"parameter of {experiment.template}", first, set(defaults) - set(PLUMBING))
        if first == "seed":
            raise PlanError(
                "seed is not a parameter to set: each run has its own. Say how many with --seeds."
            )
        _check_kind(first, {entry: value} if entry else value, defaults[first])
    chosen = (
        list(experiment.arms)
        if arms is None
        else [known("arm", arm, experiment.arms) for arm in arms]
    )
    runs = []
    for arm in chosen:
        values = _merged(defaults, experiment.common, experiment.arms[arm], changes)
        if dataset:
            values["dataset"] = dataset
        values = _plain(
            _with_data({name: value for name, value in values.items() if name not in PLUMBING})
        )
        runs.append((arm, values))
    return [
        Run(name, arm, seed, experiment.template, {**values, "seed": seed})
        for seed in seeds
        for arm, values in runs
    ]


def check(runs):
    """Refuse values that the template would refuse, before anything is started.

    Raises
    ------
    PlanError
    """
    runs = {run.arm: run for run in runs if run.template == "train"}.values()
    if not runs:
        return
    from course import training
    from course.lab import measures

    for run in runs:
        try:
            config = training.config_from(run.parameters)
            training.models.check_count("measure_every", run.parameters["measure_every"])
            for name in run.parameters["measure"]:
                training.models.check_choice("A measure", name, measures.MEASURES)
            sizes = {
                name: run.parameters[name] or None for name in ("train_size", "validation_size")
            }
            loaded = data.load(run.parameters["dataset"], **sizes)
            training.build(config, loaded)
            if config.batch_size > len(loaded.x_train):
                raise ValueError(
                    f"batch_size is {config.batch_size}, but there are only {len(loaded.x_train)}"
                    " images."
                )
        except (ValueError, TypeError) as error:
            raise PlanError(f"Arm {run.arm!r} cannot be run: {error}") from error


def template_defaults(name):
    """The parameters of a template and their defaults, read from its cell tagged `parameters`."""
    cells = json.loads((TEMPLATES / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    lines = ast.parse("".join(cell["source"])).body
    return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}


def _plain(value):
    """The value as JSON has it, whole numbers as such: 1 and 1.0 are the same run."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_kind(name, value, default):
    kinds = {
        int: "a whole number",
        float: "a number",
        str: "text",
        dict: "a mapping",
        list: "a list",
    }
    kind, value = type(default), _plain(value)
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise PlanError(
            f"{name} is {value!r}; give {kinds[kind]}, such as its default, {default!r}."
        )


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
    """With sizes that the data set has."""
    if known("data set", values["dataset"], data.SIZES) == "digits":
        for part, most in zip(
            ("train_size", "validation_size"), data.SIZES["digits"], strict=False
        ):
            if values.get(part):
                values[part] = min(values[part], most)
    return values


def known(what, name, known):
    """The name itself, if it is known; else PlanError, which says what is."""
    if name in known:
        return name
    close = get_close_matches(str(name), list(known), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise PlanError(f"There is no {what} {name!r}.{hint} There are: {', '.join(sorted(known))}.")
