"""The check of the multiple-choice questions finds each way to break their form."""

import pytest
from test_lessons import problems_of_quiz

QUESTION = """**{number}. What is the mean of $1$, $2$ and $6$, and *why*?**

<details><summary>A. 3</summary>

{first} The mean is the sum over the count, and nine divided by three is $9/3=3$ exactly.

</details>
<details><summary>B. the <code>median</code>, 2</summary>

{second} The median is the value in the middle, and it would be the mean
if the values lay evenly around it.

</details>
<details><summary>C. 9</summary>

✘ **Misconception: the mean is the sum.** That would be right if there were one value only;
here the sum is shared among three.

</details>
"""
RIGHT, WRONG = "✔ **Right.**", "✘ **Misconception: mean and median are one.**"


def question(number, first=RIGHT, second=WRONG):
    return QUESTION.format(number=number, first=first, second=second)


GOOD = "\n".join(
    [
        "Choose an answer: it opens.\n",
        question(1),
        question(2, WRONG, RIGHT),
        question(3),
        "The next cell checks it.\n",
    ]
)
FIRST = "<details><summary>A. 3</summary>"


def test_a_sound_quiz_has_no_problems():
    assert problems_of_quiz(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Choose an answer", "Guess", "how to answer"),
        ("**3. ", "3. ", "2 questions"),
        ("**2. ", "**4. ", "question 2: not numbered 2"),
        ("*why*?**\n", "*why*?\n", "question 1: not numbered 1, or not in bold"),
        (FIRST, "<details><summary>B. 3</summary>", "question 1, A: not lettered A"),
        (FIRST, "<details><summary>A. $3$</summary>", "question 1, A: a summary shows"),
        (FIRST, "<details><summary>A. **3**</summary>", "question 1, A: a summary shows"),
        (FIRST, "<details><summary>A. `3`</summary>", "question 1, A: a summary shows"),
        (
            FIRST,
            "<details open><summary>A. 3</summary>",
            "question 1: a choice that is not in the form",
        ),
        (FIRST + "\n\n", FIRST + "\n", "question 1: a choice that is not in the form"),
        (
            "exactly.\n\n</details>",
            "exactly.\n</details>",
            "question 1: a choice that is not in the form",
        ),
        ("</details>\n\n", "</details>\n", "no blank line around"),
        ("*why*?**\n\n", "*why*?**\n", "no blank line around"),
        (RIGHT, "✔ Right.", "question 1: 0 right choices"),
        (RIGHT, "✔ Right.", "question 1, A: neither right nor a misconception"),
        (WRONG, RIGHT, "question 1: 2 right choices"),
        (WRONG, "✘ **Wrong.**", "question 1, B: neither right nor a misconception"),
        (WRONG, "✘ **Misconception: **", "question 1, B: neither right nor a misconception"),
        (
            " The mean is the sum over the count, and nine",
            " Nine",
            "question 1, A: an explanation says why",
        ),
    ],
)
def test_a_broken_quiz_is_found_out(old, new, problem):
    assert old in GOOD
    found = problems_of_quiz(GOOD.replace(old, new, 1))
    assert any(problem in one for one in found), found


@pytest.mark.parametrize("count", [0, 2, 6])
def test_the_number_of_questions(count):
    verdicts = (WRONG, RIGHT), (RIGHT, WRONG)
    questions = [question(number, *verdicts[number % 2]) for number in range(1, count + 1)]
    assert f"{count} questions, not 3 to 5" in problems_of_quiz(
        "\n".join(["Choose an answer.\n", *questions])
    )


def test_the_number_of_choices():
    words = " one two three four five six seven eight nine ten eleven twelve"
    choice = "<details><summary>{}. 9</summary>\n\n" + WRONG + words + "\n\n</details>\n"
    two = GOOD.replace(GOOD[GOOD.index("<details><summary>C. 9") : GOOD.index("**2. ")], "\n", 1)
    five = GOOD.replace(
        "</details>\n\n", "</details>\n" + choice.format("D") + choice.format("E") + "\n", 1
    )
    assert problems_of_quiz(two) == ["question 1: 2 choices, not 3 or 4"]
    assert problems_of_quiz(five) == ["question 1: 5 choices, not 3 or 4"]


def test_the_place_of_the_right_choice_varies():
    same = "\n".join(["Choose an answer.\n", question(1), question(2), question(3)])
    assert problems_of_quiz(same) == ["every right choice is A"]


def test_the_old_form_is_found_out():
    old = "**1.** Why?\n\n<details><summary>Answer</summary>\n\nBecause.\n\n</details>\n"
    assert "question 1: 1 choices, not 3 or 4" in problems_of_quiz(old)
