"""The records of grading: there and back, and nothing else gets in."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from course.grading import records, values
from course.grading.records import (
    CaseResult,
    CodeCell,
    Graded,
    Job,
    Line,
    Probe,
    ProbeCell,
    RaisedError,
    RecordError,
    StoppedCell,
    TaskGrade,
)

WHOLE = Graded(
    "ada",
    "02_batch_norm",
    "0f",
    timestamp="2026-01-02T03:04:05",
    state="timeout",
    message="It took too long.",
    notes={"setup": "A locked cell was changed."},
    answers="e1",
    cells=(StoppedCell(None, RaisedError("ValueError", "no", 3)),),
    seconds=1.5,
    memory=1 << 20,
    tasks=(
        TaskGrade(
            "forward", 1.0, 3.0, (Line("y", 1.0, 1.0, "right"), Line("m", 0.0, 2.0, "?", ""))
        ),
        TaskGrade("backward", 0.0, 2.5, (), "sign"),
    ),
)
EMPTY = Graded("bob", "unknown", "00")
FAILED = replace(EMPTY, state="failed", trouble="ZeroDivisionError: by 0", details="Traceback ...")


@pytest.mark.parametrize("graded", [WHOLE, EMPTY, FAILED], ids=["whole", "empty", "failed"])
def test_a_result_is_the_same_after_its_file(graded, tmp_path):
    graded.save(tmp_path / "new folder" / "result.json")
    assert Graded.load(tmp_path / "new folder" / "result.json") == graded
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["result.json"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    WHOLE.save(tmp_path / "result.json")
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        EMPTY.save(tmp_path / "result.json")
    assert Graded.load(tmp_path / "result.json") == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_record_does_not_change():
    with pytest.raises(FrozenInstanceError):
        WHOLE.state = "ok"


def changed(**changes):
    """WHOLE as plain data with other fields; without those that are Ellipsis."""
    data = json.loads(json.dumps(WHOLE.to_dict())) | changes
    return {name: value for name, value in data.items() if value is not ...}


TASK = {"id": "a", "points": 1, "max": 2, "lines": [], "mistake": None}
LINE = {"part": "a", "points": 1, "max": 2, "message": "", "step": None}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        changed(format=...),
        changed(format=1),
        changed(student=...),
        changed(another=1),
        changed(student=3),
        changed(seconds="1"),
        changed(memory=1.5),
        changed(memory=True),
        changed(notes=[]),
        changed(notes={"setup": 3}),
        changed(tasks={}),
        changed(tasks=[TASK | {"points": None}]),
        changed(tasks=[TASK | {"points": True}]),
        changed(tasks=[{"id": "a"}]),
        changed(tasks=[TASK | {"lines": [LINE | {"step": 3}]}]),
        changed(cells=[{"id": None, "error": None}]),
        changed(cells=[{"id": None, "error": {"type": "E", "message": "", "line": "3"}}]),
        changed(state="fine"),
        changed(state="failed"),
        changed(trouble="a failure, but the state is another"),
    ],
)
def test_what_is_no_result_is_refused(data):
    with pytest.raises(RecordError):
        Graded.from_dict(data)


def test_the_unchanged_data_is_taken():
    assert Graded.from_dict(changed()) == WHOLE
    assert Graded.from_dict(changed(tasks=[TASK])).tasks == (TaskGrade("a", 1.0, 2.0),)


def test_a_file_of_before_and_a_damaged_one_are_told_in_a_sentence(tmp_path):
    path = tmp_path / "result.json"
    old = changed(format=..., details=...)  # as it was when it was no record
    for content, sentence in [
        (json.dumps(old), "of another version of the course"),
        ("", "is damaged"),
        ("{", "is damaged"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "is damaged"),
        (json.dumps(changed(tasks=3)), "is damaged: 3 cannot be tasks"),
    ]:
        path.write_text(content, encoding="latin-1")
        with pytest.raises(RecordError, match=sentence):
            Graded.load(path)
    with pytest.raises(FileNotFoundError):
        Graded.load(tmp_path / "none.json")


# ---------------------------------------------------------------- what comes out of the box

PLAIN = values.run_case("f", "", ["y"], {"f": lambda x: 2 * x}, {"x": np.ones(2)})
ERROR = {"type": "ValueError", "message": "no", "line": 3}


def test_a_case_is_the_same_as_plain_data():
    result = CaseResult.from_dict(PLAIN, ("y",))
    assert (result.defined, result.kinds, result.returned) == (True, {"y": "ndarray"}, "ndarray")
    assert result.values["y"].tolist() == [2, 2] and result.error is None
    assert result.to_dict() == PLAIN
    stopped = CaseResult.from_dict(PLAIN | {"error": ERROR})
    assert stopped.error == RaisedError("ValueError", "no", 3)
    assert stopped.to_dict()["error"] == ERROR


@pytest.mark.parametrize("name", list(PLAIN))
def test_a_case_without_one_of_its_fields_is_refused(name):
    with pytest.raises(RecordError):
        CaseResult.from_dict({field: PLAIN[field] for field in PLAIN if field != name})


@pytest.mark.parametrize(
    "changes",
    [
        {"values": None},
        {"values": [1]},
        {"kinds": {"y": 3}},
        {"returned": None},
        {"error": "no"},
        {"error": {"type": "E"}},
        {"error": ERROR | {"message": b"no"}},
    ],
)
def test_a_case_with_a_field_of_another_kind_is_refused(changes):
    with pytest.raises(RecordError):
        CaseResult.from_dict(PLAIN | changes)


def test_of_a_case_only_what_a_judge_can_use_is_taken():
    arrays = {"y": np.array([None]), "z": np.ones(1), "w": 3}
    kinds = {"y": "nd\x00array" + "x" * 200, "z": "ndarray"}
    result = CaseResult.from_dict(
        PLAIN | {"defined": 1, "values": arrays, "kinds": kinds, "error": ERROR | {"line": -1}},
        ("y", "w"),
    )
    assert result.defined is False and result.values == {}
    assert result.kinds == {"y": ("ndarray" + "x" * 200)[: records.LONGEST_KIND - 1]}
    assert result.error.line is None


@pytest.mark.parametrize("line", [True, 0, 10**6, 2.0, "3", None])
def test_a_line_that_no_cell_has_is_unknown(line):
    assert RaisedError.from_dict(ERROR | {"line": line}).line is None


def test_a_job_is_plain_data_for_the_box():
    job = Job(
        (CodeCell("x = 1"), CodeCell("y", "answer"), ProbeCell("f")),
        {"f": Probe("", ("y",), {"one": {"x": np.arange(3.0)}, "two": {"x": 1}})},
    )
    assert len(job.code_cells) == job.count_of_cases == 2
    there = values.unpack(values.pack(job.to_dict()))
    assert there["cells"] == [
        {"source": "x = 1", "id": None},
        {"source": "y", "id": "answer"},
        {"task": "f"},
    ]
    (probe,) = there["probes"].values()
    assert (probe["source"], probe["parts"]) == ("", ("y",))
    assert probe["cases"]["one"]["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("step", "state"), [(None, "right"), ("", "open"), ("shape", "wrong")])
def test_a_line_has_a_state(step, state):
    assert Line("y", 0, 1, "", step).state == state
