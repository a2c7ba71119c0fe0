"""Every page of the built book: nothing from outside, no error, no empty figure, simulation labelled.

The checks themselves are tried on pages that are wrong in one way each, so that a green result means something.
"""

import base64
import io
import json
from pathlib import Path

import pytest

from eegfmri import project
from page_checks import loads_from_outside, problems

HTML = project.root() / "book" / "_build" / "html"
PAGES = sorted(path for path in HTML.rglob("*.html") if "_static" not in path.relative_to(HTML).parts)


def made_from_simulation(path: Path) -> bool:
    """Read in the page's results whether its recordings are simulated."""
    results = HTML.parent / "results" / path.relative_to(HTML).with_suffix(".json")
    return results.is_file() and json.loads(results.read_text(encoding="utf-8"))["data"]["simulated"]


@pytest.mark.book
def test_the_book_is_there():
    assert (HTML / "index.html").is_file(), "no built book: run `make book` first"
    assert len(PAGES) > 3


@pytest.mark.book
@pytest.mark.parametrize("path", PAGES, ids=[path.relative_to(HTML).as_posix() for path in PAGES])
def test_page_is_well(path):
    assert problems(path.read_text(encoding="utf-8"), path, made_from_simulation(path)) == []


@pytest.mark.book
def test_every_chapter_has_a_page_with_its_command():
    from eegfmri.runner import chapters

    for name, chapter in chapters.discover().items():
        page = HTML / f"{name}.html"
        assert page.is_file(), name
        if "{reexecute}" in chapter.source:
            text = page.read_text(encoding="utf-8")
            assert f"eegfmri run {name}" in text.replace("</span>", "").replace('<span class="w">', "")
            for parameter in chapter.parameters:
                assert parameter in text


@pytest.mark.book
def test_styles_and_scripts_of_the_book_load_nothing_from_outside():
    loaded = []
    for path in (HTML / "_static").rglob("*.css"):
        loaded += loads_from_outside(f"<style>{path.read_text(encoding='utf-8')}</style>")
    assert loaded == []


# --- the checks can fail ---------------------------------------------------------------------------------------------


def png(colours: int) -> str:
    """Return a small image of one or two colours as an address."""
    from PIL import Image

    image = Image.new("RGB", (4, 4), "white")
    if colours > 1:
        image.putpixel((1, 1), (0, 0, 0))
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


LIVE = (
    '<script src="plotly.min.js"></script><figure class="eegfmri-live"><div></div>'
    '<script type="application/json">{}</script><figcaption>A caption.</figcaption></figure>'
)
BOX = '<div class="eegfmri-data eegfmri-simulated"><strong>Simulated recordings.</strong> By the simulator.</div>'

GOOD = {
    "plain text and an external link": '<p>See <a href="https://example.org">there</a>.</p>',
    "local style": '<link rel="stylesheet" href="_static/x.css"><style>a{background:url(data:,)}</style>',
    "drawn image": f'<figure><img alt="a" src="{png(2)}"><figcaption>A caption.</figcaption></figure>',
    "live figure": LIVE.format('{"data":[{"y":[1,2]}]}'),
    "live figure from bytes": LIVE.format('{"data":[{"y":{"dtype":"f8","bdata":"AAAA"}}]}'),
    "code that looks like markup": "<pre>```{note}\n{term}`x`</pre><code>{term}`x`</code>",
    "labelled simulation": f'{BOX}<figure data-simulated="true"><img alt="a" src="{png(2)}">'
    "<figcaption>Simulated recordings. Two points.</figcaption></figure>",
    "real recordings beside simulated ones": f'{BOX}<figure data-recorded="real"><img alt="a" src="{png(2)}">'
    "<figcaption>Real recordings.</figcaption></figure>",
    "a set in prose": "<p>The classes {W, N1, N2} are three.</p>",
}

