"""Commands that make the decks and the site."""

from pathlib import Path
from typing import Annotated

import typer

from course.app.cli.common import ROOT, app, console, explained
from course.app.cli.lessons import find_lessons


@app.command()
def slides(
    lessons: Annotated[
        list[str] | None, typer.Argument(help="Numbers of lessons, such as 02 04; none: all.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the decks.")] = ROOT / "build" / "slides",
    pdf: Annotated[
        bool,
        typer.Option(
            "--pdf", help="Print each deck into a PDF file, too; needs Chromium, Chrome or Edge."
        ),
    ] = False,
) -> None:
    """Make a deck of each lesson: one HTML file that needs no network.

    Its keys: arrows, s (speaker), c (contents), f (full screen).
    """
    from course.publish import slides as decks
    from course.publish.pdf import print_pdf

    with explained():
        for path in find_lessons(lessons or []):
            made = decks.write(path, out)
            console.print(str(made), soft_wrap=True, markup=False, highlight=False)
            if pdf:
                console.print(str(print_pdf(made)), soft_wrap=True, markup=False, highlight=False)


@app.command()
def site(
    out: Annotated[
        Path, typer.Option(help="Folder of the site; an earlier one in it is replaced.")
    ] = ROOT / "build" / "site",
    repository: Annotated[
        str | None,
        typer.Option(
            help="Its address on GitHub, for links to Binder and Colab. [default: of CITATION.cff]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build the course as a web site that needs no network, with a cheat sheet in HTML and PDF."""
    from course.publish import address
    from course.publish import site as sites

    with explained():
        sites.build(out, address.repository() if repository is None else repository.rstrip("/"))
    console.print(str(out / "index.html"), soft_wrap=True, markup=False, highlight=False)


@app.command()
def colab() -> None:
    """Give each lesson the cell that fetches the course on Google Colab, as CITATION.cff asks."""
    from course.publish import address

    for path in address.write_colab_cells():
        console.print(path.relative_to(ROOT).as_posix(), highlight=False)
    console.print("Every lesson is as CITATION.cff asks.")
