"""The judge, on made-up tasks: what passes, what fails, what is said, and what is never said."""

import contextlib
import re

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course.grading import values
from course.grading.judge import judge
from course.grading.keys import TaskKey, WrongAnswer
from course.grading.records import CaseResult, RecordError
from course.grading.tasks import Part

X = np.random.default_rng(1).normal(size=(4, 3))
CASES, HIDDEN = {"four": {"x": X}}, {"unseen": {"x": X[::-1] * 3.7}}
NUMBERS = st.floats(-1e6, 1e6).filter(lambda number: number == 0 or abs(number) > 1e-6)
ARRAYS = arrays_of.arrays(
    "float64", arrays_of.array_shapes(max_dims=3, max_side=4), elements=NUMBERS
)


def outcome(function, parts, cases, probe=""):
    """What comes of an answer in all cases; of no answer if it is None."""
    namespace = {} if function is None else {"task": function}
    return {
        case: CaseResult.from_dict(
            values.run_case("task", probe, [part.name for part in parts], namespace, inputs)
        )
        for case, inputs in cases.items()
    }


class Desk:
    """A made-up task: its key, and what the judge says of an answer."""

    def __init__(
        self, right, parts=None, mistakes=None, cases=CASES, hidden=HIDDEN, reference=None, probe=""
    ):
        self.parts, self.probe = parts or (Part("y", 2, "the output y"),), probe
        self.cases = {**cases, **hidden}
        wrong = tuple(
            WrongAnswer(
                name, f"The hint of {name}.", True, outcome(function, self.parts, self.cases, probe)
            )
            for name, function in (mistakes or {}).items()
        )
        said = {
            case: {self.parts[0].name: reference(inputs)} if reference else {}
            for case, inputs in self.cases.items()
        }
        results = outcome(right, self.parts, self.cases, probe)
        self.key = TaskKey(
            "task", self.parts, probe, self.cases, tuple(hidden), results, said, wrong
        )

    def judge(self, answer, **options):
        return judge(self.key, outcome(answer, self.parts, self.cases, self.probe), **options)

    def first(self, answer, **options):
        return self.judge(answer, **options).lines[0]


DOUBLE = Desk(lambda x: 2 * x)
PAIR = (Part("a", 1, "the first"), Part("b", 2, "the second"))


# ---------------------------------------------------------------- what is right


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x + x,
        lambda x: (2 * x).astype("float32"),
        lambda x: np.ma.masked_array(2 * x),
        lambda x: np.asfortranarray(2 * x),
        lambda x: 2 * x + 0j,
    ],
    ids=["other formula", "float32", "masked", "Fortran order", "complex"],
)
def test_what_is_right_gets_all_points_however_it_is_stored(answer):
    result = DOUBLE.judge(answer)
    assert (result.points, result.max, result.mistake) == (2, 2, None)
    assert [state for _, state in result.lines[0].steps()] == ["OK"] * 5


@pytest.mark.parametrize(
    "answer",
    [lambda x: x.sum(), lambda x: float(x.sum()), lambda x: np.array(x.sum())],
    ids=["NumPy", "float", "array"],
)
def test_a_number_may_be_python_s_or_numpy_s_or_an_array_of_no_axes(answer):
    for right in (lambda x: x.sum(), lambda x: float(x.sum()), lambda x: np.array(x.sum())):
        assert Desk(right).judge(answer).points == 2


@settings(deadline=None)
@given(right=ARRAYS, rtol=st.floats(1e-6, 0.1), atol=st.floats(1e-9, 0.1), data=st.data())
def test_within_the_tolerances_it_passes_and_with_one_number_outside_it_fails(
    right, rtol, atol, data
):
    desk = Desk(
        lambda: right,
        (Part("y", 2, "the output", rtol=rtol, atol=atol),),
        cases={"only": {}},
        hidden={},
    )
    shares = data.draw(arrays_of.arrays("float64", right.shape, elements=st.floats(-0.99, 0.99)))
    allowed = atol + rtol * np.abs(right)
    assert desk.judge(lambda: right + shares * allowed).points == 2
    place = data.draw(st.sampled_from(list(np.ndindex(right.shape))))
    outside = right + shares * allowed
    outside[place] = (
        right[place]
        + data.draw(st.sampled_from([-1, 1])) * data.draw(st.floats(1.01, 1e6)) * allowed[place]
    )
    line = desk.first(lambda: outside)
    assert (line.points, line.step) == (0, "value")


