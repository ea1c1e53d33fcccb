"""Decks: what goes on a slide, and the decks of all lessons in a real browser without a network."""

import re
import shutil
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import browser
import nbformat
import pytest
from nbformat import v4
from typer.testing import CliRunner

from course.app import cli
from course.app.cli import lessons as commands
from course.publish import pdf, slides
from course.publish.pdf import PublishError

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
KINDS = {"slide", "subslide", "fragment", "notes", "skip", "-"}
SMALLEST_TYPE = {
    "p": 24,
    "li": 24,
    "caption": 20,
    "code": 20,
    "output": 18,
    "td": 19,
}  # pixels of 720: what the back row can read


def marked(cell, kind):
    cell.metadata["slideshow"] = {"slide_type": kind}
    return cell


def notebook(*cells):
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return v4.new_notebook(cells=list(cells), metadata=kernel)


# ---------------------------------------------------------------- what goes on a slide


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("As He et al. (2015) say. Next.", ["As He et al. (2015) say.", "Next."]),
        ("The size is $x. Y$ here. Next.", ["The size is $x. Y$ here.", "Next."]),
        (
            "Call `a. B` once (or twice. Or more). Next.",
            ["Call `a. B` once (or twice. Or more).", "Next."],
        ),
        ("**Explain.** It falls. It rises.", ["**Explain.** It falls.", "It rises."]),
        (
            "**m is not the batch size.** Per channel.",
            ["**m is not the batch size.**", "Per channel."],
        ),
        (
            "Weights of 0.5 are small. Of 1.5, large.",
            ["Weights of 0.5 are small.", "Of 1.5, large."],
        ),
    ],
)
def test_sentences(text, expected):
    assert slides.sentences(text) == expected


def test_a_slide_shows_how_a_paragraph_begins_its_bold_words_and_its_formulas():
    first, rest = "This first sentence has more than eight words.", "This one goes into the notes."
    assert slides.essence(f"{first} {rest}") == first
    assert (
        slides.essence(f"{first} {rest} And **this** does not.")
        == f"{first} And **this** does not."
    )
    assert slides.essence(f"{first} {rest} $$x = y$$ {rest}") == f"{first} $$x = y$$"
    assert slides.essence(f"Look. {first} {rest}") == f"Look. {first}", (
        "a sentence of a word or two is not enough"
    )
    assert slides.essence(f"**Predict.** {first} {rest}") == f"**Predict.** {first} {rest}", (
        "a question is shown whole"
    )


def test_each_kind_of_cell_goes_where_its_metadata_says():
    made = slides.slides_of(
        notebook(
            marked(v4.new_markdown_cell("# Title"), "slide"),
            marked(v4.new_markdown_cell("Say hello."), "notes"),
            marked(v4.new_markdown_cell("## Section"), "slide"),
            v4.new_markdown_cell("goes on"),
            marked(v4.new_markdown_cell("later"), "fragment"),
            marked(v4.new_markdown_cell("nowhere"), "skip"),
            marked(v4.new_markdown_cell("below"), "subslide"),
        )
    )
    bodies = ["".join(slide.body) for slide in made]
    assert len(made) == 3
    assert [slide.section for slide in made] == ["Title", "Section", "Section"]
    assert "Say hello" in "".join(made[0].notes)
    assert "goes on" in bodies[1] and re.search(r'class="step">.*later', bodies[1])
    assert "below" in bodies[2]
    assert "hello" not in "".join(bodies) and "nowhere" not in "".join(bodies)


def test_what_a_slide_leaves_out_the_speaker_has():
    long = "This first sentence has more than eight words. The second is for the speaker."
    (slide,) = slides.slides_of(notebook(marked(v4.new_markdown_cell(long), "slide")))
    assert "second" not in "".join(slide.body)
    assert "second" in "".join(slide.notes)


def picture(alt="a curve that falls", caption="*It falls.*"):
    display = partial(v4.new_output, "display_data")
    return [
        display({"image/png": "QUJD"}, metadata={"image/png": {"alt": alt}}),
        display({"text/markdown": caption}),
    ]


