"""The release of an assignment, its public key, and the student's own check, on a made-up
assignment.
"""

import json
import shutil
import textwrap

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from course.app import cli
from course.grading import check as own_check
from course.grading import keys, prove, release
from course.grading.records import Line, TaskGrade

NAME = "90_made_up"
ANSWER = '''def normalized(x, epsilon=1e-3):
    """Mean 0, variance 1."""
    ### BEGIN SOLUTION
    centred_values = x - x.mean(0)
    return centred_values / np.sqrt(x.var(0) + epsilon), x.var(0)
    ### END SOLUTION'''
GRADER = """
    import numpy as np
    from course.grading.tasks import Part, Task

    RNG = np.random.default_rng(0)
    TASKS = (
        Task(
            id="normalized",
            parts=(Part("y", 2, "the output"), Part("variance", 1, "the variance")),
            cases={"six": {"x": RNG.normal(size=(6, 3)), "epsilon": 0.01}},
            hidden={"secret case": {"x": RNG.normal(size=(9, 2)), "epsilon": 0.5}},
        ),
        Task(
            id="drop",
            parts=(Part("y", 1, "the output", compare="dropped"),),
            cases={"half": {"x": np.ones((30, 20)), "rate": 0.5}},
            hidden={"few": {"x": np.full((30, 20), 2.0), "rate": 0.1}},
            probe="def probe(student, inputs): return {'y': student.drop(**inputs)}",
            reference=lambda student, inputs: {
                "y": {"kept": inputs["x"] / (1 - inputs["rate"]), "rate": inputs["rate"]}
            },
        ),
    )
"""
MISTAKES = """
[normalized."no root"]
change = [['np.sqrt(x.var(0) + epsilon)', '(x.var(0) + epsilon)']]
hint = "Look at the unit."

[normalized."raises"]
source = '''
def normalized(x, epsilon):
    return missing_name * x
'''
hint = "Look at <the name>."
"""
DROP = """def drop(x, rate):
    ### BEGIN SOLUTION
    return x * (RNG.random(x.shape) >= rate) / (1 - rate)
    ### END SOLUTION"""


def marked(id, source, *, points=None, solution=False, new=new_code_cell):
    """A cell with nbgrader's metadata."""
    about = {
        "grade_id": id,
        "grade": points is not None,
        "solution": solution,
        "locked": not solution,
        "task": False,
        "schema_version": 3,
    }
    return new(
        source, metadata={"nbgrader": about | ({} if points is None else {"points": points})}
    )


def cells():
    return [
        marked("title", "# Exercise", new=new_markdown_cell),
        marked("setup", "import numpy as np\n\nRNG = np.random.default_rng(1)"),
        marked(
            "self_check", f'from course.grading.check import checks\n\ncheck = checks("{NAME}")'
        ),
        marked("normalized", ANSWER, solution=True),
        new_code_cell(
            "normalized(np.ones((3, 2)))",
            outputs=[nbformat.v4.new_output("stream", text="right values")],
            execution_count=7,
        ),
        marked("check_normalized", 'check("normalized")', points=3),
        marked("drop", DROP, solution=True),
        marked("check_drop", 'check("drop")', points=1),
    ]


