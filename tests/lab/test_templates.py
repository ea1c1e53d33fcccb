"""The templates of the experiments: their form, and that each runs by hand and puts out what a
sweep collects.
"""

import json
import os
import shutil
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest

from course.lab import plan, trial
from course.lab.trial import PARAMETERS, Trial

TEMPLATES = sorted(path.stem for path in trial.TEMPLATES.glob("*.ipynb"))
SMALL = {"dataset": "digits", "train_size": 400, "validation_size": 150, "epochs": 2}
ALWAYS = {
    f"{side}{metric}" for side in ("", "train_", "gap_") for metric in ("accuracy", "loss")
} | {"seconds"}


def cells(name, kind="code"):
    notebook = nbformat.read(trial.TEMPLATES / f"{name}.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a template here, which takes no kernel; its variables, metrics and history."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()

    def execute(name, seed=0, **changes):
        order = {"folder": str(tmp_path), "setting": "setting", "keys": {seed: "key"}}
        monkeypatch.setenv("COURSE_SWEEP", json.dumps(order))
        variables = {}
        with matplotlib.rc_context({"backend": "agg"}):
            for cell in cells(name):
                exec(cell.source, variables)
                if "parameters" in cell.metadata.get("tags", ()):
                    known = variables["parameters"]
                    known |= {key: value for key, value in SMALL.items() if key in known} | changes
                    variables["seeds"] = [seed]
        (place,) = Path("runs").iterdir()
        row = json.loads((place / "row.json").read_text())
        history = pd.read_parquet(place / "history.parquet")
        shutil.rmtree(place)
        assert row["provenance"]["keras"] and row["provenance"]["data"]
        assert (row["key"], row["setting"], row["seed"]) == ("key", "setting", seed)
        return variables, row["metrics"], history

    return execute


@pytest.mark.parametrize("name", TEMPLATES)
def test_form(name):
    assert "A template, not a lesson" in cells(name, "markdown")[0].source
    code = cells(name)
    assert max(len(cell.source.splitlines()) for cell in code) <= 25
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert any("record.save(one, metrics, " in cell.source for cell in code)
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", ())]
    assert len(tagged) == 1
    variables = {}
    exec(tagged[0].source, variables)
    assert variables["seeds"] == [0]
    parameters = variables["parameters"]
    assert {*parameters, "seed"} == set(PARAMETERS[name]), "all that can be changed is in view"
    one = Trial.from_dict({"template": name} | parameters)
    assert one.parameters == parameters | {"seed": 0}


@pytest.mark.parametrize("name", TEMPLATES)
def test_by_hand_a_template_trains_the_network_of_an_arm(name):
    (cell,) = [cell for cell in cells(name) if "parameters" in cell.metadata.get("tags", ())]
    variables = {}
    exec(cell.source, variables)
    by_hand = Trial.from_dict({"template": name} | variables["parameters"])
    planned = [
        (one.own, one.config.options)
        for key, experiment in plan.EXPERIMENTS.items()
        if experiment.template == name
        for one in plan.trials(key, seeds=1)
    ]
    assert (by_hand.own, by_hand.config.options) in planned


def test_only_what_decides_a_run_is_part_of_its_key(tmp_path, monkeypatch):
    shutil.copy(trial.TEMPLATES / "train.ipynb", tmp_path)
    monkeypatch.setattr(trial, "TEMPLATES", tmp_path)
    path, key = tmp_path / "train.ipynb", Trial().key

    def after(old, new):
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        os.utime(path, ns=(0, len(new)))
        return Trial().key

    assert after("# One arm of an experiment", "# An arm") == key, "prose"
    assert after("Both curves measured", "Measured") == key, "a picture"
    assert after("# images; 0: all that", "# 0: all that") == key, "comments of parameters"
    assert after("many.runs(trial, seeds)", "many.runs(trial, seeds[:1])") != key


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "exact"])
def test_runs_by_hand(execute, name):
    _, metrics, history = execute(name)
    assert set(metrics) >= ALWAYS
    assert np.isfinite(list(metrics.values())).all()
    assert list(history.columns) == ["epoch", "split", "mode", "metric", "value"]
    last = history.query("split == 'validation' and mode == 'inference' and metric == 'loss'").iloc[
        -1
    ]
    assert last["epoch"] == 2 and last["value"] == metrics["loss"]
    assert metrics["gap_loss"] == pytest.approx(metrics["loss"] - metrics["train_loss"])


