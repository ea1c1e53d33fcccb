"""What a run leaves behind: a checkpoint when it is killed, and where its results come from."""

import importlib.util
import json
import os
import subprocess
from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from course import models, training
from course.lab import many, record, results
from course.lab.recorder import Recorder
from course.lab.trial import Trial
from course.training import Config

FAST = Config(options={"width": 16}, epochs=2, batch_size=50, learning_rate=5e-3)


def with_options(config=FAST, **options):
    return replace(config, options={**config.options, **options})


def weights(run):
    return [keras.ops.convert_to_numpy(weight) for weight in run.model.weights]


class TestCheckpoint:
    config = with_options(
        replace(FAST, epochs=4, schedule="cosine"), norm="batch", rate=0.3, augmentation="shift"
    )

    @pytest.fixture
    def killed(self, digits, monkeypatch, tmp_path):
        """A training killed in its third epoch: the path of what it left, and how often a step was
        taken since.
        """
        steps, step = [], keras.Model.train_on_batch

        def counted(model, *arguments, **options):
            if len(steps) == 1 + 2 * 8 + 3:  # one step compiles
                raise SystemExit("killed")
            steps.append(1)
            return step(model, *arguments, **options)

        monkeypatch.setattr(training, "_ENGINES", {})
        monkeypatch.setattr(keras.Model, "train_on_batch", counted)
        path = tmp_path / "folder" / "checkpoint"
        with pytest.raises(SystemExit):
            training.train(self.config, digits, hooks=[record.Checkpoint(path, 0)])
        steps[:] = [1] * 1_000  # never the number at which it is killed
        return path, steps

    def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(self, digits, killed):
        path, steps = killed
        training._ENGINES.clear()
        resumed = training.train(self.config, digits, hooks=[record.Checkpoint(path, 0)])
        assert len(steps) == 1_000 + 1 + 2 * 8
        whole = training.train(self.config, digits)
        for one, two in zip(weights(resumed), weights(whole), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)
        columns = ["epoch", "split", "mode", "metric"]
        assert resumed.history[columns].equals(whole.history[columns])
        values = [run.history.query("metric != 'seconds'")["value"] for run in (resumed, whole)]
        np.testing.assert_allclose(*values, atol=1e-4)
        assert resumed.curve("seconds", "train", "training").is_monotonic_increasing
        assert resumed.step == whole.step == 4 * 8
        assert list(path.parent.iterdir()) == []

    def test_another_config_does_not_take_it(self, digits, killed, capsys):
        path, steps = killed
        run = training.train(
            replace(self.config, seed=3), digits, hooks=[record.Checkpoint(path, 0)]
        )
        assert "another config" in capsys.readouterr().out
        assert list(run.curve("loss").index) == [0, 1, 2, 3, 4] and len(steps) >= 1_000 + 4 * 8

    def test_a_builder_of_ones_own_is_known_by_its_name(self, digits):
        """In the next kernel it lies elsewhere in memory."""

        def builder():
            def build_own(input_shape, classes, *, seed=0):
                return models.mlp(input_shape, classes, width=16, seed=seed)

            return build_own

        def identity(model):
            run = training.Run(replace(FAST, model=model, options={}), None)
            return record.identity([run], [digits])

        assert repr(one := builder()) != repr(other := builder())
        assert identity(one) == identity(other) != identity("mlp")
        assert identity(models.cnn) != identity(other)

    def test_a_full_disk_leaves_no_half_file(self, digits, killed, monkeypatch):
        path, _ = killed
        before = path.read_bytes()

        def full(file, *arguments, **options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(
            results.SweepError, match="Cannot write to .*: No space left on device. Free"
        ):
            training.train(self.config, digits, hooks=[record.Checkpoint(path, 0)])
        assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]

    def test_it_does_not_hold_recorded_statistics(self, digits, killed):
        path, _ = killed
        with pytest.raises(ValueError, match="leave out the Recorder, or remove the checkpoint"):
            training.train(self.config, digits, hooks=[record.Checkpoint(path), Recorder(2)])


@pytest.mark.parametrize("name", ["seed", "data", "key", "parameters", "wall_seconds", "changed"])
def test_a_metric_that_would_overwrite_another_column_is_refused(digits, name):
    # By hand, where it can be mended.
    with pytest.raises(results.SweepError, match=f"A metric is called '{name}'"):
        record.save(Trial(), {name: 1.0}, pd.DataFrame(), digits)


def test_what_is_computed_in_a_sweep_is_of_the_code_it_began_with(tmp_path, monkeypatch, digits):
    """Each kernel imports the course when it begins, and it may have been edited meanwhile."""
    order = {"folder": str(tmp_path), "setting": "setting", "keys": {"0": "key"}}
    (tmp_path / "runs" / "key").mkdir(parents=True)
    monkeypatch.setenv("COURSE_SWEEP", json.dumps(order | {"versions": record.versions()}))
    assert record.is_there(Trial())
    monkeypatch.setenv("COURSE_SWEEP", json.dumps(order | {"versions": "keras 1"}))
    for attempt in (
        lambda: list(many.trials(Trial(), [0])),
        lambda: record.save(Trial(), {}, pd.DataFrame(), digits),
    ):
        with pytest.raises(
            results.SweepError, match="was changed while .* began with keras 1, and"
        ):
            attempt()


def test_the_versions_are_those_of_all_that_computes():
    found = record.versions()
    for name in ("keras", "jax", "jaxlib", "numpy"):
        assert f"{name} {metadata.version(name)}" in found
    assert "tensorflow" in found
    assert ("torch" in found) == (importlib.util.find_spec("torch") is not None)


def test_the_provenance_names_the_graphics_card(digits, monkeypatch):
    def found(device):
        record._graphics_card.cache_clear()
        monkeypatch.setattr(
            keras.ops, "convert_to_tensor", lambda value: SimpleNamespace(device=device)
        )
        return record.provenance(digits)["machine"]

    for device in ("cpu", "TFRT_CPU_0", "/job:localhost/replica:0/task:0/device:CPU:0"):
        assert found(device).endswith(" cores")
    answer = subprocess.CompletedProcess([], 0, "Some Card 3000\n")
    monkeypatch.setattr(record.subprocess, "run", lambda *command, **options: answer)
    for device in (
        "cuda:0",
        "/job:localhost/replica:0/task:0/device:GPU:0",
    ):  # JAX's and PyTorch's; TensorFlow's
        assert found(device).endswith(" cores, Some Card 3000")

    record._graphics_card.cache_clear()

    def missing(*command, **options):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(record.subprocess, "run", missing)
    assert found("cuda:0").endswith(" cores, a GPU")


def test_the_revision_says_whether_the_course_was_changed_but_not_whether_its_tables_were(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    assert record._revision.__wrapped__() == "unknown"  # downloaded, not cloned
    (tmp_path / "results").mkdir()
    for name in ("code.py", "results/table"):
        (tmp_path / name).write_text("")
    for command in (
        "init -q",
        "add .",
        "-c user.name=n -c user.email=e -c commit.gpgsign=false commit -qm begin",
    ):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    clean = record._revision.__wrapped__()
    assert clean and "dirty" not in clean
    (tmp_path / "results" / "table").write_text("more rows")
    (tmp_path / "a note").write_text("not in the course")
    assert record._revision.__wrapped__() == clean
    (tmp_path / "code.py").write_text("changed")
    assert record._revision.__wrapped__() == clean + "-dirty"
