"""Results of an earlier version get new keys, and nothing else of them changes."""

import importlib.util
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from course.lab import plan, results

SCRIPT = results.RESULTS / "rekey.py"


@pytest.fixture(scope="module")
def rekey():
    spec = importlib.util.spec_from_file_location("rekey", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HISTORY = pd.DataFrame(
    [(0, "validation", "inference", "loss", 2.0), (1, "validation", "inference", "loss", 1.0)],
    columns=["epoch", "split", "mode", "metric", "value"],
)


def old_rows(rekey, name):
    """The rows of an experiment as the earlier version wrote them."""
    template = plan.EXPERIMENTS[name].template
    for trial in plan.trials(name, seeds=2):
        # Defaults spelled out, as the template's cell had them.
        parameters = json.loads(json.dumps(trial.parameters | {"options": trial.config.options}))
        key = rekey.old_key(template, parameters, "jax")
        names = {"experiment": name, "arm": trial.arm, "seed": trial.seed}
        yield {"key": key, "setting": "old", **names, "parameters": parameters}


@pytest.fixture
def old(rekey, tmp_path):
    """A folder of results with the tables and the run folders of the earlier version."""
    folder = tmp_path / "learning rates"
    rows = list(old_rows(rekey, "learning rates"))
    for number, row in enumerate(rows):
        place = folder / "runs" / row["key"]
        place.mkdir(parents=True)
        row |= {"metrics": {"score": number}, "provenance": {"backend": "jax"}}
        (place / "row.json").write_text(json.dumps(row))
        HISTORY.to_parquet(place / "history.parquet")
    flat = [
        row
        | {"parameters": json.dumps(row["parameters"], sort_keys=True)}
        | row["metrics"]
        | row["provenance"]
        for row in rows
    ]
    pd.DataFrame(flat).to_parquet(folder / "runs.parquet")
    histories = [HISTORY.assign(key=row["key"]) for row in rows]
    pd.concat(histories, ignore_index=True).to_parquet(folder / "history.parquet")
    return folder


def tables(folder):
    return [pd.read_parquet(folder / name) for name in ("runs.parquet", "history.parquet")]


def test_old_results_are_found_again(rekey, old, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    trials = plan.trials("learning rates", seeds=2)
    before, history = tables(old)
    with pytest.raises(results.SweepError, match="earlier version .* results/rekey.py"):
        results.load(trials, old.parent)
    assert rekey.main([old.parent]) == 0
    assert "20 rows and 20 folders" in capsys.readouterr().out
    rows, _ = results.load(trials, old.parent)
    assert sorted(rows["key"]) == sorted(trial.key for trial in trials)
    after, new_history = tables(old)
    same = ["experiment", "arm", "seed", "score", "backend"]
    pd.testing.assert_frame_equal(after[same], before[same])
    assert not {"metrics", "provenance"} & set(after), "they are there, flat"
    new = dict(zip(before["key"], after["key"], strict=True))
    pd.testing.assert_frame_equal(new_history, history.assign(key=history["key"].map(new)))
    assert {path.name for path in (old / "runs").iterdir()} == set(after["key"])
    rows = results.collect(old)
    assert len(rows) == 20, "and the folders are the rows"


def test_run_folders_alone_make_the_same_tables(rekey, old):
    for name in ("runs.parquet", "history.parquet"):
        (old / name).unlink()
    with pytest.raises(results.SweepError, match=f"rekey.py {old}"):
        results.collect(old)
    assert rekey.main([old]) == 0
    assert len(results.collect(old)) == 20


def test_twice_is_once(rekey, old, capsys):
    assert rekey.main([old]) == 0
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert rekey.main([old]) == 0
    assert "0 rows and 0 folders" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}


@pytest.mark.parametrize("last", ["history.parquet", "row.json"])
def test_killed_between_two_writes_it_goes_on(rekey, old, monkeypatch, last):
    write, written = rekey.write_whole, []

    def killed(path, content):
        write(path, content)
        written.append(path)
        if path.name == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(rekey, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        rekey.main([old])
    monkeypatch.setattr(rekey, "write_whole", write)
    assert rekey.main([old]) == 0
    runs, history = tables(old)
    assert set(runs["key"]) == set(history["key"]) == {p.name for p in (old / "runs").iterdir()}


def test_a_row_that_is_not_what_its_key_says_is_refused(rekey, old, capsys):
    runs, _ = tables(old)
    runs.loc[3, "parameters"] = runs.loc[3, "parameters"].replace('"epochs": 20', '"epochs": 21')
    runs.to_parquet(old / "runs.parquet")
    before = (old / "history.parquet").read_bytes()
    assert rekey.main([old]) == 1
    error = capsys.readouterr().err
    assert f"{runs.loc[3, 'arm']}, seed {runs.loc[3, 'seed']}" in error
    assert "cannot be made from its parameters" in error and "nothing has been changed" in error
    assert (old / "history.parquet").read_bytes() == before


def test_a_folder_that_is_not_what_its_key_says_leaves_the_others_as_they_are(rekey, old, capsys):
    for name in ("runs.parquet", "history.parquet"):
        (old / name).unlink()
    path = max((old / "runs").glob("*/row.json"))
    path.write_text(path.read_text().replace('"epochs": 20', '"epochs": 21'))
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert rekey.main([old]) == 1
    assert "nothing has been changed" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}


def test_two_rows_of_one_trial_are_refused(rekey, old, capsys):
    """A default was part of the old key if it was spelled out."""
    runs, _ = tables(old)
    parameters = json.loads(runs.loc[0, "parameters"])
    parameters["options"] |= {"placement": "before"}
    again = runs.loc[[0]].assign(
        key=rekey.old_key("train", parameters, "jax"), parameters=json.dumps(parameters)
    )
    pd.concat([runs, again]).to_parquet(old / "runs.parquet")
    assert rekey.main([old]) == 1
    assert "two rows are results of one trial" in capsys.readouterr().err


def test_the_committed_results_have_their_new_keys(rekey, tmp_path):
    for table in sorted(results.RESULTS.glob("*/runs.parquet")):
        copy = tmp_path / table.parent.name
        shutil.copytree(table.parent, copy, ignore=shutil.ignore_patterns("runs", "logs"))
        assert rekey.rekey_tables(copy) == 0, copy.name


def test_the_script_is_named_where_it_is_needed():
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert "results/rekey.py" in text
