"""Rendering: executed chapters and pages become the book, or one page that stands alone.

The book's sources are copied into a stage in which every chapter is its executed notebook, and Jupyter Book renders the
stage with execution off. For the book every warning is an error, and the previous book stays until the new one is
complete. A stand-alone page is rendered by the same machinery from a stage with one chapter; everything it loads is
then put inside it.
"""

import base64
import importlib.metadata
import json
import mimetypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

from eegfmri import cache, machine, project, results
from eegfmri.errors import DataError, EegFmriError
from eegfmri.runner import notebooks, record
from eegfmri.runner.chapters import Chapter, discover
from eegfmri.runner.compare import compare_documents
from eegfmri.runner.execution import Listener, Request, build_dir, notebook_of
from eegfmri.runner.outputs import for_page
from eegfmri.text import jsonable

#: Distributions that decide how a page looks.
RENDERERS = (
    "jupyter-book",
    "Sphinx",
    "myst-nb",
    "myst-parser",
    "sphinx-book-theme",
    "sphinx-exercise",
    "sphinx-proof",
    "sphinxcontrib-bibtex",
    "sphinx-mathjax-offline",
    "plotly",
)


def html_dir() -> Path:
    """Return the folder of the rendered book."""
    return build_dir() / "html"


def book(requests: list[Request], force: bool, listen: Listener) -> bool:
    """Render the book from executed chapters, unless the same book has been rendered already.

    Parameters
    ----------
    requests : list of Request
        Every chapter of the book, executed.
    force : bool
        Render in any case.
    listen : callable
        Told when rendering begins.

    Returns
    -------
    bool
        Whether it was rendered.

    Raises
    ------
    EegFmriError
        If Jupyter Book fails or warns; the previous book stands.
    """
    stamp = build_dir() / "rendered.json"
    identity = {
        "digest": _book_digest(requests),
        "chapters": {request.chapter.name: request.key for request in requests},
    }
    _settle()
    if not force and (html_dir() / "index.html").is_file() and stamp.is_file() and cache.kept_json(stamp) == identity:
        return False
    listen("render", chapters=[request.chapter.name for request in requests])
    stage = build_dir() / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    _copy_book(stage)
    for request in requests:
        _stage_chapter(stage, request)
    _write_run(stage, requests)
    _redirect_links(stage, [request.chapter.name for request in requests])
    _jupyter_book(stage, strict=True)
    stamp.unlink(missing_ok=True)
    _replace(stage / "_build" / "html", html_dir())
    cache.keep_json(stamp, identity)
    shutil.rmtree(stage, ignore_errors=True)
    return True


def standalone(request: Request) -> str:
    """Return one HTML page of an executed chapter that loads nothing, neither from outside nor from beside it."""
    with project.temporary_folder("page") as folder:
        stage = folder / "stage"
        _copy_book(stage)
        # Other pages are not there to be linked to; the chapter alone is the book.
        (stage / "_toc.yml").write_text(f"format: jb-book\nroot: {request.chapter.name}\n", encoding="utf-8")
        _stage_chapter(stage, request, alone=True)
        _write_run(stage, [request], {request.chapter.name: differences(request)})
        _redirect_links(stage, [request.chapter.name])
        _jupyter_book(stage, strict=False)
        html = stage / "_build" / "html"
        return inlined(html / f"{request.chapter.name}.html", request.chapter.title, html)


def differences(request: Request) -> dict | None:
    """Return what sets a run apart from the book's run of the chapter.

    Parameters
    ----------
    request : Request
        Executed.

    Returns
    -------
    dict or None
        As `eegfmri.runner.compare.compare_documents` has it, the book first; None where nothing but the commit differs, or there is no
        book.
    """
    path = build_dir() / "results" / f"{request.chapter.name}.json"
    try:
        found = compare_documents(results.read(path), request.results)
    except (DataError, OSError):
        return None
    elsewhere = [row for row in found["environment"] if row["name"] != "commit"]
    return None if found["identical"] and not elsewhere else found


def comparison(document: dict) -> str:
    """Return one HTML page, in the look of the book, of two runs compared; it loads nothing.

    Parameters
    ----------
    document : dict
        From `eegfmri.runner.compare.compare`.

    Returns
    -------
    str
        HTML.
    """
    with project.temporary_folder("page") as folder:
        stage = folder / "stage"
        _copy_book(stage)
        (stage / "_toc.yml").write_text("format: jb-book\nroot: comparison\n", encoding="utf-8")
        (stage / "comparison.md").write_text("# Two runs compared\n\n```{comparison}\n```\n", encoding="utf-8")
        cache.write_json(stage / "_run.json", {"comparison": jsonable(document)})
        _jupyter_book(stage, strict=False)
        html = stage / "_build" / "html"
        return inlined(html / "comparison.html", "Two runs compared", html)


