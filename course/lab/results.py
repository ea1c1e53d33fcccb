"""The tables of an experiment: brought up to date with the folders of its runs, and read."""

import io
import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from course.lab import plan
from course.lab.errors import UserError
from course.lab.files import write_whole

RESULTS = Path(__file__).resolve().parents[2] / "results"
ROW, HISTORY, NOTEBOOK = "row.json", "history.parquet", "notebook.ipynb"


class SweepError(UserError):
    """A sweep that cannot go on; says what to do."""


def collect(folder):
    """Bring the experiment's tables up to date with the folders of its runs.

    Returns
    -------
    pandas.DataFrame
        One row a run: key, setting, experiment, arm, seed, parameters (JSON), the metrics, the
        provenance.
    """
    folder = Path(folder)
    runs, histories = _read(folder / "runs.parquet"), _read(folder / "history.parquet")
    before = len(runs), len(histories)
    # Two sweeps that collect at a time may each miss what the other adds; the next one makes up for
    # it.
    known = set(runs["key"]) & set(histories["key"])
    new = [
        path
        for path in sorted((folder / "runs").glob("[!.]*"))
        if path.is_dir() and path.name not in known
    ]
    if new:
        rows, parts = zip(*map(_read_run, new), strict=True)
        runs, histories = _joined(runs, pd.DataFrame(rows)), _joined(histories, *parts)
        runs = runs.drop_duplicates("key").sort_values(["arm", "seed", "key"], ignore_index=True)
        histories = histories.drop_duplicates(["key", "epoch", "split", "mode", "metric"])
        if (
            len(runs),
            len(histories),
        ) != before:  # a run may have no history: it is looked at again each time
            with clear_errors(folder):
                # The history first: a kill between the two leaves rows to be added again, and none
                # without history.
                _write(histories, folder / "history.parquet")
                _write(runs, folder / "runs.parquet")
    return runs


def _read_run(path):
    """The row of a run, flat, and its history."""
    try:
        row = json.loads((path / ROW).read_text())
        parameters = json.dumps(row["parameters"], sort_keys=True)
        flat = row | {"parameters": parameters} | row.pop("metrics") | row.pop("provenance")
        return flat, pd.read_parquet(path / HISTORY).assign(key=path.name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SweepError(
            f"{path} is damaged ({type(error).__name__}: {error}). Remove this folder: the next"
            " sweep computes the run again."
        ) from error


def _read(path):
    try:
        table = pd.read_parquet(path)
        table["key"]  # what all else hangs on
        return table
    except FileNotFoundError:
        of_runs = ["key", "setting", "experiment", "arm", "seed", "parameters"]
        of_histories = ["epoch", "split", "mode", "metric", "value", "key"]
        return pd.DataFrame(columns=of_histories if path.stem == "history" else of_runs)
    except (OSError, ValueError, KeyError) as error:
        raise SweepError(
            f"{path} is damaged ({type(error).__name__}: {error}). Remove history.parquet and"
            " runs.parquet: they are made again from the folders of the runs; if those are not"
            " there, `git checkout` brings them back."
        ) from error


def _joined(*tables):
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def _write(table, path):
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_whole(path, buffer.getvalue())


def computed_nowhere(runs, out=RESULTS):
    """Those of some runs of one experiment that no backend of Keras has a result of."""
    known = set(collect(Path(out) / runs[0].experiment)["key"])
    return [run for run in runs if known.isdisjoint(map(run.key_on, plan.BACKENDS))]


def load(runs, out=RESULTS):
    """What is there of some runs of one experiment.

    Parameters
    ----------
    runs : list of course.lab.plan.Run
        Such as `plan.trials("eight")`; of their settings, every seed that is there is taken.
        Where there are none of this backend of Keras, those of another are: the column backend says
        so.
    out : path

    Returns
    -------
    rows, history : pandas.DataFrame
        `history` has the columns arm and seed, too.
    """
    folder = Path(out) / runs[0].experiment
    rows = collect(folder)
    if not len(rows):
        raise SweepError(
            f"There are no results of {runs[0].experiment!r} yet: `course experiment"
            f" {runs[0].experiment}`."
        )
    for backend in (plan.backend(), *plan.BACKENDS):
        arms = {run.setting_on(backend): run.arm for run in runs}
        if rows["setting"].isin(arms).any():
            break
    rows = rows[rows["setting"].isin(arms)].assign(arm=lambda table: table["setting"].map(arms))
    history = _read(folder / "history.parquet").merge(rows[["key", "arm", "seed"]], on="key")
    return rows.sort_values(["arm", "seed"], ignore_index=True), history


def table(name, out=RESULTS):
    """All rows there are of an experiment, whatever their parameters; `changed` says where they are
    not its own.
    """
    planned = {run.setting: run for run in plan.trials(name, seeds=1)}
    rows = collect(Path(out) / name)
    if not len(rows):
        raise SweepError(f"There are no results of {name!r} in {out}: `course experiment {name}`.")
    plain = {run.arm: run.parameters for run in planned.values()}

    def changed(row):
        if row["setting"] in planned:
            return ""
        usual, own = plain.get(row["arm"], {}), json.loads(row["parameters"])
        differences = [
            f"{key}={own[key]}" for key in own if key != "seed" and own[key] != usual.get(key)
        ]
        return ", ".join(differences) or f"backend={row['backend']}"

    return rows.assign(changed=[changed(row) for row in rows.to_dict("records")])


def summary(rows, metrics):
    """One row an arm: the number of seeds, and each metric's mean over them with its 95 % interval."""
    from course import intervals

    usable = rows.select_dtypes("number").columns
    for metric in metrics:
        if metric not in usable:
            raise SweepError(
                f"There is no metric {metric!r}; there are:"
                f" {', '.join(sorted(usable.drop('seed')))}."
            )
    lines = []
    for (arm, changed, _), group in rows.groupby(["arm", "changed", "setting"], sort=False):
        line = {"arm": arm, "changed": changed, "seeds": len(group)}
        for metric in metrics:
            values = group[metric]
            wrong = int((~np.isfinite(values)).sum())
            if wrong:
                line[metric] = f"not finite in {wrong} of {len(values)}"
            else:
                line[metric] = (
                    str(intervals.mean_interval(values))
                    if len(values) > 1
                    else f"{values.mean():+.3f}"
                )
        lines.append(line)
    return pd.DataFrame(lines)


@contextmanager
def clear_errors(folder):
    try:
        yield
    except OSError as error:
        raise SweepError(cannot_write(folder, error)) from error


def cannot_write(folder, error):
    return (
        f"Cannot write to {folder}: {error.strerror or error}. Free some space or choose another"
        " folder with --out, and run this again: finished runs are kept."
    )
