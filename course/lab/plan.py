"""How an experiment becomes a list of trials.

An experiment is data. A trial is one execution of a template notebook in `notebooks/experiments/`
with the parameters of one arm and one seed; `course.lab.sweep` executes trials and keeps what they
put out.
"""

from course import data
from course.config import check_choice, check_count, did_you_mean
from course.lab.catalogue import EXPERIMENTS
from course.lab.errors import UserError
from course.lab.trial import PARAMETERS, SHARED, Trial, merged


class PlanError(UserError, ValueError):
    """An experiment, parameter or value that does not exist; says which there are."""


def trials(name, *, dataset=None, seeds=None, small=False, parameters=None, arms=None):
    """The trials of an experiment.

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
        Parameters to change in every arm; "options.rate" is an entry of `options`.
    arms : iterable of str, optional
        Only these.

    Returns
    -------
    list of Trial
        Seed by seed, so that a sweep that is stopped leaves whole pairs.

    Raises
    ------
    PlanError
        For an unknown experiment, arm, parameter or data set, a value of a wrong type, or a bad
        number of seeds.
    """
    experiment = EXPERIMENTS[known("experiment", name, EXPERIMENTS)]
    changes = {**(experiment.small if small else {}), **(parameters or {})}
    count = changes.pop("seeds", experiment.seeds)
    seeds = count if seeds is None else seeds
    if isinstance(seeds, (int, float, str)):
        try:
            check_count("seeds", seeds)
        except ValueError as error:
            raise PlanError(error) from error
        seeds = range(experiment.first_seed, experiment.first_seed + seeds)
    if "seed" in changes:
        raise PlanError(
            "seed is not a parameter to set: each trial has its own. Say how many with --seeds."
        )
    allowed = PARAMETERS[experiment.template]
    for parameter in changes:
        known(f"parameter of {experiment.template}", parameter.partition(".")[0], allowed)
    if dataset:
        changes["dataset"] = known("data set", dataset, data.SIZES)
    chosen = experiment.arms if arms is None else arms
    planned = []
    for arm in chosen:
        settings = experiment.arms[known("arm", arm, experiment.arms)]
        values = _cut_to_data(merged(experiment.common, settings, changes), allowed)
        names = {"experiment": name, "arm": arm, "template": experiment.template}
        try:
            planned.append(Trial.from_dict(names | values))
        except ValueError as error:
            raise PlanError(f"Arm {arm!r} cannot be run: {error}") from error
    return [trial.with_seed(seed) for seed in seeds for trial in planned]


def check(trials):
    """Refuse values that the template would refuse, before anything is started.

    Raises
    ------
    PlanError
    """
    trials = {trial.arm: trial for trial in trials if "epochs" in PARAMETERS[trial.template]}
    if not trials:
        return
    from course import training
    from course.lab import measures, switched

    for arm, trial in trials.items():
        try:
            check_count("measure_every", trial.measure_every)
            for name in trial.measure:
                check_choice("A measure", name, measures.MEASURES)
            loaded = trial.load_data()
            model = training.build(trial.config, loaded)
            if trial.config.batch_size > len(loaded.x_train):
                raise ValueError(
                    f"batch_size is {trial.config.batch_size}, but there are only"
                    f" {len(loaded.x_train)} images."
                )
            if "variance_shift" in trial.measure and trial.template == "train":
                switched.dropout_before_norm(model.layers)
            steps = trial.config.epochs * (len(loaded.x_train) // trial.config.batch_size)
            if "drift" in trial.measure and not 0 < 10 * trial.record_every <= steps:
                raise ValueError(
                    f"drift needs eleven records of {steps} steps, and record_every is"
                    f" {trial.record_every}: give record_every=1, or so."
                )
        except (ValueError, TypeError) as error:
            raise PlanError(f"Arm {arm!r} cannot be run: {error}") from error


def _cut_to_data(values, allowed):
    """With no more images than digits have."""
    if values.get("dataset") == "digits":
        for part, most in zip(
            ("train_size", "validation_size"), data.SIZES["digits"], strict=False
        ):
            size = values.get(part, SHARED[part])
            if part in allowed and isinstance(size, int):
                values[part] = min(size, most)
    return values


def known(what, name, known):
    """The name itself, if it is known; else PlanError, which says what is."""
    if name in known:
        return name
    hint = did_you_mean(name, known)
    raise PlanError(f"There is no {what} {name!r}.{hint} There are: {', '.join(sorted(known))}.")