def sources(chapter: Chapter) -> dict[str, str]:
    """Return, by label, where under ``_static`` a chapter's own sources lie: MyST and a notebook that any Jupyter shows."""
    return {"notebook": f"notebooks/{chapter.name}.ipynb", "MyST source": f"notebooks/{chapter.name}.md"}


def _book_digest(requests: Iterable[Request]) -> str:
    """Identify everything a rendered book depends on."""
    folder = project.book_dir()
    files = [
        (path.relative_to(folder).as_posix(), cache.digest(path.read_bytes().hex()))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"_build", "__pycache__"} & set(path.relative_to(folder).parts)
    ]
    executed = [(request.chapter.name, request.key, request.results["environment"]["executed"]) for request in requests]
    code = cache.code_digest("eegfmri.runner.render")
    return cache.digest(files, executed, _versions(RENDERERS), code, record.listing())


def _versions(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _copy_book(stage: Path) -> None:
    """Copy the book's sources, except the chapters, whose notebooks with outputs take their place."""
    folder = project.book_dir()
    executable = {chapter.path for chapter in discover().values()}

    def ignored(parent: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if name in ("__pycache__", ".ipynb_checkpoints")
            or (name == "_build" and Path(parent) == folder)
            or Path(parent) / name in executable
        }

    shutil.copytree(folder, stage, ignore=ignored)


def _stage_chapter(stage: Path, request: Request, alone: bool = False) -> None:
    """Put the executed notebook into the stage and, for the book, the chapter's sources to download."""
    chapter = request.chapter
    target = stage / f"{chapter.name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    notebook = notebook_of(request)
    for_page(notebook)
    # With it, a warning names the line of the chapter's source.
    notebook["metadata"]["source_map"] = _source_lines(notebook, chapter.source)
    if alone:
        _put_differences(notebook)
    if alone and "{cite" in chapter.source:
        listed = "## References\n\n```{bibliography}\n:filter: docname in docnames\n```\n"
        notebook["cells"].append({"cell_type": "markdown", "id": "references", "metadata": {}, "source": listed})
        notebook["metadata"]["source_map"].append(0)
    target.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
    if alone:
        return
    import jupytext
    import nbformat

    offered, source = (stage / "_static" / path for path in sources(chapter).values())
    offered.parent.mkdir(parents=True, exist_ok=True)
    notebook = jupytext.reads(chapter.source, fmt="md:myst")
    notebook = notebooks.for_jupyter(notebook, chapter, request.results, discover())
    offered.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    source.write_text(chapter.source, encoding="utf-8")


def _put_differences(notebook: dict) -> None:
    """Let a page say under its title what sets its run apart from the book's."""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and (title := re.search(r"^# .*$", source, re.MULTILINE)):
            at = title.end()
            cell["source"] = f"{source[:at]}\n\n```{{run-differences}}\n```\n{source[at:]}"
            return


def _source_lines(notebook: dict, source: str) -> list[int]:
    """Return for each cell of a notebook the line of its source at which it begins, counted from 0."""
    lines, found, at = source.split("\n"), [], 0
    for cell in notebook["cells"]:
        text = "".join(cell["source"]).strip().split("\n")
        begin = next((i for i in range(at, len(lines)) if lines[i].strip() == text[0].strip()), None)
        if begin is not None and "injected-parameters" not in cell["metadata"].get("tags", []):
            found.append(begin)
            at = begin + len(text)
        else:
            found.append(at)
    return found


#: A path with ``.md`` as it stands in links, in the roles that take a page, and before a key in the glue roles.
_LINK = re.compile(
    r"(?P<before>\]\(|\{glue:\w*\}`|\{doc\}`(?:[^`<]*<)?)(?P<path>[^()`<>#:\s]+)\.md(?P<after>[)#>`]|::)"
)


def _redirect_links(stage: Path, names: Iterable[str]) -> None:
    """Let links to a chapter's source point to its executed notebook, which has taken its place in the stage."""
    notebooks = {(stage / f"{name}.md").resolve() for name in names}

    def redirected(text: str, folder: Path) -> str:
        def replaced(match: re.Match) -> str:
            path = match["path"]
            target = (stage / path.lstrip("/") if path.startswith("/") else folder / path).resolve()
            if target.with_name(f"{target.name}.md") not in notebooks:
                return match[0]
            return f"{match['before']}{path}.ipynb{match['after']}"

        return _LINK.sub(replaced, text)

    for page in stage.rglob("*.md"):
        if "_static" not in page.relative_to(stage).parts:
            page.write_text(redirected(page.read_text(encoding="utf-8"), page.parent), encoding="utf-8")
    for name in names:
        path = stage / f"{name}.ipynb"
        notebook = cache.read_json(path)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = redirected("".join(cell["source"]), path.parent)
        path.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")


def _write_run(stage: Path, requests: list[Request], apart: Mapping[str, dict | None] | None = None) -> None:
    """Write what the directives of the book show about runs; ``apart`` is, by chapter, what sets a run apart from the book's."""
    chapters = {}
    for request in requests:
        document = request.results
        chapters[request.chapter.name] = {
            "title": request.chapter.title,
            "key": request.key,
            "command": request.command,
            "declared": [parameter.described() for parameter in request.chapter.parameters.values()],
            "parameters": document["parameters"],
            "data": document["data"],
            "seconds": document["seconds"],
            "environment": document["environment"],
            "n_results": len(document["results"]),
            "differences": (apart or {}).get(request.chapter.name),
            "sources": sources(request.chapter) if (stage / "_static" / "notebooks").is_dir() else {},
        }
    packages: dict[str, str] = {}
    for request in requests:
        environment = request.results["environment"]
        packages |= {"python": environment["python"], **environment["packages"]}
    about = {
        "chapters": chapters,
        "packages": packages | _versions(RENDERERS),
        "recorded": record.listing(),
        "coverage": _coverage(requests),
    }
    cache.write_json(stage / "_run.json", jsonable(about))


def _coverage(requests: Iterable[Request]) -> dict[str, dict[str, int]]:
    """Return, by chapter, how many empirical claims the ledger has of it and how many were tested on real recordings.

    Only a page that reads the results of others knows, by keys ``claims/coverage/<chapter>/<what>``.
    """
    found: dict[str, dict[str, int]] = {}
    for request in requests:
        if not request.chapter.reads_results:
            continue
        for result in request.results["results"]:
            if result["key"].startswith("claims/coverage/"):
                chapter, what = result["key"].removeprefix("claims/coverage/").rsplit("/", 1)
                found.setdefault(chapter, {})[what] = result["value"]
    return found


def _jupyter_book(stage: Path, strict: bool) -> None:
    """Render the stage in a process of its own, and raise with the warnings if it fails or, when strict, warns."""
    shutil.rmtree(stage / "_build", ignore_errors=True)
    words = ["build", str(stage), "--all", "-q"] + (["-W", "--keep-going"] if strict else [])
    script = "import sys; from jupyter_book.cli.main import main; sys.argv[0] = 'jupyter-book'; main()"
    library = str(Path(cache.__file__).resolve().parents[1])
    paths = [library, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *words],
        capture_output=True,
        text=True,
        cwd=stage,
        env={
            **os.environ,
            **machine.tether(),
            "PYTHONPATH": os.pathsep.join(paths),
            "NO_COLOR": "1",
            "PYTHONIOENCODING": "utf-8",
        },
    )
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    log = build_dir() / "logs" / "render.log"
    with cache.written_whole(log) as temporary:
        temporary.write_text(output, encoding="utf-8")
    complete = any((stage / "_build" / "html").rglob("*.html"))
    if done.returncode == 0 and complete:
        return
    if "No space left on device" in output:
        raise EegFmriError(
            f"The book cannot be rendered, the disk that holds {stage} is full: make room and run the command again."
        )
    complaints = [
        re.sub(r"\.ipynb:(\d+)", r".md:\1", line.replace(f"{stage}{os.sep}", "book/")).strip()
        for line in output.split("\n")
        if re.search(r"\b(WARNING|ERROR|CRITICAL|Error|Exception)\b", line)
    ]
    complaints = [re.sub(r" See https?://\S+ for more information\.", "", complaint) for complaint in complaints]
    complaints = list(dict.fromkeys(complaints))
    shown = "; ".join(complaints[:8]) or output.strip()[-600:]
    more = f" (and {len(complaints) - 8} more)" if len(complaints) > 8 else ""
    stands = " The previous book stands." if strict and (html_dir() / "index.html").is_file() else ""
    raise EegFmriError(f"Jupyter Book failed: {shown}{more}. The whole log is {log}.{stands}")


