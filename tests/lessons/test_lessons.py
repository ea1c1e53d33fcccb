"""The frame that every lesson keeps to (notebooks/STYLE.md), read from the committed notebooks."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SECTIONS = ("## Recap", "## Check yourself", "## Sources", "## Next")
LONGEST_CELL = 25

pytestmark = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, 4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def text(path):
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def outputs(path):
    return [output for cell in code_cells(path) for output in cell.outputs]


def headings(path):
    """Headings outside code fences, as (level, text)."""
    plain = re.sub(r"```.*?```", "", text(path), flags=re.DOTALL)
    return [
        (len(marks), title)
        for marks, title in re.findall(r"^(#+) +(.+)$", plain, flags=re.MULTILINE)
    ]


# One choice. The blank lines let Markdown and mathematics render inside the HTML.
CHOICE = re.compile(
    r"^<details><summary>([^\n]*)</summary>\n\n((?:(?!</?details).)+?)\n\n</details>$",
    flags=re.DOTALL | re.MULTILINE,
)
RIGHT, WRONG = r"✔ \*\*Right\.\*\*", r"✘ \*\*Misconception: \S.*?\*\*"
FEWEST_WORDS = 12


def quiz(path):
    """What stands between "Check yourself" and "Sources"."""
    return text(path).split("\n## Check yourself\n")[1].split("\n## Sources\n")[0]


def problems_of_quiz(section):
    """What is wrong with the multiple-choice questions of a lesson: notebooks/STYLE.md, point 6."""
    problems, letters = [], []
    if "Choose an answer" not in section:
        problems.append("no sentence says how to answer")
    if re.search(r"</details>\n(?!\n|<details>|\Z)|(?<!</details>)(?<!\n)\n<details>", section):
        problems.append("no blank line around the choices of a question")
    questions = re.split(r"^\*\*(?=\d+\.)", section, flags=re.MULTILINE)[1:]
    if not 3 <= len(questions) <= 5:
        problems.append(f"{len(questions)} questions, not 3 to 5")
    for number, question in enumerate(questions, start=1):
        choices = CHOICE.findall(question)
        right = "".join(choice[:1] for choice, why in choices if re.match(RIGHT, why))
        letters.append(right)
        if not re.match(rf"{number}\. \S.*?\*\*\n", question, flags=re.DOTALL):
            problems.append(f"question {number}: not numbered {number}, or not in bold")
        if not len(choices) == question.count("<details") == question.count("</details"):
            problems.append(f"question {number}: a choice that is not in the form of the others")
        if not 3 <= len(choices) <= 4:
            problems.append(f"question {number}: {len(choices)} choices, not 3 or 4")
        if len(right) != 1:
            problems.append(f"question {number}: {len(right)} right choices")
        for letter, (choice, why) in zip("ABCDEFGH", choices, strict=False):
            found = problems_of_choice(letter, choice, why)
            problems += [f"question {number}, {letter}: {problem}" for problem in found]
    if len(letters) > 1 and len(set(letters)) == 1:
        problems.append(f"every right choice is {letters[0]}")
    return problems


def problems_of_choice(letter, choice, why):
    problems = []
    if not re.match(rf"{letter}\. \S", choice):
        problems.append(f"not lettered {letter}")
    if re.search(r"[$*`<]", re.sub(r"</?code>", "", choice)):
        problems.append("a summary shows Markdown and mathematics as they are typed")
    verdict = re.match(rf"{RIGHT}|{WRONG}", why)
    if not verdict:
        problems.append("neither right nor a misconception with its name")
    elif len(why[verdict.end() :].split()) < FEWEST_WORDS:
        problems.append("an explanation says why")
    return problems


def test_it_is_a_valid_notebook(path):
    nbformat.validate(read(path))


def test_title_and_headings_in_order(path):
    found = headings(path)
    assert found[0][0] == 1 and found[0][1].startswith(f"{path.stem[:2]} · ")
    assert [level for level, _ in found].count(1) == 1
    for (before, _), (after, title) in pairwise(found):
        assert after <= before + 1, f"{title!r} skips a level"


def test_it_says_what_you_learn_need_and_how_long_it_takes(path):
    first = read(path).cells[0].source
    goals = first.split("**You will learn**")[1].split("**You need**")[0]
    assert 3 <= len(re.findall(r"^- ", goals, flags=re.MULTILINE)) <= 6
    assert re.search(r"\*\*Minutes\*\*:? .*\d+", first)


def test_it_ends_with_its_closing_sections(path):
    everything = text(path)
    places = [everything.find(f"\n{section}\n") for section in SECTIONS]
    assert all(place >= 0 for place in places), f"one of {SECTIONS} is missing"
    assert places == sorted(places)


def test_the_reader_predicts_and_gets_an_explanation(path):
    everything = text(path)
    assert everything.count("**Predict") >= 2
    assert everything.count("**Explain") >= 2


def test_each_question_has_an_explained_answer(path):
    assert problems_of_quiz(quiz(path)) == []


def test_each_question_is_a_cell_of_its_own(path):
    """JupyterLab leaves no space between folded answers and a question in the same cell."""
    for cell in read(path).cells:
        if "<details>" in cell.source and "<summary>A solution" not in cell.source:
            assert len(re.findall(r"^\*\*\d+\.", cell.source, flags=re.MULTILINE)) == 1
            assert cell.source.startswith("**")


def test_links_to_files_resolve(path):
    links = re.findall(r"\]\(([^)\s]+)\)", text(path))
    for link in links:
        if not link.startswith(("http://", "https://", "#")):
            target = (path.parent / link.split("#")[0]).resolve()
            assert target.is_file() and target.is_relative_to(ROOT), link


def test_sections_of_other_lessons_exist(path):
    """As in "[05](05_dropout_mechanics.ipynb), section 3", "lesson 05, section 3", or a table that
    leaves out the word.
    """
    words = text(path)
    linked = re.findall(
        r"\]\((\d\d)_\w+\.ipynb\), (?:sections? )?(\d+)\b(?! *(?:minutes|seconds))", words
    )
    for lesson, section in linked + re.findall(r"[Ll]esson (\d\d), section (\d+)", words):
        (other,) = [one for one in LESSONS if one.stem.startswith(lesson)]
        assert any(re.match(rf"{section}\b", title) for _, title in headings(other)), (
            f"{lesson} has no section {section}"
        )


def bound_at_the_top(tree):
    """The names that the statements of a program bind, but for those within functions."""
    inner = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.comprehension)
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        if not isinstance(node, inner):
            waiting += ast.iter_child_nodes(node)


def test_no_module_of_the_course_is_overwritten(path):
    """`modes = {...}` in one cell breaks `modes.call(...)` in a later one."""
    transform = TransformerManager().transform_cell
    tree = ast.parse("\n".join(transform(cell.source) for cell in code_cells(path)))
    imported = {
        name.asname or name.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "course"
        for name in node.names
    }
    assert imported and not imported & set(bound_at_the_top(tree))


def test_cells_are_short(path):
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source[:200]


def test_every_cell_was_run_in_order(path):
    counts = [cell.execution_count for cell in code_cells(path) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))


def test_no_errors_no_noise_no_traces_of_a_machine(path):
    for output in outputs(path):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.get("text")
        shown = str(output.get("text", "")) + str(
            {
                kind: data
                for kind, data in output.get("data", {}).items()
                if not kind.startswith("image/")
            }
        )
        assert not re.search(r"(/home/|/root/|/Users/|/tmp/|[A-Z]:\\\\)\w", shown), shown[:300]
        assert "application/vnd.jupyter.widget" not in shown
        assert "\r" not in shown, "what is left of a progress bar"
        assert "WARNING" not in shown, shown[
            :300
        ]  # TensorFlow's logger writes into stdout in a notebook
    notebook = read(path)
    assert "widgets" not in notebook.metadata
    assert "execution" not in str([cell.metadata for cell in notebook.cells]), "times of execution"


def test_no_dates(path):
    """A date in an output makes a change of every run; sources in the text may be dated."""
    for output in outputs(path):
        shown = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b", shown)


def test_every_picture_has_an_alternative_text_and_a_caption(path):
    cells = code_cells(path)
    pictures = 0
    for cell in cells:
        for number, output in enumerate(cell.outputs):
            if "image/png" not in output.get("data", {}):
                continue
            pictures += 1
            alternative = output.metadata.get("image/png", {}).get("alt", "")
            assert len(alternative.split()) >= 5, f"alternative text {alternative!r}"
            caption = cell.outputs[number + 1].data["text/markdown"]
            assert len(caption.split()) >= 5, f"caption {caption!r}"
    assert pictures >= 2
    for alternative in re.findall(r"!\[(.*?)\]", text(path)):
        assert len(alternative.split()) >= 3


def test_some_outputs_are_checked(path):
    assert any(cell.source.startswith("# NBVAL_CHECK_OUTPUT") for cell in code_cells(path))


def test_course_is_imported_before_keras(path):
    code = "\n".join(cell.source for cell in code_cells(path))
    first_course, first_keras = code.find("from course"), code.find("import keras")
    assert first_course >= 0
    assert first_keras < 0 or first_course < first_keras
    allowed = "torch" if path.stem == "12_pytorch" else "no backend"
    for backend in {"tensorflow", "jax", "torch"} - {allowed}:
        assert not re.search(rf"\btf\.|\bimport {backend}|\bfrom {backend}", code)