def test_nan_and_infinity_are_right_where_they_are_expected():
    desk = Desk(lambda x: np.array([np.nan, np.inf, 1.0]))
    assert desk.judge(lambda x: np.array([np.nan, np.inf, 1.0])).points == 2
    assert desk.judge(lambda x: np.array([np.nan, -np.inf, 1.0])).points == 0
    assert (
        "nan at 1 of 3 places" in desk.first(lambda x: np.array([np.nan, np.inf, np.nan])).message
    )


def test_equal_allows_no_tolerance_and_no_other_text():
    count = Desk(lambda x: 12, (Part("y", 1, "the count", compare="equal"),))
    assert count.judge(lambda x: 12.0).points == 1
    assert count.judge(lambda x: 12.00001).points == 0
    word = Desk(lambda x: "holds", (Part("y", 1, "the verdict", compare="equal"),))
    assert word.judge(lambda x: np.str_("holds")).points == 1
    assert word.first(lambda x: "hold").step == "value"
    assert word.first(lambda x: 1).step == "type"
    words = Desk(lambda x: ["a", "bc"], (Part("y", 1, "the names", compare="equal"),))
    assert words.judge(lambda x: ("a", "bc")).points == 1
    assert "right at 1 of 2 places" in words.first(lambda x: ["a", "b"]).message


# ---------------------------------------------------------------- in which order, and what is said


@pytest.mark.parametrize(
    ("answer", "step", "said"),
    [
        (None, "defined", "task is not defined"),
        (lambda x: 1 / 0, "runs", "raises ZeroDivisionError"),
        (lambda x: None, "type", "is None, where an array of numbers is expected"),
        (
            lambda x: (2 * x).tolist(),
            "type",
            "a list of numbers, where an array of numbers is expected",
        ),
        (lambda x: 1.0, "type", "a number, where an array"),
        (lambda x: {}, "type", "a dict"),
        (lambda x: "two", "type", "a text"),
        (lambda x: np.array([None]), "type", "where an array of numbers is expected"),
        (lambda x: 2 * x.T, "shape", "(3, 4), where (4, 3) is expected: it is transposed"),
        (lambda x: 2 * x[:, None], "shape", "keepdims"),
        (lambda x: 2 * x[:2], "shape", "(2, 3), where (4, 3) is expected."),
        (
            lambda x: np.where(x > 0, 2 * x, np.inf),
            "value",
            f"infinite at {int((X <= 0).sum())} of 12 places",
        ),
        (
            lambda x: np.where(x > 0, 2 * x, np.nan),
            "value",
            f"nan at {int((X <= 0).sum())} of 12 places",
        ),
        (
            lambda x: 3 * x,
            "value",
            (
                "right at 0 of 12 places, to a relative tolerance of 0.0001 and an absolute one of"
                " 1e-06: all are off by one"
            ),
        ),
        (lambda x: -2 * x, "value", "opposite sign"),
        (lambda x: 2 * x + 1, "value", "one constant that is added"),
        (lambda x: np.where(x == X[0, 0], 0, 2 * x), "value", "right at 11 of 12 places"),
    ],
)
def test_the_first_step_that_fails_is_told(answer, step, said):
    line = DOUBLE.first(answer)
    assert (line.points, line.step) == (0, step)
    assert said in line.message
    states = dict(line.steps())
    order = list(states)
    assert [states[name] for name in order[: order.index(step)]] == ["OK"] * order.index(step)
    assert states[step] == "not yet"
    assert {states[name] for name in order[order.index(step) + 1 :]} <= {"not checked"}


def test_an_untouched_answer_is_not_written_yet():
    def task(x):
        raise NotImplementedError()

    assert "not written yet" in DOUBLE.first(task).message


def test_each_part_has_its_own_points():
    desk = Desk(lambda x: (x, 2 * x), PAIR)
    assert [line.points for line in desk.judge(lambda x: (x, x)).lines] == [1, 0]
    assert [line.points for line in desk.judge(lambda x: [0 * x, 2 * x]).lines] == [0, 2]


def test_a_part_must_be_right_in_all_cases():
    cases = {"one": {"x": X}, "two": {"x": 2 * X}}
    desk = Desk(lambda x: x, cases=cases, hidden={})
    line = desk.first(
        lambda x: np.where(np.abs(x).max() > 4, 0, x) if np.allclose(x, 2 * X) is False else 0 * x
    )
    assert line.points == 0
    assert "(case 'two')" in line.message


