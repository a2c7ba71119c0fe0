"""Sphinx extension of the book: directives about runs, figures that work offline, nothing loaded from outside.

``reexecute`` shows the parameters of the chapter it stands in, the command that executes the chapter with them, and
links to the notebook's sources. ``run-statistics`` shows how every chapter was executed, ``recorded-runs`` every run that is kept
with the book, ``run-differences`` at the head of a run's page what sets it apart from the book's, ``comparison`` two runs. All read
``_run.json``, which the runner writes beside the pages before it renders them.

Finished pages are gone through once more: what the theme would load and does not need is left out, names that screen readers need are put
right, and the texts that the search shows are written into a script, because a page opened from a file may not read other files.
"""

import base64
import importlib.util
import io
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

#: One file that holds TeX input, its extensions and SVG output: a page needs nothing else for its formulae.
MATHJAX = "tex-svg-full.js"


def _run(srcdir: str) -> dict:
    path = Path(srcdir) / "_run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _code(value: object) -> nodes.literal:
    text = value if isinstance(value, str) else repr(value)
    # Characters that no page shows are written as Python writes them.
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return nodes.literal("", text or "''")


def _paragraph(*parts: str | nodes.Node) -> nodes.paragraph:
    paragraph = nodes.paragraph()
    paragraph += [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    return paragraph


def _table(head: Sequence[str], rows: Iterable[Sequence[str | nodes.Node | Sequence]]) -> nodes.table:
    """Return a table whose cells are texts, nodes, or lists of them."""

    def row(cells: Sequence) -> nodes.row:
        entries = [list(cell) if isinstance(cell, (list, tuple)) else [cell] for cell in cells]
        return nodes.row("", *(nodes.entry("", _paragraph(*parts)) for parts in entries))

    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", row(head))
    group += nodes.tbody("", *(row(cells) for cells in rows))
    table = nodes.table(classes=["colwidths-auto"])
    table += group
    return table


class _Generated(SphinxDirective):
    """A directive that makes nodes of what the runner says; none of it is parsed, so that no value or comment has a meaning."""

    has_content = False

    def link(self, name: str, title: str) -> nodes.Node:
        """Return a link to a page of the book."""
        reference = addnodes.pending_xref(
            "",
            refdomain="std",
            reftype="doc",
            reftarget=f"/{name}",
            refexplicit=True,
            refdoc=self.env.docname,
            refwarn=True,
        )
        reference += nodes.inline("", title, classes=["std", "std-doc"])
        return reference

    def hold(self, *children: nodes.Node) -> list[nodes.Node]:
        return [nodes.container("", *children, classes=list(self.classes))]

    def missing(self) -> list[nodes.Node]:
        logger.warning(
            "nothing is known about the run of this page: render the book with `eegfmri build`",
            location=self.get_location(),
        )
        return []


class Reexecute(_Generated):
    """The parameters of this chapter and the command that executes it with them."""

    classes = ("eegfmri-reexecute",)

    def run(self) -> list[nodes.Node]:
        chapter = _run(self.env.srcdir).get("chapters", {}).get(self.env.docname)
        if chapter is None:
            return self.missing()
        children: list[nodes.Node] = [nodes.rubric("", "Execute this chapter again")]
        if chapter["declared"]:
            children.append(
                _table(
                    ("parameter", "type", "default", "this page", "what it sets"),
                    (
                        (
                            _code(p["name"]),
                            [_code(p["type"]), f", {p['range']}" if p["range"] else ""],
                            _code(p["default"]),
                            _code(chapter["parameters"][p["name"]]),
                            p["help"],
                        )
                        for p in chapter["declared"]
                    ),
                )
            )
        told = "With the values of this page:" if chapter["declared"] else "The chapter has no parameters:"
        command = nodes.literal_block(chapter["command"], chapter["command"], language="bash")
        children += [_paragraph(told), command]
        sources = chapter.get("sources", {})
        if sources:
            up = "../" * self.env.docname.count("/")
            links = ", ".join(
                f'<a href="{up}_static/{escape(path)}" download>{escape(label)}</a>' for label, path in sources.items()
            )
            links = f'<p class="eegfmri-sources">This chapter without its outputs: {links}.</p>'
            children.append(nodes.raw("", links, format="html"))
        return self.hold(*children, *self.coverage())

    def coverage(self) -> list[nodes.Node]:
        """Return a line that says how many of the chapter's claims were tested on real recordings, if the ledger is in the book."""
        document = _run(self.env.srcdir)
        found = document.get("coverage", {}).get(self.env.docname)
        ledger = next((name for name in document["chapters"] if name.endswith("/claims")), None)
        if found is None or ledger is None:
            return []
        n, tested = int(found["empirical"]), int(found["tested"])
        link = self.link(ledger, document["chapters"][ledger]["title"])
        if not n:
            return [
                _paragraph("The paper behind this page makes no empirical claim that could be tested. See: ", link, ".")
            ]
        what = f"{tested} of {n} empirical claims of this page tested on real recordings"
        return [_paragraph(nodes.strong("", what), ". Which, and what the others wait for: ", link, ".")]


class RunStatistics(_Generated):
    """How every chapter of the book was executed, and with which versions."""

    classes = ("eegfmri-runs",)

    def run(self) -> list[nodes.Node]:
        document = _run(self.env.srcdir)
        if "chapters" not in document:
            return self.missing()
        chapters = document["chapters"]
        runs = []
        for name, chapter in chapters.items():
            data = chapter["data"]
            recordings: list[str | nodes.Node] = ["none"]
            if data["dataset"]:
                kind = "simulated" if data["simulated"] else "real"
                recordings = [f"{data['dataset']}, {kind}, ", _code(data["digest"])]
            executed = chapter["environment"]["executed"].replace("T", " ").removesuffix("+00:00")
            commit = _code(chapter["environment"]["commit"] or "unknown")
            seconds = f"{chapter['seconds']:.1f}"
            runs.append(
                (self.link(name, chapter["title"]), executed, seconds, recordings, str(chapter["n_results"]), commit)
            )
        settings = []
        for name, chapter in chapters.items():
            values = [
                part for key, value in chapter["parameters"].items() for part in (", ", _code(f"{key}={value!r}"))
            ]
            settings.append((name, _code(chapter["key"]), values[1:] or "none"))
        return self.hold(
            _table(("chapter", "executed (UTC)", "seconds", "recordings", "results", "commit"), runs),
            _paragraph("Parameters of each chapter:"),
            _table(("chapter", "key", "parameters"), settings),
            _paragraph("Versions:"),
            _table(("package", "version"), document["packages"].items()),
        )


class RecordedRuns(_Generated):
    """Every recorded run, whatever its results are."""

    classes = ("eegfmri-runs",)

    def run(self) -> list[nodes.Node]:
        document = _run(self.env.srcdir)
        if "recorded" not in document:
            return self.missing()
        if not document["recorded"]:
            return self.hold(_paragraph("No run is recorded in this copy of the book."))
        titles = {name: chapter["title"] for name, chapter in document["chapters"].items()}
        rows = []
        for run in document["recorded"]:
            name, machine = run["chapter"], run["machine"]
            data, memory = run["data"], run["peak_memory"]
            recordings: list[str | nodes.Node] = ["none"]
            if data["dataset"]:
                kind = "real" if not data["simulated"] else f"simulated ({run['preset']})"
                recordings = [f"{data['dataset']}, {kind}, ", _code(data["digest"])]
            assigned = [part for key, value in run["assigned"].items() for part in (", ", _code(f"{key}={value!r}"))]
            took = f"{run['seconds'] / 60:.0f} min on {machine['cores']} × {machine['cpu']}"
            took += f", {memory / 1e9:.1f} GB" if memory else ""
            rows.append(
                (
                    self.link(name, titles[name]) if name in titles else f"{name} (no longer in the book)",
                    [run["profile"], *assigned],
                    run["date"],
                    recordings,
                    took,
                    str(run["n_results"]),
                    [_code(run["key"]), ", ", _code(run["commit"] or "unknown")],
                    ", ".join(run["changed"]) or "nothing",
                )
            )
        head = ("chapter", "profile", "executed", "recordings", "took", "results", "key, commit", "changed since")
        return self.hold(_table(head, rows))


#: Rows of a table that stand open on a page; longer ones are folded away.
OPEN = 12

#: How parts of a comparison are called.
PARTS = {"parameters": "parameter", "data": "recordings", "environment": "environment", "code": "code"}


def _folded(summary: str, children: Sequence[nodes.Node], rows: int) -> list[nodes.Node]:
    """Fold nodes away under a line that says what they are, where there is much of them."""
    if rows <= OPEN:
        return [_paragraph(f"{summary}:"), *children]
    opening = nodes.raw("", f"<details><summary>{escape(summary)}</summary>", format="html")
    return [opening, *children, nodes.raw("", "</details>", format="html")]


def _counted(number: int, what: str, verb: str = "") -> str:
    """Write a number of things and what they do: ``1 result differs``, ``2 results differ``."""
    plural = "" if number == 1 else "s"
    return f"{number} {what}{plural}" + (f" {verb}{'' if plural else 's'}" if verb else "")


def _number(result: dict) -> str:
    def digits(value: object) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    if result["value"] is None:
        return "–"
    interval = ""
    if result["low"] is not None and result["high"] is not None:
        interval = f" [{digits(result['low'])}, {digits(result['high'])}]"
    return f"{digits(result['value'])}{interval}"


def _comparison(entry: dict, first: str, second: str) -> list[nodes.Node]:
    """Return what sets two runs of a chapter apart: tables of settings and of results, those beyond their intervals marked."""
    settings = [
        (PARTS[part], _code(row["name"]), _code(row["first"]), _code(row["second"]))
        for part in PARTS
        for row in entry[part]
    ]
    children: list[nodes.Node] = []
    if settings:
        table = _table(("what", "name", first, second), settings)
        children += _folded(_counted(len(settings), "setting", "differ"), [table], len(settings))
    results = sorted(entry["results"], key=lambda result: result["beyond"] is not True)
    if results:
        beyond = sum(result["beyond"] is True for result in results)
        said = {True: "beyond the intervals", False: "within", None: ""}
        sides = {"first": f", better: {first}", "second": f", better: {second}", None: ""}
        rows = []
        for result in results:
            marked = f"{said[result['beyond']]}{sides[result['favours']]}".removeprefix(", ")
            rows.append(
                (
                    _code(result["key"]),
                    _number(result["first"]),
                    _number(result["second"]),
                    result["unit"] or "",
                    result["better"] or "",
                    nodes.strong("", marked) if result["beyond"] else marked,
                )
            )
        table = _table(("result", first, second, "unit", "what is better", "the difference"), rows)
        children += _folded(
            f"{_counted(len(rows), 'result', 'differ')}, {beyond} of them beyond the intervals", [table], len(rows)
        )
    elif settings and entry["identical"] is False:
        children.append(_paragraph("The results that both have are the same."))
    for side, name in (("first", first), ("second", second)):
        keys = entry[f"only_{side}"]
        if keys:
            listed = nodes.bullet_list("", *(nodes.list_item("", _paragraph(_code(key))) for key in keys))
            children += _folded(f"{_counted(len(keys), 'result')} that only {name} has", [listed], len(keys))
    return children


class RunDifferences(_Generated):
    """What sets the run that made this page apart from the book's run of the chapter; nothing where nothing does."""

    classes = ("eegfmri-differences",)

    def run(self) -> list[nodes.Node]:
        entry = _run(self.env.srcdir).get("chapters", {}).get(self.env.docname, {}).get("differences")
        if entry is None:
            return []
        title = nodes.rubric("", "This run is not the book's")
        return self.hold(title, *_comparison(entry, "the book", "this run"))


class Comparison(_Generated):
    """Two runs, or two books chapter by chapter."""

    classes = ("eegfmri-differences",)

    def run(self) -> list[nodes.Node]:
        document = _run(self.env.srcdir)["comparison"]
        found = [_paragraph("A: ", _code(document["first"])), _paragraph("B: ", _code(document["second"]))]
        if document["identical"]:
            found.append(_paragraph("The two are identical: the same parameters, recordings and results."))
        for side, name in (("first", "A"), ("second", "B")):
            if document[f"only_{side}"]:
                found.append(_paragraph(f"Chapters that only {name} has: {', '.join(document[f'only_{side}'])}."))
        for entry in document["chapters"]:
            told = _comparison(entry, "A", "B")
            if told:
                found += self.hold(nodes.rubric("", "", nodes.Text(entry["chapter"])), *told)
        return found


def prepare_page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Say where plotly lies on the pages that show live figures, and drop what the theme's companions load from outside."""
    # Two extensions that Jupyter Book always enables bring a script whose only use is to fetch a live kernel.
    for kind in ("script_files", "css_files"):
        files = context.get(kind, [])
        # In place: Sphinx adds to the very list.
        files[:] = [
            file
            for file in files
            if "thebe" not in f"{getattr(file, 'filename', file)}{getattr(file, 'attributes', '')}".lower()
        ]
    here = context["pathto"]
    if "eegfmri-live" in context.get("body", ""):
        # Five megabytes, which the page's own script loads when the first figure comes near.
        app.add_js_file(
            None, body=f"window.eegfmriPlotly = {json.dumps(here('_static/plotly.min.js', resource=True))};"
        )
    if pagename == "search":
        app.add_js_file(TEXTS, priority=100)


def drop_kernel_nodes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Remove the configuration of live kernels from a page: the static page must suffice."""
    for node in list(doctree.findall(nodes.raw)):
        if "thebe-config" in node.astext() or "kernelName" in node.astext():
            node.parent.remove(node)


def finish(app: Sphinx, error: Exception | None) -> None:
    """Put plotly's script and MathJax into the book, if any of its pages uses them, and go through its pages once more."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    static = out / "_static"
    paths = [path for path in out.rglob("*.html") if static not in path.parents]
    pages = {path: _finished(path.read_text(encoding="utf-8")) for path in paths}
    for path, page in pages.items():
        path.write_text(page, encoding="utf-8")
    if any("plotly.min.js" in page for page in pages.values()):
        shutil.copyfile(plotly_script(), static / "plotly.min.js")
    if any(MATHJAX in page for page in pages.values()):
        (static / "mathjax").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mathjax_script(), static / "mathjax" / MATHJAX)
    write_icons(static, pages.values())
    texts = {path.relative_to(out).with_suffix("").as_posix(): _text(page) for path, page in pages.items()}
    script = (
        f"window.eegfmriTexts = {json.dumps({name: text for name, text in texts.items() if text}, ensure_ascii=False)};"
    )
    (static / TEXTS).write_text(script, encoding="utf-8")
    # The theme and its companions ship more than the book uses: live kernels, templates, maps for debugging.
    unused = ["sphinx-thebe.js", "sphinx-thebe.css", "webpack-macros.html", "sbt-webpack-macros.html"]
    for path in [*(static / name for name in unused), *static.rglob("*.map")]:
        path.unlink(missing_ok=True)


