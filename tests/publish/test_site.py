"""The web site: built once, read as files, and looked at in a browser that can reach nothing but
the site.
"""

import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin

import browser
import nbformat
import pytest

pytest.importorskip("sphinx_book_theme", reason='the extra "site" is not installed')
from course.lab import claims, ledger, poster
from course.publish import site
from course.publish.address import with_colab_cell
from course.publish.pdf import PublishError, find_browser

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/OWNER/NAME"
NOTEBOOKS = [place for place in site.pages() if place.endswith(".ipynb")]
LESSONS = [place for place in NOTEBOOKS if place.startswith("notebooks/")]
FORMULAS, EXPLORER = "notebooks/02_batch_norm_formula", "explorers.batch_norm_formula().show()"


def course_site(*options):
    """Run `course site` as a user does."""
    command = [sys.executable, "-m", "course.app.cli", "site", *map(str, options)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"COLUMNS": "200"}
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("built") / "site"
    result = course_site("--out", folder, "--repository", REPOSITORY)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip() == str(folder / "index.html")
    return folder


# ---------------------------------------------------------------- files


class Page(HTMLParser):
    """What a page of HTML links to, loads, and can be linked at."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.ids, self.pictures = [], [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.add(values.get("id"))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in ("script", "img", "link", "iframe", "source"):
            self.loads += [values[name] for name in ("src", "href") if name in values]
        if tag == "img":
            self.pictures.append(values)


@pytest.fixture(scope="module")
def read(built):
    """Every page, by its place in the site."""
    places = [
        path.relative_to(built).as_posix()
        for path in built.rglob("*.html")
        if "_static" not in path.parts
    ]
    return {place: Page(built / place) for place in places}


def test_every_lesson_exercise_and_guide_is_a_page(built, read):
    expected = {place.rsplit(".", 1)[0] + ".html" for place in site.pages()}
    assert expected <= set(read)
    assert (
        len(LESSONS) == 14
        and {"index.html", "docs/cheat_sheet.html", "exercises/README.html"} <= expected
    )
    contents = {urljoin("index.html", link) for link in read["index.html"].links}
    assert expected - {"index.html"} <= contents, "the landing page leads to every page"


def test_code_that_is_collapsed_in_jupyterlab_is_folded(built):
    lesson = nbformat.read(ROOT / "notebooks" / "13_the_ledger.ipynb", 4)
    hidden = [c for c in lesson.cells if c.metadata.get("jupyter", {}).get("source_hidden")]
    page = (built / "notebooks" / "13_the_ledger.html").read_text(encoding="utf-8")
    folded = re.findall(r"<details class=\"[^\"]*above-input", page)
    assert len(folded) == len(hidden) > 10


def test_links_all_resolve(built, read):
    for place, page in read.items():
        for link in page.links + page.loads:
            address, _, fragment = unquote(link).partition("#")
            target = urljoin(place, address.partition("?")[0])
            if link.startswith(("https://", "data:", "mailto:")):
                continue
            assert (built / target).is_file(), f"{place}: {link}"
            if fragment and target in read:
                assert fragment in read[target].ids, f"{place}: {link}"
            assert not target.startswith("solutions")


def test_nothing_is_loaded_from_elsewhere(built, read):
    for place, page in read.items():
        assert not [load for load in page.loads if load.startswith(("http:", "https:", "//"))], (
            place
        )
    for path in built.rglob("*.css"):
        assert not re.search(
            r"(url\(|@import)\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")
        ), path


def test_every_claim_can_be_linked_to(read):
    asked = {claim.id.lower() for claim in (*claims.CLAIMS, *claims.FACTS)}
    assert asked <= read["notebooks/13_the_ledger.html"].ids


@pytest.mark.parametrize("place", LESSONS)
def test_pictures_have_the_texts_of_the_notebook(read, place):
    """Explorers among them: their pictures stand in for the sliders."""
    outputs = [
        output
        for cell in nbformat.read(ROOT / place, 4).cells
        for output in cell.get("outputs", [])
    ]
    expected = [
        output.metadata["image/png"]["alt"]
        for output in outputs
        if "image/png" in output.get("data", {})
    ]
    found = [
        picture
        for picture in read[place.replace(".ipynb", ".html")].pictures
        if "_images" in picture["src"]
    ]
    assert [picture["alt"] for picture in found] == expected
    assert len(expected) >= 2


@pytest.mark.parametrize("place", NOTEBOOKS)
def test_a_page_says_where_it_can_be_run(built, read, place):
    html, page = (
        (built / place.replace(".ipynb", ".html")).read_text(encoding="utf-8"),
        read[place.replace(".ipynb", ".html")],
    )
    assert "Run it yourself" in html and place in re.sub(r"<[^>]+>", "", html)
    assert f"https://mybinder.org/v2/gh/OWNER/NAME/main?urlpath=lab/tree/{place}" in page.links
    assert "google.colab" not in html, "the set-up for Colab is for those who are there"
    assert (built / "_sources" / place).read_bytes() == (ROOT / place).read_bytes(), (
        "to download as it is"
    )


def test_what_a_newer_sphinx_calls_deprecated_does_not_stop_the_site():
    old = "\x1b[31mWARNING: The config value 'x' is deprecated. [config.deprecated]\x1b[39;49;00m\n"
    link = "notebooks/00.ipynb:3: WARNING: 'myst' cross-reference target not found: 'y'"
    assert site.what_is_wrong(old) == "" and site.what_is_wrong(f"{old}{link}\n") == link


def test_without_a_repository_there_is_only_the_own_machine():
    notebook = nbformat.read(ROOT / LESSONS[0], 4)
    assert re.findall(r"\]\(([^)]+)", site.ways_to_open(notebook, LESSONS[0], "")) == []
    other = site.ways_to_open(notebook, LESSONS[0], "https://github.com/someone/else")
    assert "mybinder" in other and "colab" not in other, "Colab would fetch another course"
    text = with_colab_cell((ROOT / LESSONS[0]).read_text(encoding="utf-8"), REPOSITORY)
    own = site.ways_to_open(nbformat.reads(text, 4), LESSONS[0], REPOSITORY)
    assert f"https://colab.research.google.com/github/OWNER/NAME/blob/main/{LESSONS[0]}" in own
    assert "mybinder" not in site.ways_to_open(notebook, LESSONS[0], "https://git.example.org/x/y")


def verdicts_shown_in_the_ledger():
    """By claim, as the committed outputs of the ledger's lesson have them."""
    texts = [
        output.data.get("text/markdown", "")
        for cell in nbformat.read(ROOT / "notebooks" / "13_the_ledger.ipynb", 4).cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    pattern = re.compile(r"^### (\S+)$.*?Verdict: \*\*(.+?)\*\*", re.MULTILINE | re.DOTALL)
    return dict(pattern.findall("\n".join(texts)))


def test_the_cheat_sheet_says_the_verdicts_of_the_ledger(built):
    text = re.sub(r"<[^>]+>", "", (built / "docs" / "cheat_sheet.html").read_text(encoding="utf-8"))
    entries = ledger.look_up(asked=(*claims.CLAIMS, *claims.FACTS))
    assert verdicts_shown_in_the_ledger() == {
        entry.claim.id: entry.said if entry.missing else entry.verdict for entry in entries
    }
    said = {entry.claim.id: f"{entry.claim.id}: {entry.said}" for entry in entries}
    linked = re.findall(
        r"ledger\.ipynb#([\w-]+)\)", (ROOT / site.SHEET).read_text(encoding="utf-8")
    )
    assert len(set(linked)) >= 20 and all(said[name] in text for name in linked)


def test_a_verdict_of_a_claim_that_is_not_there():
    link = "[x](../notebooks/13_the_ledger.ipynb#nonsense)"
    with pytest.raises(PublishError, match="'nonsense', which the ledger does not have"):
        site.with_verdicts(f"see {link}", {"formula": "holds"})


@pytest.mark.skipif(not find_browser(), reason="no browser to print it")
def test_the_cheat_sheet_on_paper_has_two_pages_of_a4(built):
    printed = (built / "docs" / "cheat_sheet.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", printed)) == 2
    sizes = {
        tuple(round(float(side)) for side in box.split())
        for box in re.findall(rb"/MediaBox \[([^\]]+)\]", printed)
    }
    assert sizes == {(0, 0, 595, 842)}