def test_what_concerns_all_parts_is_said_once():
    desk = Desk(lambda x: (x, 2 * x), PAIR)
    for answer, said in (
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (None, "not defined"),
        (lambda x: x, "where 2 values are expected: a, b"),
    ):
        first, second = desk.judge(answer).lines
        assert said in first.message
        assert second.message == "The second: not checked because of the above."
        assert {state for _, state in second.steps()} == {"not checked"}


def test_cases_that_were_not_reached_cost_their_points_and_say_why():
    results = outcome(lambda x: 2 * x, DOUBLE.parts, DOUBLE.cases)
    nothing = judge(DOUBLE.key, {})
    assert (nothing.points, nothing.lines[0].step) == (0, "")
    assert "did not get as far" in nothing.lines[0].message
    half = judge(DOUBLE.key, {"four": results["four"]})
    assert half.points == 0
    assert "stopped here" in half.lines[0].message


# ---------------------------------------------------------------- what is never said


@settings(max_examples=50, deadline=None)
@given(
    right=arrays_of.arrays("float64", (3, 2), elements=st.floats(1.001, 9.999)),
    wrong=st.integers(0, 7),
)
def test_no_message_holds_a_right_value_or_anything_hidden(right, wrong):
    cases, hidden = {"shown": {"x": right}}, {"unseen": {"x": right + 0.123456}}
    answers = [
        lambda x: 3 * x,
        lambda x: x[0],
        lambda x: x.tolist(),
        lambda x: x + 1,
        lambda x: x.T,
        lambda x: x * np.nan,
        lambda x: np.round(x, 1),
        lambda x: x if x is right else 1 / 0,
    ]
    desk = Desk(lambda x: 2 * x, cases=cases, hidden=hidden, mistakes={"tripled": lambda x: 3 * x})
    message = desk.first(answers[wrong], quote=True).message
    told = [float(number) for number in re.findall(r"\d+\.\d+", message)]
    values = np.concatenate([2 * right, 2 * (right + 0.123456), right + 0.123456]).ravel()
    assert not any(np.isclose(number, values, rtol=1e-3).any() for number in told)
    assert "unseen" not in message


def test_a_hidden_case_tells_the_step_and_no_more():
    def secret_shape(x):
        return 2 * x if np.allclose(x, X) else np.zeros((7, 77))

    def secret_error(x):
        if np.allclose(x, X):
            return 2 * x
        raise ValueError(f"seen {x[0, 0]}")

    for answer, step in (
        (secret_shape, "shape"),
        (secret_error, "runs"),
        (lambda x: np.where(np.abs(x) > 4, 0, 2 * x), "value"),
    ):
        line = DOUBLE.first(answer, quote=True)
        assert (line.points, line.step) == (0, step)
        assert line.message.startswith(
            "The output y: right on the inputs of check('task'), but not on another input"
        )
        assert not re.search(r"\d", line.message)
        assert "seen" not in line.message


def test_a_hidden_case_still_gets_the_hint_of_a_mistake():
    desk = Desk(lambda x: 2 * x, mistakes={"clipped": lambda x: np.clip(2 * x, -6, 6)})
    result = desk.judge(lambda x: np.minimum(np.maximum(x + x, -6), 6))
    assert result.mistake == "clipped"
    assert "another input" in result.lines[0].message
    assert result.lines[0].message.endswith("The hint of clipped.")


def test_grading_repeats_nothing_that_the_student_s_code_says():
    class Leak(Exception):
        pass

    Leak.__name__ = "hidden_is_4711"

    def quoting(x):
        raise ValueError("hidden is 4711")

    def naming(x):
        raise Leak()

    kind = type("hidden_is_4711", (), {})
    for answer in (quoting, naming, lambda x: kind(), lambda x: np.zeros((0, 4711, 0, 1, 1, 1))):
        assert "4711" not in DOUBLE.first(answer).message
    assert "hidden is 4711" in DOUBLE.first(quoting, quote=True).message


# ---------------------------------------------------------------- typical mistakes


def both(first, second):
    return lambda x: (first(x), second(x))


TWO = Desk(
    both(lambda x: x, lambda x: 2 * x),
    PAIR,
    {
        "tripled": both(lambda x: x, lambda x: 3 * x),
        "both negative": both(lambda x: -x, lambda x: -2 * x),
        "first negative": both(lambda x: -x, lambda x: 2 * x),
        "as it should be": both(lambda x: x, lambda x: 2 * x),
        "summed": both(lambda x: x.sum(), lambda x: x.sum()),
        "no return": lambda x: None,
        "a list": both(lambda x: x.tolist(), lambda x: 2 * x),
        "unknown name": lambda x: gamma * x,  # noqa: F821
    },
)


