"""The tables of an experiment: brought up to date with the folders of its runs, and read."""

import io
import json
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import numpy as np
import pandas as pd

from course.lab import plan
from course.lab.errors import UserError
from course.lab.files import write_whole
from course.lab.trial import BACKENDS, Trial

RESULTS = Path(__file__).resolve().parents[2] / "results"
ORDER = "COURSE_SWEEP"  # variable of a kernel's environment: what its sweep wants, see `record`
ROW, HISTORY, NOTEBOOK = "row.json", "history.parquet", "notebook.ipynb"
COLUMNS = ("key", "setting", "experiment", "arm", "seed", "parameters")
ADDED = ("trial", "changed")  # columns when a table is read
USUAL = ("accuracy", "loss", "gap_loss", "seconds")  # metrics to show


class SweepError(UserError):
    """A sweep that cannot go on; says what to do."""


def collect(folder):
    """Bring the experiment's tables up to date with the folders of its runs.

    Returns
    -------
    pandas.DataFrame
        One row a run: `COLUMNS` (parameters as JSON), the metrics, the provenance.
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
        histories = histories.drop_duplicates(["key", "split", "mode", "metric", "epoch"])
        # Seven digits, and like beside like: half the bytes in the repository.
        histories = histories.astype({"value": "float32"})
        histories = histories.sort_values(
            ["key", "split", "mode", "metric", "epoch"], ignore_index=True
        )
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
        metrics, provenance = row.pop("metrics"), row.pop("provenance")
        check_metrics(metrics, provenance)
        row["parameters"] = json.dumps(row["parameters"], sort_keys=True)
        _refuse_old([row["parameters"]], path)
        history = pd.read_parquet(path / HISTORY).assign(key=path.name)
        return row | metrics | provenance, history
    except SweepError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SweepError(
            f"{path} is damaged ({type(error).__name__}: {error}). Remove this folder: the next"
            " sweep computes the run again."
        ) from error


def columns_of(trial, key, setting):
    """What a row of results says of its trial."""
    values = (key, setting, trial.experiment, trial.arm, trial.seed, trial.to_dict())
    return dict(zip(COLUMNS, values, strict=True))


def check_metrics(metrics, provenance):
    """Refuse metrics that another column of the table would overwrite.

    Raises
    ------
    SweepError
    """
    taken = {*COLUMNS, *ADDED, "wall_seconds", *provenance} & set(metrics)
    if taken:
        raise SweepError(
            f"A metric is called {min(taken)!r}, as another column of the results is: give it"
            " another name in the template."
        )


def _refuse_old(parameters, path):
    if not all('"experiment": ' in text for text in parameters):
        raise SweepError(
            f"{path} is of an earlier version of the course, which had other keys. Run `python"
            f" results/rekey.py {path.parent if path.suffix else path.parents[1]}`: nothing needs"
            " to be computed again."
        )


def _read(path):
    try:
        table = pd.read_parquet(path)
        table["key"]  # what all else hangs on
        _refuse_old(table.get("parameters", ()), path)
        return table
    except FileNotFoundError:
        of_histories = ["epoch", "split", "mode", "metric", "value", "key"]
        return pd.DataFrame(columns=of_histories if path.stem == "history" else list(COLUMNS))
    except SweepError:
        raise
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
    how = {"compression": "zstd", "compression_level": 9}
    if "value" in table:  # a history: the bytes of like numbers beside each other
        how["column_encoding"] = {"value": "BYTE_STREAM_SPLIT"}
        how["use_dictionary"] = [name for name in table if name != "value"]
    table.to_parquet(buffer, index=False, **how)
    write_whole(path, buffer.getvalue())


def computed_nowhere(trials, out=RESULTS):
    """Those of some trials of one experiment that no backend of Keras has a result of."""
    known = set(collect(Path(out) / trials[0].experiment)["key"])
    return [trial for trial in trials if known.isdisjoint(map(trial.key_on, BACKENDS))]


def load(trials, out=RESULTS):
    """What is there of some trials of one experiment.

    Parameters
    ----------
    trials : list of course.lab.trial.Trial
        Such as `plan.trials("eight")`; of their settings, every seed that is there is taken.
        Where more arms have some of another backend of Keras than of their own, it is those: the
        column backend says so.
    out : path

    Returns
    -------
    rows, history : pandas.DataFrame
        `rows` has the column trial, a `course.lab.trial.Trial`; `history` has the columns arm and
        seed, too.
    """
    name = trials[0].experiment
    folder = Path(out) / name
    rows = collect(folder)
    if not len(rows):
        raise SweepError(
            f"There are no results of {name!r} yet: `course experiment {quote(name)}`."
        )
    there, of_arm = set(rows["setting"]), {trial.arm: trial for trial in trials}
    choices = []
    for where in (None, *BACKENDS):  # None: that of each arm
        settings = {one.setting_on(where or one.backend): arm for arm, one in of_arm.items()}
        choices.append({key: arm for key, arm in settings.items() if key in there})
    arms = max(choices, key=len)  # the first of equals; arms of two backends are no pairs
    rows = rows[rows["setting"].isin(arms)].assign(arm=lambda table: table["setting"].map(arms))
    history = _read(folder / "history.parquet").merge(rows[["key", "arm", "seed"]], on="key")
    return _with_trials(rows.sort_values(["arm", "seed"], ignore_index=True)), history


def _with_trials(rows):
    """With a column of the trials that the rows are of."""
    try:
        return rows.assign(trial=[Trial.from_dict(json.loads(text)) for text in rows["parameters"]])
    except ValueError as error:
        raise SweepError(
            f"There are results of trials that the course cannot plan: {error}"
        ) from error


def table(name, out=RESULTS):
    """All rows there are of an experiment, whatever their parameters; `changed` says where they are
    not its own.
    """
    planned = {trial.setting: trial for trial in plan.trials(name, seeds=1)}
    usual = {trial.arm: trial for trial in planned.values()}
    rows = collect(Path(out) / name)
    if not len(rows):
        raise SweepError(
            f"There are no results of {name!r} in {out}: `course experiment {quote(name)}`."
        )
    rows = _with_trials(rows)

    def changed(row):
        if row["setting"] in planned:
            return ""
        own, plain = row["trial"].spelled_out(), usual.get(row["arm"], Trial()).spelled_out()
        differences = [
            f"{name}={value}"
            for name, value in sorted(own.items())
            if name != "seed" and value != plain.get(name)
        ]
        return ", ".join(differences) or f"backend={row['backend']}"

    return rows.assign(changed=[changed(row) for row in rows.to_dict("records")])


def usual_metrics(rows):
    """The metrics to show of an experiment: the usual ones or, if it trains nothing, all it has."""
    numbers = rows.dropna(axis="columns", how="all").select_dtypes("number").columns
    usual = [name for name in USUAL if name in numbers]
    return usual or sorted(numbers.drop(["seed", "wall_seconds"], errors="ignore"))


def summary(rows, metrics):
    """One row an arm: how many seeds, and each metric's mean over them with its 95 % interval."""
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
