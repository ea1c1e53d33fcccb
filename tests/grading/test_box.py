"""The box as an honest notebook meets it, and what it says where there is none."""

import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from course.grading import values
from course.grading.box import Box, BoxError, Limits, runner
from course.grading.box import box as box_module
from course.grading.records import CodeCell, Job, Probe, ProbeCell, RaisedError

boxable = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("bwrap") is None,
    reason="the box is made by bubblewrap, on Linux",
)
posix = pytest.mark.skipif(os.name != "posix", reason="Windows cannot fork")
LIMITS = Limits(seconds=60, cell_seconds=30)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(True, marks=boxable, id="boxed"),
        pytest.param(False, marks=posix, id="unboxed"),
    ],
)
def started(request):
    try:
        with Box(keras=False, limits=LIMITS, boxed=request.param) as box:
            yield box
    except BoxError as error:
        pytest.skip(str(error))


def job(*cells, **probes):
    """A job: the cells in their order (a probe is given by its task's name in a tuple), and by task
    parts and source of the probe.
    """
    order = [
        ProbeCell(*cell) if isinstance(cell, tuple) else CodeCell(cell, f"cell_{number}")
        for number, cell in enumerate(cells)
    ]
    cases = {"small": {"x": np.arange(3.0)}, "scalar": {"x": 2}}
    return Job(
        tuple(order),
        {task: Probe(source, tuple(parts), cases) for task, (parts, source) in probes.items()},
    )


# ---------------------------------------------------------------- notebooks


def test_values_come_back_at_the_place_of_each_probe(started):
    report = started.run(
        job(
            "def f(x):\n    return 2 * x, 'ten'",
            ("f",),
            "def f(x):\n    return 3 * x, None",
            ("f",),
            "1",
            f=(["y", "text"], ""),
        )
    )
    assert (report.state, report.message) == ("ok", "")
    assert list(report.results) == ["f"]
    assert report.results["f"]["small"].values["y"].tolist() == [0, 3, 6]  # the later of two
    report = started.run(job("def f(x):\n    return 2 * x, 'ten'", ("f",), f=(["y", "text"], "")))
    small, scalar = report.results["f"]["small"], report.results["f"]["scalar"]
    assert small.values["y"].tolist() == [0, 2, 4] and small.values["text"] == "ten"
    assert small.kinds == {"y": "ndarray", "text": "str"} and scalar.kinds["y"] == "int"
    assert small.returned == "tuple of 2" and small.error is None and small.defined
    assert [cell.id for cell in report.cells] == ["cell_0"]


def test_a_cell_that_fails_stops_nothing(started):
    report = started.run(
        job(
            "a = 1\n1 / 0\nb = 2",
            "def f(x) return x",
            "raise SystemExit(3)",
            "def f(x):\n    return a",
            ("f",),
            f=(["y"], ""),
        )
    )
    assert report.state == "ok"
    errors = [cell.error and (cell.error.type, cell.error.line) for cell in report.cells]
    assert (
        errors[:2] == [("ZeroDivisionError", 2), ("SyntaxError", 1)]
        and errors[2][0] == "SystemExit"
        and errors[3] is None
    )
    assert report.results["f"]["small"].values["y"] == 1


def test_an_error_in_an_answer_is_told_with_its_line(started):
    report = started.run(
        job(
            "def f(x):\n    y = x\n    return g(y)",
            "\n\n\n\ndef g(x):\n    raise ValueError('no')",
            ("f",),
            f=(["y"], ""),
        )
    )
    assert report.results["f"]["small"].error == RaisedError("ValueError", "no", 3)
    assert report.results["f"]["small"].values == {}