# ---------------------------------------------------------------- how it is made


def notebook_of(*outputs, source="show()"):
    cells = [
        nbformat.v4.new_markdown_cell("# 00 · One"),
        nbformat.v4.new_code_cell(source, outputs=list(outputs)),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def picture_with(alt):
    return nbformat.v4.new_output(
        "display_data", data={"image/png": "iVBORw0KGgo=\n"}, metadata={"image/png": {"alt": alt}}
    )


def markdown(text):
    return nbformat.v4.new_output("display_data", data={"text/markdown": text, "text/plain": "..."})


def test_outputs_become_text_in_their_order(tmp_path):
    printed = [
        nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("before", "after")
    ]
    outputs = (
        printed[0],
        markdown("### claim"),
        picture_with('a "b": $c$'),
        markdown("*Its **caption**.*"),
        printed[1],
    )
    cells = site.page_of_notebook(notebook_of(*outputs), "notebooks/00_one.ipynb", tmp_path).cells
    _, _, code, heading, figure, rest = cells
    assert [output.text for output in code.outputs] == ["before"]
    assert heading.source == "### claim"
    assert (
        figure.source == '```{figure} 00_one_0.png\n:alt: "a \\"b\\": $c$"\n\nIts **caption**.\n```'
    )
    assert (tmp_path / "00_one_0.png").read_bytes() == b"\x89PNG\r\n\x1a\n"
    assert (
        rest.source == ""
        and rest.metadata.tags == ["remove-input"]
        and rest.outputs[0].text == "after"
    )


@pytest.fixture
def small(tmp_path):
    """A course of one lesson."""
    root = tmp_path / "course"
    texts = {
        "README.md": "# A course\n\n[one](notebooks/00_one.ipynb) [licence](LICENSE)\n",
        "LICENSE": "free\n",
        "docs/cheat_sheet.md": (
            "# Cheat sheet\n\n[`formula`](../notebooks/13_the_ledger.ipynb#formula)\n"
        ),
        "exercises/README.md": "# Exercises\n",
        "notebooks/STYLE.md": "# Style\n",
        "CONTRIBUTING.md": "# Contributing\n",
        "solutions/00_x/grader.py": "secret\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    nbformat.write(notebook_of(), root / "notebooks" / "00_one.ipynb")
    nbformat.write(
        notebook_of(markdown("### formula"), markdown("Verdict: **holds**")),
        root / "notebooks" / "13_the_ledger.ipynb",
    )
    return root


def try_to_build(root, out):
    """Apart from this process, whose warnings are errors; gives the message of the error, or
    nothing.
    """
    code = (
        "import sys; from pathlib import Path; from course.publish import pdf, site\n"
        "try: site.build(Path(sys.argv[2]), root=Path(sys.argv[1]))\n"
        "except pdf.PublishError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, root, out], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_link_that_leads_nowhere_is_an_error_and_the_old_site_stays(small, tmp_path):
    out = tmp_path / "site"
    out.mkdir()
    (out / "searchindex.js").write_text("of an earlier site")
    with (small / "README.md").open("a") as file:
        file.write("\n[two](notebooks/02_two.ipynb) [solution](solutions/00_x/grader.py)\n")
    message = try_to_build(small, out)
    assert (
        "index.md:5: WARNING" in message
        and "02_two.ipynb" in message
        and "solutions/00_x/grader.py" in message
    )
    assert [path.name for path in out.iterdir()] == ["searchindex.js"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["course", "site"], (
        "nothing half-made stays"
    )


def test_a_file_that_is_linked_to_can_be_downloaded(small, tmp_path):
    site.lay_out(tmp_path, root=small)
    assert (tmp_path / "LICENSE").read_text() == "free\n"
    assert not (tmp_path / "solutions").exists()


def test_the_poster_is_a_page_with_a_description(small, tmp_path, monkeypatch):
    entries = ledger.look_up(asked=[ledger.find("formula")])
    monkeypatch.setattr(ledger, "look_up", lambda **asked: entries)
    site.lay_out(tmp_path, root=small)
    page = (tmp_path / site.POSTER).read_text()
    assert f":alt: {poster.alt(entries)}" in page
    assert "docs/poster" in (tmp_path / "index.md").read_text()
    for name in ("ledger.svg", "ledger.pdf"):
        assert f"_static/{name}" in page and (tmp_path / "_static" / name).is_file()


def test_where_no_browser_is_the_sheet_on_paper_is_not_promised(small, tmp_path, monkeypatch):
    (entry,) = ledger.look_up(asked=[ledger.find("formula")])
    for browser_found, promised in ((None, False), ("chromium", True)):
        monkeypatch.setattr(site, "find_browser", lambda found=browser_found: found)
        folder = tmp_path / str(promised)
        folder.mkdir()
        site.lay_out(folder, root=small)
        text = (folder / site.SHEET).read_text()
        assert f"#formula): *{entry.said}*" in text and ("cheat_sheet.pdf" in text) == promised


def test_other_files_are_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PublishError, match="choose another folder with --out"):
        site.build(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


# ---------------------------------------------------------------- in a browser


in_a_browser = pytest.mark.skipif(
    not browser.find_browser(),
    reason=f"no browser: none of {', '.join(browser.BROWSERS)} is on the PATH",
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture(scope="module")
def address(built):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=built)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def asked():
    """Addresses outside the site that any page asked for."""
    return []


@pytest.fixture(scope="module")
def page(address, asked):
    """A page of a browser to which everything outside the site is out of reach."""
    pytest.importorskip("playwright.sync_api")

    def answer(route):
        if route.request.url.startswith(address):
            route.continue_()
        else:
            asked.append(route.request.url)
            route.abort()

    with browser.open_page() as page:
        page.context.route("**", answer)
        yield page


def open_at(page, address):
    """Open a page and wait for its formulas."""
    page.goto(address)
    page.evaluate("window.MathJax && MathJax.startup.promise")


def set_theme(page, name):
    """Choose Light or Dark from the menu, by keyboard."""
    page.locator(".theme-switch-button:visible").press("Enter")
    page.get_by_role("button", name=name, exact=True).press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == name.lower()


LOOK = """() => {
    const all = query => [...document.querySelectorAll(query)], images = [...document.images];
    const source = image => image.src;
    const text = element => element.textContent.replaceAll(/<math.*?<\\/math>/g, '');
    return {
        formulas: all('mjx-container').length,
        wrong: all('mjx-merror, [data-mjx-error]').map(formula => formula.outerHTML),
        missing: images.filter(image => !image.complete || !image.naturalWidth).map(source),
        silent: images.filter(image => !image.alt).map(source),
        wide: document.documentElement.scrollWidth > innerWidth,
        text: all('article p, article li, article td')
            .filter(element => !element.querySelector('code')).map(text).join(' '),
    };
}"""


@pytest.fixture(scope="module")
def looks(page, address):
    """What is wrong with each page: what failed to load, its formulas and pictures, axe's finds."""
    axe = browser.axe()
    failed, errors, found = [], [], {}
    page.on(
        "response", lambda response: failed.append(response.url) if response.status >= 400 else None
    )
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_at(page, address)
    set_theme(page, "Light")
    for place in [
        "index",
        "docs/cheat_sheet",
        *LESSONS,
        "docs/grading",
        "exercises/02_batch_norm/02_batch_norm",
    ]:
        place = place.removesuffix(".ipynb") + ".html"
        open_at(page, address + place)
        look = page.evaluate(LOOK)
        page.evaluate(browser.ONE_OF_EACH_KIND)
        page.evaluate(axe)
        look["light"] = page.evaluate(browser.RUN_AXE, {})
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        look["dark"] = page.evaluate(browser.RUN_AXE, {"runOnly": ["color-contrast"]})
        found[place] = look
    return {"pages": found, "failed": failed, "errors": errors}


@in_a_browser
def test_no_request_leaves_and_none_fails(looks, asked):
    assert len(looks["pages"]) == 18
    assert asked == [] and looks["failed"] == [] and looks["errors"] == []


@in_a_browser
def test_formulas_are_set(looks):
    for place, look in looks["pages"].items():
        assert look["wrong"] == [], place
        assert not re.search(r"\$\$|\\(frac|sigma|gamma|sqrt|sum|text)\b", look["text"]), place
    assert looks["pages"][f"{FORMULAS}.html"]["formulas"] > 100


@in_a_browser
def test_every_picture_is_there_and_has_a_text(looks):
    for place, look in looks["pages"].items():
        assert look["missing"] == look["silent"] == [], place


@in_a_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(looks, theme):
    assert {place: look[theme] for place, look in looks["pages"].items() if look[theme]} == {}


@in_a_browser
def test_axe_would_find_something(looks, page, address):
    """The pages above are thinned out before axe sees them: it must still see a pale text and a
    picture without a text.
    """
    open_at(page, address + "docs/cheat_sheet.html")
    page.evaluate(
        "document.querySelector('article').insertAdjacentHTML('beforeend', '<p style=\"color:"
        ' #ccc">pale</p><img src="data:,">\')'
    )
    page.evaluate(browser.ONE_OF_EACH_KIND)
    page.evaluate(browser.axe())
    found = " ".join(page.evaluate(browser.RUN_AXE, {}))
    assert "color-contrast: article > p" in found and "image-alt: " in found, found


@in_a_browser
def test_the_search_finds_variance_shift(page, address):
    open_at(page, address)
    page.keyboard.press("Control+k")
    page.keyboard.type("variance shift")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=variance*shift*")
    results = page.locator("#search-results li a")
    results.first.wait_for()
    assert "08_together.html" in " ".join(result.get_attribute("href") for result in results.all())


@in_a_browser
def test_an_explorer_is_its_picture(page, address):
    open_at(page, f"{address}{FORMULAS}.html")
    cell = page.locator(".cell", has_text=EXPLORER)
    picture = cell.locator("xpath=following-sibling::*[1][self::figure]//img")
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 800


@in_a_browser
def test_questions_open_by_mouse_and_by_keyboard(page, address):
    open_at(page, f"{address}{FORMULAS}.html")
    # Solutions and loops are folded, too; a choice begins with its letter.
    letter = page.locator("summary", has_text=re.compile(r"^\s*[A-D]\. "))
    choices = page.locator("details", has=letter)
    assert choices.count() >= 9
    for number, open_it in enumerate(
        (lambda one: one.click(), lambda one: (one.focus(), page.keyboard.press("Enter")))
    ):
        choice = choices.nth(number)
        explanation = choice.locator("p").first
        assert not explanation.is_visible()
        open_it(choice.locator("summary"))
        explanation.wait_for(state="visible")
        assert explanation.inner_text().startswith(("✔ Right.", "✘ Misconception: "))


@in_a_browser
def test_the_dark_mode_is_dark_and_stays_and_pictures_keep_their_white_ground(page, address):
    open_at(page, address)
    set_theme(page, "Dark")
    open_at(page, f"{address}{FORMULAS}.html")
    shades = page.evaluate("""() => {
            const style = query => getComputedStyle(document.querySelector(query));
            const shade = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
            return {
                ground: shade(style('body').backgroundColor),
                text: shade(style('article p').color),
                formula: shade(style('mjx-container svg').color),
                picture: shade(style('figure img').backgroundColor),
                filter: style('figure img').filter,
            };
        }""")
    set_theme(page, "Light")
    assert (
        max(shades["ground"]) < 60 and min(shades["text"]) > 180 and min(shades["formula"]) > 180
    ), json.dumps(shades)
    assert shades["picture"] == [255, 255, 255] and shades["filter"] == "none"


@in_a_browser
def test_on_a_phone_nothing_is_wider_than_the_screen(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    for place in (
        "index.html",
        f"{FORMULAS}.html",
        "docs/cheat_sheet.html",
        "notebooks/13_the_ledger.html",
    ):
        open_at(page, address + place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, place
    page.set_viewport_size({"width": 1280, "height": 720})


@in_a_browser
def test_a_formula_that_scrolls_can_be_reached_by_the_keyboard(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    open_at(page, f"{address}{FORMULAS}.html")
    scrolling = (
        "[...document.querySelectorAll('mjx-container[display=\"true\"]')].filter(one =>"
        " one.scrollWidth > one.clientWidth)"
    )
    page.wait_for_function(f"{scrolling}.every(one => one.tabIndex === 0)")
    assert page.evaluate(f"{scrolling}.length") >= 1
    page.set_viewport_size({"width": 1280, "height": 720})
