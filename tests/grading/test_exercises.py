"""The test of the grader that each exercise carries: known mistakes fail with their own hint, other
right answers pass.

Right answers, and two mistakes of each task, are run as a submission is, in the box if there is
bubblewrap.
"""

import importlib.util
import os
import shutil
from functools import lru_cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from course.grading import keys, prove, release
from course.grading.assignment import Assignment
from course.grading.box import Box, Limits
from course.grading.judge import judge
from course.grading.records import CodeCell, Job, Probe, ProbeCell
from course.grading.tasks import load_tasks

NAMES = release.assignments()
TASKS = {name: load_tasks(release.SOLUTIONS / name) for name in NAMES}
EACH_TASK = [pytest.param(name, id, id=f"{name}-{id}") for name in NAMES for id in TASKS[name]]
in_a_process = pytest.mark.skipif(os.name != "posix", reason="student code is not run on Windows")


def variants(of):
    """Parameters for each variant that `of(task)` names."""
    return [
        pytest.param(name, id, one, id=f"{name}-{id}-{one}")
        for name in NAMES
        for id, task in TASKS[name].items()
        for one in of(task)
    ]


# Kept from one run of the tests to the next, as a batch of grading keeps them, until an exercise or
# the grader changes: those of the exercises with Keras take up to a minute.
KEPT = Path(__file__).parents[2] / ".pytest_cache" / "d" / "keys"


@lru_cache
def whole_key(name):
    settings = {"limits": Limits(), "boxed": True}
    return Assignment(release.SOLUTIONS / name, settings, KEPT).key


@lru_cache
def rows(name):
    return [*prove.prove(release.SOLUTIONS / name, key=whole_key(name))]