def test_a_picture_stands_alone_with_its_alternative_text_and_caption():
    printed = v4.new_output("stream", name="stdout", text="after it\n")
    cell = marked(
        v4.new_code_cell("plots.show(...)", outputs=[*picture(), *picture('say "no"'), printed]),
        "subslide",
    )
    first, second, third = slides.slides_of(notebook(cell))[-3:]
    assert 'alt="a curve that falls"' in "".join(first.body) and "It falls." in "".join(first.body)
    assert 'alt="say &quot;no&quot;"' in "".join(second.body)
    assert "after it" in "".join(third.body)
    assert "plots.show" not in "".join(first.body + second.body + third.body)


def test_code_is_shown_where_it_is_the_point():
    printed = [v4.new_output("stream", name="stdout", text="1 < 2\n")]
    long = "\n".join(f"print({number})" for number in range(9))
    shown = {
        "short": (v4.new_code_cell("print(1)", outputs=printed), True),
        "checked": (v4.new_code_cell("# NBVAL_CHECK_OUTPUT\n" + long, outputs=printed), True),
        "a definition": (v4.new_code_cell(long), True),
        "prints a table": (v4.new_code_cell(long, outputs=printed), False),
    }
    for name, (cell, expected) in shown.items():
        body = "".join(slides.slides_of(notebook(marked(cell, "slide")))[0].body)
        assert ('class="code' in body) == expected, name
        assert "NBVAL" not in body
        assert ("1 &lt; 2" in body) == bool(cell.outputs)


def test_a_question_hides_which_choice_is_right_and_its_explanations():
    source = "**1. Why?**\n\n" + "\n".join(
        f"<details><summary>{choice}</summary>\n\n{why}\n\n</details>"
        for choice, why in [
            ("A. this", "✘ **Misconception: x.** no"),
            ("B. that", "✔ **Right.** because"),
        ]
    )
    (slide,) = slides.slides_of(notebook(marked(v4.new_markdown_cell(source), "slide")))
    body = "".join(slide.body)
    assert re.findall(r'<li>([AB])\. \w+( <strong class="step">)?', body) == [
        ("A", ""),
        ("B", ' <strong class="step">'),
    ]
    assert "because" not in body and "because" in "".join(slide.notes)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_metadata_of_a_lesson(path):
    """Set in JupyterLab's property inspector; notebooks/STYLE.md says how to choose."""
    appendix = False  # what the ledger has of each claim is looked up, and no slide
    for cell in nbformat.read(path, 4).cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        appendix |= cell.source.startswith("## Appendix")
        if appendix:
            assert kind == "skip", f"a slide of the appendix: {cell.source[:80]!r}"
            continue
        shown = kind in ("slide", "subslide", "fragment", "-")
        assert kind in KINDS
        assert "slideshow" in cell.metadata, f"no slide type: {cell.source[:80]!r}"
        if cell.cell_type == "code":
            pictures = any("image/png" in output.get("data", {}) for output in cell.outputs)
            assert shown or not pictures, f"a picture that no slide shows: {cell.source[:80]!r}"
        elif re.match(r"## (Sources|Next)\b", cell.source):
            assert kind == "skip"
        elif "**Predict" in cell.source or (
            "<details>" in cell.source and "<summary>A solution" not in cell.source
        ):
            assert shown, f"a question that no slide asks: {cell.source[:80]!r}"
        elif re.match(r"##? (?!Check yourself)", cell.source):
            assert kind == "slide", f"a section begins a slide: {cell.source[:80]!r}"


# ---------------------------------------------------------------- what is missing is said


def test_a_notebook_without_slides_is_refused():
    with pytest.raises(PublishError, match="Slide Type"):
        slides.deck(notebook(v4.new_markdown_cell("# Title")))


def test_without_mathjax_it_says_how_to_get_it(monkeypatch):
    def missing(_):
        raise PackageNotFoundError

    monkeypatch.setattr(pdf, "files", missing)
    result = CliRunner().invoke(cli.app, ["slides", "02"])
    assert result.exit_code == 1
    assert "extra site" in result.output


def test_without_a_browser_it_says_how_to_print(monkeypatch, tmp_path):
    monkeypatch.setattr(pdf, "find_browser", lambda: None)
    with pytest.raises(PublishError, match="print it to a file"):
        pdf.print_pdf(tmp_path / "deck.html")