def test_what_a_notebook_can_do_works(started):
    cells = [
        "import warnings\nwarnings.warn('careful')\nprint('hello')\n5 * 5",
        (
            "%matplotlib inline\nimport matplotlib.pyplot as plt\nfor _ in range(30):\n   "
            " plt.figure()\n    plt.plot([1, 2])\n    plt.show()\nplt.get_fignums()"
        ),
        "import asyncio\nawait asyncio.sleep(0)\ndisplay('shown')",
        "%%time\nx = 1",
        "!echo from the shell",
        (
            "open('own.txt', 'w').write('x')\nimport tempfile\nwith tempfile.TemporaryFile() as"
            " file:\n    file.write(b'x')"
        ),
        (
            "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as"
            " pool:\n    print(list(pool.map(abs, [-1])))"
        ),
        (
            "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n   "
            " print(pool.map(abs, [-2]))"
        ),
        "%unknown magic",
        "input('a number')",
    ]
    report = started.run(job(*cells))
    assert report.state == "ok"
    errors = [cell.error for cell in report.cells]
    assert errors[:8] == [None] * 8
    texts = [cell.text for cell in report.cells]
    expected = ["hello", "[]", "shown", "Wall time", "from the shell", "", "[1]", "[2]"]
    for text, part in zip(texts[:8], expected, strict=True):
        assert part in text
    assert "careful" in texts[0] and "25" in texts[0] and "Warning" not in texts[1]
    assert errors[9].type == "EOFError" and "input()" in errors[9].message


def test_random_numbers_are_the_same_each_time_and_in_each_case(started):
    cells = (
        "import random, numpy as np\nprint(random.random(), np.random.rand(), hash('x'))\ndef"
        " f(x):\n    return np.random.rand()"
    )
    reports = [started.run(job(cells, ("f",), f=(["y"], ""))) for _ in range(2)]
    assert reports[0].cells == reports[1].cells and reports[0].cells[0].text
    values = {
        float(result.values["y"]) for report in reports for result in report.results["f"].values()
    }
    assert len(values) == 1


def test_a_probe_of_its_own_looks_names_up(started):
    source = (
        "def probe(student, inputs):\n    return {'y': student.make(inputs['x']), 'z':"
        " student['other'], 'more': 1}"
    )
    report = started.run(
        job("def make(x):\n    return x + 1\nother = [1, 2]", ("make",), make=(["y", "z"], source))
    )
    result = report.results["make"]["scalar"]
    assert result.values["y"] == 3 and result.values["z"].tolist() == [1, 2]
    assert result.kinds == {"y": "int", "z": "list of 2"}


def test_what_is_not_defined_is_said(started):
    report = started.run(job("1", ("f",), f=(["y"], "")))
    assert report.results["f"]["small"].to_dict() == {
        "defined": False,
        "values": {},
        "kinds": {},
        "returned": "NoneType",
        "error": None,
    }


def test_text_that_no_file_takes_is_mended(started):
    report = started.run(job("print('\\ud800 \\x1b[31m \\0 \u00fc')\nraise ValueError('\\ud800')"))
    (cell,) = report.cells
    assert cell.text == "? [31m  \u00fc\n" and cell.error.message == "?"


def test_a_box_that_was_killed_is_there_again(started):
    started.run(job("1"))
    os.kill(started._process.pid, signal.SIGKILL)
    started._process.wait()
    assert started.run(job("1")).state == "ok"


def test_a_box_that_is_killed_while_it_works_is_a_crash(started):
    killer = threading.Timer(1.5, lambda: os.kill(started._process.pid, signal.SIGKILL))
    killer.start()
    report = started.run(
        job("def f(x):\n    return 1", ("f",), "import time\ntime.sleep(20)", f=(["y"], ""))
    )
    killer.join()
    assert report.state == "crash" and "small" in report.results["f"]
    assert started.run(job("1")).state == "ok"


def test_whoever_interrupts_finds_an_empty_box(started):
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            started.run(job("x = 1\nimport time\ntime.sleep(20)"))
    finally:
        signal.signal(signal.SIGALRM, before)
    report = started.run(job("x"))
    assert report.state == "ok" and report.cells[0].error.type == "NameError"