def test_a_ghost_batch_of_the_whole_batch_is_batch_norm(execute):
    ghost, metrics, _ = execute("ghost", ghost_size=50, batch_size=50, measure=["recomputed"])
    plain, expected, _ = execute(
        "train", options={"norm": "batch"}, batch_size=50, measure=["recomputed"]
    )
    assert metrics["loss"] == pytest.approx(expected["loss"], abs=1e-4)
    assert metrics["recomputed_loss"] == pytest.approx(expected["recomputed_loss"], abs=1e-4)
    np.testing.assert_allclose(
        ghost["run"].model.get_weights()[0], plain["run"].model.get_weights()[0], atol=1e-4
    )


def test_each_ghost_batch_has_statistics_of_its_own(execute):
    variables, *_ = execute("ghost", ghost_size=10, batch_size=50, epochs=1)
    layer = variables["GhostNorm"](2, momentum=0.5)
    x = np.array([[1.0], [3.0], [10.0], [30.0]], "float32")  # two ghost batches of two
    np.testing.assert_allclose(np.array(layer(x, training=True)), [[-1], [1], [-1], [1]], atol=1e-3)
    kept = 0.5**0.5  # by each of the two, so that a step keeps a half
    expected = kept * (1 - kept) * 2 + (1 - kept) * 20
    assert float(layer.moving_mean[0]) == pytest.approx(expected)
    np.testing.assert_allclose(np.array(layer(x[:1])), np.array(layer(x))[:1])
    with pytest.raises(ValueError, match="divisor of batch_size = 50"):
        execute("ghost", ghost_size=15, batch_size=50)


def test_batches_of_one_class(execute):
    variables, sorted_ones, _ = execute("leakage", batch_size=30, batches="by_class")
    images, rng = variables["images"], np.random.default_rng(0)
    labels = images.y_train[variables["batches"](rng, images, 30)]
    assert (labels == labels[:, :1]).all() and len(np.unique(labels)) == 10
    variables, shuffled, _ = execute("leakage", batch_size=30)
    mixed = images.y_train[variables["batches"](rng, images, 30)]
    assert mixed.shape == labels.shape and not (mixed == mixed[:, :1]).all(axis=1).any()
    assert sorted_ones["accuracy"] < shuffled["accuracy"] - 0.2
    assert shuffled["batch_accuracy"] > sorted_ones["batch_accuracy"] + 0.2
    assert shuffled["recomputed_accuracy"] > sorted_ones["recomputed_accuracy"] + 0.2
    assert 0 <= shuffled["one_class_accuracy"] <= 1


def test_the_transformers_differ_in_the_norm_and_start_equal(execute):
    variables, *_ = execute("transformer", norm="batch", epochs=1)
    kinds, first = {}, None
    for norm in ("layer", "batch", "rms", "dyt", "none"):
        model = variables["build_transformer"]((8, 8, 1), 10, norm=norm, seed=4)
        kinds[norm] = [type(layer).__name__ for layer in model.layers]
        starts = [weight for weight in model.trainable_weights if "kernel" in weight.path]
        first = first or starts
        assert all(np.array_equal(one, other) for one, other in zip(first, starts, strict=True))
    assert (
        kinds["batch"].count("BatchNormalization")
        == kinds["layer"].count("LayerNormalization")
        == 3
    )
    assert kinds["rms"].count("RMSNormalization") == kinds["none"].count("Identity") == 3
    assert kinds["dyt"].count("DynamicTanh") == 3
    batch = [
        layer
        for layer in variables["run"].model.layers
        if type(layer).__name__ == "BatchNormalization"
    ]
    assert len(batch) == 3 and all(layer.momentum == 0.9 for layer in batch)
    with pytest.raises(ValueError, match="Did you mean 'layer'"):
        execute("transformer", norm="layers")
