"""The files that an assignment is made of: what they say together, and what is refused."""

import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course.grading import prove, release
from course.grading.tasks import TaskError, load_tasks, sources

GUIDE = release.SOLUTIONS.parent / "docs" / "grading.md"

NAME = "92_small"
GRADER = """
from course.grading.tasks import Part, Task

half, twice = (
    Task(
        id=id,
        parts=(Part("value", 1, "the value"),),
        cases={"three": {"x": 3.0}},
        hidden={"five": {"x": 5.0}},
    )
    for id in ("half", "twice")
)
TASKS = (half, twice)
"""
ANSWERS = {
    "half": '''def half(x):
    """Half of x, that is x / 2."""
    ### BEGIN SOLUTION
    y = x / 2  # a true division
    return y
    ### END SOLUTION''',
    "twice": "def twice(x):\n    return x + x",
}
MISTAKES = """
[half."rounded"]
change = [['y = x / 2', 'y = x // 2']]
hint = "Try an odd number."

[half."twice as much, less one"]
change = [
  ['x / 2', 'x * 2'],
  ['x * 2  #', 'x * 2 - 1  #'],
]
recognised = false
hint = "Is it larger than x?"

[twice."not written"]
source = '''
def twice(x):
    pass
'''
hint = "What does it return?"
"""
ALTERNATIVES = '''"""Other right answers."""

import math

# %% half: by multiplication
def half(x):
    return 0.5 * x


# %% twice: a shift: for whole numbers
import operator


def twice(x):
    return operator.lshift(x, 1)

# %% half: math
def half(x):
    return math.ldexp(x, -1)
'''


@pytest.fixture
def load(tmp_path):
    """`load(**texts)`: the tasks, where some of the files hold another text; None for no file."""

    def write(**texts):
        notebook = {
            "cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# Small\n", "x / 2"]}]
            + [
                {
                    "cell_type": "code",
                    "metadata": {"nbgrader": {"grade_id": id}},
                    "source": source.splitlines(keepends=True),
                }
                for id, source in ANSWERS.items()
            ]
        }
        files = {
            "grader.py": GRADER,
            "mistakes.toml": MISTAKES,
            "alternatives.py": ALTERNATIVES,
            f"{NAME}.ipynb": json.dumps(notebook),
        }
        files |= {name.replace("__", "."): text for name, text in texts.items()}
        (tmp_path / NAME).mkdir()
        for name, text in files.items():
            if text is not None:
                (tmp_path / NAME / name).write_text(text, encoding="utf-8")
        return load_tasks(tmp_path / NAME)

    return write


def test_a_mistake_is_the_notebook_s_own_answer_with_a_change(load):
    half = load()["half"]
    rounded, more = half.mistakes
    assert rounded.source == ANSWERS["half"].replace("y = x / 2", "y = x // 2")
    assert (rounded.name, rounded.hint, rounded.recognised) == (
        "rounded",
        "Try an odd number.",
        True,
    )
    # The second pair is exchanged in what the first has left, and each text wherever it stands.
    assert "y = x * 2 - 1" in more.source and "that is x * 2" in more.source
    assert not more.recognised


def test_a_mistake_may_be_a_whole_program(load):
    (mistake,) = load()["twice"].mistakes
    assert mistake.source == "def twice(x):\n    pass\n"


def test_alternatives_are_the_cells_of_their_file(load):
    tasks = load()
    assert tasks["half"].alternatives == {
        "by multiplication": "def half(x):\n    return 0.5 * x\n",
        "math": "def half(x):\n    return math.ldexp(x, -1)\n",
    }
    ((name, source),) = tasks["twice"].alternatives.items()
    assert name == "a shift: for whole numbers" and source.startswith("import operator\n")


def test_mistakes_and_alternatives_may_still_be_to_be_written(load):
    tasks = load(mistakes__toml=None, alternatives__py=None)
    assert [(task.mistakes, task.alternatives) for task in tasks.values()] == [((), {})] * 2


def test_what_depends_on_an_assignment_depends_on_each_of_its_files(load, tmp_path):
    load(probes__py="")
    assert [path.name for path in sources(tmp_path / NAME)] == [
        "92_small.ipynb",
        "alternatives.py",
        "grader.py",
        "mistakes.toml",
        "probes.py",
    ]


def of_half(text):
    return f'[half."odd one"]\n{text}\n'