BAD = {
    "script from outside": '<script src="https://cdn.example.org/x.js"></script>',
    "script without scheme": '<script src="//cdn.example.org/x.js"></script>',
    "style from outside": '<link rel="stylesheet" href="https://example.org/x.css">',
    "preconnect": '<link rel="preconnect" href="https://fonts.example.org">',
    "image from outside": '<img src="http://example.org/x.png">',
    "responsive image from outside": '<img src="x.png" srcset="x.png 1x, https://example.org/y.png 2x">',
    "frame from outside": '<iframe src="https://example.org"></iframe>',
    "import in a style": "<style>@import 'https://example.org/x.css';</style>",
    "font in a style": "<style>@font-face{src:url( 'https://example.org/x.woff2' )}</style>",
    "background in an attribute": '<div style="background:url(//example.org/x.png)"></div>',
    "module from outside": "<script>import('https://example.org/x.js')</script>",
    "traceback": '<div class="cell_output"><pre>Traceback (most recent call last): x</pre></div>',
    "traceback output": '<div class="output traceback">ValueError</div>',
    "stderr": '<div class="output stderr">a warning</div>',
    "object without a text": '<div class="output text_plain"><pre>&lt;IPython.core.display.Markdown object&gt;</pre></div>',
    "object at an address": '<div class="output text_plain"><pre>&lt;a.B object at 0x7f12ab&gt;</pre></div>',
    "sphinx message": '<div class="system-message">unknown directive</div>',
    "figure without anything": "<figure><figcaption>A caption.</figcaption></figure>",
    "image of one colour": f'<figure><img alt="a" src="{png(1)}"><figcaption>A caption.</figcaption></figure>',
    "broken image": '<figure><img alt="a" src="data:image/png;base64,AA"><figcaption>A caption</figcaption></figure>',
    "live figure without traces": LIVE.format('{"data":[]}'),
    "live figure with an empty trace": LIVE.format('{"data":[{"type":"scatter","x":[],"y":[]}]}'),
    "figure without caption": f'<figure><img alt="a" src="{png(2)}"></figure>',
    "image without description": f'<figure><img src="{png(2)}"><figcaption>A caption.</figcaption></figure>',
    "live figure without plotly": LIVE.format('{"data":[{"y":[1]}]}').replace("plotly.min.js", "x.js"),
    "formula without MathJax": '<div class="math">\\[x\\]</div>',
    "raw role": "<p>The {term}`epoch` is long.</p>",
    "raw role half rendered": "<p>The {term}<code>epoch</code> is long.</p>",
    "raw directive": "<p>```{note} x</p>",
    "raw colon directive": "<p>:::{margin}</p>",
    "substitution": "<p>Version {{ version }}.</p>",
    "simulation without box": f'<figure data-simulated="true"><img alt="a" src="{png(2)}">'
    "<figcaption>Simulated recordings. Two points.</figcaption></figure>",
    "simulation labelled as real": f'{BOX}<figure data-recorded="real" data-simulated="true"><img alt="a" src="{png(2)}">'
    "<figcaption>Points.</figcaption></figure>",
    "simulation without label": f'{BOX}<figure><img alt="a" src="{png(2)}"><figcaption>Points.</figcaption></figure>',
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_page_passes(name):
    assert problems(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_page_is_caught(name):
    assert len(problems(BAD[name])) >= 1


def test_a_page_whose_results_are_simulated_needs_the_box():
    assert problems("<p>Numbers.</p>", simulated=True) == [
        "the page is made from simulated recordings, but no box says so"
    ]


def test_files_and_links_beside_the_page_must_exist(tmp_path):
    page = tmp_path / "page.html"
    (tmp_path / "there.html").touch()
    text = '<script src="gone.js"></script><a href="there.html#x">a</a><a href="nowhere.html">b</a>'
    assert problems(text, page) == [
        "<script> loads gone.js, which is not there",
        "a link leads to nowhere.html, which is not there",
    ]


def test_a_style_sheet_beside_the_page_is_read(tmp_path):
    (tmp_path / "x.css").write_text("@import 'https://example.org/y.css';")
    assert problems('<link rel="stylesheet" href="x.css">', tmp_path / "page.html") == [
        "x.css loads https://example.org/y.css"
    ]
