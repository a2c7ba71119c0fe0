"""Live figures as pages hold them: the same numbers in fewer characters, no script of their own, a name for those who do not see them."""

import base64
import json

import numpy as np
import plotly.graph_objects as go
import pytest
from bs4 import BeautifulSoup

from eegfmri.figures import figure_html
from eegfmri.runner import live
from page_checks import problems


def unpacked(part: dict) -> np.ndarray:
    """Read an array as plotly does."""
    array = np.frombuffer(base64.b64decode(part["bdata"]), dtype=f"<{part['dtype']}")
    return array.reshape([int(size) for size in part["shape"].split(",")]) if "shape" in part else array


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (list(range(100)), "i1"),
        (list(range(0, 30_000, 100)), "i2"),
        (list(range(0, 10**9, 10**7)), "i4"),
        ([0.1 * number for number in range(100)], "f4"),
        ([1e200, 0.5] * 20, "f8"),
        ([0.5, None] * 20, "f4"),
        ([[0.5 * number for number in range(30)]] * 4, "f4"),
    ],
)
def test_numbers_stay_what_they_are(values, kind):
    packed = live.packed({"y": values})["y"]
    expected = np.array(
        [[np.nan if value is None else value for value in row] for row in np.atleast_2d(values)], dtype=float
    )
    assert packed["dtype"] == kind
    np.testing.assert_allclose(np.atleast_2d(unpacked(packed)), expected, rtol=1e-7 if kind != "f4" else 6e-8)


def test_numbers_that_plotly_has_packed_are_packed_again_if_that_is_shorter():
    values = np.linspace(0, 1, 50).reshape(5, 10)
    figure = json.loads(go.Figure(go.Heatmap(z=values)).to_json())["data"][0]["z"]
    packed = live.packed({"z": figure})["z"]
    assert (figure["dtype"], packed["dtype"]) == ("f8", "f4")
    np.testing.assert_allclose(unpacked(packed), values, rtol=6e-8)


@pytest.mark.parametrize(
    "values", [["a", "b"] * 20, [True, False] * 20, [1, 2, 3], [[1, 2] * 20, [1] * 20], [{"x": 1}] * 30, []]
)
def test_what_is_no_array_of_numbers_or_is_short_is_left(values):
    assert live.packed({"y": values}) == {"y": values}
    assert live.packed({"customdata": [0.1] * 50}) == {"customdata": [0.1] * 50}


def test_a_figure_on_a_page_is_a_frame_without_a_script_of_its_own():
    figure = go.Figure(go.Scatter(y=[0.25 * number for number in range(200)], name="</script><b>"))
    figure.update_layout(sliders=[{"steps": [{"method": "restyle", "args": [{"y": [[0.5] * 30]}]}]}])
    html = figure_html(figure, 'A "line".')
    held = live.for_page(html)
    page = BeautifulSoup(held, "html.parser")
    assert [script.get("type") for script in page.find_all("script")] == ["application/json"]
    document = json.loads(page.script.get_text())
    assert document["data"][0]["name"] == "</script><b>"
    # Buttons and sliders pass their numbers on as they are.
    assert document["layout"]["sliders"][0]["steps"][0]["args"] == [{"y": [[0.5] * 30]}]
    graph = page.select_one(".eegfmri-frame > .eegfmri-graph")
    assert (graph["role"], graph["aria-label"]) == ("group", 'A "line".')
    assert page.noscript.get_text()
    assert problems('<script src="plotly.min.js"></script>' + held) == []
    assert len(held) < len(html)


def test_a_picture_stays_as_it_is():
    html = '<figure class="eegfmri-figure eegfmri-static"><img src="data:," alt="x"><figcaption>x</figcaption></figure>'
    assert live.for_page(html) == html