@pytest.mark.parametrize(
    "name", [mistake.name for mistake in TWO.key.mistakes if mistake.name != "as it should be"]
)
def test_each_mistake_is_told_from_all_others(name):
    mistake = next(mistake for mistake in TWO.key.mistakes if mistake.name == name)
    result = judge(TWO.key, mistake.results)
    assert result.mistake == name
    assert sum(mistake.hint in line.message for line in result.lines) == 1
    assert result.points < 3


def test_a_mistake_is_recognised_within_the_tolerance():
    assert TWO.judge(both(lambda x: x, lambda x: (3 * x).astype("float32"))).mistake == "tripled"
    assert TWO.judge(both(lambda x: x, lambda x: 3.01 * x)).mistake is None


def test_no_mistake_is_named_for_what_is_right():
    result = TWO.judge(both(lambda x: x, lambda x: 2 * x))
    assert (result.points, result.mistake) == (3, None)


def test_two_mistakes_in_two_parts_get_both_hints():
    result = TWO.judge(both(lambda x: -x, lambda x: 3 * x))
    assert "tripled" in result.lines[1].message
    # "both negative" and "first negative" explain the first part equally well: nobody knows which
    # was meant.
    assert "The hint" not in result.lines[0].message
    assert result.mistake == "tripled"


def test_a_mistake_must_explain_all_cases():
    desk = Desk(lambda x: 2 * x, mistakes={"tripled": lambda x: 3 * x})
    assert desk.judge(lambda x: 3 * x if np.allclose(x, X) else 4 * x).mistake is None


def test_of_an_error_the_message_counts_and_its_numbers_do_not():
    desk = Desk(lambda x: 2 * x, mistakes={"transposed": lambda x: x @ np.ones((5, 5))})
    assert desk.judge(lambda x: x @ np.ones((6, 6))).mistake == "transposed"
    assert desk.judge(lambda x: x[:, [9]] and 1).mistake is None


def test_a_mistake_that_is_not_to_be_recognised_is_not():
    desk = Desk(lambda x: 2 * x)
    wrong = WrongAnswer(
        "vague", "Its hint.", False, outcome(lambda x: 3 * x, desk.parts, desk.cases)
    )
    result = judge(desk.key.__class__(**{**vars(desk.key), "mistakes": (wrong,)}), wrong.results)
    assert (result.points, result.mistake) == (0, None)


# ---------------------------------------------------------------- random masks


def dropout(x, rate, seed, scale=None, drop=None, shape=None):
    rng = np.random.default_rng(seed)
    keep = rng.random(shape or x.shape) >= (rate if drop is None else drop)
    return x * keep * (1 / (1 - rate) if scale is None else scale)


def mask_desk(shape=(40, 25), rate=0.3, shared=()):
    x = np.random.default_rng(2).normal(size=shape)
    one = [1 if axis in shared else size for axis, size in enumerate(shape)]
    desk = Desk(
        lambda x, rate: dropout(x, rate, 0, shape=one),
        (Part("y", 3, "the output", compare="dropped"),),
        {
            "not rescaled": lambda x, rate: dropout(x, rate, 1, scale=1, shape=one),
            "scaled by the rate": lambda x, rate: dropout(x, rate, 1, scale=1 / rate, shape=one),
            "keeps with the rate": lambda x, rate: dropout(x, rate, 1, drop=1 - rate, shape=one),
            "keeps with the rate, and rescales so": lambda x, rate: dropout(
                x, rate, 1, drop=1 - rate, scale=1 / rate, shape=one
            ),
            "one mask for all": lambda x, rate: dropout(x, rate, 1, shape=[1, *one[1:]]),
            "nothing dropped": lambda x, rate: x,
            "all dropped": lambda x, rate: 0 * x,
            "noise": lambda x, rate: x * np.random.default_rng(3).normal(1, 0.5, x.shape),
        },
        {"training": {"x": x, "rate": rate}},
        {"more": {"x": x + 10, "rate": rate}},
        lambda inputs: {"kept": inputs["x"] / (1 - rate), "rate": rate, "shared": shared},
    )
    return desk, one


