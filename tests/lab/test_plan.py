"""Experiments become runs: which, with which parameters, and under which key. Nothing is trained
here.
"""

import inspect
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from course import intervals, training
from course.app import cli
from course.app.cli import common
from course.lab import catalogue, plan, results, sweep


@pytest.fixture(autouse=True)
def tensorflow(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


@pytest.fixture(autouse=True)
def two_arms(monkeypatch):
    one = catalogue.Experiment(
        question="Does it help?",
        arms={"plain": {}, "dropout": {"options": {"rate": 0.5}}},
        common={"dataset": "digits", "options": {"width": 32}, "epochs": 2},
        seeds=3,
        small={"epochs": 1, "seeds": 1},
    )
    monkeypatch.setitem(plan.EXPERIMENTS, "two", one)


def keys(**options):
    return [run.key for run in plan.trials("two", **options)]


def test_a_plan_is_every_arm_with_every_seed_and_whole_pairs_first():
    runs = plan.trials("two")
    assert [(run.arm, run.seed) for run in runs] == [
        (arm, seed) for seed in range(3) for arm in ("plain", "dropout")
    ]
    assert {run.parameters["epochs"] for run in runs} == {2}
    assert runs[1].parameters["options"] == {"width": 32, "rate": 0.5}
    assert runs[1].parameters["batch_size"] == plan.template_defaults("train")["batch_size"], (
        "the template's own"
    )
    assert not set(plan.PLUMBING) & set(runs[0].parameters)
    assert len(set(keys())) == 6
    assert len({run.setting for run in runs}) == 2, "what the seeds of an arm have in common"


@pytest.mark.parametrize(
    "name", [name for name, one in plan.EXPERIMENTS.items() if one.template == "train"]
)
def test_every_arm_has_options_that_its_model_knows(name):
    """An option that two kinds of network share in `common` would fail when its run begins, an hour
    into a sweep.
    """
    for run in plan.trials(name, dataset="digits", seeds=1):
        config = training.config_from(run.parameters)
        known = inspect.signature(training.BUILDERS[config.model]).parameters
        assert set(config.options) <= set(known), run.arm


def test_what_is_asked_for_wins():
    runs = plan.trials(
        "two", seeds=[7], arms=["dropout"], parameters={"epochs": 9, "options.rate": 0.2}
    )
    (run,) = runs
    assert (run.arm, run.seed, run.parameters["seed"]) == ("dropout", 7, 7)
    assert run.parameters["epochs"] == 9
    assert run.parameters["options"] == {"width": 32, "rate": 0.2}
    small = plan.trials("two", small=True)
    assert [one.parameters["epochs"] for one in small] == [1, 1]
    assert [
        one.parameters["epochs"] for one in plan.trials("two", small=True, parameters={"epochs": 4})
    ] == [4, 4]


def test_digits_have_fewer_images_than_may_be_asked_for():
    run, *_ = plan.trials("two", parameters={"train_size": 50_000, "validation_size": 100})
    assert run.parameters["train_size"] == 1_197
    assert run.parameters["validation_size"] == 100


def test_every_experiment_can_be_planned():
    for name, one in plan.EXPERIMENTS.items():
        assert len(plan.trials(name, dataset="digits")) == len(one.arms) * one.seeds


# Keys
# -------------------------------------------------------------------------------------------------------


def test_keys_stay_as_they_are():
    """The committed results are found under them: whoever changes the hash must compute everything
    again.
    """
    parameters = {
        "dataset": "digits",
        "epochs": 3,
        "learning_rate": 0.001,
        "options": {"rate": 0.1, "size": "small"},
        "seed": 1,
    }
    run = plan.Run("name", "arm", 1, "train", parameters)
    assert run.key == "138e7a8ac8cb5051"
    assert run.setting == "87b78bc86cac3651"


def test_keys_are_the_same_in_another_process():
    code = "from course.lab import plan; print(*[run.key for run in plan.trials('eight', seeds=1)])"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == [run.key for run in plan.trials("eight", seeds=1)]


def test_a_key_does_not_depend_on_how_a_value_is_written():
    plain = keys(parameters={"learning_rate": 1, "options": {"rate": 0.5, "some": [32, 16]}})
    assert (
        keys(parameters={"learning_rate": 1.0, "options": {"some": (32.0, 16), "rate": 0.5}})
        == plain
    )
    run, *_ = plan.trials("two", parameters={"epochs": 3.0})
    assert type(run.parameters["epochs"]) is int, "the notebook could not count to 3.0"


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
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert keys() == before, "what Keras takes by default"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert not set(keys()) & set(before)


def test_the_arms_name_is_not_part_of_the_key():
    """An arm can be renamed, and two experiments that share a setting agree on it."""
    plan.EXPERIMENTS["two"].arms["plain again"] = {}
    assert len(keys()) == 9
    assert len(set(keys())) == 6


# What is refused
# --------------------------------------------------------------------------------------------


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
            "epochs is 'few'; give a whole number, such as its default, 10.",
        ),
        (["two", "-p", "epochs=2.5"], "epochs is 2.5; give a whole number"),
        (["two", "-p", "epochs=true"], "epochs is True; give a whole number"),
        (["two", "-p", "epochs.x=1"], "epochs is {'x': 1}; give a whole number"),
        (["two", "-p", "options=3"], "options is 3; give a mapping"),
        (["two", "-p", "measure=test"], "measure is 'test'; give a list"),
        (["two", "--epochs", "0"], "epochs is 0"),
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


def test_the_template_says_what_its_parameters_are():
    """Its tagged cell is the one list of parameters and defaults, and can be read without running
    it.
    """
    defaults = plan.template_defaults("train")
    assert set(plan.PLUMBING) < set(defaults)
    assert json.loads(json.dumps(defaults)) == defaults, "or a key could not be made of them"


def test_showing_results_is_quick():
    """Neither Dask nor papermill nor Keras is imported for it."""
    code = (
        "import sys; from course.app import cli; from course.lab import sweep; print({'distributed', 'papermill', 'keras',"
        " 'scipy'} & set(sys.modules))"
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
    assert all(
        json.loads(own)["epochs"] == planned[0].parameters["epochs"] for own in rows["parameters"]
    )


def test_the_large_network_is_one_and_reaches_the_number_of_the_write_up():
    """The eighth arm, with few images and with all, the one of the record, and the one that is
    raced, are the same.
    """
    large = {
        name: plan.trials(name, arms=[arm], seeds=1)[0].parameters["options"]["size"]
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
    """What lesson 08 says of the committed runs, seed by seed."""
    rows, _ = results.load(plan.trials("per second"))
    of = rows.pivot(index="seed", columns="arm", values=["accuracy", "loss", "seconds"])
    assert len(of) >= 5
    assert intervals.paired_interval(of["accuracy"]["pyramid"], of["accuracy"][brute_force]).low > 0
    assert intervals.paired_interval(of["loss"]["pyramid"], of["loss"][brute_force]).high < 0
    assert of["seconds"]["pyramid"].mean() <= of["seconds"][brute_force].mean()


def test_on_all_images_the_lead_is_not_decided():
    """What lesson 08 says of the other race; with more seeds that may change, and then the lesson
    has to.
    """
    rows, _ = results.load(plan.trials("per second full"))
    of = rows.pivot(index="seed", columns="arm", values=["accuracy", "loss"])
    assert len(of) >= 4
    for metric in ("accuracy", "loss"):
        assert (
            intervals.paired_interval(of[metric]["pyramid"], of[metric]["double"]).verdict()
            == "undecided"
        )