@pytest.mark.parametrize(
    ("mistakes", "message"),
    [
        (
            of_half("change = [['x / 3', 'x / 4']]\nhint = 'H'"),
            "92_small, half, mistake 'odd one': the change no longer applies, since the notebook's"
            " answer does not contain 'x / 3'",
        ),
        (
            of_half("change = [['x / 2', 'x * 2'], ['x / 2', 'x']]\nhint = 'H'"),
            "no longer applies.*'x / 2'",
        ),
        (
            of_half("change = [['a true division', 'a division']]\nhint = 'H'"),
            "half, mistake 'odd one': its program is that of the right answer",
        ),
        (of_half("change = [['Half of x', 'x / 2']]\nhint = 'H'"), "that of the right answer"),
        (of_half("change = []\nhint = 'H'"), "that of the right answer"),
        (
            of_half("source = 'def half(x): y = x / 2; return y'\nhint = 'H'"),
            "that of the right answer",
        ),
        (of_half("change = [['return y', 'return (']]\nhint = 'H'"), r"no Python: .* \(line 5\)"),
        (of_half("change = ['x / 2', 'x']\nhint = 'H'"), "write a change as pairs.*not 'x / 2'"),
        (of_half("change = [['x / 2', 'x', 'y']]\nhint = 'H'"), "write a change as pairs"),
        (of_half("change = [['x / 2', 3]]\nhint = 'H'"), "write a change as pairs"),
        (of_half("change = [['', 'x']]\nhint = 'H'"), "write a change as pairs"),
        (of_half("change = 'x'\nhint = 'H'"), "change = 'x' is not understood"),
        (
            of_half("change = [['x / 2', 'x']]\nhint = 'H'\nrecognized = false"),
            "mistake 'odd one': recognized = False is not understood. A mistake has a hint",
        ),
        (
            of_half("change = [['x / 2', 'x']]\nhint = 'H'\nrecognised = 'no'"),
            "recognised = 'no' is not understood",
        ),
        (of_half("change = [['x / 2', 'x']]"), "give it a hint, and either a change or a source"),
        (of_half("hint = 'H'"), "either a change or a source"),
        (
            of_half("change = [['x / 2', 'x']]\nsource = 'x'\nhint = 'H'"),
            "either a change or a source",
        ),
        (
            "[third.'odd one']\nsource = 'x'\nhint = 'H'",
            "92_small/mistakes.toml: grader.py has no task 'third'; it has half, twice",
        ),
        ("[half]\nhint = 'H'", r'begin each mistake with \[half."its name in a few words"\]'),
        ("half = 3", r'begin each mistake with \[half."its name in a few words"\]'),
        (of_half("hint = H"), r"92_small/mistakes.toml cannot be read: Invalid value \(at line 2"),
        (of_half("hint = 'H'") * 2, r"mistakes.toml cannot be read: .* twice \(at line 3"),
    ],
)
def test_a_mistake_that_cannot_be_made_is_told_by_exercise_task_and_name(load, mistakes, message):
    with pytest.raises(TaskError, match=message) as raised:
        load(mistakes__toml=mistakes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("alternatives", "message"),
    [
        ("# %% third: odd\nx = 1\n", "92_small/alternatives.py: grader.py has no task 'third'"),
        ("# %% half\nx = 1\n", "alternatives.py, 'half': begin each cell with \"# %% half: \""),
        ("# %% half: a\nx = 1\n# %% half: a\nx = 2\n", "'half: a': .* a name of its own"),
        ("# %%\nx = 1\n", "no task ''"),
    ],
)
def test_an_alternative_of_no_task_or_without_a_name_of_its_own_is_refused(
    load, alternatives, message
):
    with pytest.raises(TaskError, match=message):
        load(alternatives__py=alternatives)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"grader__py": None}, "'92_small' is no assignment: there is no .*grader.py"),
        ({f"{NAME}__ipynb": None}, "'92_small' is no assignment: there is no .*92_small.ipynb"),
        ({"grader__py": GRADER + "TASKS *= 2\n"}, "two tasks with one id"),
        (
            {"grader__py": GRADER.replace("hidden=", "alternatives={'a': 'x'}, hidden=")},
            "half: mistakes belong in mistakes.toml, and other right answers in alternatives.py",
        ),
        (
            {f"{NAME}__ipynb": '{"cells": []}'},
            "92_small, half, mistake 'rounded': the notebook has no answer cell",
        ),
        ({f"{NAME}__ipynb": "half of a"}, "92_small.ipynb cannot be read"),
    ],
)
def test_an_assignment_whose_files_do_not_go_together_is_refused(load, texts, message):
    with pytest.raises((TaskError, FileNotFoundError), match=message):
        load(**texts)


def test_the_task_that_the_guide_adds_is_one(tmp_path):
    section = GUIDE.read_text(encoding="utf-8").split("## Add a task")[1].split("\n## ")[0]
    answer, grader, mistakes, alternatives = re.findall(r"(?s)```\w+\n(.*?)```", section)
    heading = "import numpy as np\nfrom course.grading.tasks import Part, Task\n"
    files = {
        "grader.py": heading + grader.replace("(..., dead_share)", "(dead_share,)"),
        "mistakes.toml": mistakes,
        "alternatives.py": alternatives,
    }
    cells = [
        new_code_cell("import numpy as np"),
        new_code_cell(answer, metadata={"nbgrader": {"grade_id": "dead_share"}}),
        new_code_cell("", metadata={"nbgrader": {"grade_id": "check_dead_share", "points": 2}}),
    ]
    folder = tmp_path / "93_guide"
    folder.mkdir()
    nbformat.write(new_notebook(cells=cells), folder / "93_guide.ipynb")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    first, *others = prove.prove(folder)
    assert first.problem == (  # the guide gives two of each
        "2 mistakes to be recognised; give at least 6; 2 alternatives; give at least 3"
    )
    assert [row.variant.split()[0] for row in others] == [
        *["alternative"] * 2,
        *["mistake"] * 2,
        "stub",
    ]
    assert [row.problem for row in others] == [""] * 5
