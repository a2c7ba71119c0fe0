"""Figures of the book: one look, one way to show them, a caption that says when recordings are simulated.

The modules of this package return plotly or matplotlib figures; a chapter hands them to `show`. A live figure carries
its data as JSON and draws itself once plotly's script is there: the book loads that script from its own folder, a
stand-alone page carries it, and in an interactive session `show` brings it along with the first figure.
"""

import base64
import io
import os
import sys
from html import escape

from eegfmri.cache import digest
from eegfmri.errors import RequestError
from eegfmri.figures.style import GRID, INK, PALETTE
from eegfmri.results import emit

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

#: plotly's configuration: the figure follows the page's width, and a finger scrolls the page instead of zooming.
PLOTLY_CONFIG = {"responsive": True, "displaylogo": False, "displayModeBar": "hover", "scrollZoom": False}

SIMULATED_PREFIX = "Simulated recordings."

_shown = 0
_plotly_brought = False


def use_theme() -> None:
    """Give seaborn and matplotlib the book's look; call it before a static figure is made."""
    import seaborn

    seaborn.set_theme(
        context="notebook",
        style="ticks",
        palette=list(PALETTE),
        rc={
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "figure.dpi": 100,
            "figure.figsize": (7.0, 3.8),
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "grid.color": GRID,
            "legend.frameon": False,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        },
    )