def _previous() -> Path:
    return build_dir() / ".html-previous"


def _settle() -> None:
    """Finish a replacement of the book that was interrupted between its two renames."""
    if _previous().is_dir():
        if html_dir().is_dir():
            shutil.rmtree(_previous())
        else:
            _previous().rename(html_dir())


def _replace(new: Path, final: Path) -> None:
    """Put a rendered book in the place of the previous one; an interruption leaves one of the two."""
    _settle()
    if final.is_dir():
        final.rename(_previous())
    new.rename(final)
    shutil.rmtree(_previous(), ignore_errors=True)


# --- one page that stands alone --------------------------------------------------------------------------------------

#: Parts of the theme that only make sense between pages.
_FRAME = (
    ".bd-sidebar-primary",
    ".bd-header",
    ".bd-header-article",
    ".bd-header-announcement",
    ".bd-footer",
    ".bd-footer-content",
    ".prev-next-footer",
    ".search-button__wrapper",
    ".search-button__overlay",
    ".search-button__search-container",
    "#pst-skip-link",
    "#pst-back-to-top",
    "label.sidebar-toggle",
    "input.sidebar-toggle",
    "label.overlay",
)

#: Without the book's side bars the text would take the width that notes in the margin need.
_STANDALONE_STYLE = (
    "@media (min-width: 768px) { .bd-main .bd-content .bd-article-container { flex-grow: 0; max-width: 70vw; } "
    ".bd-sidebar-secondary { display: none; } }"
)

