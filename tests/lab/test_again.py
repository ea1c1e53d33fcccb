"""A stored run is what the code of today finds, to the last digits that a processor decides.

Models, masks, order, images and steps of the optimizer stand in no key. Where one of them changes,
this says so: what is stored has to be computed anew, or the change needs an option of its own.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from course.lab import plan, results

ARMS = [  # of the template "train": the others have cells of their own, which are in their keys
    ("order digits", "batch norm, then dropout, width 256, rate 0.25"),
    ("order digits", "last block, width 64, rate 0.5"),
    ("batch sizes digits", None),
    ("conv", "both, dense rate 0.35"),
    ("conv", "spatial, low, conv rate 0.2"),
]
FIRST_EPOCHS = 3  # the further a run, the more its steps make of the last digits
AGAIN = """
import json, sys
from course.lab import many
from course.lab.trial import Trial
found = []
for parameters in json.load(sys.stdin):
    for _, run, _ in many.runs(Trial.from_dict(parameters), [parameters["seed"]]):
        found.append(run.history.to_dict("records"))
print(json.dumps(found))
"""


def stored(name, arm):
    """The run of an arm with the least seed, and its history."""
    rows, history = results.load(plan.trials(name))
    run = rows[rows["arm"] == (arm or rows["arm"].iloc[0])].sort_values("seed").iloc[0]
    assert run["trial"].template == "train"
    return run, history[history["key"] == run["key"]]


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_a_stored_run_can_be_had_again(backend):
    runs = [stored(*one) for one in ARMS]
    runs = [(run, history) for run, history in runs if run["backend"] == backend]
    assert len(runs) > 1
    done = subprocess.run(
        [sys.executable, "-c", AGAIN],
        input=json.dumps(
            [json.loads(run["parameters"]) | {"seed": int(run["seed"])} for run, _ in runs]
        ),
        env=os.environ | {"KERAS_BACKEND": backend, "COURSE_PROGRESS": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    for (run, history), again in zip(runs, json.loads(done.stdout.splitlines()[-1]), strict=True):
        columns = ["epoch", "split", "mode", "metric"]
        both = history.merge(pd.DataFrame(again), on=columns, suffixes=("", "_again"))
        assert len(both) == len(history) == len(again), run["arm"]
        both = both[(both["epoch"] <= FIRST_EPOCHS) & (both["metric"] != "seconds")]
        assert len(both) > 10
        np.testing.assert_allclose(
            both["value_again"],
            both["value"],
            atol=5e-3,
            err_msg=f"{run['experiment']}: {run['arm']}",
        )
