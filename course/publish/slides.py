"""Decks: a lesson as slides for a lecture room, in one HTML file that asks no network for anything.

The notebook's slideshow metadata says which cells make a slide. A slide has room for less than a
page, so of a cell's text it shows headings, formulas, tables and questions, and of each paragraph
the first sentence and those with something in bold; the whole text goes into the speaker's notes.
deck.html.j2 is the rest: it lays the slides out, and cuts in two what is too long for one.
"""

import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import jinja2
import nbformat
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from course.lab.files import write_whole
from course.publish.pdf import PublishError, mathjax

FEWEST_WORDS = 8  # that a slide shows of a paragraph
SHORT_CODE = 5  # lines that are shown even where what they print is the point
CHECKED = "# NBVAL_CHECK_OUTPUT\n"


@dataclass
class Slide:
    """One slide.

    Attributes
    ----------
    section : str
        The heading that it stands under, in HTML.
    body, notes : list of str
        HTML: what the room sees, and what the speaker says.
    """

    section: str
    body: list = field(default_factory=list)
    notes: list = field(default_factory=list)


# ---------------------------------------------------------------- text

# What no sentence ends in: mathematics, code, bold and slanted words, what stands in brackets.
WHOLE = re.compile(r"\$[^$]+\$|`[^`]+`|\*\*.+?\*\*|\*.+?\*|\([^()]*\)", re.DOTALL)
END = re.compile(
    r"(?<=[.?!\0])(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bcf\.)(?<!\bvs\.)(?<!\b[A-Z]\.)\s+(?=[A-Z\0\"])"
)
LABEL = re.compile(r"\*\*\w+(, \w+)?\.\*\*")
FORMULA = re.compile(r"(\$\$.+?\$\$)", re.DOTALL)


def sentences(text):
    """The sentences of a paragraph in Markdown."""
    masked = WHOLE.sub(lambda match: "\0" * len(match[0]), text)
    cuts = [0]
    for match in END.finditer(masked):
        before = text[: match.start()]
        # Something masked ends a sentence if it holds the full stop itself, and is no label as
        # "**Explain.**" is.
        if re.search(r"[.?!][\"*)]*$", before) and not LABEL.fullmatch(before):
            cuts.append(match.end())
    return [text[start:end].rstrip() for start, end in zip(cuts, [*cuts[1:], None], strict=True)]


def essence(text):
    """What a slide shows of a paragraph.

    A question whole; else its formulas, how it begins, and what is in bold or numbered.
    """
    if re.search(r"\*\*(Predict|Symptom)\b", text):
        return text
    if re.match(r"\([A-Z]\w", text):  # a remark in brackets
        return ""
    kept, words = [], 0
    for part in FORMULA.split(text):
        if part.startswith("$$"):
            kept.append(part)
            continue
        for sentence in sentences(part.strip()):
            if words < FEWEST_WORDS or "**" in sentence or re.search(r"\(\d\)", sentence):
                kept.append(sentence)
                words += len(sentence.split())
    return " ".join(kept)


class Renderer(IPythonRenderer):
    """Markdown to HTML as nbconvert does it, but questions framed and no links out of the deck."""

    def __init__(self):
        super().__init__(escape=False, exclude_anchor_links=True)

    def link(self, text, url, title=None):
        """Other lessons and files are not where the deck is."""
        return super().link(text, url, title) if url.startswith(("http://", "https://")) else text

    def paragraph(self, text):
        """Mark a question, and a paragraph that is a formula."""
        if "<strong>Predict" in text:
            return f'<p class="predict">{text}</p>\n'
        alone = re.fullmatch(r"\s*\$\$[^$]+\$\$\s*", text)
        return f'<p class="formula">{text}</p>\n' if alone else super().paragraph(text)


def render(source, short=False):
    """HTML of a text in Markdown.

    Parameters
    ----------
    source : str
    short : bool
        Only what a slide shows of it.
    """
    markdown = MarkdownWithMath(Renderer())

    def shorten(tokens):
        for token in tokens:
            if token["type"] in ("paragraph", "block_text"):
                token["text"] = essence(token["text"])
            shorten(token.get("children", []))

    if short:
        markdown.before_render_hooks.append(lambda _, state: shorten(state.tokens))
    return markdown.render(source)


CHOICE = re.compile(r"<details><summary>(.*?)</summary>(.*?)</details>", re.DOTALL)


def question(source):
    """A multiple-choice question.

    Returns
    -------
    body, notes : list of str
        HTML: what the room sees, with a tick that a further step shows, and the explanations.
    """
    choices = CHOICE.findall(source)
    ticked = [f"<li>{choice}{tick(why)}</li>" for choice, why in choices]
    body = (
        render(source[: source.index("<details>")]) + f'<ul class="choices">{"".join(ticked)}</ul>'
    )
    return [body], [f"<h4>{choice}</h4>{render(why)}" for choice, why in choices]


