"""Experiments become trials: which, and with which parameters. Nothing is trained here."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from course import intervals
from course.app import cli
from course.app.cli import common
from course.lab import catalogue, plan, results, sweep
from course.lab.trial import Trial


@pytest.fixture(autouse=True)
def tensorflow(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


@pytest.fixture(autouse=True)
def two_arms(monkeypatch):
    experiment = catalogue.Experiment(
        question="Does it help?",
        arms={"plain": {}, "dropout": {"options": {"rate": 0.5}}},
        common={"dataset": "digits", "options": {"width": 32}, "epochs": 2},
        looks=(3, 6),
        small={"epochs": 1, "seeds": 1},
    )
    monkeypatch.setitem(plan.EXPERIMENTS, "two", experiment)


def keys(**options):
    return [trial.key for trial in plan.trials("two", **options)]


def test_a_plan_is_every_arm_with_every_seed_and_whole_pairs_first():
    trials = plan.trials("two")
    assert [(trial.arm, trial.seed) for trial in trials] == [
        (arm, seed) for seed in range(3) for arm in ("plain", "dropout")
    ]
    assert {trial.config.epochs for trial in trials} == {2}
    assert trials[1].config.options == {"width": 32, "rate": 0.5}
    assert trials[1].config.batch_size == Trial().config.batch_size, "the one default there is"
    assert len(set(keys())) == 6
    assert len({trial.setting for trial in trials}) == 2, "what the seeds of an arm share"


def test_an_experiment_may_begin_with_another_seed(monkeypatch):
    one = catalogue.replace(plan.EXPERIMENTS["two"], first_seed=100)
    monkeypatch.setitem(plan.EXPERIMENTS, "two", one)
    assert {trial.seed for trial in plan.trials("two")} == {100, 101, 102}
    assert {trial.seed for trial in plan.trials("two", seeds=1)} == {100}
    assert {trial.seed for trial in plan.trials("two", seeds=[7])} == {7}


def test_what_is_asked_for_wins():
    changes = {"epochs": 9, "options.rate": 0.2}
    (trial,) = plan.trials("two", seeds=[7], arms=["dropout"], parameters=changes)
    assert (trial.arm, trial.seed, trial.config.seed) == ("dropout", 7, 7)
    assert trial.config.epochs == 9
    assert trial.config.options == {"width": 32, "rate": 0.2}
    assert [one.config.epochs for one in plan.trials("two", small=True)] == [1, 1]
    more = plan.trials("two", small=True, parameters={"epochs": 4})
    assert [one.config.epochs for one in more] == [4, 4]


def test_digits_have_fewer_images_than_may_be_asked_for():
    trial, *_ = plan.trials("two", parameters={"train_size": 50_000, "validation_size": 100})
    assert (trial.train_size, trial.validation_size) == (1_197, 100)
    trial, *_ = plan.trials("two", parameters={"train_size": 0})
    assert trial.train_size == 0, "all there are"


def test_every_experiment_can_be_planned():
    for name, one in plan.EXPERIMENTS.items():
        assert len(plan.trials(name, dataset="digits")) == len(one.arms) * one.seeds


# Keys
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "fashion_mnist"},
        {"parameters": {"epochs": 3}},
        {"parameters": {"options.rate": 0.4}},
        {"seeds": [5, 6, 7]},
    ],
)
def test_whatever_changes_the_result_changes_the_key(change):
    assert not set(keys()) & set(keys(**change))


def test_another_backend_is_another_key(monkeypatch):
    before = keys()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert keys() == before, "what dense networks are trained on by default"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert not set(keys()) & set(before)


def test_the_arms_name_is_not_part_of_the_key():
    """An arm can be renamed, and two experiments that share a setting agree on it."""
    plan.EXPERIMENTS["two"].arms["plain again"] = {}
    assert len(keys()) == 9
    assert len(set(keys())) == 6


# What is refused
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, words",
    [
        (["eigth"], "Did you mean 'eight'?"),
        (["two", "--arm", "drop"], "There is no arm 'drop'"),
        (["two", "--dataset", "mnist"], "There is no data set 'mnist'"),
        (["two", "--seeds", "0"], "seeds is 0; give a whole number of at least 1."),
        (["two", "-p", "seeds=many"], "seeds is 'many'; give a whole number"),
        (["two", "-p", "epochs"], "-p 'epochs' has no value: write -p name=value"),
        (["two", "-p", "epoch=3"], "Did you mean 'epochs'?"),
        (["two", "-p", "save_to=here"], "There is no parameter of train 'save_to'"),
        (["two", "-p", "seed=3"], "Say how many with --seeds."),
        (
            ["two", "-p", "epochs=few"],
            "epochs is 'few'; give a whole number, such as its default, 5.",
        ),
        (["two", "-p", "epochs=2.5"], "epochs is 2.5; give a whole number"),
        (["two", "-p", "epochs=true"], "epochs is True; give a whole number"),
        (["two", "-p", "epochs.x=1"], "epochs is {'x': 1}; give a whole number"),
        (["two", "-p", "options=3"], "options is 3; give a mapping"),
        (["two", "-p", "measure=test"], "measure is 'test'; give a list"),
        (["two", "--epochs", "0"], "epochs is 0"),
        (["two", "-p", "epochs=null"], "epochs is None; give a whole number"),
        (["two", "-p", "arm=here"], "There is no parameter of train 'arm'"),
        (["two", "-p", "options.rate=1.5"], "Arm 'plain' cannot be run: rate is 1.5"),
        (
            ["two", "-p", "options.colour=1"],
            "Arm 'plain' cannot be run: An option of mlp is 'colour'",
        ),
        (["two", "-p", 'measure=["tests"]'], "Arm 'plain' cannot be run: A measure is 'tests'"),
        (["two", "-p", "measure_every=0"], "measure_every is 0"),
        (["two", "-p", "batch_size=5000"], "there are only 1197 images"),
        (["two", "-p", "validation_size=-1"], "Arm 'plain' cannot be run:"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence_before_anything_starts(
    options, words, tmp_path, monkeypatch
):
    def start(*arguments, **options):
        raise AssertionError("started")

    monkeypatch.setattr(sweep, "sweep", start)
    monkeypatch.setattr(common.console, "_width", 300)
    result = CliRunner().invoke(cli.app, ["experiment", *options, "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_showing_results_is_quick():
    """Neither Dask nor papermill nor Keras is imported for it."""
    code = (
        "import sys; from course.app import cli; from course.lab import plan, sweep;"
        " plan.trials('eight');"
        " print({'distributed', 'papermill', 'keras', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_stored_results_are_there_on_every_backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    rows, history = results.load(plan.trials("eight"))
    assert set(rows["backend"]) == {"tensorflow"} and len(history)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_results_of_a_gpu_are_there_on_every_backend(monkeypatch, backend):
    """The large network was trained on JAX, and with another recipe on TensorFlow, which is not
    asked for.
    """
    monkeypatch.setenv("KERAS_BACKEND", backend)
    planned = plan.trials("large")
    rows, history = results.load(planned)
    assert set(rows["backend"]) == {"jax"} and len(history)
    assert len(rows) >= plan.EXPERIMENTS["large"].seeds and rows["seed"].is_unique
    assert {trial.config.epochs for trial in rows["trial"]} == {planned[0].config.epochs}


def test_the_large_network_is_one_and_reaches_the_number_of_the_write_up():
    """The eighth arm, with few images and with all, the one of the record, and the one that is
    raced, are the same.
    """
    large = {
        name: plan.trials(name, arms=[arm], seeds=1)[0].config.options["size"]
        for name, arm in (
            ("eight", "large"),
            ("eight full", "large"),
            ("large", "large, all images"),
            ("per second", "pyramid"),
            ("per second full", "pyramid"),
        )
    }
    assert set(large.values()) == {"pyramid"}
    rows, _ = results.load(plan.trials("large"))
    assert len(rows) >= 3 and intervals.mean_interval(rows["accuracy"]).low > 0.948


@pytest.mark.parametrize("brute_force", ["double", "wide", "residual"])
def test_the_large_network_is_better_than_brute_force_for_no_more_seconds(brute_force):
    """What lesson 10 says of the committed runs, seed by seed."""
    rows, _ = results.load(plan.trials("per second"))
    of = rows.pivot(index="seed", columns="arm", values=["accuracy", "loss", "seconds"])
    assert len(of) >= 5
    assert intervals.paired_interval(of["accuracy"]["pyramid"], of["accuracy"][brute_force]).low > 0
    assert intervals.paired_interval(of["loss"]["pyramid"], of["loss"][brute_force]).high < 0
    assert of["seconds"]["pyramid"].mean() <= of["seconds"][brute_force].mean()


def test_on_all_images_the_lead_is_not_decided():
    """What lesson 10 says of the other race; with more seeds that may change, and then the lesson
    has to.
    """
    rows, _ = results.load(plan.trials("per second full"))
    of = rows.pivot(index="seed", columns="arm", values=["accuracy", "loss"])
    assert len(of) >= 4
    for metric in ("accuracy", "loss"):
        assert (
            intervals.paired_interval(of[metric]["pyramid"], of[metric]["double"]).verdict()
            == "open"
        )
