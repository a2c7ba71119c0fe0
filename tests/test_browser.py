"""The built book in a browser, opened from files: nothing fails or is too wide, live figures are drawn, everyone can read it."""

import os
import time
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest

from book_project import REPOSITORY
from eegfmri.runner import browser, pdf
from page_checks import CONTRAST

HTML = REPOSITORY / "book" / "_build" / "html"
PAGES = sorted(
    path.relative_to(HTML).with_suffix("").as_posix()
    for path in HTML.rglob("*.html")
    if HTML / "_static" not in path.parents and path.name != "index.html"
)
WIDTHS = (1400, 800, 400)

#: Contrast that WCAG 2.1 (1.4.3) asks of text.
LEAST_CONTRAST = 4.5

#: A checker of accessibility, https://github.com/dequelabs/axe-core: .ci/run fetches it where it can.
AXE = Path(os.environ.get("EEGFMRI_AXE") or REPOSITORY / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.executable() is None, reason="needs Chromium, which .ci/run installs"),
]
book = pytest.mark.book

# Everything is shown as it is in the end, and at once.
SETTLED = """(() => {
  const style = document.createElement("style");
  style.textContent = "* { transition: none !important; animation: none !important }";
  document.head.append(style);
  return Promise.all([window.eegfmri?.drawAll(), window.MathJax?.startup?.promise]).then(() => true);
})()"""

READ_CONTRAST = (
    "((selector) => {"
    + CONTRAST
    + """
  return [...document.querySelectorAll(selector)].filter(e => e.getClientRects().length).map(e => {
    const style = getComputedStyle(e);
    return [contrast(e instanceof SVGElement ? style.fill : style.color, e), e.textContent.trim().slice(0, 50)];
  });
})(%s)"""
)

#: Captions, the label of simulated recordings, the boxes about recordings, and what is written along axes.
READ = (
    ".eegfmri-figure figcaption, .eegfmri-simulated-mark, .eegfmri-data, .eegfmri-data strong, "
    ".eegfmri-graph :is(.xtick, .ytick) text, .eegfmri-graph :is(.xtitle, .ytitle)"
)

# Drawings and formulae are one thing each for it, named outside; their hundreds of parts would take it minutes.
AXE_RUN = """axe.run(
  {exclude: [["mjx-container"], [".main-svg"]]}, {resultTypes: ["violations"], preload: false, ...%s}
).then(found => found.violations
  .filter(rule => ["serious", "critical"].includes(rule.impact))
  .map(rule => `${rule.id}: ${rule.nodes.length}, first ${rule.nodes[0].html.slice(0, 120)}`))"""


@pytest.fixture(scope="module")
def page():
    with browser.browsing() as opened:
        yield opened


def opened(page, path: Path, scheme: str = "light"):
    """Open a file in the browser's first size and in the theme that the system prefers, and wait for all it draws."""
    page.prefer(scheme)
    page.resize(WIDTHS[0], 1000)
    page.open(path.as_uri())
    page.evaluate(SETTLED)
    return page


def too_wide(page) -> list[int]:
    """Return the widths at which the page scrolls sideways."""
    found = []
    for width in WIDTHS:
        page.resize(width, 1000)
        time.sleep(0.3)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(width)
    return found