def write(folder, made=None, grader=GRADER, mistakes=MISTAKES, alternatives=""):
    """Write a made-up assignment; gives the folder of all assignments."""
    place = folder / "solutions" / NAME
    place.mkdir(parents=True, exist_ok=True)
    (place / "grader.py").write_text(textwrap.dedent(grader))
    (place / "mistakes.toml").write_text(mistakes)
    (place / "alternatives.py").write_text(alternatives)
    nbformat.write(new_notebook(cells=made or cells()), place / f"{NAME}.ipynb")
    return folder / "solutions"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The assignment and its release."""
    folder = tmp_path_factory.mktemp("course")
    solutions = write(folder)
    (released,) = release.release([NAME], out=folder / "exercises", solutions=solutions)
    return solutions, released


@pytest.fixture
def copied(made, tmp_path):
    """The release, to be damaged."""
    return shutil.copytree(made[1], tmp_path / NAME)


# ---------------------------------------------------------------- what students get


def test_the_release_is_the_notebook_and_the_public_checks(made):
    assert sorted(path.name for path in made[1].iterdir()) == [
        f"{NAME}.ipynb",
        "checks.json",
        "checks.npz",
    ]


def test_solutions_are_cleared_outputs_gone_and_cells_locked(made):
    notebook = nbformat.read(made[1] / f"{NAME}.ipynb", as_version=4)
    nbformat.validate(notebook)
    by_id = {keys.grade_id(cell): cell for cell in notebook.cells}
    assert (
        by_id["normalized"].source
        == 'def normalized(x, epsilon=1e-3):\n    """Mean 0, variance 1."""\n    # YOUR CODE HERE\n'
        "    raise NotImplementedError()"
    )
    assert all(
        not cell.outputs and cell.execution_count is None
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
    assert [id for id, cell in by_id.items() if id and cell.metadata.get("editable", True)] == [
        "normalized",
        "drop",
    ]
    assert by_id["check_normalized"].metadata.nbgrader.points == 3


def test_the_stub_that_the_proof_uses_is_nbgrader_s(made):
    notebook = nbformat.read(made[1] / f"{NAME}.ipynb", as_version=4)
    released = {keys.grade_id(cell): cell.source for cell in notebook.cells}
    assert (keys.cleared(ANSWER), keys.cleared(DROP)) == (released["normalized"], released["drop"])


def test_nothing_hidden_and_no_solution_is_in_any_file(made):
    text = b"".join(
        path.read_bytes() for path in made[1].iterdir() if path.suffix != ".npz"
    ).decode()
    for secret in ("secret case", "few", "centred_values", "missing_name * x", "RNG.random"):
        assert secret not in text
    with np.load(made[1] / "checks.npz", allow_pickle=False) as archive:
        assert {archive[name].shape for name in archive.files} == {(6, 3), (3,), (30, 20)}


def test_releasing_again_gives_the_same_bytes(made, tmp_path):
    (again,) = release.release([NAME], out=tmp_path, solutions=made[0])
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in made[1].iterdir()
    }


def test_all_assignments_are_released_if_none_is_named(made, tmp_path):
    assert release.release(out=tmp_path, solutions=made[0]) == [tmp_path / NAME]


def plain(results):
    return {case: result.to_dict() for case, result in results.items()}


@pytest.mark.parametrize("hidden", [False, True])
def test_a_key_comes_back_as_it_was_written(made, tmp_path, hidden):
    key = keys.make_key(made[0] / NAME, hidden=hidden)
    assert any(task.hidden for task in key.tasks.values()) == hidden
    keys.save(key, tmp_path)
    again = keys.load(tmp_path)
    assert list(again.tasks) == ["normalized", "drop"]
    for id, task in key.tasks.items():
        other = again.tasks[id]
        assert (other.parts, other.probe, other.hidden) == (task.parts, task.probe, task.hidden)
        assert [(one.name, one.hint) for one in other.mistakes] == [
            (one.name, one.hint) for one in task.mistakes
        ]
        np.testing.assert_equal((other.cases, other.reference), (task.cases, task.reference))
        np.testing.assert_equal(plain(other.right), plain(task.right))
        np.testing.assert_equal(
            [plain(mistake.results) for mistake in other.mistakes],
            [plain(mistake.results) for mistake in task.mistakes],
        )


def test_the_whole_key_has_hidden_cases_and_its_public_part_has_none(made):
    key = keys.make_key(made[0] / NAME, hidden=True)
    assert list(key.tasks["normalized"].cases) == ["six", "secret case"]
    public = key.public().tasks["normalized"]
    for by_case in (
        public.cases,
        public.right,
        public.reference,
        *(mistake.results for mistake in public.mistakes),
    ):
        assert list(by_case) == ["six"]


# ---------------------------------------------------------------- what is refused


def change(id, **new):
    """The cells with one of them changed; with nothing given, without it."""
    changed = []
    for cell in cells():
        if keys.grade_id(cell) != id:
            changed.append(cell)
        elif new:
            cell.source = new.get("source", cell.source)
            cell.metadata.nbgrader.update(new.get("metadata", {}))
            changed.append(cell)
    return changed


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (change("normalized"), "no answer cell"),
        (
            change("normalized", source=ANSWER.replace("### BEGIN SOLUTION", "")),
            "must lie between one '### BEGIN SOLUTION'",
        ),
        (
            change("normalized", source=ANSWER.replace("### END SOLUTION", "")),
            "must lie between one",
        ),
        (change("normalized", metadata={"solution": False}), "mark it as a solution"),
        (change("check_normalized"), "no check"),
        (change("check_normalized", metadata={"points": 2}), "has 2 points, its parts have 3"),
        (change("check_normalized", source="check('drop')"), r'must hold check\("normalized"\)'),
        (change("self_check"), "'self_check'"),
        (
            change("setup", source="### BEGIN SOLUTION\n### END SOLUTION\nimport numpy as np"),
            "a cell that is no answer",
        ),
        (change("title", metadata={"grade_id": "drop"}), "refuses the notebook|no answer"),
        (
            change(
                "setup",
                source="import numpy as np\nRNG = np.random.default_rng(1)\n"
                + ANSWER.replace("### BEGIN SOLUTION", "").replace("### END SOLUTION", ""),
            ),
            "'normalized', solution, can be read in the release",
        ),
        (
            [*cells(), marked("check_other", 'check("other")', points=1)],
            "'check_other' checks no task",
        ),
        ([*cells(), marked("other", "", solution=True)], "'other' has no task"),
        ([cells()[5], *cells()[:5], *cells()[6:]], "stands above its answer"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_mend(made, message, tmp_path):
    solutions = write(tmp_path, made)
    with pytest.raises(ValueError, match=message):
        release.release([NAME], out=tmp_path / "out", solutions=solutions)
    assert not (tmp_path / "out").exists()


def test_a_public_case_that_repeats_a_hidden_input_s_name_is_fine_but_not_its_values(tmp_path):
    twice = GRADER.replace(
        '"half": {"x": np.ones((30, 20)), "rate": 0.5}',
        '"half": {"x": TASK_X.repeat(1), "rate": 0.5}',
    )
    twice = twice.replace("TASKS = (", "TASK_X = RNG.normal(size=40)\n    TASKS = (").replace(
        "RNG.normal(size=(9, 2))", "TASK_X.copy()"
    )
    solutions = write(tmp_path, grader=twice)
    with pytest.raises(
        release.ReleaseError,
        match="'x' of the hidden case 'secret case' of 'normalized' is in the release",
    ):
        release.release([NAME], out=tmp_path / "out", solutions=solutions)
    assert not (tmp_path / "out").exists()


def test_an_instructor_s_notebook_that_fails_is_told(tmp_path):
    solutions = write(tmp_path, change("setup", source="import numpy as np\nRNG = unknown"))
    with pytest.raises(ValueError, match="cell 'setup' fails.*unknown"):
        release.release([NAME], out=tmp_path / "out", solutions=solutions)
    solutions = write(
        tmp_path,
        change(
            "normalized",
            source=(
                "def normalized(x, epsilon):\n    ### BEGIN SOLUTION\n    return x\n    ### END"
                " SOLUTION"
            ),
        ),
        mistakes="",
    )
    with pytest.raises(
        ValueError, match="instructor's answer gives no 'y', but None, in case 'six'"
    ):
        keys.make_key(solutions / NAME, hidden=True)


def test_a_random_part_needs_a_reference(tmp_path):
    without = GRADER.replace("reference=lambda student, inputs:", "reference=None and")
    solutions = write(tmp_path, grader=without)
    with pytest.raises(ValueError, match="drop: 'y' is compared with a reference"):
        keys.make_key(solutions / NAME, hidden=True)


# ---------------------------------------------------------------- the proof, for whoever writes an
# assignment


def proved(tmp_path, only=("normalized",), **files):
    rows = prove.prove(write(tmp_path, **files) / NAME, only)
    return {(row.variant, row.name): row for row in rows}


def test_the_proof_counts_and_judges_all_variants(tmp_path):
    rows = proved(tmp_path)
    assert (
        rows["answer", "the instructor's"].problem
        == "2 mistakes to be recognised; give at least 6; 0 alternatives; give at least 3"
    )
    assert [(row.points, row.problem) for key, row in rows.items() if key[0] != "answer"] == [
        (1, ""),
        (0, ""),
        (0, ""),
    ]


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ("np.sqrt(epsilon + x.var(0))", "gets full marks"),
        ("(epsilon + x.var(0))", "cannot be told from 'no root'"),
    ],
)
def test_the_proof_finds_mistakes_that_pass_or_are_the_same(tmp_path, new, problem):
    more = f"""