def probes(name):
    """The module that stands beside the grader."""
    spec = importlib.util.spec_from_file_location("probes", release.SOLUTIONS / name / "probes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache
def cells_of(name):
    return keys.code_cells(release.SOLUTIONS / name)


def imports_keras(name):
    return any("import keras" in source for _, source in cells_of(name))


@pytest.fixture(scope="module")
def boxes():
    """`boxes(keras)`: one box with Keras and one without, started when first asked for."""
    started = {}

    def get(keras):
        if keras not in started:
            started[keras] = Box(keras=keras, boxed=shutil.which("bwrap") is not None).__enter__()
        return started[keras]

    yield get
    for box in started.values():
        box.close()


@pytest.fixture
def graded(boxes):
    """`graded(name, task, source)`: what the judge says of an answer that is handed in with the
    instructor's cells above it.
    """

    def run(name, id, source):
        key = whole_key(name).tasks[id]
        above = map(CodeCell, above_answer(name, id))
        cells = (*above, CodeCell(source, id), ProbeCell(id))
        report = boxes(imports_keras(name)).run(Job(cells, {id: probe_of(key)}))
        assert report.state == "ok", report.message
        return judge(key, report.results.get(id, {}))

    return run


def probe_of(key):
    """What the box gets of a task."""
    return Probe(key.probe, tuple(part.name for part in key.parts), key.cases)


def above_answer(name, id):
    ids = [identity for identity, _ in cells_of(name)]
    return [source for _, source in cells_of(name)[: ids.index(id)]]


def told(result):
    return "\n".join(line.message for line in result.lines)


# ---------------------------------------------------------------- the proof


@pytest.mark.parametrize(("name", "id"), EACH_TASK)
def test_right_is_judged_right_and_each_mistake_gets_its_own_hint(name, id):
    """Here, without the box, and with enough of both (see `prove`)."""
    judged = [row for row in rows(name) if row.task == id]
    task = TASKS[name][id]
    assert len(judged) == 2 + len(task.mistakes) + len(task.alternatives)
    assert {row.name: f"{row.problem}: {row.said}" for row in judged if row.problem} == {}


# ---------------------------------------------------------------- right and wrong answers, as they
# are graded


@in_a_process
@pytest.mark.parametrize(
    ("name", "id", "variant"), variants(lambda task: ["the instructor's", *task.alternatives])
)
def test_a_right_answer_gets_full_marks(name, id, variant, graded):
    source = TASKS[name][id].alternatives.get(variant) or dict(cells_of(name))[id]
    result = graded(name, id, source)
    assert (result.points, result.mistake) == (result.max, None), told(result)
    assert result.max == TASKS[name][id].points


@in_a_process
@pytest.mark.parametrize(("name", "id"), EACH_TASK)
def test_a_mistake_fails_in_the_box_as_it_does_here(name, id, graded):
    key = whole_key(name).tasks[id]
    for mistake in key.mistakes[:2]:
        source = next(one.source for one in TASKS[name][id].mistakes if one.name == mistake.name)
        here, there = judge(key, mistake.results), graded(name, id, source)
        assert (there.points, there.mistake) == (here.points, here.mistake), mistake.name


NUMPY_PATCHED = """
import numpy
for name in ("allclose", "array_equal", "isclose", "all", "any", "prod"):
    setattr(numpy, name, lambda *_, **__: True)
"""
BUILTINS_PATCHED = "import builtins\nbuiltins.all = builtins.any = lambda *_: True\n"


@in_a_process
@pytest.mark.parametrize(
    ("name", "id", "variant", "patch"),
    [
        ("05_build_a_cnn", "conv_block", "dropout on at inference", NUMPY_PATCHED),
        ("05_build_a_cnn", "conv_block", "a frozen norm", NUMPY_PATCHED),
        ("05_build_a_cnn", "conv_block", "a frozen norm", BUILTINS_PATCHED),
        ("07_repair", "RepairedDropout", "the same mask in every call", NUMPY_PATCHED),
        ("07_repair", "evaluate", "the patient", NUMPY_PATCHED),
        ("07_repair", "evaluate", "the patient", BUILTINS_PATCHED),
        ("07_repair", "fine_tuning_model", "the patient", NUMPY_PATCHED),
        ("07_repair", "recalibrate", "momentum not put back", NUMPY_PATCHED),
        ("08_beat_a_target", "train_classifier", "dropout left on", NUMPY_PATCHED),
        ("08_beat_a_target", "train_classifier", "too many parameters", NUMPY_PATCHED),
    ],
    ids=lambda value: (
        "NumPy" if value is NUMPY_PATCHED else "builtins" if value is BUILTINS_PATCHED else None
    ),
)
def test_readings_within_the_box_are_not_changed_by_patches(name, id, variant, patch, graded):
    """What a Keras model does is looked at beside the student's code: replaced functions must gain
    nothing there.
    """
    key = whole_key(name).tasks[id]
    mistake = next(mistake for mistake in key.mistakes if mistake.name == variant)
    source = next(mistake.source for mistake in TASKS[name][id].mistakes if mistake.name == variant)
    assert graded(name, id, patch + source).points <= judge(key, mistake.results).points


@pytest.mark.parametrize(("name", "more"), [("05_build_a_cnn", ()), ("08_beat_a_target", (1e-3,))])
def test_what_is_not_a_number_agrees_with_nothing(name, more):
    """A network that puts out NaN is not steady."""
    same = probes(name).same
    number, broken = np.array([0.5, 1.0]), np.array([0.5, np.nan])
    assert same(number, number, *more)
    assert not same(broken, broken, *more) and not same(number, number + 1, *more)


def test_the_limits_that_are_told_are_those_that_are_probed():
    task, limits = TASKS["08_beat_a_target"]["train_classifier"], probes("08_beat_a_target")
    says = {part.name: part.says for part in task.parts}
    assert f"at most {limits.MOST_PARAMETERS:,} numbers" in says["parameters"]
    assert f"at most {limits.MOST_STEPS} steps" in says["steps"]


@in_a_process
@pytest.mark.parametrize("name", NAMES)
def test_the_untouched_release_scores_0(name, boxes):
    key, cells = whole_key(name), []
    for cell in release.release_notebook(release.SOLUTIONS / name).cells:
        id = keys.grade_id(cell) or ""
        if id.startswith("check_"):
            cells.append(ProbeCell(id.removeprefix("check_")))
        elif cell.cell_type == "code" and id != "self_check":
            cells.append(CodeCell(cell.source, id))
    probes = {id: probe_of(task) for id, task in key.tasks.items()}
    report = boxes(imports_keras(name)).run(Job(tuple(cells), probes))
    assert report.state == "ok", report.message
    results = {id: judge(task, report.results[id]) for id, task in key.tasks.items()}
    assert {id: result.points for id, result in results.items()} == dict.fromkeys(key.tasks, 0)
    assert all(
        "not written yet" in told(result) or "not defined" in told(result)
        for result in results.values()
    )


# ---------------------------------------------------------------- the release


@pytest.mark.parametrize("name", NAMES)
def test_the_release_is_what_the_solution_makes_now(name):
    assert release.drift(name, key=whole_key(name)) == [], (
        f"run `course release {name}`, and commit exercises/{name}/"
    )


@in_a_process
@pytest.mark.parametrize("right", [True, False], ids=["answers", "stubs"])
def test_check_in_the_notebook(right, tmp_path):
    name = "02_batch_norm"
    (folder,) = release.release([name], out=tmp_path)
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    answers = {id: source for id, source in cells_of(name) if id in TASKS[name]} if right else {}
    for cell in notebook.cells:
        cell.source = answers.get(keys.grade_id(cell), cell.source)
    NotebookClient(
        notebook,
        kernel_name="python3",
        allow_errors=True,
        timeout=120,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    checks = [cell for cell in notebook.cells if (keys.grade_id(cell) or "").startswith("check_")]
    assert len(checks) == len(TASKS[name])
    for cell in checks:
        (shown,) = (output for output in cell.outputs if output.output_type == "display_data")
        errors = [output for output in cell.outputs if output.output_type == "error"]
        points = cell.metadata.nbgrader.points
        assert f"{points if right else 0} of {points} points" in shown.data["text/plain"]
        assert "<table>" in shown.data["text/html"]
        assert [error.ename for error in errors] == ([] if right else ["NotYet"])
        # One line, not a traceback: a student has done nothing wrong with Python.
        assert all(len(error.traceback) == 1 for error in errors)
