"""Seeds that are trained at once: each is the run that it is alone.

On JAX, in a process of its own: this file is also the script that runs there.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from course.lab import many
from course.lab.trial import Trial

ARMS = {
    "batch norm and dropout": {"options": {"width": 64, "norm": "batch", "rate": 0.5}},
    "noise, cosine schedule, weight decay": {
        "options": {"width": 64, "norm": "batch", "drift": 0.3},
        "schedule": "cosine",
        "optimizer": "adamw",
    },
    "augmentation": {"options": {"width": 64, "augmentation": "pixel_shift_flip_erase"}},
    "convolutions": {
        "model": "cnn",
        "options": {"size": "small", "norm": "batch", "conv_rate": 0.2, "conv_dropout": "spatial"},
    },
}
SMALL = {
    "dataset": "digits",
    "train_size": 400,
    "validation_size": 150,
    "epochs": 3,
    "learning_rate": 3e-3,
}
SEEDS = [0, 3, 5]
BAD_STEPS = {"learning_rate": 0.3, "epochs": 2}  # the start is the best that there is


def trained(trial, at_once, monkeypatch):
    monkeypatch.setattr(many, "_can_be_vectorised", lambda *arguments: at_once)
    monkeypatch.setitem(many.AT_ONCE, "cpu", len(SEEDS))
    found = {}
    for one, run, _ in many.runs(trial, SEEDS):
        found[one.seed] = run.history, run.model.get_weights(), run.best, run.step
        assert run.completed and one.seed == run.config.seed
    return found


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") != "jax", reason="on JAX: see below")
class TestOnJax:
    @pytest.mark.parametrize("name", ARMS)
    def test_a_seed_beside_others_is_the_run_that_it_is_alone(self, name, monkeypatch):
        trial = Trial.from_dict(SMALL | ARMS[name])
        together, alone = (trained(trial, at_once, monkeypatch) for at_once in (True, False))
        assert list(together) == list(alone) == SEEDS
        columns = ["epoch", "split", "mode", "metric"]
        for seed in SEEDS:
            one, two = together[seed], alone[seed]
            history = one[0].merge(two[0], on=columns)
            assert len(history) == len(one[0]) == len(two[0]) > 20
            history = history[history["metric"] != "seconds"]
            np.testing.assert_allclose(history["value_x"], history["value_y"], atol=1e-4)
            for mine, other in ((one[1], two[1]), (one[2], two[2])):  # last epoch, best epoch
                for array, twin in zip(mine, other, strict=True):
                    np.testing.assert_allclose(array, twin, atol=1e-4)
            assert one[3] == two[3]
        validation = "split == 'validation' and mode == 'inference' and metric == 'loss'"
        losses = [together[seed][0].query(validation)["value"].iloc[-1] for seed in SEEDS]
        assert len(set(losses)) == len(SEEDS), "seeds differ"

    def test_a_saturated_network_learns_at_once_as_it_does_alone(self, monkeypatch):
        """Each residual block doubles the variance: the softmax has one class, often a wrong one.

        Steps from probabilities, which Keras clips, left the loss of the last epoch at about 5.
        """
        deep = {"width": 64, "depth": 20, "residual": True, "norm": "batch"}
        trial = Trial.from_dict(SMALL | {"options": deep, "epochs": 5})
        together, alone = (trained(trial, at_once, monkeypatch) for at_once in (True, False))
        for seed in SEEDS:
            losses = [
                found[seed][0].query("mode == 'training' and metric == 'loss'")["value"].to_numpy()
                for found in (together, alone)
            ]
            np.testing.assert_allclose(*losses, rtol=1e-2)
            assert losses[0][0] > 5 and losses[0][-1] < 1

    def test_a_killed_part_goes_on_where_it_was(self, monkeypatch, tmp_path):
        trial = Trial.from_dict(SMALL | ARMS["batch norm and dropout"])
        whole = trained(trial, True, monkeypatch)
        keys = {seed: f"key {seed}" for seed in SEEDS}
        order = {"folder": str(tmp_path), "setting": "setting", "keys": keys}
        monkeypatch.setenv("COURSE_SWEEP", json.dumps(order))
        monkeypatch.setattr(many, "SAVE_SECONDS", 0)
        (tmp_path / "checkpoints").mkdir()
        epoch_done, epochs = many._Saver.epoch_done, []

        def killed(saver, arrays):
            epoch_done(saver, arrays)
            epochs.append(1)
            if len(epochs) == 2:
                raise SystemExit("killed")

        monkeypatch.setattr(many._Saver, "epoch_done", killed)
        with pytest.raises(SystemExit):
            trained(trial, True, monkeypatch)
        assert len(list((tmp_path / "checkpoints").iterdir())) == 1
        resumed = trained(trial, True, monkeypatch)
        assert len(epochs) == 3, "the third epoch alone was left"
        assert not list((tmp_path / "checkpoints").iterdir())
        for seed in SEEDS:
            mine, other = (
                found[seed][0].query("metric != 'seconds'") for found in (resumed, whole)
            )
            pd.testing.assert_frame_equal(mine, other, rtol=1e-6)
            for index in (1, 2):
                for one, two in zip(resumed[seed][index], whole[seed][index], strict=True):
                    np.testing.assert_array_equal(one, two)

    def test_a_measure_that_fails_leaves_no_checkpoint(self, monkeypatch, tmp_path):
        """The next sweep would have other seeds, and never ask for it."""
        trial = Trial.from_dict(SMALL | ARMS["batch norm and dropout"] | {"epochs": 1})
        keys = {seed: f"key {seed}" for seed in SEEDS}
        order = {"folder": str(tmp_path), "setting": "setting", "keys": keys}
        monkeypatch.setenv("COURSE_SWEEP", json.dumps(order))
        monkeypatch.setattr(many, "SAVE_SECONDS", 0)

        def measured():
            for one, *_ in many.runs(trial, SEEDS):
                assert len(list((tmp_path / "checkpoints").iterdir())) == 1
                raise ValueError(one.seed)

        with pytest.raises(ValueError, match="0"):
            measured()
        assert not list((tmp_path / "checkpoints").iterdir())

    def test_what_is_there_is_not_trained_again(self, monkeypatch, tmp_path):
        trial = Trial.from_dict(SMALL | ARMS["batch norm and dropout"] | {"epochs": 1})
        keys = {seed: f"key {seed}" for seed in SEEDS}
        order = {"folder": str(tmp_path), "setting": "setting", "keys": keys}
        monkeypatch.setenv("COURSE_SWEEP", json.dumps(order))
        (tmp_path / "runs" / "key 3").mkdir(parents=True)
        assert list(trained(trial, True, monkeypatch)) == [0, 5]
        assert list(trained(trial, False, monkeypatch)) == [0, 5]

    def test_the_best_epoch_is_the_one_with_the_least_validation_loss(self, monkeypatch):
        trial = Trial.from_dict(SMALL | ARMS["batch norm and dropout"] | BAD_STEPS)
        from course import modes

        for at_once in (True, False):
            monkeypatch.setattr(many, "_can_be_vectorised", lambda *_, how=at_once: how)
            for _, run, images in many.runs(trial, [1]):
                run.model.set_weights(run.best)
                found = modes.evaluate(run.model, images.x_validation, images.y_validation)
                assert found["loss"] == pytest.approx(run.curve("loss").min(), abs=1e-5)
                assert run.curve("loss").min() < run.final("loss")


@pytest.mark.parametrize(
    ("backend", "device", "expected"),
    [
        ("tensorflow", "gpu", []),
        ("torch", "gpu", []),
        ("jax", "cpu", ["dense", "transformer"]),
        ("jax", "gpu", ["dense", "convolutions", "transformer"]),
    ],
)
def test_which_seeds_are_trained_at_once(monkeypatch, backend, device, expected):
    convolutions = SMALL | ARMS["convolutions"]
    sizes = {name: SMALL[name] for name in ("dataset", "train_size", "validation_size")}
    cases = {
        "dense": Trial.from_dict(SMALL),
        "convolutions": Trial.from_dict(convolutions),
        "transformer": Trial.from_dict(sizes | {"template": "transformer"}),
        "recorded": Trial.from_dict(SMALL | {"record_every": 5}),
    }
    configs = {name: trial.config for name, trial in cases.items()}
    configs["transformer"] = configs["convolutions"]  # as if its patches went through one
    monkeypatch.setattr(keras.config, "backend", lambda: backend)
    monkeypatch.setattr("jax.default_backend", lambda: device)
    found = [name for name in cases if many._can_be_vectorised(cases[name], configs[name])]
    assert found == expected


def test_the_benchmark_plans_runs_that_there_are():
    path = Path(__file__).parents[1] / "benchmarks" / "benchmark_seeds.py"
    spec = importlib.util.spec_from_file_location("benchmark_seeds", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    trials = benchmark.trials(3)
    assert len({one.setting for one in trials}) == 1 and [one.seed for one in trials] == [0, 1, 2]
    options = {"width": 256, "norm": "batch", "rate": 0.2}
    assert trials[0].config.options == options and trials[0].config.epochs == 15


QUICK = "test_a_measure_that_fails_leaves_no_checkpoint"


@pytest.mark.parametrize("tests", ["all", "quick"])
@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") == "jax", reason="this run is on JAX already")
def test_seeds_at_once_on_jax(tests):
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    command += ["-k", "TestOnJax" if tests == "all" else QUICK]
    settings = os.environ | {"KERAS_BACKEND": "jax", "COURSE_PROGRESS": "0"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-7_000:] + done.stderr