@pytest.mark.parametrize(
    ("shape", "shared"), [((40, 25), ()), ((30, 5, 4, 8), (1, 2))], ids=["elements", "channels"]
)
def test_any_mask_at_the_rate_passes_and_each_mistake_is_recognised(shape, shared):
    desk, one = mask_desk(shape, shared=shared)
    assert all(
        desk.judge(lambda x, rate, seed=seed: dropout(x, rate, seed, shape=one)).points == 3
        for seed in range(30)
    )
    for name in (mistake.name for mistake in desk.key.mistakes):
        mistake = next(mistake for mistake in desk.key.mistakes if mistake.name == name)
        result = judge(desk.key, mistake.results)
        assert (result.points, result.mistake) == (0, name)
    # Other random numbers, same mistake.
    assert (
        desk.judge(lambda x, rate: dropout(x, rate, 99, scale=1, shape=one)).mistake
        == "not rescaled"
    )


def test_a_mask_that_should_be_shared_must_be():
    desk, _ = mask_desk((30, 5, 4, 8), shared=(1, 2))
    assert "differs along axis 1" in desk.first(lambda x, rate: dropout(x, rate, 5)).message


def test_the_rate_0_means_nothing_dropped():
    x = np.random.default_rng(2).normal(size=(20, 30))
    desk = Desk(
        lambda x: x,
        (Part("y", 1, "the output", compare="dropped"),),
        {"left on": lambda x: dropout(x, 0.5, 1)},
        {"inference": {"x": x}},
        {},
        lambda inputs: {"kept": inputs["x"], "rate": 0},
    )
    assert desk.judge(lambda x: x + 0.0).points == 1
    result = desk.judge(lambda x: dropout(x, 0.5, 2))
    assert (result.points, result.mistake) == (0, "left on")


def test_places_that_hold_zero_anyhow_do_not_count_as_dropped():
    x = np.maximum(np.random.default_rng(2).normal(size=(60, 50)), 0)
    desk = Desk(
        lambda x: dropout(x, 0.2, 1),
        (Part("y", 1, "the output", compare="dropped"),),
        {},
        {"relu": {"x": x}},
        {},
        lambda inputs: {"kept": inputs["x"] / 0.8, "rate": 0.2},
    )
    assert desk.judge(lambda x: dropout(x, 0.2, 7)).points == 1
    assert desk.judge(lambda x: dropout(x, 0.2, 7, drop=0.6)).points == 0


# ---------------------------------------------------------------- predicted classes


def test_accuracy_asks_for_a_share_of_right_classes():
    labels = np.random.default_rng(4).integers(0, 10, 200)
    desk = Desk(
        lambda x: labels,
        (Part("y", 4, "the classes", compare="accuracy"),),
        {"all nines": lambda x: np.full(200, 9)},
        {"test": {"x": X}},
        {},
        lambda inputs: {"labels": labels, "least": 0.9},
    )

    def with_wrong(count):
        return lambda x: np.where(np.arange(200) < count, (labels + 1) % 10, labels)

    assert desk.judge(with_wrong(20)).points == 4
    line = desk.first(with_wrong(21))
    assert line.points == 0
    assert "89 % of the classes are right; 90 % are asked for" in line.message
    assert desk.judge(lambda x: np.full(200, 9)).mistake == "all nines"


# ---------------------------------------------------------------- whatever comes

ANYTHING = st.recursive(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            -1,
            2.5,
            "",
            "text",
            np.zeros((4, 3)),
            2 * X,
            np.array("text"),
            np.array([None]),
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "type", "message", "line"]), inner),
    ),
    max_leaves=5,
)
FIELDS = dict.fromkeys(("defined", "values", "kinds", "error", "returned"), ANYTHING)
RESULTS = st.one_of(
    ANYTHING, st.fixed_dictionaries({}, optional=FIELDS), st.fixed_dictionaries(FIELDS)
)


@settings(deadline=None)
@given(results=st.dictionaries(st.sampled_from(["four", "unseen", "else"]), RESULTS))
def test_points_are_never_negative_nor_too_many_nor_an_error_whatever_comes(results):
    accepted = {}
    for case, plain in results.items():
        with contextlib.suppress(RecordError):  # nothing else, whatever it is
            accepted[case] = CaseResult.from_dict(plain, ("a", "b"))
    result = judge(TWO.key, accepted)
    assert 0 <= result.points <= result.max == 3
    assert [line.part for line in result.lines] == ["a", "b"]
    assert all(0 <= line.points <= line.max for line in result.lines)


@settings(deadline=None)
@given(
    value=st.one_of(
        ARRAYS,
        arrays_of.arrays(
            st.sampled_from(["U3", "bool", "uint8", "complex64", "float16", ">f8"]), (4, 3)
        ),
    )
)
def test_any_array_is_judged_without_a_warning(value):
    result = TWO.judge(lambda x: (value, value))
    assert 0 <= result.points <= 3
