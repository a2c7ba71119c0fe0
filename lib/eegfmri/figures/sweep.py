"""The figure of a sweep: every result over the combinations of parameters, one at a time, in a page that stands alone."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from eegfmri.cache import written_whole
from eegfmri.figures import FONT, plotly_template
from eegfmri.figures.style import INK, PALETTE
from eegfmri.runner.sweep import Sweep


def write_page(found: Sweep) -> Path | None:
    """Draw a sweep into ``sweep.html`` in its folder; do nothing if every combination failed.

    Parameters
    ----------
    found : eegfmri.runner.sweep.Sweep
        What `eegfmri.runner.sweep.sweep` returned.

    Returns
    -------
    pathlib.Path or None
        The page.
    """
    done = [outcome.request for outcome in found.outcomes if outcome.status != "failed"]
    if not done:
        return None
    with written_whole(found.folder / "sweep.html") as temporary:
        temporary.write_text(page(found.chapter, found.swept, done), encoding="utf-8")
    return found.folder / "sweep.html"


def page(chapter: str, swept: Sequence[str], requests: Sequence) -> str:
    """Draw all results of a sweep into one page.

    Parameters
    ----------
    chapter : str
        Name, for the title.
    swept : sequence of str
        Parameters that were given several values.
    requests : sequence of eegfmri.runner.execution.Request
        Executed combinations.

    Returns
    -------
    str
        HTML with plotly's script in it; a menu chooses the result.
    """
    import plotly.io

    documents = [request.results for request in requests]
    labels = [", ".join(f"{name} = {request.parameters[name]}" for name in swept) for request in requests]
    simulated = any(document["data"].get("simulated") for document in documents)
    figure = results_over(labels, documents)
    body = plotly.io.to_html(figure, include_plotlyjs=True, full_html=False, config={"displaylogo": False})
    mark = "<strong>Simulated recordings.</strong> " if simulated else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Sweep of {escape(chapter)}</title>'
        f"<style>body{{font-family:{FONT};color:{INK};max-width:60rem;margin:2rem auto;padding:0 1rem}}</style></head>"
        f"<body><h1>Sweep of {escape(chapter)} over {escape(', '.join(swept))}</h1>\n"
        f"<p>{mark}{len(documents)} combinations. Dots are results, whiskers their 95 % intervals within a run; the spread of the dots "
        f"is what the swept parameters do.</p>\n{body}</body></html>\n"
    )


def results_over(labels: Sequence[str], documents: Sequence[dict]):
    """Draw each result over combinations; a menu chooses which.

    Parameters
    ----------
    labels : sequence of str
        Names of the combinations.
    documents : sequence of dict
        Their results.json.

    Returns
    -------
    plotly.graph_objects.Figure
        Values with whiskers where a result has an interval.
    """
    import plotly.graph_objects as go

    found = [{result["key"]: result for result in document["results"]} for document in documents]
    keys = list(dict.fromkeys(key for one in found for key in one))

    def trace(key: str) -> dict:
        results = [one.get(key, {}) for one in found]
        values = [result.get("value") for result in results]
        reach = {
            side: [
                abs(result[side] - result["value"])
                if result.get(side) is not None and result["value"] is not None
                else 0
                for result in results
            ]
            for side in ("low", "high")
        }
        return {"y": [values], "error_y.array": [reach["high"]], "error_y.arrayminus": [reach["low"]]}

    first = trace(keys[0])
    figure = go.Figure()
    figure.add_scatter(
        x=list(labels), y=first["y"][0], mode="markers", marker={"size": 9, "color": PALETTE[0]},
        error_y={"array": first["error_y.array"][0], "arrayminus": first["error_y.arrayminus"][0], "symmetric": False,
                 "color": PALETTE[5]},
    )  # fmt: skip
    units = {key: next((one[key].get("unit") for one in found if key in one), "") for key in keys}
    buttons = [
        {
            "label": key,
            "method": "update",
            "args": [trace(key), {"yaxis.title.text": f"{key} ({units[key]})" if units[key] else key}],
        }
        for key in keys
    ]
    figure.update_layout(
        template=plotly_template(), height=480,
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.12, "yanchor": "bottom"}],
    )  # fmt: skip
    figure.update_yaxes(title=buttons[0]["args"][1]["yaxis.title.text"])
    return figure
