"""The page of a sweep: what varied, the results that the chapter is about, and every other one; it stands alone."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from eegfmri.cache import written_whole
from eegfmri.figures import FONT, plotly_template
from eegfmri.figures.style import GRID, INK, PALETTE
from eegfmri.runner.compare import direction
from eegfmri.runner.sweep import REPETITIONS, Sweep, spread_of


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
    if all(outcome.status == "failed" for outcome in found.outcomes):
        return None
    with written_whole(found.folder / "sweep.html") as temporary:
        temporary.write_text(page(found), encoding="utf-8")
    return found.folder / "sweep.html"


def page(found: Sweep) -> str:
    """Draw all results of a sweep into one page.

    Parameters
    ----------
    found : eegfmri.runner.sweep.Sweep
        At least one of whose combinations was executed.

    Returns
    -------
    str
        HTML with plotly's script in it: what varied, a table of the chapter's headline results with a column for each value, a figure
        whose menu chooses the result, and, folded away, all results and the parameters that did not vary.
    """
    import plotly.io

    requests = [outcome.request for outcome in found.outcomes if outcome.status != "failed"]
    documents = [request.results for request in requests]
    labels = [_named(request.parameters, found.swept) for request in requests]
    keys = list(dict.fromkeys(row["key"] for row in found.spread))
    first = [*found.headline, *(key for key in keys if key not in found.headline)]
    figure = results_over(labels, documents, first)
    drawn = plotly.io.to_html(figure, include_plotlyjs=True, full_html=False, config={"displaylogo": False})
    varied = "; ".join(
        f"<strong>{escape(name)}</strong> = {escape(', '.join(_values(requests, name)))}" for name in found.swept
    )
    failed = len(found.outcomes) - len(requests)
    simulated = any(document["data"].get("simulated") for document in documents)
    headline = f"<h2>Headline results</h2>\n{_table(found, found.headline)}" if found.headline else ""
    held = "".join(
        f"<tr><td>{escape(name)}</td><td><code>{escape(repr(value))}</code></td></tr>"
        for name, value in requests[0].parameters.items()
        if name not in found.swept
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Sweep of {escape(found.chapter)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Sweep of {escape(found.chapter)}</h1>\n"
        f"<p>What varied: {varied}. {'<strong>Simulated recordings.</strong> ' if simulated else ''}{len(requests)} combinations"
        f"{f', and {failed} that failed' if failed else ''}.</p>\n{headline}\n"
        "<h2>One result at a time</h2>\n<p>Dots are results, whiskers their 95 % intervals within a run; the spread of the dots is what "
        f"the swept parameters do.</p>\n{drawn}\n"
        f"<details><summary>All {len(keys)} results</summary>{_table(found, keys)}</details>\n"
        f"<details><summary>Parameters that did not vary</summary><table>{held}</table></details></body></html>\n"
    )


_STYLE = (
    f"body{{font-family:{FONT};color:{INK};max-width:68rem;margin:2rem auto;padding:0 1rem;line-height:1.5}}"
    "h2{font-size:1.15rem;font-weight:600;margin-top:2rem}table{border-collapse:collapse;font-size:.88rem}"
    f"td,th{{border-bottom:1px solid {GRID};padding:.3rem .65rem;text-align:left;vertical-align:top;font-variant-numeric:tabular-nums}}"
    "th{font-weight:600}.wide{overflow-x:auto}details{margin:1rem 0}summary{cursor:pointer}"
)


def _named(parameters: Mapping[str, object], names: Sequence[str]) -> str:
    return ", ".join(f"{name} = {parameters[name]}" for name in names)


def _values(requests: Sequence, name: str) -> list[str]:
    return list(dict.fromkeys(str(request.parameters[name]) for request in requests))


def _table(found: Sweep, keys: Sequence[str]) -> str:
    """Return a table with a row per result and a column per value; nothing is averaged but repetitions."""
    done = [outcome for outcome in found.outcomes if outcome.status != "failed"]
    # Where seeds alone vary, each has its column; elsewhere they are what the others are averaged over.
    columns = found.settings or found.swept
    rows = found.spread if found.settings else spread_of(done, found.swept)
    heads = list(dict.fromkeys(_named(outcome.request.parameters, columns) for outcome in done))
    cells = {(row["key"], _named(row, columns)): row for row in rows}
    over = {} if found.settings else {row["key"]: row for row in found.spread}
    repeated = [name for name in found.swept if name in REPETITIONS]
    head = [*heads, *([f"mean ± SD over {' and '.join(repeated)}"] if over else [])]
    body = []
    for key in keys:
        unit = next((row["unit"] for row in rows if row["key"] == key), "")
        better = {"higher": "higher is better", "lower": "lower is better", None: ""}[direction(key)]
        values = [_cell(cells.get((key, column))) for column in heads] + ([_cell(over.get(key))] if over else [])
        told = ", ".join(filter(None, (unit, better)))
        body.append(
            f"<tr><td><code>{escape(key)}</code>{f'<br><small>{escape(told)}</small>' if told else ''}</td>"
            + "".join(f"<td>{value}</td>" for value in values)
            + "</tr>"
        )
    mean = f"<p>Mean ± SD over {escape(' and '.join(repeated))}.</p>" if found.settings and repeated else ""
    columns_html = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'{mean}<div class="wide"><table><tr><th>result</th>{columns_html}</tr>{"".join(body)}</table></div>'


def _cell(row: Mapping | None) -> str:
    if row is None:
        return ""
    return f"{row['mean']:.4g}" + (f" ± {row['sd']:.2g}" if row["sd"] is not None else "")


def results_over(labels: Sequence[str], documents: Sequence[dict], keys: Sequence[str] | None = None):
    """Draw each result over combinations; a menu chooses which.

    Parameters
    ----------
    labels : sequence of str
        Names of the combinations.
    documents : sequence of dict
        Their results.json.
    keys : sequence of str or None
        Results in the order of the menu, the first of which is drawn; all in the order of the page if None.

    Returns
    -------
    plotly.graph_objects.Figure
        Values with whiskers where a result has an interval.
    """
    import plotly.graph_objects as go

    found = [{result["key"]: result for result in document["results"]} for document in documents]
    keys = list(dict.fromkeys(key for one in found for key in one)) if keys is None else list(keys)

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