def test_large_jobs_and_results_pass(started):
    inputs = np.random.default_rng(0).normal(size=(500, 1000))
    large = Job(
        (CodeCell("def f(x):\n    return x[::-1]"), ProbeCell("f")),
        {"f": Probe("", ("y",), {"large": {"x": inputs}})},
    )
    report = started.run(large)
    assert np.array_equal(report.results["f"]["large"].values["y"], inputs[::-1])


@posix
def test_limits_hold_without_a_box_as_far_as_they_can():
    limits = replace(LIMITS, cell_seconds=0.5, seconds=20)
    with Box(keras=False, limits=limits, boxed=False) as box:
        report = box.run(
            job(
                "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(30)"
            )
        )
        assert report.state == "timeout"
        folder = box._home.name
        assert not [name for name in os.listdir(folder) if name.startswith("notebook_")]
    assert not os.path.exists(folder)


# ---------------------------------------------------------------- where there is no box


def test_without_bubblewrap_nothing_is_run(monkeypatch, tmp_path):
    monkeypatch.setattr(box_module.shutil, "which", lambda name: None)
    with pytest.raises(BoxError, match="install bubblewrap.*--unboxed"):
        Box(keras=False).__enter__()


@posix
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it fails before")
@pytest.mark.parametrize(
    "script", ["echo 'bwrap: no permission to create new namespace' >&2; exit 1", "exit 0"]
)
def test_a_box_that_does_not_hold_is_refused(monkeypatch, tmp_path, script):
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(box_module.shutil, "which", lambda name: str(program))
    with pytest.raises(BoxError, match="did not start: .*(namespace|no reason).*--unboxed"):
        Box(keras=False).__enter__()


@boxable
def test_a_box_without_walls_is_refused(monkeypatch, tmp_path):
    """A program that only calls Python: no world of its own can be made then, or at least it is not
    empty.
    """
    program = tmp_path / "bwrap"
    program.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(box_module.shutil, "which", lambda name: str(program))
    with pytest.raises(BoxError):
        Box(keras=False).__enter__()


def test_the_course_is_hidden_where_python_lies_above_it(monkeypatch):
    course = box_module.Path(box_module.__file__).resolve().parents[3]
    monkeypatch.setattr(sys, "base_prefix", str(course.parent))
    seen = box_module._seen()
    assert seen[str(course)] == "hide"
    assert sorted(seen).index(str(course)) > sorted(seen).index(str(course.parent))


# ---------------------------------------------------------------- Keras


@boxable
def test_a_notebook_with_keras_is_trained_and_asked():
    cells = [
        "import numpy as np\nimport keras\nimport course",
        (
            "def build(x):\n    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3),"
            " keras.layers.BatchNormalization()])\n    return model"
        ),
        (
            "model = build(0)\nmodel.compile('adam', 'mse')\nhistory = model.fit(np.ones((32, 4)),"
            " np.zeros((32, 3)), epochs=1, verbose=0)"
        ),
    ]
    source = (
        "def probe(student, inputs):\n    model = student.build(0)\n    return {'y':"
        " model(np.ones((2, 4)), training=True), 'weights': model.get_weights()[0], 'loss':"
        " student.history.history['loss'][0],\n            'names': [layer.__class__.__name__ for"
        " layer in model.layers]}"
    )
    try:
        with Box(limits=replace(LIMITS, seconds=200, cell_seconds=150)) as box:
            reports = [
                box.run(job(*cells, ("build",), build=(["y", "weights", "loss", "names"], source)))
                for _ in range(2)
            ]
    except BoxError as error:
        pytest.skip(str(error))
    for report in reports:
        assert report.state == "ok"
        assert [cell.error and cell.error.type for cell in report.cells] == [
            "ModuleNotFoundError",
            None,
            None,
        ]
        result = report.results["build"]["small"]
        assert result.error is None
        assert result.kinds == {
            "y": "tensor",
            "weights": "ndarray",
            "loss": "float",
            "names": "list of 2",
        }
        assert result.values["names"].tolist() == ["Dense", "BatchNormalization"]
    first, second = (report.results["build"]["small"].values for report in reports)
    for name in ("y", "weights", "loss"):
        np.testing.assert_array_equal(first[name], second[name])


