"""Gives results of an earlier version of the course the keys that this version asks for.

    python results/rekey.py [FOLDER ...]

A folder is that of one experiment, or one with experiments in it; by default this one. A row is
changed only if its old key can be made again from what it says of itself: then it is known which
trial it is of. Metrics, histories and provenance stay as they are. Run it as often as you like; a
kill leaves each table old or new.
"""

import hashlib
import json
import sys
from pathlib import Path

import pandas as pd

from course.lab import results
from course.lab.errors import UserError
from course.lab.files import write_whole
from course.lab.plan import EXPERIMENTS
from course.lab.trial import PARAMETERS, Trial, identity


class RekeyError(UserError):
    """A row that is not what its key says."""


def old_key(template, parameters, backend):
    """The key that the first edition of the course gave."""
    setting = {name: value for name, value in parameters.items() if name != "seed"}
    images = identity(parameters["dataset"])
    return _hash([_hash([template, setting, images, backend]), parameters["seed"]])


def key_without_text(trial, backend):
    """The key before the text of the template was part of it."""
    own = ("experiment", "arm", "seed")
    setting = {name: value for name, value in trial.to_dict().items() if name not in own}
    return _hash([_hash([setting, identity(trial.dataset), backend]), trial.seed])


def new_columns(row):
    """The `results.COLUMNS` of a row, parameters as a mapping; of an old one with its new key.

    Raises
    ------
    RekeyError
        If the row's key is neither what was nor what is made of its parameters.
    """
    parameters, backend = row["parameters"], row["backend"]
    if "experiment" in parameters:
        trial = Trial.from_dict(parameters)
        known = row["key"] in (trial.key_on(backend), key_without_text(trial, backend))
    else:
        usual = EXPERIMENTS[row["experiment"]].template if row["experiment"] in EXPERIMENTS else ""
        names = {"experiment": row["experiment"], "arm": row["arm"]}
        for template in sorted(PARAMETERS, key=lambda name: name != usual):
            known = old_key(template, parameters, backend) == row["key"]
            if known:
                trial = Trial.from_dict(names | {"template": template} | parameters)
                known = _says_all(trial, parameters)
                break
    if not known:
        raise RekeyError(
            f"{row['experiment']}, {row['arm']}, seed {row['seed']}: its key {row['key']} cannot be"
            " made from its parameters, so it stays unknown what it is a result of. Remove the row"
            " or its folder; nothing has been changed."
        )
    return results.columns_of(trial, trial.key_on(backend), trial.setting_on(backend))


def rekey_tables(folder):
    """The tables of an experiment; how many rows have a new key."""
    path = folder / "runs.parquet"
    runs = pd.read_parquet(path)
    rows = runs.to_dict("records")
    new = [new_columns(row | {"parameters": json.loads(row["parameters"])}) for row in rows]
    keys = {row["key"]: columns["key"] for row, columns in zip(rows, new, strict=True)}
    if len(set(keys.values())) < len(rows):
        raise RekeyError(f"{path}: two rows are results of one trial. Remove one of each pair.")
    history = pd.read_parquet(folder / "history.parquet")
    kind = history["key"].dtype  # an empty column would lose it
    history["key"] = history["key"].map(lambda key: keys.get(key, key)).astype(kind)
    for name in ("key", "setting", "parameters"):
        runs[name] = [columns[name] for columns in new]
    runs["parameters"] = [json.dumps(values, sort_keys=True) for values in runs["parameters"]]
    # They hold what the flat columns hold.
    runs = runs.drop(columns=["metrics", "provenance"], errors="ignore")
    changed = sum(old != new for old, new in keys.items())
    if changed:
        # The history first: killed between the two, the next time knows it by its new keys.
        write_whole(folder / "history.parquet", history.to_parquet(index=False))
        write_whole(path, runs.to_parquet(index=False))
    return changed


def rekey_runs(folder):
    """The folders of an experiment's runs; how many have a new key."""
    new = []
    # All are known before the first is changed.
    for place in sorted((folder / "runs").glob("[!.]*/")):
        row = json.loads((place / results.ROW).read_text(encoding="utf-8"))
        columns = new_columns(row | {"backend": row["provenance"]["backend"]})
        new += [(place, row | columns)]
    if len({row["key"] for _, row in new}) < len(new):
        raise RekeyError(f"{folder}: two runs are results of one trial. Remove one of each pair.")
    changed = [(place, row) for place, row in new if row["key"] != place.name]
    for place, row in changed:
        # The row first: killed between the two, the next time finds a folder with another name.
        write_whole(place / results.ROW, json.dumps(row, indent=1))
        place.rename(place.with_name(row["key"]))
    return len(changed)


def main(folders):
    """Re-key what is in some folders; an exit status."""
    experiments = [
        place
        for folder in folders
        for place in sorted({folder, *(path for path in folder.glob("*") if path.is_dir())})
        if (place / "runs.parquet").exists() or (place / "runs").is_dir()
    ]
    wrong = 0
    for place in experiments:
        try:
            rows = rekey_tables(place) if (place / "runs.parquet").exists() else 0
            print(f"{place}: {rows} rows and {rekey_runs(place)} folders of runs have a new key.")
        except (UserError, OSError, ValueError, KeyError) as error:
            print(f"{place}: {error}", file=sys.stderr)
            wrong = 1
    return wrong


def _says_all(trial, parameters):
    """Whether a trial has every value that the parameters name."""
    options = parameters.get("options", {})
    said = {name: value for name, value in parameters.items() if name != "options"}
    said |= {f"options.{name}": value for name, value in options.items()}
    values = trial.spelled_out()
    return all(values[name] == value for name, value in said.items())


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]] or [Path(__file__).resolve().parent]))