@pytest.fixture(scope="module")
def look(page):
    """Look at a page of the book once, in both themes and at every width, and return what was found by what was looked for."""

    @cache
    def looked(name: str) -> dict[str, list]:
        opened(page, HTML / f"{name}.html")
        found: dict[str, list] = {"faint": [], "axe": []}
        undrawn = (
            "[...document.querySelectorAll('.eegfmri-graph')].filter(g => !g.querySelector('.main-svg')).map(g => g.id)"
        )
        found["undrawn"] = page.evaluate(undrawn)
        if AXE.is_file():
            page.call("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
        for theme, rules in (("light", "{}"), ("dark", '{runOnly: ["color-contrast"]}')):
            page.evaluate(
                f"document.documentElement.dataset.theme = {theme!r}; window.eegfmri.drawAll().then(() => true)"
            )
            read = page.evaluate(READ_CONTRAST % repr(READ))
            found["faint"] += [(theme, *text) for text in read if text[0] < LEAST_CONTRAST]
            if AXE.is_file():
                found["axe"] += [(theme, said) for said in page.evaluate(AXE_RUN % rules)]
        found |= {"wide": too_wide(page), "failed": list(page.failed), "messages": list(page.messages)}
        return found

    return looked


@book
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_complaint_draws_its_figures_and_is_nowhere_too_wide(look, name):
    found = look(name)
    assert {what: found[what] for what in ("undrawn", "wide", "failed", "messages") if found[what]} == {}


@book
@pytest.mark.parametrize("name", PAGES)
def test_captions_labels_and_axes_can_be_read_in_the_dark_and_in_the_light(look, name):
    assert look(name)["faint"] == []


@book
@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core, which .ci/run fetches where npm's registry answers")
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_serious_fault_of_accessibility(look, name):
    assert look(name)["axe"] == []


@book
def test_a_page_follows_the_system_and_so_do_its_figures(page):
    inks = []
    for scheme in ("dark", "light"):
        opened(page, HTML / "recordings" / "coupling.html", scheme)
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        inks.append(page.evaluate("getComputedStyle(document.querySelector('.eegfmri-graph .xtick text')).fill"))
    assert inks[0] != inks[1]


@book
def test_the_search_finds_a_word_and_shows_where_it_stands(page):
    page.open(f"{(HTML / 'search.html').as_uri()}?q={quote('haemodynamic')}")
    page.wait("document.querySelectorAll('#search-results li p').length > 1")
    found = page.evaluate("[...document.querySelectorAll('#search-results li p')].map(p => p.textContent)")
    assert any("haemodynamic" in text.lower() for text in found)
    assert (page.failed, page.messages) == ([], [])


@book
def test_on_paper_solutions_stand_open_notes_stand_inline_and_no_button_is_left(page):
    opened(page, HTML / "recordings" / "recording.html", "dark")
    page.prefer("dark", "print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    try:
        shown = page.evaluate("""({
          solutions: [...document.querySelectorAll('.solution > :not(.admonition-title)')].map(e => getComputedStyle(e).visibility),
          notes: [...document.querySelectorAll('aside.margin')].map(e => getComputedStyle(e).float),
          buttons: [...document.querySelectorAll('.modebar-container, .slider-container, .copybtn, .toggle-button')]
            .filter(e => e.getClientRects().length).map(e => e.className.baseVal ?? e.className),
          ground: getComputedStyle(document.body).backgroundColor,
          wide: [...document.querySelectorAll('.eegfmri-graph .main-svg')].filter(e => e.clientWidth > 700).length,
        })""")
    finally:
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert len(shown["solutions"]) >= 2
    assert set(shown["solutions"]) == {"visible"}
    assert len(shown["notes"]) >= 2
    assert set(shown["notes"]) == {"none"}
    assert (shown["buttons"], shown["ground"], shown["wide"]) == ([], "rgb(255, 255, 255)", 0)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@book
def test_a_page_is_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "build_dir", lambda: tmp_path)
    monkeypatch.setattr(pdf, "html_dir", lambda: HTML)
    [printed] = pdf.print_book(["intro"])
    assert printed == tmp_path / "pdf" / "intro.pdf"
    assert printed.read_bytes().startswith(b"%PDF")


# --- the checks can fail ---------------------------------------------------------------------------------------------


def test_a_page_that_complains_is_too_wide_and_faint_is_seen(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        "<title>x</title><script src='gone.js'></script><script>console.error('alas'); undefined.x</script>"
        "<div style='width: 900px'><p class='eegfmri-data' style='color: #ccc; background: #fff'>Faint</p></div>"
    )
    opened(page, path)
    assert too_wide(page) == [800, 400]
    assert [text for contrast, text in page.evaluate(READ_CONTRAST % repr(READ)) if contrast < LEAST_CONTRAST] == [
        "Faint"
    ]
    assert len(page.failed) == 1
    assert len(page.messages) == 3


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core, which .ci/run fetches where npm's registry answers")
def test_a_serious_fault_of_accessibility_is_seen(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<html lang='en'><title>x</title><main><h1>x</h1><input type='text'></main></html>")
    opened(page, path)
    page.call("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
    assert [said.split(":")[0] for said in page.evaluate(AXE_RUN % "{}")] == ["label"]


SORTABLE = """<!doctype html><html><head><meta charset="utf-8"><script src="{script}"></script></head><body><div class="cell_output">
<table class="dataframe"><thead><tr><th></th><th>r</th><th>kind</th></tr></thead><tbody>{rows}</tbody></table></div></body></html>"""


def test_a_table_of_results_is_sorted_by_a_click_and_by_the_keyboard(page, tmp_path):
    values = ("0.10 [0.05, 0.2]", "−0.30", "–", "1,200", "2e-3")
    rows = "".join(f"<tr><th>row {i}</th><td>{value}</td><td>{'ab'[i % 2]}</td></tr>" for i, value in enumerate(values))
    script = (REPOSITORY / "book" / "_static" / "eegfmri.js").as_uri()
    file = tmp_path / "table.html"
    file.write_text(SORTABLE.format(script=script, rows=rows), encoding="utf-8")
    page.open(file.as_uri())

    def order(press=""):
        return page.evaluate(
            f"{press}; [...document.querySelectorAll('tbody th')].map(th => th.textContent.slice(-1)).join('')"
        )

    def press(column):
        return f"document.querySelectorAll('.eegfmri-sort')[{column}].click()"

    assert order() == "01234"
    assert order(press(0)) == "30412"  # the dash has no number and stays below
    assert page.evaluate("document.querySelectorAll('th[aria-sort]').length") == 1
    assert order(press(0)) == "14032"
    assert order(press(0)) == "01234"
    assert order(press(1)) == "13024"
    # An empty head sorts nothing; the others can be reached without a mouse.
    assert page.evaluate("[...document.querySelectorAll('.eegfmri-sort')].map(b => b.tabIndex).join()") == "0,0"


def test_a_short_table_or_one_with_merged_cells_is_left_alone(page, tmp_path):
    script = (REPOSITORY / "book" / "_static" / "eegfmri.js").as_uri()
    short = "".join(f"<tr><th>row {i}</th><td>{i}</td><td>a</td></tr>" for i in range(3))
    merged = "".join(f"<tr><th>row {i}</th><td colspan=2>{i}</td></tr>" for i in range(7))
    for number, rows in enumerate((short, merged)):
        file = tmp_path / f"{number}.html"
        file.write_text(SORTABLE.format(script=script, rows=rows), encoding="utf-8")
        page.open(file.as_uri())
        assert page.evaluate("document.querySelectorAll('.eegfmri-sort').length") == 0
