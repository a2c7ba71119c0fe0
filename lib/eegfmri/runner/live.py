"""Live figures as the book's pages hold them: small, drawn when they come near, named for those who do not see them.

`eegfmri.figures.show` emits a figure that draws itself wherever it is opened. A page of the book has a script of its own for that
(``_static/eegfmri.js``), which knows the page's colours and width, so that the figure's own is left out here, and its numbers are
packed as single-precision arrays, seven digits of them.
"""

import base64
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: Attributes of a trace that hold numbers to draw, and none that are shown as they are.
_PACKED = frozenset({"x", "y", "z", "i", "j", "k", "array", "arrayminus", "size", "color"})

#: Fewer numbers than this are left as they are written.
_FEWEST = 24

_FIGURE = re.compile(
    r'(?P<before><figure class="eegfmri-figure eegfmri-live"[^>]*>\s*)'
    r'(?:<script>.*?</script>)?<div class="eegfmri-graph" id="(?P<id>[\w-]+)" role="img" aria-label="(?P<alt>[^"]*)" '
    r'style="(?P<style>[^"]*)"></div>\s*'
    r'<script type="application/json">(?P<document>.*?)</script>\s*<script>.*?</script>',
    re.DOTALL,
)

#: What stands in a figure's place where scripts do not run.
_WITHOUT_SCRIPTS = "This figure is drawn by a script, and scripts do not run here: what it shows is told below."


def for_page(html: str) -> str:
    """Return the HTML of a figure as a page of the book holds it; static figures stay as they are.

    Parameters
    ----------
    html : str
        As `eegfmri.figures.show` emits it.

    Returns
    -------
    str
        A live figure without a script of its own, with packed numbers, in a frame that scrolls where it must.
    """

    def held(match: re.Match) -> str:
        figure = json.loads(match["document"])
        # What buttons and sliders pass on stands in the layout, and is not packed: plotly takes it as it is.
        figure["data"] = packed(figure["data"])
        document = json.dumps(figure, ensure_ascii=False, separators=(",", ":"))
        # Inside a script element, "</" would end it.
        document = document.replace("</", "<\\/")
        return (
            f'{match["before"]}<div class="eegfmri-frame"><div class="eegfmri-graph" id="{match["id"]}" role="group" '
            f'aria-label="{match["alt"]}" style="{match["style"]}"></div></div>\n'
            f"<noscript><p>{_WITHOUT_SCRIPTS}</p></noscript>\n"
            f'<script type="application/json">{document}</script>'
        )

    return _FIGURE.sub(held, html)


def packed(part: object, name: str = "") -> object:
    """Return a part of a figure's document with its numbers in plotly's own binary form, none of them longer than needed.

    Parameters
    ----------
    part : object
        As JSON gives it.
    name : str
        Of the attribute whose value it is.

    Returns
    -------
    object
        The same for plotly, in fewer characters.

    Examples
    --------
    >>> packed({"y": [0.5, None] * 12})["y"]["dtype"]
    'f4'
    >>> packed({"name": "kept", "y": [1, 2, 3]})
    {'name': 'kept', 'y': [1, 2, 3]}
    """
    if isinstance(part, dict):
        if "bdata" in part and "dtype" in part:
            return _repacked(part) if name in _PACKED else part
        return {key: packed(value, key) for key, value in part.items()}
    if isinstance(part, list):
        if name not in _PACKED:
            return [packed(value, name) for value in part]
        # Rows of unequal length stay as they are: inside a list, plotly does not unpack them.
        array = _array(part)
        return part if array is None else _written(array)
    return part


def _array(values: list) -> "np.ndarray | None":
    """Return a list of numbers, or of rows of them, as an array; None if it is none or too short to gain anything."""
    import numpy as np

    rows = values if values and all(isinstance(row, list) for row in values) else [values]
    if sum(map(len, rows)) < _FEWEST or len({len(row) for row in rows}) != 1:
        return None
    if not all(
        value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
        for row in rows
        for value in row
    ):
        return None
    array = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)
    return array if rows is values else array[0]


def _repacked(part: dict) -> dict:
    import numpy as np

    array = np.frombuffer(base64.b64decode(part["bdata"]), dtype=np.dtype(part["dtype"]).newbyteorder("<"))
    if "shape" in part:
        array = array.reshape([int(size) for size in str(part["shape"]).split(",")])
    return _written(array)


def _written(array: "np.ndarray") -> dict:
    """Write an array in the smallest of plotly's kinds that holds it: whole numbers exactly, others with seven digits."""
    import numpy as np

    finite = array[np.isfinite(array)]
    largest = float(np.max(np.abs(finite), initial=0.0))
    whole = finite.size == array.size and largest < 2**31 and bool(np.all(finite == np.round(finite)))
    kind = (
        next(name for name, most in (("i1", 127), ("i2", 32767), ("i4", 2**31)) if largest <= most) if whole else "f4"
    )
    if kind == "f4" and largest > float(np.finfo(np.float32).max):
        kind = "f8"
    written = {"dtype": kind, "bdata": base64.b64encode(array.astype(f"<{kind}").tobytes()).decode()}
    return written if array.ndim == 1 else written | {"shape": ", ".join(map(str, array.shape))}
