"""Where the numbers of a page come from: published, computed by the run that made the page, recorded, or typed by hand.

A number is a decimal one (with a point): integers count sections and subjects and dates, and would be found anywhere.
"""

import ast
import html
import re
from collections.abc import Iterable, Iterator

from bs4 import BeautifulSoup

NUMBER = re.compile(r"(?<![\w.])[+−-]?\d+\.\d+(?:e[+−-]?\d+)?(?![\w.]*\d)")

#: Numbers that are no results, and what they are.
CONVENTIONS = {
    "4.0": "version of the licence of the text",
    "0.05": "the usual level of significance",
    "0.95": "its complement",
}

#: Settings and assumptions that a page names in words, by page, and what they are.
SETTINGS = {
    "synthesis/transformer_cnn": {
        "13.9": "30 slices in 2.16 s, in Hz",
        "99.9": "the percentile that a range of volumes ends at",
        "1.5": "width of the window of SSIM, in voxels",
    },
    "verification/what_the_numbers_can_tell": {"0.8": "the correlation of neighbouring epochs that is assumed"},
}

#: Parts of a page's source whose numbers are not typed prose: front matter, code, formulae, roles, targets of links. Exercises pose
#: numbers of their own: a question may suppose what it likes.
_NOT_PROSE = (
    r"\A---\n.*?\n---\n",
    r"(?ms)^(`{3,})\{exercise\}.*?^\1\s*$",
    r"(?ms)^(`{3,})\{code-cell\}.*?^\1\s*$",
    r"(?ms)^(`{3,})(?:bash|python|text|json|yaml)?\s*\n.*?^\1\s*$",
    r"(?s)\$\$.*?\$\$",
    r"\$[^$\n]*\$",
    r"\{[\w:]+\}`[^`]*`",
    r"`[^`]*`",
    r"\]\([^)]*\)",
)


def plain(text: str) -> str:
    """Write a number as Python would: without a plus, with an ASCII minus."""
    return text.replace("−", "-").lstrip("+")


def numbers(text: str) -> list[str]:
    """Return the decimal numbers of a text, as `plain` writes them."""
    return [plain(found) for found in NUMBER.findall(text)]


def typed(source: str) -> list[str]:
    """Return the numbers that are typed into the prose of a chapter's source."""
    for pattern in _NOT_PROSE:
        flags = re.DOTALL if pattern.startswith(r"\A") else 0
        source = re.sub(pattern, " ", source, flags=flags)
    return numbers(source)


def typed_statements(code: str) -> list[str]:
    """Return the numbers that are typed into sentences which a cell makes: arguments of ``prose.state`` and of ``prose.by_interval``."""
    found = []
    for call in ast.walk(ast.parse(re.sub(r"(?m)^[%!].*$", "", code))):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("prose.state", "prose.by_interval"):
            for text in _texts(call):
                found += numbers(text)
    return found


def _texts(call: ast.Call) -> Iterator[str]:
    """Give the literal texts among a call's arguments, without what stands in the braces of an f-string."""
    pending: list[ast.AST] = [*call.args, *(keyword.value for keyword in call.keywords)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif not isinstance(node, (ast.FormattedValue, ast.Compare, ast.Subscript)):
            pending += ast.iter_child_nodes(node)


def outputs(notebook: dict) -> set[str]:
    """Return the numbers in all outputs of an executed notebook."""
    found: set[str] = set()
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            texts = ["".join(output.get("text", ""))]
            for kind, data in output.get("data", {}).items():
                if kind.startswith("text/"):
                    texts.append("".join(data))
            for text in texts:
                found |= set(numbers(html.unescape(re.sub(r"<[^>]*>", " ", text))))
    return found


def in_tables(page: str) -> list[str]:
    """Return the numbers of every table in the article of a page."""
    article = BeautifulSoup(page, "html.parser").select_one("article") or BeautifulSoup(page, "html.parser")
    return [number for table in article.find_all("table") for number in numbers(table.get_text(" "))]


def values(document: object) -> Iterator[float]:
    """Give every number in a JSON document, those in texts included."""
    if isinstance(document, dict):
        for value in document.values():
            yield from values(value)
    elif isinstance(document, (list, tuple)):
        for value in document:
            yield from values(value)
    elif isinstance(document, bool) or document is None:
        return
    elif isinstance(document, (int, float)):
        yield float(document)
    elif isinstance(document, str):
        yield from (float(number) for number in numbers(document))


def untraced(found: Iterable[str], texts: Iterable[str], known: Iterable[float]) -> list[str]:
    """Return the numbers that are neither among texts nor the rounding of a known value.

    Parameters
    ----------
    found : iterable of str
        From a page.
    texts : iterable of str
        Numbers as the run wrote them.
    known : iterable of float
        Values of the ledger, of results and of parameters; a percentage of one counts as well.

    Returns
    -------
    list of str
        In the order of the page, each once.
    """
    texts = {*texts, *CONVENTIONS}
    known = [value for value in known if value == value]
    lost = []
    for number in dict.fromkeys(found):
        if number in texts:
            continue
        digits = len(number.partition("e")[0].partition(".")[2])
        value = float(number)
        scale = abs(value) * 10.0**-digits if "e" in number else 10.0**-digits
        if not any(abs(value - factor * other) <= 0.5000001 * scale for other in known for factor in (1, 100)):
            lost.append(number)
    return lost
