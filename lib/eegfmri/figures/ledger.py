"""The ledger on a page: a table of claims with their quotations, and verdicts counted per paper."""

from collections.abc import Collection, Mapping
from html import escape
from typing import TYPE_CHECKING

from eegfmri.figures.style import VERDICT_COLOURS
from eegfmri.ledger.claims import VERDICTS
from eegfmri.ledger.verdicts import counts, table

if TYPE_CHECKING:
    import pandas as pd
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


def badge(label: str, message: str, colour: str) -> str:
    """Return a badge as SVG, a label and what is said of it, as other projects show them.

    Parameters
    ----------
    label, message : str
        Left and right half.
    colour : str
        Ground of the right half; white text must be legible on it.

    Returns
    -------
    str
        An SVG image with its own alternative text.
    """
    # About seven units a letter at 11 pixels; texts are fitted to the half they stand in.
    left, right = (round(6.6 * len(text)) + 14 for text in (label, message))
    label, message = escape(label), escape(message)
    font = 'fill="#fff" font-family="system-ui, sans-serif" font-size="11" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{label}: {message}" style="margin-right: .5rem">'
        f'<rect width="{left}" height="20" rx="3" fill="#3A424D"/>'
        f'<rect x="{left - 3}" width="{right + 3}" height="20" rx="3" fill="{colour}"/>'
        f'<text x="{left / 2:g}" y="14" {font} textLength="{left - 14}">{label}</text>'
        f'<text x="{left + right / 2:g}" y="14" {font} textLength="{right - 14}">{message}</text></svg>'
    )


#: Grounds of badges, on which white text is legible: nothing tested, something, everything.
BADGE_COLOURS = ("#5F6B7A", "#9A5B00", "#00664B")


def coverage_badges(coverage: "pd.DataFrame") -> str:
    """Return one badge per paper: how many of its empirical claims were tested on real recordings.

    Parameters
    ----------
    coverage : pandas.DataFrame
        As `eegfmri.ledger.verdicts.coverage` returns it.

    Returns
    -------
    str
        HTML.
    """
    badges = []
    for name, row in coverage.iterrows():
        tested, n = int(row["tested"]), int(row["empirical"])
        message = f"{tested} of {n} claims tested" if n else "no empirical claim"
        badges.append(badge(str(name), message, BADGE_COLOURS[0 if not tested else 1 if tested < n else 2]))
    return f'<p class="eegfmri-badges">{"".join(badges)}</p>'


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
