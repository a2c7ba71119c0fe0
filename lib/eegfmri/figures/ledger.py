"""The ledger on a page: a table of claims with their quotations, and verdicts counted per paper."""

from collections.abc import Collection, Mapping
from html import escape
from typing import TYPE_CHECKING

from eegfmri.figures.style import VERDICT_COLOURS
from eegfmri.ledger.claims import VERDICTS
from eegfmri.ledger.verdicts import counts, table

if TYPE_CHECKING:
    import plotly.graph_objects as go


_KINDS = ("stated", "empirical", "arithmetic", "flag")


def ledger_table(document: Mapping, paper: str, kinds: Collection[str] = _KINDS) -> str:
    """Return the claims of one paper as an HTML table.

    Parameters
    ----------
    document : mapping
        As `eegfmri.ledger.verdicts.verify` returns it.
    paper : str
        Name of the paper.
    kinds : collection of str
        Kinds of claims to show: ``stated``, ``empirical``, ``arithmetic``, ``flag``.

    Returns
    -------
    str
        One row per claim: the statement, which unfolds into the quotation and its place, published, ours, verdict,
        why. A sentence instead of a table where there is no such claim.
    """
    entries = [entry for entry in document["claims"] if entry["paper"] == paper and entry["kind"] in kinds]
    if not entries:
        return "<p>None.</p>"
    rows = []
    for entry, shown in zip(entries, table({"claims": entries}).to_dict("records"), strict=True):
        quote = f"“{escape(entry['quote'])}” " if entry["quote"] else ""
        verdict, colour = entry["verdict"], VERDICT_COLOURS[entry["verdict"]]
        others = "".join(
            f"<br><code>{escape(reading['key'])}</code>: {escape(reading['verdict'])}. {escape(reading['why'])}"
            for reading in entry["readings"]
        )
        rows.append(
            f'<tr id="claim-{escape(entry["id"].replace("/", "-"))}">'
            f"<td><details><summary>{escape(entry['statement'])}</summary>"
            f"{quote}({escape(entry['source'])}) <code>{escape(entry['id'])}</code></details></td>"
            f"<td>{escape(shown['published'])}</td><td>{escape(shown['ours'])}</td>"
            f'<td style="white-space: nowrap"><span aria-hidden="true" style="color: {colour}">●</span> {verdict}</td>'
            f"<td>{_with_code(entry['why'])}{others}</td></tr>"
        )
    head = "".join(f"<th>{name}</th>" for name in ("claim", "published", "ours", "verdict", "why"))
    return (
        '<div style="overflow-x: auto"><table class="eegfmri-ledger table" style="min-width: 40rem">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _with_code(text: str) -> str:
    """Escape a sentence and set what stands between backticks as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


def verdict_counts(document: Mapping) -> "go.Figure":
    """Draw how many claims of each paper have each verdict.

    Parameters
    ----------
    document : mapping
        As `eegfmri.ledger.verdicts.verify` returns it.

    Returns
    -------
    plotly.graph_objects.Figure
        One bar per paper, divided by verdict.
    """
    import plotly.graph_objects as go

    totals = counts(document)
    figure = go.Figure()
    for verdict in VERDICTS:
        if totals[verdict].any():
            figure.add_bar(
                y=list(totals.index),
                x=totals[verdict].tolist(),
                name=verdict,
                orientation="h",
                marker_color=VERDICT_COLOURS[verdict],
                text=[str(n) if n else "" for n in totals[verdict]],
                textposition="inside",
                insidetextanchor="middle",
                hovertemplate="%{y}: %{x} " + verdict + "<extra></extra>",
            )
    figure.update_layout(
        barmode="stack",
        height=110 + 48 * len(totals),
        legend_traceorder="normal",
        xaxis_title="claims",
        yaxis={"autorange": "reversed", "title": None},
    )
    return figure
