"""Where the course is published, which CITATION.cff alone says, and what is made from it.

That is the links to Binder and Colab, the lessons' cell for Colab, and the README's BibTeX.
"""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

COLAB = """\
# Google Colab starts without the course: there this cell fetches it. Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    !git clone --quiet --depth 1 {repository} /content/the-course
    %cd -q /content/the-course/notebooks
    sys.path.insert(0, "/content/the-course")"""

BIBTEX = """\
@misc{{batchnorm_dropout_course,
  title  = {{{title}}},
  author = {{{{{author}}}}},
  year   = {{{year}}},
  note   = {{Jupyter notebooks and Python package, version {version}}}{url}
}}"""


def citation(root=ROOT):
    """The entries of CITATION.cff, as a dict."""
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def repository(root=ROOT):
    """Address of the course's repository; nothing as long as it has none."""
    return citation(root).get("repository-code", "").rstrip("/")


def bibtex(root=ROOT):
    """How to cite the course, for LaTeX: what the README shows."""
    entries, address = citation(root), repository(root)
    return BIBTEX.format(
        title=entries["title"],
        author=" and ".join(author["name"] for author in entries["authors"]),
        year=entries["date-released"].year,
        version=entries["version"],
        url=f",\n  url    = {{{address}}}" if address else "",
    )


def with_colab_cell(text, address):
    """A lesson with the cell that fetches the course on Google Colab.

    Parameters
    ----------
    text : str
        The lesson's file.
    address : str
        Address of the repository; without one the lesson gets no such cell.

    Returns
    -------
    str
        The file, in which nothing else has changed but the numbers of the runs.
    """
    notebook = json.loads(text)
    cells = [cell for cell in notebook["cells"] if cell.get("id") != "colab"]
    if address:
        cell = {
            "cell_type": "code",
            "execution_count": 1,
            "id": "colab",
            "metadata": {
                "jupyter": {"source_hidden": True},
                "slideshow": {"slide_type": "skip"},
                "tags": ["remove-cell"],
            },
            "outputs": [],
            "source": COLAB.format(repository=address).splitlines(keepends=True),
        }
        cells.insert(1, cell)
    code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"])]
    for number, cell in enumerate(code, start=1):
        if cell["execution_count"] is not None:
            for numbered in [cell, *cell["outputs"]]:
                if "execution_count" in numbered:
                    numbered["execution_count"] = number
    notebook["cells"] = cells
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def write_colab_cells(root=ROOT):
    """Bring the cell for Colab of all lessons in line with CITATION.cff.

    Returns
    -------
    list of pathlib.Path
        The lessons that changed.
    """
    changed = []
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        before = path.read_text(encoding="utf-8")
        after = with_colab_cell(before, repository(root))
        if after != before:
            path.write_text(after, encoding="utf-8", newline="\n")
            changed.append(path)
    return changed