#: The texts of all pages, for the search.
TEXTS = "eegfmri-texts.js"

#: What is put right in a finished page: pattern, what takes its place.
_PUT_RIGHT = (
    # Fonts and scripts that are loaded before they are needed: browsers refuse the former from files, and complain.
    (r'<link rel="preload"[^>]*>\s*', ""),
    # Every icon there is, one and a half megabytes: those that the book uses are in its own style sheet.
    (r'<script src="[^"]*fontawesome[^"]*"></script>\s*', ""),
    (r'(<link href="[^"]*_static/)vendor/fontawesome/[^"]*\.css[^"]*(" rel="stylesheet" />)', r"\1icons.css\2"),
    # Without scripts a page is light; with them its own script asks the system at once.
    (r'(<html[^>]*) data-theme="auto"', r'\1 data-theme="light"'),
    # A name that says less than what is read there.
    (r'(<summary) aria-label="Toggle hidden content"', r"\1"),
    (r'(<button class="btn search-button-field[^>]*) title="Search" aria-label="Search"', r"\1"),
    # A list without items, and a role that is no more.
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    (r' role="doc-biblioentry"', ""),
    # Check boxes and labels that open the side bars and parts of the contents.
    (
        r'(<input type="checkbox"\s+class="sidebar-toggle"\s+id="pst-(\w+)-sidebar-checkbox")',
        r'\1 aria-label="Show the \2 side bar"',
    ),
    (r'(<input class="toctree-checkbox")', r'\1 aria-label="Show the pages of this part"'),
    # An empty cell at the head of a column of names.
    (r"<th></th>", "<td></td>"),
)


