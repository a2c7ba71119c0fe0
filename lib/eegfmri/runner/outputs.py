"""What of a chapter's outputs enters its page: no scripts but those of our own figures, no files, and no more than a page can show.

A chapter is trusted, what it shows is not: names of files, texts of tables and parameters end up in outputs. The executed notebook is
kept as it is; this stands between it and the page. Figures that `eegfmri.figures.show` has emitted bear a mark in the output's metadata,
where no shown text can put one, and pass as `eegfmri.runner.live` makes them smaller.
"""

import re
from collections.abc import Mapping

from eegfmri.runner import live

#: Characters of one text output that are shown, half of them from its end; more makes colouring and parsing take minutes.
MOST_TEXT = 20_000

#: Characters of one HTML output that is no figure.
MOST_HTML = 2_000_000

#: Outputs of one cell that are shown.
MOST_OUTPUTS = 200

#: Kinds of output that are shown; scripts and widgets are none of them.
KINDS = re.compile(
    r"text/(plain|html|markdown|latex)|image/(png|jpeg|svg\+xml|gif)|application/papermill\.record/text/plain"
)

#: Elements that load, run or embed something.
_ACTIVE = (
    "script",
    "iframe",
    "frame",
    "object",
    "embed",
    "applet",
    "base",
    "link",
    "meta",
    "form",
    "template",
    "portal",
)

#: Attributes that hold an address.
_ADDRESSES = ("href", "src", "xlink:href", "action", "formaction", "poster", "data", "background", "srcset", "ping")

#: Addresses that a link may have: other pages of the book, places in this one, the web.
_LINK = r"(?:https?:|mailto:|#|(?:\.\./)*[\w/-]+\.(?:md|ipynb|html)(?:#[\w-]*)?(?=[)\s\"']|$))"


def for_page(notebook: Mapping) -> None:
    """Clean and bound the outputs of a notebook, in place.

    Parameters
    ----------
    notebook : Mapping
        As ``nbformat`` reads it, or its JSON.
    """
    for cell in notebook["cells"]:
        outputs = cell.get("outputs")
        if not outputs:
            continue
        kept, n_shown = [], 0
        for output in outputs:
            # Values for the prose are no output that a page shows.
            glued = "scrapbook" in output.get("metadata", {})
            n_shown += not glued
            if glued or n_shown <= MOST_OUTPUTS:
                kept.append(_output(output))
        if n_shown > MOST_OUTPUTS:
            told = f"… {n_shown - MOST_OUTPUTS} more outputs are left out here; the notebook holds them all.\n"
            kept.append({"output_type": "stream", "name": "stdout", "text": told})
        cell["outputs"] = kept


def _output(output: Mapping) -> dict:
    """Return an output as a page may show it."""
    output = dict(output)
    if output["output_type"] == "stream":
        output["text"] = bounded(_text(output["text"]))
    elif output["output_type"] == "error":
        output["traceback"] = [bounded(_text(line)) for line in output.get("traceback", ())][-MOST_OUTPUTS:]
        output["evalue"] = bounded(_text(output.get("evalue", "")))
    elif "data" in output:
        ours = "figure" in output.get("metadata", {}).get("eegfmri", {})
        output["data"] = _bundle(output["data"], ours)
    return output


def _bundle(data: Mapping, ours: bool) -> dict:
    shown: dict[str, object] = {}
    for kind, value in data.items():
        if not KINDS.fullmatch(kind):
            continue
        text = _text(value)
        if kind == "text/html" and not ours:
            if len(text) > MOST_HTML:
                continue
            text = cleaned(text)
        elif kind == "text/html":
            text = live.for_page(text)
        elif kind == "text/markdown":
            if len(text) > MOST_TEXT:
                continue
            text = plain_markdown(text)
        elif kind == "text/latex" and len(text) > MOST_TEXT:
            continue
        elif kind.endswith("text/plain"):
            text = bounded(text)
        shown[kind] = text
    if not shown and data:
        shown["text/plain"] = f"… an output of {', '.join(data)} is left out here; the notebook holds it."
    return shown


def _text(value: object) -> str:
    return value if isinstance(value, str) else "".join(map(str, value)) if isinstance(value, list) else str(value)


def bounded(text: str) -> str:
    """Return a text with its middle left out where it is longer than `MOST_TEXT`.

    Parameters
    ----------
    text : str
        Of an output.

    Returns
    -------
    str
        At most `MOST_TEXT` of its characters, and how many are left out.
    """
    if len(text) <= MOST_TEXT:
        return text
    half = MOST_TEXT // 2
    left_out = f"\n… {len(text) - MOST_TEXT} characters are left out here; the notebook holds them all …\n"
    return text[:half] + left_out + text[-half:]


def cleaned(html: str) -> str:
    """Return HTML without what runs, loads or embeds anything.

    Parameters
    ----------
    html : str
        Of an output.

    Returns
    -------
    str
        The same but for scripts, frames, forms, handlers of events, images that are not in the page itself, and addresses of other
        kinds than links to pages and the web.
    """
    from bs4 import BeautifulSoup, Comment

    page = BeautifulSoup(html, "html.parser")
    for element in page.find_all(string=lambda text: isinstance(text, Comment)):
        element.extract()  # of which browsers and parsers have different ideas where they end
    for element in page.find_all(True):
        if element.decomposed:
            continue
        if element.name.lower() in _ACTIVE:
            element.decompose()
            continue
        if element.name.lower() == "style":
            element.string = re.sub(r"(?i)@import|url\s*\(|expression\s*\(|</", "", element.get_text())
            continue
        for name in list(element.attrs):
            value = "".join(element.attrs[name]) if isinstance(element.attrs[name], list) else str(element.attrs[name])
            compact = re.sub(r"[\x00-\x20]", "", value).lower()
            styled = name.lower() == "style" and re.search(r"url\(|expression\(|@import", compact)
            if name.lower().startswith("on") or name.lower() in ("srcdoc", "srcset") or styled:
                del element.attrs[name]
            elif name.lower() in _ADDRESSES:
                image = element.name.lower() in ("img", "image") and compact.startswith("data:image/")
                if not image and (element.name.lower() != "a" or not re.match(_LINK, compact)):
                    del element.attrs[name]
        if element.name.lower() == "img" and not element.get("src"):
            element.replace_with(element.get("alt", ""))
    return str(page)


def plain_markdown(text: str) -> str:
    """Return Markdown in which no HTML, image or link to a file stands: they are shown as the text that they are.

    Parameters
    ----------
    text : str
        Of an output.

    Returns
    -------
    str
        With backslashes before what would have had a meaning.
    """
    text = re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text)
    text = text.replace("![", "!\\[")
    text = re.sub(rf"\]\((?!\s*{_LINK})", r"]\\(", text)
    return re.sub(rf"(?m)^(\s{{0,3}})\[(?=[^\]]*\]:(?!\s*{_LINK}))", r"\1\\[", text)
