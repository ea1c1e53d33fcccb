"""The web site: README, lessons, exercises and guides as pages that ask no network for anything.

Sphinx does the work. Here its source is laid out in a folder of its own: the notebooks with their
committed outputs, which are not run, each picture with its text for those who cannot see it, and
MathJax from an installed package.
"""

import io
import itertools
import os
import re
import shutil
import tempfile
from base64 import b64decode
from pathlib import Path

import nbformat

from course.lab import claims, ledger, poster
from course.publish.pdf import PublishError, find_browser, mathjax, print_pdf

ROOT = Path(__file__).resolve().parents[2]
TITLE = "Batch normalization and dropout"
GUIDES = ("cheat_sheet", "teaching", "grading")  # the order in the contents
TO_ADD = ("CONTRIBUTING.md", "notebooks/STYLE.md")
SHEET = "docs/cheat_sheet.md"
POSTER = "docs/poster.md"  # which is drawn, and in no folder
POSTER_PAGE = """# All claims on one page

What the ledger found, from [its lesson](../notebooks/13_the_ledger.ipynb). Each mark is a contrast
with its interval. An interval right of the line lies wholly where its claim says, one left of it
wholly where the claim does not. In the grey band a difference has the right sign, but is too small
to matter; for a claim that two things are the same, a difference there is just too large. An
arrowhead points to what lies beyond the axis.

<p class="screen">To print: <a href="../_static/ledger.pdf">PDF</a>.</p>

```{{image}} ../_static/ledger.svg
:alt: {alt}
```
"""
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
GITHUB = "https://github.com/"
PAPER = '\n<p class="screen">On paper: <a href="cheat_sheet.pdf">two pages, PDF</a>.</p>\n'
SETTINGS = {
    "extensions": ["myst_nb", "sphinx.ext.mathjax"],
    "project": TITLE,
    "html_title": TITLE,
    "html_theme": "sphinx_book_theme",
    "html_context": {"default_mode": "auto"},
    "html_css_files": ["site.css"],
    "html_js_files": ["site.js"],
    "html_static_path": ["_static"],
    "html_show_copyright": False,
    "html_use_index": False,
    "html_show_sphinx": False,
    "html_permalinks_icon": "#",
    "language": "en",
    "mathjax_path": "mathjax.js",
    # Without its menu, which would make every formula a stop of the Tab key. Screen readers get
    # MathML.
    "mathjax3_config": {"options": {"enableMenu": False}},
    "myst_enable_extensions": ["amsmath", "dollarmath"],
    "myst_heading_anchors": 4,
    "myst_heading_slug_func": "course.publish.site.anchor",
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "nitpicky": True,
    "exclude_patterns": ["notebooks/experiments/*"],  # files to download
}


def anchor(heading):
    """The part after # of a link to a heading, as in JupyterLab."""
    return heading.replace(" ", "-")


# ---------------------------------------------------------------- pages


def pages(root=ROOT):
    """What becomes a page: its source in the course, by its place in the site.

    Returns
    -------
    dict of str to pathlib.Path
        In the order of the contents, the landing page first.
    """
    guides = [Path("docs") / f"{name}.md" for name in GUIDES]
    places = [
        *sorted(path.relative_to(root) for path in (root / "notebooks").glob("[0-9][0-9]_*.ipynb")),
        Path("exercises/README.md"),
        *sorted(
            path.relative_to(root) for path in (root / "exercises").glob("*/[0-9][0-9]_*.ipynb")
        ),
        *[guide for guide in guides if (root / guide).is_file()],
        *sorted(
            path.relative_to(root)
            for path in (root / "docs").glob("*.md")
            if path.stem not in GUIDES
        ),
        *map(Path, TO_ADD),
    ]
    return {"index.md": root / "README.md"} | {place.as_posix(): root / place for place in places}


