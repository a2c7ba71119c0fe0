"""What may not stand on a rendered page: things loaded from outside, tracebacks, empty figures, raw markup, unlabelled
simulation."""

import base64
import io
import json
import re
from pathlib import Path
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag

#: Attributes by which an element loads something when the page is opened.
LOADERS = {
    "link": ("href", "imagesrcset"),
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "track": ("src",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}

#: Relations of ``<link>`` that name a page without loading it.
NAMING = {"next", "prev", "index", "search", "author", "canonical", "license", "top", "up", "copyright"}

#: JavaScript: how strongly a text of some colour (as CSS writes it) stands out from the ground of an element. Colours are taken through a
#: canvas, which knows every way to write one.
CONTRAST = """
  const pen = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      layers.push(rgba(getComputedStyle(e).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = c => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (colour, element) => {
    const below = ground(element);
    const [low, high] = [luminance(below), luminance(over(rgba(colour), below))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
"""

OUTSIDE = re.compile(r"^\s*(https?:|ftp:|wss?:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"url\(\s*[\"']?\s*([^\"')]+)|@import\s+[\"']([^\"']+)", re.IGNORECASE)


def problems(html: str, path: Path | None = None, simulated: bool = False) -> list[str]:
    """Return one sentence for each thing that is wrong with a page.

    Parameters
    ----------
    html : str
        The page.
    path : pathlib.Path or None
        Where it lies among the files of the book; files beside it are not looked for if None.
    simulated : bool
        Whether the results of the page say that it is made from simulated recordings.

    Returns
    -------
    list of str
        Empty for a page that is well.
    """
    page = BeautifulSoup(html, "html.parser")
    return [
        *_loaded(page, path),
        *_errors(page),
        *_figures(page, path),
        *_raw_markup(page),
        *_unlabelled(page, simulated),
        *_unserved(page),
        *_dead_links(page, path),
    ]


def loads_from_outside(html: str) -> list[str]:
    """Return what a page loads from the network when it is opened."""
    return list(_loaded(BeautifulSoup(html, "html.parser"), None))


def _addresses(tag: Tag):
    for name in LOADERS[tag.name]:
        value = tag.get(name)
        if not value:
            continue
        if name.endswith("srcset"):
            yield from (part.split()[0] for part in re.split(r",\s+", value) if part.strip())
        else:
            yield value


def _loaded(page: BeautifulSoup, path: Path | None):
    sheets = []
    for tag in page.find_all(list(LOADERS)):
        if tag.name == "link" and set(tag.get("rel") or []) <= NAMING and tag.get("rel"):
            continue
        for address in _addresses(tag):
            if OUTSIDE.match(address):
                yield f"<{tag.name}> loads {address}"
            elif path is not None and not address.startswith(("data:", "#", "javascript:")):
                target = _beside(path, address)
                if not target.is_file():
                    yield f"<{tag.name}> loads {address}, which is not there"
                elif target.suffix == ".css":
                    sheets.append(target)
    for text in [style.get_text() for style in page.find_all("style")] + [
        tag["style"] for tag in page.find_all(style=True)
    ]:
        for address in _in_style(text):
            yield f"a style loads {address}"
    for base in page.find_all("base", href=True):
        yield f"<base> points to {base['href']}"
    for refresh in page.find_all("meta", attrs={"http-equiv": re.compile("refresh", re.IGNORECASE)}):
        if re.search(r"url=\s*(https?:)?//", refresh.get("content", ""), re.IGNORECASE):
            yield f"the page moves to {refresh['content']}"
    for sheet in sheets:
        for address in _in_style(sheet.read_text(encoding="utf-8")):
            yield f"{sheet.name} loads {address}"
    for script in page.find_all("script"):
        text = script.get_text()
        # Long scripts are libraries put inside; what they contain is not what they load.
        if script.get("src") or len(text) > 20_000 or script.get("type") == "application/json":
            continue
        for match in re.finditer(r"(?:import\s*\(?|fetch\(|\.src\s*=|from)\s*[\"'`](https?:)?//[^\"'`]+", text):
            yield f"an inline script loads {match[0]}"


def _in_style(text: str):
    for match in IN_STYLE.finditer(text):
        address = match[1] or match[2]
        if OUTSIDE.match(address):
            yield address


def _beside(path: Path, address: str) -> Path:
    return path.parent / unquote(re.split(r"[?#]", address)[0])


def _errors(page: BeautifulSoup):
    for output in page.select(".output.traceback, .output.stderr, .system-message, .problematic, .docutils.error"):
        yield f"an error is shown: {' '.join(output.get_text().split())[:120]}"
    for output in page.select(".cell_output"):
        if "Traceback (most recent call last)" in output.get_text():
            yield "an output holds a traceback"
    for output in page.select(".output pre, pre.output"):
        found = re.search(r"<[\w.]+ object( at 0x[0-9a-f]+)?>", output.get_text())
        if found:
            yield f"an object is shown as Python names it: {found[0]}"
    if "papermill-error-cell" in str(page):
        yield "a cell failed under papermill"


def _figures(page: BeautifulSoup, path: Path | None):
    for figure in page.find_all("figure"):
        caption = figure.find("figcaption")
        name = f"figure “{' '.join(caption.get_text().split())[:60]}”" if caption else "a figure"
        if caption is None or not caption.get_text(strip=True):
            yield f"{name} has no caption"
        drawn = [_drawn(image, path) for image in figure.find_all("img")]
        for script in figure.find_all("script", type="application/json"):
            try:
                document = json.loads(script.get_text())
            except ValueError:
                yield f"{name} holds no valid data"
                continue
            drawn.append(
                any(_trace_has_data(trace) for trace in document.get("data", []))
                or bool(document.get("layout", {}).get("shapes") or document.get("layout", {}).get("images"))
            )
        drawn += [bool(element.find(True)) for element in figure.find_all("svg")]
        drawn += [bool(element.get("src") or element.get("srcdoc")) for element in figure.find_all("iframe")]
        if not drawn or not all(drawn):
            yield f"{name} is empty"
        for image in figure.find_all("img"):
            if not image.get("alt"):
                yield f"{name} has an image without a description"
    for image in page.select(".cell_output img"):
        if not image.find_parent("figure") and not _drawn(image, path):
            yield "an image is empty"


def _trace_has_data(trace: dict) -> bool:
    for name, value in trace.items():
        if name in ("marker", "line", "hoverlabel", "colorbar", "font", "legendgroup"):
            continue
        if isinstance(value, list) and value:
            return True
        if isinstance(value, dict) and (value.get("bdata") or _trace_has_data(value)):
            return True
    return False


def _drawn(image: Tag, path: Path | None) -> bool:
    """Whether an image holds more than one colour."""
    source = image.get("src", "")
    if source.startswith("data:image/svg") or source.endswith(".svg"):
        return True
    if source.startswith("data:"):
        try:
            body = base64.b64decode(source.partition(",")[2])
        except ValueError:
            return False
    elif path is None:
        return bool(source)
    elif _beside(path, source).is_file():
        body = _beside(path, source).read_bytes()
    else:
        return False
    from PIL import Image, UnidentifiedImageError

    try:
        extrema = Image.open(io.BytesIO(body)).convert("RGB").getextrema()
    except (UnidentifiedImageError, OSError):
        return False
    return any(low != high for low, high in extrema)


def _raw_markup(page: BeautifulSoup):
    body = page.select_one("article") or page
    for text in body.find_all(string=True):
        if text.find_parent(["code", "pre", "script", "style", "figcaption", "textarea"]) or (
            text.find_parent(class_=re.compile(r"^(math|eqno|MathJax)"))
        ):
            continue
        for pattern, what in (
            (r"\{[a-z][\w:.+-]*\}\s*`", "role"),
            (r"(```|~~~|:::+)\s*\{", "directive"),
            (r":::", "directive"),
            (r"```", "fence"),
            (r"\{\{.*?\}\}", "substitution"),
            (r"\$\$", "formula"),
        ):
            found = re.search(pattern, text)
            if found:
                yield f"a {what} was not rendered: {' '.join(text.split())[:80]}"
                break
        following = text.next_sibling
        if re.search(r"\{[a-z][\w:.+-]*\}$", text) and isinstance(following, Tag) and following.name == "code":
            yield f"a role was not rendered: {text.strip()[-40:]}`{following.get_text()[:40]}`"


def _unlabelled(page: BeautifulSoup, simulated: bool):
    box = page.select_one(".eegfmri-data.eegfmri-simulated")
    marked = page.select("figure[data-simulated]")
    if not simulated and box is None and not marked:
        return
    if box is None or not box.get_text(strip=True).startswith("Simulated recordings."):
        yield "the page is made from simulated recordings, but no box says so"
    for figure in page.find_all("figure"):
        # A formula or a drawing, declared as such, shows no recordings; real recordings may stand beside simulated ones.
        if figure.get("data-recorded") in ("false", "real") and not figure.get("data-simulated"):
            continue
        caption = figure.find("figcaption")
        text = caption.get_text(strip=True) if caption else ""
        if "simulated" not in text.lower():
            yield f"a caption on a page from simulated recordings does not say so: “{text[:60]}”"


def _unserved(page: BeautifulSoup):
    scripts = " ".join(tag.get("src") or tag.get_text() for tag in page.find_all("script"))
    if page.select(".eegfmri-live") and "plotly.min.js" not in scripts and "plotly.js v" not in scripts:
        yield "a live figure stands on a page that does not load plotly"
    if page.select("div.math, span.math") and not re.search(r"mathjax[/\w.-]*\.js|MathJax=|MathJax\.version", scripts):
        yield "a formula stands on a page that does not load MathJax"


def _dead_links(page: BeautifulSoup, path: Path | None):
    if path is None:
        return
    for anchor in page.find_all("a", href=True):
        address = anchor["href"]
        if re.match(r"([a-z][a-z0-9+.-]*:|#|//)", address, re.IGNORECASE) or not address:
            continue
        if not _beside(path, address).exists():
            yield f"a link leads to {address}, which is not there"