def _finished(page: str) -> str:
    """Return a page without what it need not load, and with names for screen readers."""
    for pattern, right in _PUT_RIGHT:
        page = re.sub(pattern, right, page)
    return page


def _text(page: str) -> str:
    """Return what the search reads of a page: its sections with their texts, without code, figures' data and formulae."""
    from bs4 import BeautifulSoup

    article = BeautifulSoup(page, "html.parser").find("article")
    if article is None:
        return ""
    for element in article.select("script, style, noscript, img, .headerlink, .cell_input, summary, .eegfmri-graph"):
        element.decompose()

    def told(element) -> str:
        parts = []
        for child in element.children:
            if getattr(child, "name", None) == "section" or (child.name == "span" and child.get("id")):
                parts.append(f'<section id="{escape(child.get("id", ""))}">{told(child)}</section>')
            elif getattr(child, "name", None):
                parts.append(told(child))
            else:
                parts.append(escape(re.sub(r"\s+", " ", child), quote=False))
        return "".join(parts) + (
            " " if element.name in ("p", "li", "td", "th", "h1", "h2", "h3", "h4", "div", "dt", "dd") else ""
        )

    return f'<div role="main">{re.sub(r" +", " ", told(article)).strip()}</div>'


def write_icons(static: Path, pages: Iterable[str]) -> None:
    """Write the style sheet of icons, with those that the pages use and a font that holds no others."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    vendor = next(static.glob("vendor/fontawesome/*"), None)
    if vendor is None:
        return
    used = set(re.findall(r"\bfa-[a-z0-9-]+", " ".join(pages)))
    sheet = (vendor / "css" / "all.min.css").read_text(encoding="utf-8")
    rules, points = [], set()
    for selectors, body in re.findall(
        r"([^{}]+)\{([^{}]*)\}",
        re.sub(r"@(?:font-face|keyframes|-webkit-keyframes|media)[^{]*\{(?:[^{}]|\{[^{}]*\})*\}", "", sheet),
    ):
        content = re.fullmatch(r'content:"(\\?)([^"]+)"', body.strip(";"))
        names = set(re.findall(r"\.(fa-[a-z0-9-]+):{1,2}before", selectors))
        if content and names:
            if names & used:
                points.add(int(content[2], 16) if content[1] else ord(content[2][0]))
                rules.append(f"{selectors}{{{body}}}")
        elif not names and re.search(r"\.fa-|:root|\.fas?,", selectors):
            rules.append(f"{selectors}{{{body}}}")
    # Boxes of the theme bear icons that no element names.
    for path in static.rglob("*.css"):
        if vendor not in path.parents:
            text = path.read_text(encoding="utf-8")
            points |= {ord(letter) for letter in text if 0xF000 <= ord(letter) < 0xF900}
            points |= {int(point, 16) for point in re.findall(r"\\(f[0-9a-f]{3})\b", text)}
    font = TTFont(vendor / "webfonts" / "fa-solid-900.ttf")
    options = subset.Options(notdef_outline=True)
    part = subset.Subsetter(options)
    part.populate(unicodes=points)
    part.subset(font)
    font.flavor = "woff"
    stream = io.BytesIO()
    font.save(stream)
    face = (
        '@font-face{font-family:"Font Awesome 6 Free";font-style:normal;font-weight:900;font-display:block;'
        f'src:url(data:font/woff;base64,{base64.b64encode(stream.getvalue()).decode()}) format("woff")}}'
    )
    text = "/* Font Awesome Free 6 (icons CC BY 4.0, fonts SIL OFL 1.1, code MIT): the icons that this book uses. */\n"
    (static / "icons.css").write_text(text + face + "".join(rules), encoding="utf-8")
    shutil.copyfile(vendor / "LICENSE.txt", static / "icons-license.txt")
    shutil.rmtree(static / "vendor")


def plotly_script() -> Path:
    """Return plotly's own script, as installed."""
    return Path(importlib.util.find_spec("plotly").submodule_search_locations[0]) / "package_data" / "plotly.min.js"


def mathjax_script() -> Path:
    """Return MathJax in one file, as installed."""
    base = Path(importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0])
    return base / "static" / "mathjax" / MATHJAX


def configure(app: Sphinx, config) -> None:
    """Point the formulae at the book's own copy of MathJax."""
    config.mathjax_path = f"mathjax/{MATHJAX}"


def setup(app: Sphinx) -> dict:
    """Register directives and hooks."""
    app.add_directive("reexecute", Reexecute)
    app.add_directive("run-statistics", RunStatistics)
    app.add_directive("recorded-runs", RecordedRuns)
    app.add_directive("run-differences", RunDifferences)
    app.add_directive("comparison", Comparison)
    app.connect("config-inited", configure, priority=900)
    app.connect("doctree-resolved", drop_kernel_nodes, priority=900)
    app.connect("html-page-context", prepare_page, priority=900)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
