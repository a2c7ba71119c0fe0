"""Sphinx extension of the book: directives about runs, figures that work offline, nothing loaded from outside.

``reexecute`` shows the parameters of the chapter it stands in, the command that executes the chapter with them, and
links to the notebook's sources. ``run-statistics`` shows how every chapter was executed. Both read ``_run.json``, which
the runner writes beside the pages before it renders them.
"""

import importlib.util
import json
import shutil
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

#: One file that holds TeX input, its extensions and SVG output: a page needs nothing else for its formulae.
MATHJAX = "tex-svg-full.js"


def _run(srcdir: str) -> dict:
    path = Path(srcdir) / "_run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _code(value: object) -> str:
    # Backslashes before pipes, for these stand in cells of a table.
    text = value if isinstance(value, str) else repr(value)
    return "`" + text.replace("|", "\\|") + "`" if text else "`''`"


class _Generated(SphinxDirective):
    """A directive that writes MyST text and has it parsed in place."""

    has_content = False

    def parse(self, text: str) -> list[nodes.Node]:
        holder = nodes.container(classes=list(self.classes))
        self.state.nested_parse(StringList(text.split("\n"), self.get_source_info()[0]), 0, holder)
        return [holder]

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
        lines = ["```{rubric} Execute this chapter again", "```", ""]
        if chapter["declared"]:
            rows = [
                f"| `{p['name']}` | {_code(p['type'])} | {_code(p['default'])} | "
                f"{_code(chapter['parameters'][p['name']])} | {p['help'].replace('|', chr(92) + '|')} |"
                for p in chapter["declared"]
            ]
            lines += [
                "| parameter | type | default | this page | what it sets |",
                "| --- | --- | --- | --- | --- |",
                *rows,
                "",
            ]
        lines += [
            "With the values of this page:" if chapter["declared"] else "The chapter has no parameters:",
            "",
            "```bash",
            chapter["command"],
            "```",
            "",
        ]
        children = self.parse("\n".join(lines))
        sources = chapter.get("sources", {})
        if sources:
            up = "../" * self.env.docname.count("/")
            links = ", ".join(
                f'<a href="{up}_static/{escape(path)}" download>{escape(label)}</a>' for label, path in sources.items()
            )
            children[0] += nodes.raw(
                "", f'<p class="eegfmri-sources">This chapter without its outputs: {links}.</p>', format="html"
            )
        return children


class RunStatistics(_Generated):
    """How every chapter of the book was executed, and with which versions."""

    classes = ("eegfmri-runs",)

    def run(self) -> list[nodes.Node]:
        document = _run(self.env.srcdir)
        if "chapters" not in document:
            return self.missing()
        lines = [
            "| chapter | executed (UTC) | seconds | recordings | results | commit |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, chapter in document["chapters"].items():
            data = chapter["data"]
            recordings = (
                "none"
                if not data["dataset"]
                else (f"{data['dataset']}, {'simulated' if data['simulated'] else 'real'}, `{data['digest']}`")
            )
            executed = chapter["environment"]["executed"].replace("T", " ").removesuffix("+00:00")
            lines.append(
                f"| [{chapter['title']}](/{name}) | {executed} | {chapter['seconds']:.1f} | {recordings} | "
                f"{chapter['n_results']} | {_code(chapter['environment']['commit'] or 'unknown')} |"
            )
        lines += ["", "Parameters of each chapter:", "", "| chapter | key | parameters |", "| --- | --- | --- |"]
        for name, chapter in document["chapters"].items():
            values = ", ".join(_code(f"{key}={value!r}") for key, value in chapter["parameters"].items())
            lines.append(f"| {name} | `{chapter['key']}` | {values or 'none'} |")
        lines += ["", "Versions:", "", "| package | version |", "| --- | --- |"]
        lines += [f"| {name} | {version} |" for name, version in document["packages"].items()]
        return self.parse("\n".join(lines))


def _needs_plotly(body: str) -> bool:
    return "eegfmri-live" in body


def prepare_page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Load plotly on the pages that show live figures, and drop what the theme's companions load from outside."""
    # Two extensions that Jupyter Book always enables bring a script whose only use is to fetch a live kernel.
    for kind in ("script_files", "css_files"):
        files = context.get(kind, [])
        # In place: Sphinx adds to the very list.
        files[:] = [
            file
            for file in files
            if "thebe" not in f"{getattr(file, 'filename', file)}{getattr(file, 'attributes', '')}".lower()
        ]
    if _needs_plotly(context.get("body", "")):
        app.add_js_file("plotly.min.js", defer="defer")


def drop_kernel_nodes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Remove the configuration of live kernels from a page: the static page must suffice."""
    for node in list(doctree.findall(nodes.raw)):
        if "thebe-config" in node.astext() or "kernelName" in node.astext():
            node.parent.remove(node)


def copy_scripts(app: Sphinx, error: Exception | None) -> None:
    """Put plotly's script and MathJax into the book, if any of its pages uses them."""
    if error is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    pages = [path.read_text(encoding="utf-8") for path in Path(app.outdir).rglob("*.html")]
    if any("plotly.min.js" in page for page in pages):
        shutil.copyfile(plotly_script(), static / "plotly.min.js")
    if any(MATHJAX in page for page in pages):
        (static / "mathjax").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mathjax_script(), static / "mathjax" / MATHJAX)
    # The theme and its companions ship more than the book uses: live kernels, templates, maps for debugging.
    unused = ["sphinx-thebe.js", "sphinx-thebe.css", "webpack-macros.html", "sbt-webpack-macros.html"]
    for path in [*(static / name for name in unused), *static.rglob("*.map")]:
        path.unlink(missing_ok=True)


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
    app.connect("config-inited", configure, priority=900)
    app.connect("doctree-resolved", drop_kernel_nodes, priority=900)
    app.connect("html-page-context", prepare_page, priority=900)
    app.connect("build-finished", copy_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
