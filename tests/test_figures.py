"""Figures: one element with a caption, which says when recordings are simulated; colours that differ for everyone."""

import json
import re
from itertools import pairwise
from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup

from eegfmri import figures
from eegfmri.errors import RequestError
from eegfmri.figures import style
from eegfmri.recordings import STAGES
from page_checks import problems

SIMULATED = SimpleNamespace(simulated=True)
REAL = SimpleNamespace(simulated=False)


@pytest.fixture
def shown(monkeypatch):
    """Collect the HTML that `show` displays."""
    pages = []
    monkeypatch.setenv("EEGFMRI_RUNNER", "1")
    monkeypatch.setattr(figures, "emit", lambda bundle, payload: pages.append(bundle["text/html"]))
    return pages


def live(**layout):
    import plotly.graph_objects as go

    return go.Figure(go.Scatter(y=[1, 2, 3], name="</script><b>"), layout=layout)


def static():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    return figure


@pytest.mark.parametrize("make", [live, static])
def test_a_shown_figure_passes_the_checks_of_the_book(shown, make):
    figures.show(make(), "What is <seen> & noticed.", REAL)
    scripts = '<script src="plotly.min.js"></script>'
    assert problems(scripts + shown[0]) == []
    page = BeautifulSoup(shown[0], "html.parser")
    assert page.figcaption.get_text() == "What is <seen> & noticed."


@pytest.mark.parametrize("make", [live, static])
def test_one_simulated_set_is_enough_to_say_so(shown, make):
    figures.show(make(), "Two nights.", REAL, SIMULATED)
    page = BeautifulSoup(shown[0], "html.parser")
    assert page.figcaption.get_text() == "Simulated recordings. Two nights."
    assert page.figure["data-simulated"] == "true"


def test_a_formula_is_declared_and_bears_no_label(shown):
    figures.show(live(), "A curve.", recorded=False)
    page = BeautifulSoup(shown[0], "html.parser")
    assert page.figure["data-recorded"] == "false"
    box = '<div class="eegfmri-data eegfmri-simulated"><strong>Simulated recordings.</strong></div>'
    scripts = '<script src="plotly.min.js"></script>'
    assert problems(scripts + box + shown[0]) == []
    figures.show(live(), "A curve.")
    assert len(problems(scripts + box + shown[1])) == 1
    with pytest.raises(RequestError):
        figures.show(live(), "A curve.", SIMULATED, recorded=False)


def test_alternative_text_is_the_caption_unless_given(shown):
    figures.show(static(), "A line.")
    figures.show(static(), "A line.", alt="It rises.")
    figures.show(live(), "A line.", alt="It rises.")
    pages = [BeautifulSoup(html, "html.parser") for html in shown]
    assert [page.img["alt"] for page in pages[:2]] == ["A line.", "It rises."]
    assert pages[2].select_one("[role=img]")["aria-label"] == "It rises."


def test_a_live_figure_follows_the_width_of_the_page(shown):
    figures.show(live(width=1200, height=300), "A line.")
    page = BeautifulSoup(shown[0], "html.parser")
    document = json.loads(page.find("script", type="application/json").get_text())
    assert document["layout"].get("width") is None
    assert document["layout"]["autosize"] is True
    assert document["layout"]["height"] == 300
    assert '"responsive":true' in shown[0]
    assert document["data"][0]["name"] == "</script><b>"


def test_showing_does_not_change_the_figure(shown):
    figure = live(width=1200)
    before = figure.to_json()
    figures.show(figure, "A line.")
    assert figure.to_json() == before


def test_the_same_figure_twice_has_two_identifiers(shown):
    figure = live()
    figures.show(figure, "A line.")
    figures.show(figure, "A line.")
    names = [re.search(r'id="(figure-[^"]+)"', html)[1] for html in shown]
    assert len(set(names)) == 2


def test_the_book_s_template_is_used_unless_another_was_chosen(shown):
    figures.show(live(), "A line.")
    figures.show(live(template="plotly_dark"), "A line.")
    ways = [
        json.loads(BeautifulSoup(html, "html.parser").find("script", type="application/json").get_text())["layout"][
            "template"
        ]["layout"]["colorway"]
        for html in shown
    ]
    assert ways[0] == list(figures.PALETTE)
    assert ways[1] != ways[0]


def test_a_static_figure_is_closed_and_drawn_at_twice_its_size(shown):
    import matplotlib.pyplot as plt

    figure = static()
    number = figure.number
    figures.show(figure, "A line.")
    assert not plt.fignum_exists(number)
    image = BeautifulSoup(shown[0], "html.parser").img
    import base64

    body = base64.b64decode(image["src"].partition(",")[2])
    assert int.from_bytes(body[16:20], "big") // 2 == int(image["width"])


def test_axes_and_grids_are_taken_for_their_figure(shown):
    figures.show(static().axes[0], "A line.")
    figures.show(SimpleNamespace(figure=static()), "A line.")
    assert all("data:image/png" in html for html in shown)


def test_equal_static_figures_are_equal_bytes(shown):
    figures.show(static(), "A line.")
    figures.show(static(), "A line.")
    assert shown[0] == shown[1]


def test_empty_figures_and_other_things_are_refused(shown):
    import matplotlib.pyplot as plt
    import plotly.graph_objects as go

    for thing in (go.Figure(), plt.figure(), plt.subplots()[0], "a text", None):
        with pytest.raises(RequestError):
            figures.show(thing, "Nothing.")
    plt.close("all")


def test_outside_the_book_the_first_live_figure_brings_plotly_along(shown, monkeypatch):
    import IPython  # noqa: F401 - a session has it

    monkeypatch.delenv("EEGFMRI_RUNNER")
    monkeypatch.setattr(figures, "_plotly_brought", False)
    figures.show(live(), "A line.")
    figures.show(live(), "A line.")
    assert len(shown[0]) > 1_000_000 > len(shown[1])


def test_every_stage_has_its_colour_and_depth_is_darkness():
    def luminance(colour: str) -> float:
        """Return the relative luminance of a colour as WCAG 2 defines it."""
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert tuple(style.STAGE_COLOURS) == STAGES
    sleep = [luminance(style.STAGE_COLOURS[stage]) for stage in STAGES[1:]]
    assert sleep == sorted(sleep, reverse=True)
    assert len({round(luminance(colour), 2) for colour in style.STAGE_COLOURS.values()}) == 4
    # A step in luminance that is seen without any colour at all.
    assert all(a - b > 0.05 for a, b in pairwise(sleep))


@pytest.mark.slow
def test_the_theme_sets_the_palette():
    import matplotlib

    with matplotlib.rc_context():
        figures.use_theme()
        colours = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        assert [matplotlib.colors.to_hex(colour).upper() for colour in colours] == [c.upper() for c in figures.PALETTE]


def test_badges_say_what_was_tested_and_are_legible():
    import pandas as pd

    from eegfmri.figures import ledger

    covered = pd.DataFrame({"empirical": [3, 3, 2, 0], "tested": [0, 1, 2, 0]}, index=["a", "b & c", "d", "e"])
    html = ledger.coverage_badges(covered)
    assert 'aria-label="a: 0 of 3 claims tested"' in html and "b &amp; c: 1 of 3" in html
    assert "e: no empirical claim" in html
    assert [html.count(f'fill="{colour}"') for colour in ledger.BADGE_COLOURS] == [2, 1, 1]
    for colour in (*ledger.BADGE_COLOURS, "#3A424D"):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        luminance = sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))
        assert 1.05 / (luminance + 0.05) >= 4.5