def contents(places):
    """The table of contents, which Sphinx reads from the landing page."""
    parts = {
        "Lessons": [place for place in places if re.match(r"notebooks/\d", place)],
        "Exercises": [place for place in places if place.startswith("exercises/")],
        "To look things up": [*(place for place in places if place == SHEET), POSTER],
        "To teach with": [
            place for place in places if place.startswith("docs/") and place != SHEET
        ],
        "To add to it": list(TO_ADD),
    }
    trees = []
    for caption, part in parts.items():
        names = "\n".join(place.rsplit(".", 1)[0] for place in part)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```")
    return "\n\n".join(trees)


def lay_out(folder, repository="", root=ROOT):
    """Write the source of the site into an empty folder."""
    places = pages(root)
    asked = (*claims.CLAIMS, *claims.FACTS)
    verdicts = {entry.claim.id: entry.said for entry in ledger.look_up(asked=asked)}
    for place, source in places.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.endswith(".ipynb"):
            notebook = page_of_notebook(nbformat.read(source, 4), place, target.parent, repository)
            text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
            nbformat.write(notebook, target)
        else:
            text = source.read_text(encoding="utf-8").replace("](../README.md", "](../index.md")
            if place == "index.md":
                text += "\n" + contents(list(places)[1:])
            if place == SHEET:
                text = with_verdicts(text, verdicts) + PAPER * bool(find_browser())
            # A template of the experiments is a file to download, and no page.
            text = re.sub(r"\]\((?=[^):]*experiments/\w+\.ipynb\))", "](path:", text)
            target.write_text(text, encoding="utf-8")
        for linked in files_linked(text, source, root) - set(places.values()):
            copy = folder / linked.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(linked, copy)
    entries = ledger.look_up()
    poster.save(entries, folder / "_static")
    page = POSTER_PAGE.format(alt=poster.alt(entries))
    (folder / POSTER).write_text(page, encoding="utf-8")
    (folder / "_static" / "mathjax.js").write_text(mathjax(), encoding="utf-8")
    for name in SETTINGS["html_css_files"] + SETTINGS["html_js_files"]:
        shutil.copy(Path(__file__).with_name(name), folder / "_static")


def files_linked(text, source, root):
    """The files of the course that a text links to; solutions are not to be public."""
    linked = {
        (source.parent / link.removeprefix("path:")).resolve() for link, _ in LINK.findall(text)
    }
    return {
        path
        for path in linked
        if path.is_file()
        and path.is_relative_to(root)
        and not path.is_relative_to(root / "solutions")
    }


# ---------------------------------------------------------------- notebooks


def page_of_notebook(notebook, place, folder, repository=""):
    """A notebook as Sphinx is to read it.

    It says where to open it; pictures and texts among the outputs are part of the text.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
    place : str
        Its path in the course.
    folder : pathlib.Path
        The pictures are written here.
    repository : str
        Address of the repository, or nothing.
    """
    ways = ways_to_open(notebook, place, repository)
    first, *others = notebook.cells
    names = (folder / f"{Path(place).stem}_{number}.png" for number in itertools.count())
    parts = [parts_of_code(cell, names) if cell.cell_type == "code" else [cell] for cell in others]
    notebook.cells = [first, nbformat.v4.new_markdown_cell(ways), *itertools.chain(*parts)]
    return notebook


def ways_to_open(notebook, place, repository):
    """Where a notebook can be run: on Binder and Colab, and on one's own machine.

    Both fetch it from GitHub. Colab has no course until the notebook fetches it: its set-up cell
    must do so from the same repository.
    """
    ways = []
    if repository.startswith(GITHUB):
        name = repository.removeprefix(GITHUB)
        ways.append(
            "[JupyterLab on"
            f" Binder](https://mybinder.org/v2/gh/{name}/main?urlpath=lab/tree/{place}), "
        )
        if any(
            f"!git clone --quiet --depth 1 {repository} " in cell.source for cell in notebook.cells
        ):
            ways.append(
                f"[Colab](https://colab.research.google.com/github/{name}/blob/main/{place}), "
            )
    own = f"`python3 run.py` in your copy of the course, where JupyterLab opens `{place}`."
    return f"**Run it yourself**: {''.join(ways)}{own}"


def parts_of_code(cell, names):
    """A code cell, and behind it what came of it; pictures go into the next of these files.

    Headings in an output are none to Sphinx, and its pictures lose their alternative texts: both
    become text cells. What was printed behind them stays an output, of a cell that shows no code.
    """
    parts = [cell]
    if cell.metadata.get("jupyter", {}).get("source_hidden"):  # collapsed in JupyterLab
        cell.metadata.tags = [*cell.metadata.get("tags", []), "hide-input"]
    outputs, cell.outputs = cell.outputs, []
    waiting = None  # a picture, for its caption
    for output in [*outputs, None]:
        data = output.get("data", {}) if output else {}
        if waiting and "text/markdown" in data:
            parts.append(figure(*waiting, data["text/markdown"]))
            waiting = None
            continue
        if waiting:
            parts.append(figure(*waiting, ""))
            waiting = None
        if output is None:
            break
        if "image/png" in data:
            file = next(names)
            file.write_bytes(b64decode(data["image/png"]))
            waiting = file.name, output.metadata.get("image/png", {}).get("alt", "")
        elif "text/markdown" in data:
            parts.append(nbformat.v4.new_markdown_cell(data["text/markdown"]))
        else:
            if parts[-1].cell_type == "markdown":
                parts.append(nbformat.v4.new_code_cell(metadata={"tags": ["remove-input"]}))
            parts[-1].outputs.append(output)
    return parts


def figure(file, alt, caption):
    """A picture with its alternative text and its caption."""
    caption = re.sub(r"\A\*(.*)\*\Z", r"\1", caption.strip(), flags=re.DOTALL)
    quoted = alt.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return nbformat.v4.new_markdown_cell(
        f'```{{figure}} {file}\n:alt: "{quoted}"\n\n{caption}\n```'
    )


# ---------------------------------------------------------------- verdicts


def with_verdicts(text, verdicts):
    """A text in Markdown, with the verdict behind each link to a claim."""

    def verdict(link):
        if link[1] not in verdicts:
            raise PublishError(
                f"A link leads to the claim {link[1]!r}, which the ledger does not have: mend"
                f" {link[0]}."
            )
        return f"{link[0]}: *{verdicts[link[1]]}*"

    return re.sub(r"\[[^\]]*\]\([^)]*13_the_ledger\.ipynb#([\w-]+)\)", verdict, text)


# ---------------------------------------------------------------- building


def what_is_wrong(warnings):
    """What Sphinx warns of, without what a release newer than ours calls deprecated.

    That is for whoever maintains the course, and no reason to have no site.
    """
    lines = re.sub(r"\x1b\[[\d;]*m", "", warnings).splitlines()
    return "\n".join(line for line in lines if "deprecated" not in line.lower())


def build(out, repository="", root=ROOT):
    """Build the site, and the cheat sheet as a PDF file where there is a browser to print it.

    Parameters
    ----------
    out : pathlib.Path
        Folder of the site; what an earlier build left there is replaced when the new one is
        complete.
    repository : str
        Address of the repository, https://github.com/OWNER/NAME: for the links that open a page on
        Binder or Colab.
    root : pathlib.Path
        Folder of the course.

    Raises
    ------
    PublishError
        If Sphinx is not installed or warns of anything, such as a link that leads nowhere.
    """
    if out.exists() and any(out.iterdir()) and not (out / "searchindex.js").is_file():
        raise PublishError(
            f"{out} holds other files than a site, and would be replaced: choose another folder"
            " with --out."
        )
    try:
        from sphinx.application import Sphinx
        from sphinx.util.docutils import docutils_namespace, patch_docutils
    except ImportError:
        raise PublishError(
            "The site is built by Sphinx, which is not installed. Say: uv sync --inexact --extra"
            ' site   or: pip install -e ".[site]"'
        ) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        source, site, warnings = Path(scratch) / "source", Path(scratch) / "site", io.StringIO()
        source.mkdir()
        lay_out(source, repository, root)
        options = {
            "home_page_in_toc": True,
            "navbar_persistent": [],
            "show_toc_level": 2,
            "use_issues_button": False,
        }
        if repository:
            options |= {"repository_url": repository, "use_repository_button": True}
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                source,
                None,
                site,
                Path(scratch) / "doctrees",
                "html",
                SETTINGS | {"html_theme_options": options},
                status=None,
                warning=warnings,
            )
            app.build()
        problems = what_is_wrong(warnings.getvalue()).replace(f"{source}{os.sep}", "")
        if problems or app.statuscode:
            raise PublishError(f"Sphinx warns, so the site is not written:\n{problems}")
        for place, notebook in pages(root).items():
            if place.endswith(".ipynb"):  # to download it as it is in the course
                shutil.copyfile(notebook, site / "_sources" / place)
        if find_browser():
            print_pdf(site / SHEET.replace(".md", ".html"))
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(site, out)