def tick(why):
    """The mark of the right choice, not yet shown."""
    return ' <strong class="step">✔</strong>' if why.strip().startswith("✔") else ""


# ---------------------------------------------------------------- code and outputs


def lines(html):
    """Each line an element of its own: the deck can cut between them."""
    return "".join(
        f'<span class="line">{line or "&nbsp;"}</span>' for line in html.rstrip("\n").split("\n")
    )


def code(source):
    """HTML of Python code."""
    html = highlight(source.removeprefix(CHECKED), PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<pre class="code highlight" tabindex="0">{lines(html)}</pre>'


def is_the_point(cell):
    """Whether a slide shows the code of a cell, or only what came of it."""
    if any("image/png" in output.get("data", {}) for output in cell.outputs):
        return False
    return (
        not cell.outputs or cell.source.startswith(CHECKED) or cell.source.count("\n") < SHORT_CODE
    )


def results(cell):
    """The outputs of a cell, as lists of HTML that each fill a slide.

    Such as a picture with its caption, or printed lines.
    """
    groups, picture, printed = [[]], False, ""
    for output in [*cell.outputs, {}]:
        data = output.get("data", {})
        if output.get("text"):
            printed += output.text
            continue
        if printed:
            groups[-1].append(
                f'<pre class="output" tabindex="0">{lines(escape(printed, quote=False))}</pre>'
            )
            printed = ""
        if "image/png" in data:
            alt = escape(output.metadata.get("image/png", {}).get("alt", ""))
            source = f"data:image/png;base64,{''.join(data['image/png'].split())}"
            groups[-1].append(f'<figure><img alt="{alt}" src="{source}"></figure>')
            picture = True
        elif picture and "text/markdown" in data:
            groups[-1].append(f'<div class="caption">{render(data["text/markdown"])}</div>')
            groups.append([])
            picture = False
        elif "text/markdown" in data:
            groups[-1].append(render(data["text/markdown"]))
        elif "text/html" in data:  # a table, without the style it has in a notebook
            groups[-1].append(re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL))
    return [group for group in groups if group]


# ---------------------------------------------------------------- slides


def slides_of(notebook):
    """The slides of a lesson, from the slideshow metadata of its cells.

    Parameters
    ----------
    notebook : nbformat.NotebookNode

    Returns
    -------
    list of Slide
        A cell marked `slide` or `subslide` begins one; an unmarked one goes on with it; `fragment`
        goes on with it when the speaker asks; `notes` is for the speaker alone; `skip` is left out.
    """
    slides, section = [], ""
    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        for number, part in enumerate(parts_of(cell)):
            section = part.section or section
            if kind == "skip":
                continue
            if kind in ("slide", "subslide") or number or not slides:
                slides.append(Slide(section))
            if kind == "notes":
                slides[-1].notes.append(render(cell.source))
            else:
                slides[-1].notes += part.notes
                slides[-1].body += (
                    [f'<div class="step">{html}</div>' for html in part.body]
                    if kind == "fragment"
                    else part.body
                )
    return slides


def parts_of(cell):
    """What a cell gives to a deck, slide by slide."""
    if cell.cell_type == "code":
        groups = results(cell)
        if is_the_point(cell):
            groups = [[code(cell.source), *(groups[0] if groups else [])], *groups[1:]]
        return [Slide("", group) for group in groups]
    if "<details>" in cell.source:
        return [Slide("", *question(cell.source))]
    return [
        text_part(source)
        for source in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE)
        if source.strip()
    ]


def text_part(source):
    """A text up to the next section, for a slide."""
    heading = re.match(r"#{1,2} +(.+)", source)
    section = re.sub("</?p>", "", render(heading[1])).strip() if heading else ""
    body, whole = render(source, short=True), render(source)
    return Slide(section, [body], [whole] if body != whole else [])


# ---------------------------------------------------------------- files


def deck(notebook):
    """The whole deck of a lesson: one HTML document.

    Parameters
    ----------
    notebook : nbformat.NotebookNode

    Raises
    ------
    PublishError
        If MathJax is not installed, or no cell of the notebook is marked as a slide.
    """
    if not any("slide_type" in cell.metadata.get("slideshow", {}) for cell in notebook.cells):
        raise PublishError(
            "No cell of this notebook is marked as a slide. In JupyterLab choose a cell and, in the"
            " property inspector (the cogwheels on the right), its Slide Type."
        )
    slides = slides_of(notebook)
    template = jinja2.Template(Path(__file__).with_name("deck.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=re.sub("<[^>]+>", "", slides[0].section),
        slides=slides,
        mathjax=mathjax().replace("</script", r"<\/script"),
        colours=HtmlFormatter(style="default").get_style_defs(".highlight"),
    )


def write(path, folder):
    """Write the deck of a notebook into a folder.

    Returns
    -------
    pathlib.Path
        The file, complete or not there at all.
    """
    document = deck(nbformat.read(path, 4))
    target = folder / f"{Path(path).stem}.html"
    write_whole(target, document)
    return target