#: Scripts that serve search, navigation between pages or live kernels.
_NEEDLESS = re.compile(r"(searchtools|searchindex|language_data|sphinx_highlight|thebe|fontawesome)")


def inlined(path: Path, title: str, folder: Path | None = None) -> str:
    """Return a rendered page with every style, script, font and image put inside it.

    Parameters
    ----------
    path : pathlib.Path
        The page among the files it loads.
    title : str
        Title of the page.
    folder : pathlib.Path or None
        Folder of the rendered book, out of which nothing is put into the page; that of the page if None.

    Returns
    -------
    str
        HTML that loads nothing.
    """
    from bs4 import BeautifulSoup

    folder = (path.parent if folder is None else folder).resolve()

    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    for selector in _FRAME:
        for element in page.select(selector):
            element.decompose()
    if page.title:
        page.title.string = title
    for link in page.find_all("link"):
        relation = link.get("rel") or []
        if "stylesheet" in relation and not _external(link.get("href", "")):
            style = page.new_tag("style")
            style.string = _style(_beside(path, link["href"]), folder)
            link.replace_with(style)
        else:
            link.decompose()
    if page.head:
        style = page.new_tag("style")
        style.string = _STANDALONE_STYLE
        page.head.append(style)
    for script in page.find_all("script"):
        source = script.get("src")
        if not source:
            text = script.get_text()
            plotly = re.fullmatch(r'\s*window\.eegfmriPlotly = "([^"]+)";\s*', text)
            if "thebe" in text.lower():
                script.decompose()
            if plotly is None:
                continue
            # What the book's pages load when a figure comes near is part of a page that stands alone.
            source = plotly[1]
        target = _beside(path, source)
        if _external(source) or _NEEDLESS.search(source) or not _within(target, folder):
            script.decompose()
            continue
        body = target.read_text(encoding="utf-8")
        for name in ("src", "async", "defer"):
            script.attrs.pop(name, None)
        # Inside a script element, "</script" would end it; "<!--" would change how the rest is read.
        script.string = body.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    for image in page.find_all("img"):
        source = image.get("src", "")
        if source.startswith("data:image/"):
            continue
        target = _beside(path, source)
        if _external(source) or not target.is_relative_to(folder):
            # A file beside the book is nobody's to embed.
            image.replace_with(image.get("alt", ""))
        else:
            image["src"] = _data_uri(target)
    for anchor in page.find_all("a", href=True):
        # Links to other pages of the book lead nowhere from here.
        if not re.match(r"(#|https?:|mailto:|data:image/)", anchor["href"]):
            anchor.unwrap()
    return str(page)


def _external(address: str) -> bool:
    return bool(re.match(r"([A-Za-z][A-Za-z0-9+.-]*:|//)", address))


def _beside(path: Path, address: str) -> Path:
    return (path.parent / unquote(re.split(r"[?#]", address)[0])).resolve()


def _within(path: Path, folder: Path) -> bool:
    """Say whether a path is a file of the rendered book."""
    return path.is_relative_to(folder) and path.is_file()


def _style(path: Path, folder: Path) -> str:
    """Return a style sheet with imports and files put inside, as far as they lie in the folder."""
    if not _within(path, folder):
        return ""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"/\*# sourceMappingURL=.*?\*/", "", text)
    text = re.sub(
        r"@import\s+(?:url\()?[\"']?([^\"')]+)[\"']?\)?\s*;",
        lambda match: "" if _external(match[1]) else _style(_beside(path, match[1]), folder),
        text,
    )

    def embedded(match: re.Match) -> str:
        address = match[2].strip()
        if address.startswith(("data:", "#")):
            return match[0]
        target = _beside(path, address)
        if _external(address) or not _within(target, folder) or target.suffix in (".ttf", ".eot", ".woff"):
            # Of the formats of one font the most compact is enough.
            return "url(data:,)"
        return f"url({_data_uri(target)})"

    text = re.sub(r"url\(\s*([\"']?)(.*?)\1\s*\)", embedded, text)
    return text.replace("</style", "<\\/style")


def _data_uri(path: Path) -> str:
    if not path.is_file():
        raise EegFmriError(f"The page shows {path.name}, which is not among the files of the book.")
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