# ---------------------------------------------------------------- values


def test_many_kinds_of_values():
    class Own:
        def __array__(self, dtype=None, copy=None):
            return np.ones(2)

    for value, kind, expected in [
        (True, "bool", True),
        (3, "int", 3),
        (np.int8(3), "int", 3),
        (2.5, "float", 2.5),
        (np.float32(2.5), "float", 2.5),
        (1j, "complex", 1j),
        ("text", "str", "text"),
        (np.ones((2, 1)), "ndarray", [[1], [1]]),
        ([1, 2], "list of 2", [1, 2]),
        ((1, 2.5), "tuple of 2", [1, 2.5]),
        (["a", "bc"], "list of 2", ["a", "bc"]),
        ([[1], [2]], "list of 2", [[1], [2]]),
        (np.ma.array([1, 2], mask=[True, False]), "MaskedArray", [1, 2]),
        (Own(), "Own", [1, 1]),
        (np.arange(6.0).reshape(2, 3).T, "ndarray", [[0, 3], [1, 4], [2, 5]]),
    ]:
        array, found = values.plain(value)
        assert found == kind
        assert type(array) is np.ndarray and array.tolist() == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": 1},
        {1},
        print,
        [[1], [1, 2]],
        [None],
        np.array([None]),
        np.array(["2020-01-01"], "M8[D]"),
        10**30,
        "x" * 20_000,
    ],
)
def test_other_values_have_only_a_kind(value):
    array, kind = values.plain(value)
    assert array is None and kind


@pytest.mark.parametrize("returned", [3, (1,), (1, 2, 3), None])
def test_parts_that_cannot_be_told_apart_are_missing(returned):
    result = values.run_case("f", "", ["a", "b"], {"f": lambda x: returned}, {"x": 1})
    assert result["defined"] and result["values"] == {} and result["kinds"] == {}
    assert result["returned"] == values.plain(returned)[1]


def test_inputs_are_not_the_students_to_change():
    inputs = {"x": np.ones(3)}
    result = values.run_case("f", "", ["y"], {"f": lambda x: x.__imul__(2)}, inputs)
    assert result["values"]["y"].tolist() == [2, 2, 2] and inputs["x"].tolist() == [1, 1, 1]


def test_an_interrupt_by_the_student_goes_through():
    def stop(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        values.run_case("f", "", ["y"], {"f": stop}, {"x": 1})


dtypes = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(),
    arrays.floating_dtypes(),
    arrays.unicode_string_dtypes(min_len=1, max_len=5),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    arrays.arrays(dtypes, arrays.array_shapes(min_dims=0, min_side=0)),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3), st.tuples(inner)
    ),
)


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or one != one and other != other


@given(trees)
@settings(max_examples=60, deadline=None)
def test_what_is_packed_is_unpacked(tree):
    assert same(values.unpack(values.pack(tree)), tree)


@given(st.binary(max_size=60), st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_bytes_are_refused_or_are_plain(junk, data):
    packed = values.pack({"x": np.arange(5), "y": [1, "a", (None,)]})
    place = data.draw(st.integers(0, len(packed)))
    for damaged in (
        junk,
        packed[:place],
        packed[:place] + junk,
        packed[:place] + junk + packed[place + len(junk) :],
    ):
        try:
            values.unpack(damaged)
        except ValueError as error:
            assert "grader packs" in str(error)


def test_objects_are_never_packed():
    for value in (np.array([object()]), {1, 2}, print):
        with pytest.raises(ValueError, match="cannot be packed"):
            values.pack({"x": value})


def test_time_is_no_ordinary_exception():
    with pytest.raises(values.TimeLimit), runner._Alarm(0.05):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                while time.monotonic() < end:
                    pass
            except Exception:
                pass
