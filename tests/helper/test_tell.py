"""What a lesson says to its reader: an answer checked, a text that is still true, stored runs."""

import keras
import numpy as np
import pytest

from course import tell
from course.lab import plan, results

X = np.array([[1.0, 2.0], [3.0, 6.0]])


def right(x, shift=0.0):
    return x - x.mean(axis=0) + shift


def unwritten(x, shift=0.0):
    """What a lesson leaves to its reader."""
    ...


def forgets_to_return(x, shift=0.0):
    found = x - x.mean(axis=0) + shift  # noqa: F841


def forgets_a_branch(x, shift=0.0):
    if shift == 0:
        return x - x.mean(axis=0)


def rows_for_columns(x, shift=0.0):
    return x - x.mean(axis=1, keepdims=True) + shift


def forgets_the_shift(x, shift=0.0):
    return x - x.mean(axis=0)


def stops(x, shift=0.0):
    return x - x.mena(axis=0)


def spoils_its_input(x, shift=0.0):
    x -= x.mean(axis=0)
    return x + shift


CASES = (X,), (X, {"shift": 2.0})
MISTAKES = {"The mean is that of each row, not of each column.": rows_for_columns}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (right, "✔ right is correct in all 2 cases, to within 1e-05."),
        (spoils_its_input, "✔ spoils_its_input is correct in all 2 cases, to within 1e-05."),
        (unwritten, "Not written yet: unwritten. The lesson continues with the course's version."),
        (lambda x, shift=0.0: None, "Not written yet: <lambda>."),
        (forgets_to_return, "]]): it returns nothing: is a `return` missing?"),
        (forgets_a_branch, "{'shift': 2.0}): it returns nothing: is a `return` missing?"),
        (rows_for_columns, "✘ The mean is that of each row, not of each column."),
        (forgets_the_shift, "✘ forgets_the_shift([[1. 2.] [3. 6.]], {'shift': 2.0}): it returns"),
        (stops, "✘ stops raises AttributeError: 'numpy.ndarray' object has no attribute"),
        (lambda x, shift=0.0: x[0], "it returns an array of shape (2,), not (2, 2)"),
        (lambda x, shift=0.0: "x", "it returns x, which is not an array of numbers"),
    ],
)
def test_an_answer_is_told_what_is_wrong_with_it(answer, said, capsys):
    went_on_with = tell.check(answer, right, *CASES, mistakes=MISTAKES)
    (line,) = capsys.readouterr().out.splitlines()
    assert said in line
    assert went_on_with is (answer if line.startswith("✔") else right)
    assert (X == [[1, 2], [3, 6]]).all(), "a case is as it was"


def test_a_mistake_is_named_only_where_the_answer_gives_just_what_it_gives(capsys):
    def another(x, shift=0.0):
        return rows_for_columns(x) + 1e-3

    tell.check(another, right, *CASES, mistakes=MISTAKES)
    assert "each row" not in capsys.readouterr().out


def test_the_line_that_failed_is_named(capsys):
    tell.check(stops, right, *CASES)
    assert f"(line {stops.__code__.co_firstlineno + 1} of stops)" in capsys.readouterr().out


def test_several_values_and_words(capsys):
    def two(x):
        return x.mean(), ["dense", "norm"]

    assert tell.check(two, two, (X,)) is two
    tell.check(lambda x: (x.mean(), ["norm", "dense"]), two, (X,))
    assert "value 2: value 1: it returns norm" in capsys.readouterr().out
    tell.check(lambda x: x.mean(), two, (X,))
    assert "where 2 values are expected" in capsys.readouterr().out


def test_an_array_is_as_good_as_a_list_of_its_numbers(capsys):
    def listed(x):
        return list(x.mean(axis=0))

    assert tell.check(lambda x: x.mean(axis=0), listed, (X,))(X).shape == (2,)
    assert "✔" in capsys.readouterr().out
    tell.check(lambda x: x.mean(axis=1), listed, (X,))
    assert "value 1: it returns 1.5, where 2.0 is right" in capsys.readouterr().out


def test_a_tensor_of_keras_is_named_by_its_shape(capsys):
    inputs = keras.Input((4, 3))
    tell.check(lambda x: x, lambda x: x * 2, (inputs,), view=lambda x: str(x is inputs))
    said = capsys.readouterr().out
    assert "a KerasTensor of shape (None, 4, 3)" in said and len(said) < 120


def test_much_that_was_returned_is_told_in_one_short_line(capsys):
    many = np.zeros((50, 40))
    tell.check(lambda x: (many, many), lambda x: (many, many, many), (X,))
    said = capsys.readouterr().out
    assert said.count("an array of shape (50, 40)") == 2 and len(said) < 250


def test_of_a_long_list_and_of_a_function_little_is_told(capsys):
    tell.check(lambda x, f: 1.0, lambda x, f: 2.0, ([np.zeros(20)] * 17, right))
    said = capsys.readouterr().out
    assert ", ...), right): it returns 1.0" in said and len(said) < 400


def test_a_list_of_arrays_is_as_it_was(capsys):
    def spoils(weights):
        weights[0][:] = 0
        weights[1] = 1
        return 3.0

    weights = [np.ones(2), 2]
    tell.check(spoils, lambda weights: 3.0, (weights,))
    assert (weights[0] == 1).all() and weights[1] == 2


def test_a_view_is_not_asked_of_an_answer_that_returns_nothing(capsys):
    tell.check(forgets_to_return, right, (X,), view=lambda value: value.shape)
    assert "a `return` missing?" in capsys.readouterr().out


@pytest.mark.parametrize("body", ["...", "pass", "'What it does.'", "'What it does.'\n    ..."])
def test_an_empty_body_has_not_been_written_yet(body, capsys):
    names = {}
    exec(f"def stub(x):\n    {body}", names)
    tell.check(names["stub"], right, (X,))
    assert "Not written yet: stub." in capsys.readouterr().out


def test_a_view_says_what_is_compared(capsys):
    assert tell.check(lambda x: x + 1, lambda x: x, (X,), view=np.shape)(X)[0, 0] == 2
    assert "✔" in capsys.readouterr().out


def test_facts_are_silent_when_they_hold(capsys):
    tell.facts({"the loss falls": True})
    assert capsys.readouterr().out == ""
    tell.facts({"the loss falls": True, "the accuracy stays": np.bool_(False)})
    assert capsys.readouterr().out == (
        "On this machine the result differs from the text: the accuracy stays.\n"
    )


@pytest.mark.parametrize("name", ["eight", "learning rates", "momentum digits"])
def test_stored_runs_are_those_of_the_ledger(name):
    rows, _ = results.load(plan.trials(name))
    found = tell.stored(name, "loss")
    assert set(found) == set(rows["arm"])
    for arm, part in rows.groupby("arm"):
        kept = found[arm].loc[part["seed"]]
        assert np.array_equal(kept, part["loss"], equal_nan=True)  # some diverged


def test_what_is_not_stored_is_said():
    with pytest.raises(ValueError, match="There are no stored runs of 'nothing'; there are"):
        tell.stored("nothing", "loss")
    with pytest.raises(ValueError, match="have no 'los'; they have"):
        tell.stored("eight", "los")
    with pytest.raises(ValueError, match="were tried with several settings"):
        tell.stored("large", "loss")