def plotly_template():
    """Return the book's look as a plotly template.

    Returns
    -------
    plotly.graph_objects.layout.Template
        Complete in itself; `show` gives it to every figure that has not chosen another.
    """
    import plotly.graph_objects as go

    axis = {
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": INK,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "title": {"standoff": 8},
        "zeroline": False,
    }
    return go.layout.Template(
        layout={
            "colorway": list(PALETTE),
            "colorscale": {"sequential": "Viridis", "diverging": "RdBu_r"},
            "font": {"family": FONT, "size": 13, "color": INK},
            "hoverlabel": {"font": {"family": FONT}},
            "hovermode": "closest",
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
            "margin": {"l": 48, "r": 16, "t": 48, "b": 44},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "title": {"x": 0, "xanchor": "left", "xref": "paper", "font": {"size": 15}},
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def show(figure, caption: str, *recording_sets, alt: str | None = None, recorded: bool = True) -> None:
    """Show a figure with its caption in the page.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure, matplotlib.figure.Figure, or what holds one in ``figure``
        Live figures stay live and follow the page's width; static ones become an image at twice the screen's
        resolution and are closed. Axes and seaborn's grids are taken for their figure.
    caption : str
        What is seen and what to notice, in plain text. "Simulated recordings." is put before it when any of the
        recordings is simulated.
    *recording_sets : RecordingSet
        The recordings that the figure is made from; anything with an attribute ``simulated`` will do. A figure of real recordings
        alone says so in the page's code, so that it needs no label on a page that also has simulated ones.
    alt : str or None
        Description for those who do not see the figure; the caption if None.
    recorded : bool
        False for a formula or a drawing, which shows no recordings and so bears no label on a page from simulated ones.

    Raises
    ------
    RequestError
        If the figure is empty or of another kind, or recordings are given with ``recorded=False``.
    """
    if recording_sets and not recorded:
        raise RequestError("A figure was shown with recordings and with recorded=False: leave one of the two out.")
    simulated = any(recordings.simulated for recordings in recording_sets)
    text = f"{SIMULATED_PREFIX} {caption}" if simulated else caption
    real = bool(recording_sets) and not simulated
    html = figure_html(figure, text, alt=alt, simulated=simulated, recorded=recorded, real=real)
    emit({"text/html": html, "text/plain": text}, {"figure": {"simulated": simulated}})


def figure_html(
    figure,
    caption: str,
    *,
    alt: str | None = None,
    simulated: bool = False,
    recorded: bool = True,
    real: bool = False,
) -> str:
    """Return the ``<figure>`` element that `show` displays, with ``caption`` as it is given."""
    global _shown
    _shown += 1
    if hasattr(figure, "to_plotly_json"):
        kind, body = "live", _live(figure, alt or caption)
    else:
        kind, body = "static", _static(figure, alt or caption)
    label = ' data-recorded="real"' if real else "" if recorded else ' data-recorded="false"'
    label = ' data-simulated="true"' if simulated else label
    lead, rest = (SIMULATED_PREFIX, caption.removeprefix(SIMULATED_PREFIX)) if simulated else ("", caption)
    lead = f'<strong class="eegfmri-simulated-mark">{escape(lead)}</strong>' if lead else ""
    return (
        f'<figure class="eegfmri-figure eegfmri-{kind}"{label}>\n{body}\n'
        f"<figcaption>{lead}{escape(rest)}</figcaption>\n</figure>"
    )


def _live(figure, alt: str) -> str:
    global _plotly_brought
    import plotly.io

    if not figure.data and not figure.layout.shapes and not figure.layout.images:
        raise RequestError("An empty plotly figure was shown: add a trace before show().")
    figure = type(figure)(figure)
    if figure.layout.template == plotly.io.templates[plotly.io.templates.default] or not figure.layout.template.layout:
        figure.update_layout(template=plotly_template())
    height = figure.layout.height or 420
    figure.update_layout(width=None, height=height, autosize=True)
    # Inside a script element, "</" would end it.
    document = plotly.io.to_json(figure, validate=False).replace("</", "<\\/")
    name = f"figure-{digest(document, _shown)}"
    # The script draws at once where plotly is loaded already, else when the page has loaded it.
    script = (
        "(function(){"
        f'var d=document.getElementById("{name}");if(!d){{return;}}'
        "var f=JSON.parse(d.parentNode.querySelector(\"script[type='application/json']\").textContent);"
        f"function draw(){{if(window.Plotly&&!d.dataset.drawn){{d.dataset.drawn=1;"
        f"Plotly.newPlot(d,f.data,f.layout,{_json(PLOTLY_CONFIG)});}}}}"
        'if(window.Plotly){draw();}else{window.addEventListener("load",draw);}'
        "})();"
    )
    brought = ""
    if "EEGFMRI_RUNNER" not in os.environ and not _plotly_brought and "IPython" in sys.modules:
        from plotly.offline import get_plotlyjs

        brought, _plotly_brought = f"<script>{get_plotlyjs()}</script>", True
    return (
        f'{brought}<div class="eegfmri-graph" id="{name}" role="img" aria-label="{escape(alt)}" '
        f'style="height:{height}px"></div>\n'
        f'<script type="application/json">{document}</script>\n<script>{script}</script>'
    )


def _static(figure, alt: str) -> str:
    holder = figure
    # Axes and seaborn's grids hold their figure; a subfigure's own root is taken.
    if not hasattr(figure, "savefig") or not hasattr(figure, "axes") or not isinstance(figure.axes, list):
        figure = getattr(figure, "figure", None)
    if figure is None or not hasattr(figure, "savefig"):
        raise RequestError(f"A {type(holder).__name__} was shown: pass a plotly or matplotlib figure to show().")
    if not any(axes.has_data() or axes.texts or axes.tables for axes in figure.axes):
        raise RequestError("An empty matplotlib figure was shown: draw into it before show().")
    import matplotlib.pyplot

    stream = io.BytesIO()
    # Twice the resolution of the screen; no software tag, so that equal figures are equal bytes.
    figure.savefig(stream, format="png", dpi=200, bbox_inches="tight", metadata={"Software": None})
    matplotlib.pyplot.close(figure)
    body = stream.getvalue()
    # Width and height stand in bytes 16 to 24 of a PNG.
    width, height = (int.from_bytes(body[start : start + 4], "big") // 2 for start in (16, 20))
    return (
        f'<img src="data:image/png;base64,{base64.b64encode(body).decode()}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}">'
    )


def _json(value: object) -> str:
    import json

    return json.dumps(value, separators=(",", ":"))