def test_a_browser_that_never_ends_is_given_up_with_a_sentence(monkeypatch, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(pdf, "find_browser", lambda: str(slow))
    monkeypatch.setattr(pdf, "PATIENCE", 0.2)
    with pytest.raises(PublishError, match="did not print deck.html within 0.2 seconds. Open it"):
        pdf.print_pdf(tmp_path / "deck.html")
    assert not (tmp_path / "deck.pdf").exists()


@pytest.mark.parametrize("command", ["slides", "present"])
def test_an_unknown_lesson(command):
    result = CliRunner().invoke(cli.app, [command, "42"])
    assert result.exit_code == 1
    assert "no lesson '42'" in result.output and "00, 01, 02" in result.output


# ---------------------------------------------------------------- in a browser

in_a_browser = pytest.mark.skipif(
    not browser.find_browser() or not find_spec("playwright"),
    reason="no browser, or no playwright to drive it",
)


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    """The decks of all lessons."""
    try:
        pdf.mathjax()
    except PublishError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("decks")
    return [slides.write(path, folder) for path in LESSONS]


@pytest.fixture(scope="module")
def page():
    """A page without a network, which notes what it asks for."""
    with browser.open_page() as page:
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on(
            "console",
            lambda message: page.errors.append(message.text) if message.type == "error" else None,
        )
        page.context.set_offline(True)
        page.set_default_timeout(180_000)  # decks are drawn slowly beside other work
        yield page


def open_deck(page, deck):
    page.asked.clear()
    page.errors.clear()
    page.goto(deck.as_uri())
    page.locator("body[data-ready]").wait_for()


MEASURE = """() => slides.map(slide => {
    const body = slide.querySelector('.body'), inside = body.getBoundingClientRect();
    const all = query => [...body.querySelectorAll(query)];
    const points = part => parseFloat(getComputedStyle(part).fontSize);
    const size = query => Math.min(...all(query).map(points));
    const shown = all('*').filter(
        part => !part.closest('mjx-assistive-mml') && part.getClientRects().length);
    const beyond = box => box.width && box.height
        && (box.left < inside.left - 1 || box.right > inside.right + 1
            || box.top < inside.top - 1 || box.bottom > inside.bottom + 1);
    return {
        text: body.innerText, left: body.children.length,
        over: shown.map(part => part.getBoundingClientRect()).filter(beyond).length,
        page: slide.scrollHeight > 720 || slide.scrollWidth > 1280,
        type: {
            p: size('p:not(.caption p)'), caption: size('.caption p'), li: size('li'),
            code: size('pre.code'), output: size('pre.output'), td: size('td'),
        },
        pictures: all('img').map(({alt, complete, naturalWidth, clientHeight}) => (
            {alt, drawn: complete && naturalWidth > 0, height: clientHeight})),
        notes: slide.querySelector('template').innerHTML.length,
    };
})"""

# Everything that reads as text, in order: as it stands in the file, and as it is laid out. Formulas
# are left out.
WORDS = """html => {
    const texts = '.body :is(.line, tbody tr, li, p, h1, h2, h3)';
    const formula = /\\$\\$[^]+?\\$\\$|\\$[^$]+\\$/g;
    const words = page => [...page.querySelectorAll(texts)].map(part => {
        const copy = part.cloneNode(true);
        copy.querySelectorAll('mjx-container').forEach(set => set.remove());
        const text = copy.textContent;
        const read = part.closest('pre') ? text : text.replace(formula, '');
        return read.replace(/\\s+/g, ' ').trim();
    });
    return [words(new DOMParser().parseFromString(html, 'text/html')), words(document)];
}"""


@in_a_browser
@pytest.mark.parametrize("number", range(len(LESSONS)), ids=[path.stem for path in LESSONS])
def test_a_deck_without_a_network(decks, page, number):
    """Nothing is fetched; each slide fits in 1280x720 in legible type; pictures, formulas and notes
    are there; nothing got lost.
    """
    deck = decks[number]
    open_deck(page, deck)
    assert {url.split("#")[0] for url in page.asked if not url.startswith("data:")} == {
        deck.as_uri()
    }
    assert page.errors == []

    found = page.evaluate(MEASURE)
    for place, slide in enumerate(found, start=1):
        assert slide["left"], f"slide {place} is empty"
        assert not slide["over"] and not slide["page"], (
            f"slide {place} overflows: {slide['text'][:200]}"
        )
        for kind, size in slide["type"].items():
            assert size is None or size >= SMALLEST_TYPE[kind], (
                f"slide {place}: {kind} of {size} pixels"
            )
        for one in slide["pictures"]:
            assert len(one["alt"].split()) >= 5 and one["drawn"] and one["height"] >= 190, (
                f"slide {place}: {one}"
            )
    lesson = nbformat.read(LESSONS[number], 4)
    pictures = sum(
        "image/png" in output.get("data", {})
        for cell in lesson.cells
        if cell.metadata.slideshow.slide_type != "skip"
        for output in cell.get("outputs", [])
    )
    assert sum(len(slide["pictures"]) for slide in found) == pictures
    with_notes = sum(slide["notes"] > 0 for slide in found)
    # In the ledger each claim is a slide of its own, whose picture needs no notes.
    ledger = LESSONS[number].stem == "13_the_ledger"
    assert with_notes >= (20 if ledger else len(found) / 4)

    formulas = page.locator(".body mjx-container > svg").count()
    assert page.locator(".body :is(mjx-merror, [data-mjx-error])").count() == 0
    assert bool(formulas) == (
        "$" in "".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    )
    before, after = page.evaluate(WORDS, deck.read_text(encoding="utf-8"))
    assert before == after
    assert not [
        words
        for words in after
        if re.search(r"\$[a-z\\]", words) and not words.startswith(("places", "f"))
    ]


@in_a_browser
@pytest.mark.parametrize("number", range(len(LESSONS)), ids=[path.stem for path in LESSONS])
def test_axe_finds_nothing_serious_in_a_deck(decks, page, number):
    """On the screen one slide is seen; on paper all are, one below the other."""
    open_deck(page, decks[number])
    page.evaluate(browser.axe())
    found = page.evaluate(browser.RUN_AXE, {})
    page.emulate_media(media="print")
    try:
        page.evaluate(browser.ONE_OF_EACH_KIND)
        found += page.evaluate(browser.RUN_AXE, {})
    finally:
        page.emulate_media(media="screen")
    assert found == []


def place(page):
    """The number of the slide that is seen; no other is."""
    seen = page.evaluate(
        "slides.map((slide, index) => getComputedStyle(slide).visibility == 'visible' ? index + 1 :"
        " 0).filter(Boolean)"
    )
    assert len(seen) == 1 and page.url.endswith(f"#{seen[0]}")
    return seen[0]


@in_a_browser
def test_the_keyboard_turns(decks, page):
    open_deck(page, decks[0])
    count = page.evaluate("slides.length")
    turned = []
    for key in (
        "ArrowRight",
        "Space",
        "PageDown",
        "ArrowLeft",
        "PageUp",
        "End",
        "ArrowRight",
        "Home",
        "ArrowLeft",
    ):
        page.keyboard.press(key)
        turned.append(place(page))
    assert turned == [2, 3, 4, 3, 2, count, count, 1, 1]
    page.goto(f"{decks[0].as_uri()}#5")
    page.reload()
    page.locator("body[data-ready]").wait_for()
    assert place(page) == 5

    question = page.evaluate(
        "slides.findIndex(slide => slide.querySelectorAll('.step').length === 1) + 1"
    )
    page.evaluate(f"go({question - 1})")
    answer = page.locator(".current .step")
    assert not answer.is_visible()
    page.keyboard.press("ArrowRight")
    assert place(page) == question and answer.is_visible()
    page.keyboard.press("ArrowRight")
    assert place(page) == question + 1
    page.keyboard.press("ArrowLeft")
    assert place(page) == question and answer.is_visible()


@in_a_browser
def test_contents_lead_to_a_section(decks, page):
    open_deck(page, decks[2])
    page.keyboard.press("c")
    page.get_by_role("button", name="Gamma and beta can undo it").click()
    assert "Gamma and beta can undo it" in page.locator(".current h2").inner_text()


@in_a_browser
def test_the_speaker_has_notes_in_a_window_of_her_own(decks, page):
    open_deck(page, decks[2])
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    speaker = popup.value
    try:
        page.evaluate(
            "go(slides.findIndex(slide => slide.querySelector('template').innerHTML.includes('the"
            " first two numbers')))"
        )
        here = place(page)
        notes = speaker.locator("article")
        assert "The shape stays as it was" in notes.inner_text(), "what the slide leaves out"
        speaker.keyboard.press("ArrowRight")
        assert place(page) == here + 1
        assert speaker.locator("header b").inner_text().startswith(f"{here + 1} /")
        page.keyboard.press("Home")
        page.evaluate(
            "go(slides.findIndex(slide => slide.querySelector('template').innerHTML.includes('$')))"
        )
        formula = notes.locator("mjx-container > svg").first.bounding_box()
        assert 5 < formula["height"] < 300 and 5 < formula["width"] < 900, (
            "formulas are set there, too"
        )
    finally:
        speaker.close()


@in_a_browser
def test_a_small_window_has_the_slides_of_a_large_one(decks, page):
    """Each is laid out for the same page, whatever it is shown at."""
    counts = []
    for width, height in (1280, 720), (780, 480), (1920, 1080):
        page.set_viewport_size({"width": width, "height": height})
        open_deck(page, decks[0])
        page.reload()
        page.locator("body[data-ready]").wait_for()
        counts.append(page.evaluate("slides.length"))
    page.set_viewport_size({"width": 1280, "height": 720})
    assert len(set(counts)) == 1, counts


@in_a_browser
def test_a_pdf_has_a_page_for_each_slide(decks, page, tmp_path):
    deck = tmp_path / decks[0].name
    shutil.copyfile(decks[0], deck)
    open_deck(page, deck)
    printed = pdf.print_pdf(deck).read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) == page.evaluate("slides.length")
    assert re.search(rb"/MediaBox\s*\[0 0 960 540\]", printed), "1280 by 720 pixels"