[normalized.more]
change = [['np.sqrt(x.var(0) + epsilon)', '{new}']]
hint = "Its hint."
"""
    assert proved(tmp_path, mistakes=MISTAKES + more)["mistake", "more"].problem == problem


def test_the_proof_finds_points_that_differ_and_a_right_answer_that_fails(tmp_path):
    rows = proved(
        tmp_path,
        grader=GRADER.replace('Part("variance", 1,', 'Part("variance", 2,'),
        alternatives="# %% normalized: by n - 1\ndef normalized(x, epsilon):\n"
        "    return x, x.var(0, ddof=1)\n",
    )
    assert (
        "the cell check_normalized has 3 points, the parts have 4"
        in rows["answer", "the instructor's"].problem
    )
    assert rows["alternative", "by n - 1"].problem == "not full marks"


def test_the_proof_finds_a_hint_that_stands_twice_and_that_nothing_is_hidden(tmp_path):
    rows = proved(
        tmp_path,
        grader=GRADER.replace('"secret case": {"x": RNG.normal(size=(9, 2)), "epsilon": 0.5}', ""),
        mistakes=MISTAKES.replace("Look at <the name>.", "Look at the unit."),
    )
    problem = rows["answer", "the instructor's"].problem
    assert "two mistakes have the same hint; no hidden case" in problem


def test_the_proof_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    solutions = write(tmp_path)

    def command(*arguments):
        result = CliRunner().invoke(cli.app, ["prove", *arguments, "--solutions", str(solutions)])
        return result.exit_code, result.output

    code, shown = command(NAME)
    assert code == 1 and "2 to mend" in shown and "give at least 6" in shown
    assert "Look at the unit" not in shown
    assert "Look at the unit" in command(NAME, "normalized", "--said")[1]
    assert command(NAME, "normal") == (
        1,
        f"{NAME} has no task 'normal'; it has normalized, drop.\n",
    )
    code, shown = command("99_none")
    assert code == 1 and "'99_none' is no assignment" in shown
    monkeypatch.setattr(prove, "LEAST_MISTAKES", 2)
    monkeypatch.setattr(prove, "LEAST_ALTERNATIVES", 0)
    code, shown = command(NAME, "normalized")
    assert code == 0 and "All as it should be" in shown


# ---------------------------------------------------------------- drift


def test_a_fresh_release_has_no_drift(made):
    assert release.drift(NAME, out=made[1].parent, solutions=made[0]) == []


def test_drift_finds_what_was_changed_by_hand(made, copied):
    def drift():
        return release.drift(NAME, out=copied.parent, solutions=made[0])

    (copied / "notes.txt").write_text("mine")
    assert "not made by" in drift()[0]
    (copied / "notes.txt").unlink()

    notebook = copied / f"{NAME}.ipynb"
    notebook.write_text(notebook.read_text().replace("Exercise", "Exercises"))
    assert drift() == [f"{notebook}: another text"]
    shutil.copy(made[1] / notebook.name, notebook)

    checks = copied / "checks.json"
    checks.write_text(checks.read_text().replace("Look at the unit", "Look up the unit"))
    assert drift() == [f"{checks}: another text"]
    shutil.copy(made[1] / checks.name, checks)

    with np.load(copied / "checks.npz") as archive:
        arrays = dict(archive)
    name = "normalized/right/six/y"
    np.savez_compressed(copied / "checks.npz", **(arrays | {name: arrays[name] * (1 + 1e-9)}))
    assert drift() == []
    np.savez_compressed(copied / "checks.npz", **(arrays | {name: arrays[name] * 1.01}))
    assert drift() == [f"{copied / 'checks.npz'}: normalized: the right values of 'y'"]

    (copied / "checks.npz").unlink()
    assert drift() == [f"{copied / 'checks.npz'}: missing"]


# ---------------------------------------------------------------- the student's own check


@pytest.fixture
def check(copied, monkeypatch):
    monkeypatch.chdir(copied)
    return own_check.checks(NAME)


def answer(source):
    namespace = {"np": np}
    exec(source, namespace)
    return namespace


def test_check_is_content_with_what_is_right(check, capsys):
    check("normalized", answer(ANSWER))
    said = capsys.readouterr().out
    assert "normalized: 3 of 3 points: all right." in said
    assert "y (2/2): defined OK, runs OK, type OK, shape OK, value OK" in said


def test_check_tells_the_step_and_the_hint_and_raises(check, capsys):
    wrong = answer(ANSWER.replace("np.sqrt(x.var(0) + epsilon)", "(x.var(0) + epsilon)"))
    with pytest.raises(own_check.NotYet, match="1 of 3 points in normalized"):
        check("normalized", wrong)
    said = capsys.readouterr().out
    assert "y (0/2): defined OK, runs OK, type OK, shape OK, value not yet" in said
    assert "Look at the unit." in said
    assert "variance (1/1)" in said


def test_check_says_what_an_error_says(check, capsys):
    with pytest.raises(own_check.NotYet):
        check("normalized", answer("def normalized(x, epsilon):\n    raise ValueError('of mine')"))
    assert "ValueError in line 2 of the cell: of mine" in capsys.readouterr().out


def test_check_looks_in_the_namespace_of_whoever_calls_it(check, capsys):
    with pytest.raises(own_check.NotYet):
        check("normalized")
    assert "normalized is not defined" in capsys.readouterr().out


def test_check_knows_its_tasks(check):
    with pytest.raises(KeyError, match="its tasks are normalized, drop"):
        check("normalised", {})


def test_the_table_in_jupyter_is_escaped(check):
    verdict = own_check.Verdict("normalized", _result("<script>alert(1)</script>"))
    assert "<script>" not in verdict._repr_html_()
    assert "&lt;script&gt;" in verdict._repr_html_()
    assert verdict._repr_html_().count("<td>OK</td>") == 4


def _result(message):
    return TaskGrade("normalized", 0, 1, (Line("<b>y</b>", 0, 1, message, "value"),))


def test_not_yet_is_one_line_without_a_traceback():
    assert own_check.NotYet("1 of 3 points in task.")._render_traceback_() == [
        "Not yet: 1 of 3 points in task."
    ]


def test_missing_and_damaged_checks_are_told_apart(copied, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert own_check.find_exercise(NAME) == copied
    with pytest.raises(keys.KeyFilesError, match="checks of '91_none' were not found"):
        own_check.checks("91_none")
    (copied / "checks.npz").write_bytes(b"PK damaged")
    with pytest.raises(keys.KeyFilesError, match="cannot be read.*Copy the whole folder"):
        own_check.checks(NAME)
    (copied / "checks.npz").unlink()
    with pytest.raises(keys.KeyFilesError, match="Copy the whole folder"):
        own_check.checks(NAME)
    content = json.loads((copied / "checks.json").read_text())
    (copied / "checks.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(keys.KeyFilesError, match="another version"):
        own_check.checks(NAME)
    (copied / "checks.json").write_text("{")
    with pytest.raises(keys.KeyFilesError, match="cannot be read"):
        own_check.checks(NAME)


def test_the_checks_of_another_exercise_are_not_taken(copied, monkeypatch):
    other = copied.rename(copied.with_name("92_other"))
    (other / f"{NAME}.ipynb").unlink()
    monkeypatch.chdir(other)
    with pytest.raises(keys.KeyFilesError):
        own_check.find_exercise(NAME)