@in_a_browser
@pytest.mark.skipif(
    not find_spec("jupyterlab_slideshow"), reason="jupyterlab-slideshow is not installed"
)
def test_presenting_inside_jupyterlab_with_a_slider_that_moves(page, monkeypatch, tmp_path):
    """What `course present` starts: it presents at once, F4 runs all cells, a slider moves."""
    folder = tmp_path / "course"
    (folder / "notebooks").mkdir(parents=True)
    cells = [
        marked(v4.new_markdown_cell("# A lesson"), "slide"),
        marked(v4.new_code_cell("from course import explorers"), "skip"),
        marked(v4.new_code_cell("explorers.dropout_mask().show()"), "subslide"),
        marked(v4.new_markdown_cell("## The end"), "slide"),
    ]
    nbformat.write(notebook(*cells), folder / "notebooks" / "lesson.ipynb")
    commands.write_settings(tmp_path / "jupyterlab_settings_dir")
    monkeypatch.setattr(
        commands, "lab_command", partial(commands.lab_command, lesson="notebooks/lesson.ipynb")
    )
    plain = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner"}  # this needs no Keras
    with (
        browser.start_lab(folder, tmp_path, **plain) as address,
        page.context.browser.new_context() as context,
    ):
        lab = context.new_page()
        lab.set_default_timeout(60_000)
        lab.goto(address)
        lab.locator(".jp-Deck-Remote").wait_for()
        start, end = (
            lab.locator(".jp-deck-mod-onscreen").get_by_role("heading", name=name)
            for name in ("A lesson", "The end")
        )
        start.wait_for()
        handle = lab.locator(".noUi-handle").first
        for _ in range(12):  # before the kernel is there, the key runs nothing
            lab.keyboard.press("F4")
            end.wait_for()
            lab.keyboard.press("ArrowLeft")
            start.wait_for()
            lab.keyboard.press("Space")
            lab.wait_for_timeout(5_000)
            if handle.is_visible():
                break
        browser.move(handle, "ArrowRight")  # fails if no other picture comes
