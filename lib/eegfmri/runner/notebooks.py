"""Notebooks for Jupyter: what the book's pages say in MyST, said in the plain Markdown that every notebook shows.

Jupyter knows neither the book's numbers nor its references. `for_jupyter` puts into the prose the numbers that a
build has recorded, authors and years for citations, titles for references, and quotations for boxes and notes in the
margin. The notebooks that the book offers for download, those that ``eegfmri run`` leaves, and those of a class all
pass through it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from eegfmri import project
from eegfmri.runner.chapters import Chapter

#: How a notebook is run, in the three lines that stand at its head.
HOW_TO_RUN = (
    'Install the library once: `pip install "eegfmri[lab]"`, or `pip install ".[lab]"` in the book\'s folder '
    "(Python 3.11 or newer).",
    "Open this notebook with `jupyter lab` and run its cells from the top; nothing is downloaded: recordings are "
    "simulated on first use, which takes a few minutes, and kept.",
    "Numbers in the text are those of the book's own run{when}; what your run finds stands below its cells.",
)


@dataclass(frozen=True)
class Directive:
    """A block of MyST that is more than Markdown: ``{margin}`` and its like."""

    name: str
    argument: str
    options: dict[str, str]
    body: str
    source: str


@dataclass(frozen=True)
class Verbatim:
    """Fenced code that is shown and not executed."""

    language: str
    text: str
    source: str


@dataclass
class Prose:
    """What turns a chapter's MyST into plain Markdown.

    Attributes
    ----------
    chapter : str
        Name of the chapter, against which links are resolved.
    numbers : dict of str to float, int or None
        Recorded values by key, the ends of intervals as ``{key}.low`` and ``{key}.high``.
    linked : frozenset of str
        Chapters whose notebooks lie beside this one under their names.
    titles : dict of str to str
        What a reference to a label reads as.
    equations : dict of str to int
        Number of each labelled equation.
    cited : dict of str to str
        Works that have been cited so far, by key, as the list of references gives them.
    missing : list of str
        Keys, each with its format, for which the text being converted found no number.
    """

    chapter: str
    numbers: Mapping[str, object] = field(default_factory=dict)
    linked: frozenset[str] = frozenset()
    titles: dict[str, str] = field(default_factory=dict)
    equations: dict[str, int] = field(default_factory=dict)
    cited: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def learn(self, text: str) -> None:
        """Note the labels of a text, which others may refer to."""
        for label in _EQUATION.findall(text):
            self.equations.setdefault(label, len(self.equations) + 1)
        for label, heading in re.findall(r"^\(([\w-]+)\)=\n+#+ +(.+)$", text, re.MULTILINE):
            self.titles[label] = heading.strip()
        for block in blocks(text):
            if isinstance(block, Directive) and "label" in block.options:
                self.titles[block.options["label"]] = block.argument or block.options["label"]

    def plain(self, text: str) -> str:
        """Return MyST as plain Markdown.

        Parameters
        ----------
        text : str
            Of one cell, or a part of it.

        Returns
        -------
        str
            Without directives, roles, labels and comments.
        """
        parts = [self._block(block) for block in blocks(text)]
        return "\n\n".join(part for part in parts if part)

    def _block(self, block: "str | Directive | Verbatim") -> str:
        if isinstance(block, Verbatim):
            return f"```{block.language}\n{block.text}\n```"
        if isinstance(block, str):
            return self._text(block)
        title = self._inline(block.argument)
        if block.name in ("exercise", "exercise-start"):
            return _joined(f"**Exercise: {title}**", self.plain(block.body))
        if block.name in ("solution", "solution-start"):
            return _joined(f"**Solution: {self.titles.get(block.argument, block.argument)}**", self.plain(block.body))
        if block.name == "reexecute":
            return (
                f"**Execute this chapter again** from the book's folder: `eegfmri run {self.chapter}`; "
                f"`eegfmri chapters` lists what can be changed."
            )
        if block.name in _SILENT:
            return ""
        if block.name == "math":
            return f"$$\n{block.body}\n$$"
        if block.name == "margin":
            return quoted(self.plain(block.body), "*In the margin.* ")
        title = title if block.name == "admonition" else title or block.name.capitalize()
        return quoted(_joined(f"**{title}**", self.plain(block.body)))

    def _text(self, text: str) -> str:
        text = re.sub(r"(?m)^(?:%.*|\+\+\+.*|\([\w-]+\)=)\n?", "", text).strip("\n")
        text = _EQUATION.sub(lambda match: f"\\tag{{{self.equations.get(match[1], '?')}}} $$", text)
        # A list of definitions; the indentation of what follows suits a list just as well.
        text = re.sub(r"(?m)^(\S.*)\n+: +", lambda match: f"- **{match[1].strip()}**: ", text)
        return self._inline(text).strip("\n")

    def _inline(self, text: str) -> str:
        text = _ROLE.sub(lambda match: self._role(match[1], match[2]), text)
        return _PAGE_LINK.sub(self._link, text)

    def _role(self, name: str, content: str) -> str:
        shown, _, target = content.partition("<")
        shown, target = shown.strip(), target.rstrip("> ").strip()
        if name.startswith("glue"):
            return self._number(content)
        if name.startswith("cite"):
            return self._citation(name, [key.strip() for key in content.split(",")])
        if name == "eq":
            return f"({self.equations.get(content, '?')})"
        if name in ("ref", "numref", "prf:ref"):
            return shown if target else f"*{self.titles.get(shown, shown)}*"
        if name == "doc":
            return self._page(target or shown, shown if target else "")
        if name == "math":
            return f"${content}$"
        return shown

    def _number(self, content: str) -> str:
        key, _, form = content.rpartition("::")[2].partition(":")
        if key not in self.numbers:
            self.missing.append(key)
            return f"`{key}`"
        value = self.numbers[key]
        return format(float("nan") if value is None else value, form)

    def _citation(self, role: str, keys: list[str]) -> str:
        works = bibliography(project.bibliography())
        found = [(*works[key][:2], key) if key in works else (key, "", key) for key in keys]
        for *_, key in found:
            if key in works:
                self.cited.setdefault(key, works[key][2])
        if role in ("cite:t", "cite:ct"):
            return "; ".join(f"{author} ({year})" if year else author for author, year, _ in found)
        return f"({'; '.join(f'{author} {year}'.strip() for author, year, _ in found)})"

    def _link(self, match: re.Match) -> str:
        return self._page(match["path"], match["shown"])

    def _page(self, path: str, shown: str) -> str:
        import posixpath

        folder = posixpath.dirname(self.chapter)
        name = posixpath.normpath(posixpath.join(folder, path.removesuffix(".md").removesuffix(".ipynb")))
        shown = shown or name
        return f"[{shown}]({posixpath.relpath(name, folder or '.')}.ipynb)" if name in self.linked else shown

    def references(self) -> str:
        """Return the list of the works that have been cited, as a cell; empty where there are none."""
        listed = "\n".join(
            f"- {self.cited[key]}" for key in sorted(self.cited, key=lambda key: self.cited[key].lower())
        )
        return f"## References\n\n{listed}" if listed else ""


_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,}|:{3,})(?P<info>.*)$")
_DIRECTIVE = re.compile(r"\{(?P<name>[\w:+-]+)\}\s*(?P<argument>.*)$")
_ROLE = re.compile(r"\{([a-z]+(?::[a-z]+)?)\}`([^`]+)`")
_EQUATION = re.compile(r"\$\$[ \t]*\((eq-[\w-]+)\)")
_PAGE_LINK = re.compile(r"\[(?P<shown>[^\]]+)\]\((?!\w+:)(?P<path>[^()#\s]+\.(?:md|ipynb))(?:#[\w-]*)?\)")

#: Directives that leave no trace in a notebook.
_SILENT = ("exercise-end", "solution-end", "bibliography", "run-statistics")


def blocks(text: str) -> Iterator["str | Directive | Verbatim"]:
    """Divide MyST into its outermost blocks.

    Parameters
    ----------
    text : str
        Markdown with directives.

    Yields
    ------
    str or Directive or Verbatim
        In their order; stretches of blank lines are left out.
    """
    lines, plain = text.split("\n"), []
    index = 0

    def gathered() -> Iterator[str]:
        if any(line.strip() for line in plain):
            yield "\n".join(plain).strip("\n")
        plain.clear()

    while index < len(lines):
        opening = _FENCE.match(lines[index])
        if not opening:
            plain.append(lines[index])
            index += 1
            continue
        closing = re.compile(rf"^{re.escape(opening['fence'][0])}{{{len(opening['fence'])},}}\s*$")
        end = index + 1
        while end < len(lines) and not closing.match(lines[end]):
            end += 1
        body, source = lines[index + 1 : end], "\n".join(lines[index : end + 1])
        index = end + 1
        yield from gathered()
        directive = _DIRECTIVE.match(opening["info"].strip())
        if not directive:
            yield Verbatim(opening["info"].strip(), "\n".join(body), source)
            continue
        options = {}
        while body and (option := re.match(r":([\w-]+):\s*(.*)$", body[0])):
            options[option[1]] = option[2].strip()
            body = body[1:]
        yield Directive(directive["name"], directive["argument"].strip(), options, "\n".join(body).strip("\n"), source)
    yield from gathered()


def quoted(text: str, lead: str = "") -> str:
    """Return Markdown as a quotation, which every notebook sets apart."""
    return "\n".join(f"> {line}".rstrip() for line in f"{lead}{text}".split("\n"))


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


@lru_cache(maxsize=2)
def bibliography(path: Path) -> dict[str, tuple[str, str, str]]:
    """Read a BibTeX file.

    Parameters
    ----------
    path : pathlib.Path
        The file; nothing is known where there is none.

    Returns
    -------
    dict of str to tuple
        By key: the authors as a citation names them, the year, and the work as a list of references gives it.
    """
    if not path.is_file():
        return {}
    from pybtex.database import parse_string

    works = {}
    for key, entry in parse_string(path.read_text(encoding="utf-8"), "bibtex").entries.items():
        persons = entry.persons.get("author") or entry.persons.get("editor") or []
        surnames = [_tex(" ".join((*person.prelast_names, *person.last_names))) for person in persons] or ["Anonymous"]
        year = _tex(entry.fields.get("year", "n.d."))
        named = surnames[0] if len(surnames) == 1 else " and ".join(surnames)
        named = f"{surnames[0]} et al." if len(surnames) > 2 else named
        place = next((entry.fields[name] for name in _PLACES if name in entry.fields), "")
        parts = [
            f"{', '.join(surnames)} ({year}). {_tex(entry.fields.get('title', ''))}.",
            f"*{_tex(place)}*." if place else "",
        ]
        doi = entry.fields.get("doi")
        parts.append(f"<https://doi.org/{doi}>" if doi else "")
        works[key] = (named, year, " ".join(part for part in parts if part))
    return works


#: Fields of a BibTeX entry that say where a work appeared, the first that there is.
_PLACES = ("journal", "booktitle", "publisher", "institution", "howpublished", "school")


def _tex(text: str) -> str:
    """Return a BibTeX field as text."""
    from pybtex.richtext import Text

    text = re.sub(r"\\url\{([^}]*)\}", r"<\1>", text)
    return str(Text.from_latex(text)).replace("\xa0", " ").strip()


def numbers_of(results: Iterable[Mapping]) -> dict[str, object]:
    """Return what prose can show of recorded results: values by key, and the ends of intervals.

    Parameters
    ----------
    results : iterable of Mapping
        The ``results`` of a ``results.json``.

    Returns
    -------
    dict of str to float, int or None
        As `eegfmri.results.record` glues them.
    """
    numbers = {}
    for result in results:
        numbers[result["key"]] = result["value"]
        for end in ("low", "high"):
            if result.get(end) is not None:
                numbers[f"{result['key']}.{end}"] = result[end]
    return numbers


def head(executed: str | None = None) -> str:
    """Return the cell that says how a notebook is run.

    Parameters
    ----------
    executed : str or None
        When the run was made whose numbers stand in the text.

    Returns
    -------
    str
        Markdown.
    """
    when = f" of {executed[:10]}" if executed else ""
    return "\n".join(
        [
            "**How to run this notebook**",
            "",
            *(f"{n}. {line.format(when=when)}" for n, line in enumerate(HOW_TO_RUN, 1)),
        ]
    )


def for_jupyter(notebook, chapter: Chapter, results: Mapping | None, linked: Iterable[str] = ()):
    """Turn a chapter's notebook, executed or not, into one that any Jupyter shows as it is meant.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The chapter as jupytext reads it, or executed; it is not changed.
    chapter : Chapter
        What it is made from.
    results : Mapping or None
        The ``results.json`` whose numbers go into the text; where one is missing, a cell that shows it follows the
        text.
    linked : iterable of str
        Chapters whose notebooks lie beside this one under their names.

    Returns
    -------
    nbformat.NotebookNode
        With a head that says how to run it, and the list of what it cites at its end.
    """
    prose = Prose(chapter.name, numbers_of((results or {}).get("results", ())), frozenset(linked))
    made = begun(notebook, prose, results)
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            made.cells.append(cell.copy())
            continue
        add_text(made, prose, cell.source)
    return finished(made, prose)


def begun(notebook, prose: Prose, results: Mapping | None):
    """Return a notebook that holds the head alone, once the labels of the chapter are known to its prose."""
    import nbformat

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            prose.learn(cell.source)
    made = nbformat.v4.new_notebook()
    # Saved from Jupyter, a notebook that jupytext pairs with its source would overwrite that with what stands here.
    made.metadata.update(
        {name: value for name, value in notebook.metadata.items() if name not in ("jupytext", "source_map")}
    )
    made.metadata.setdefault("kernelspec", {"display_name": "Python 3", "language": "python", "name": "python3"})
    executed = ((results or {}).get("environment") or {}).get("executed")
    made.cells.append(nbformat.v4.new_markdown_cell(head(executed)))
    return made


def add_text(made, prose: Prose, text: str) -> None:
    """Add MyST as a cell of plain Markdown, and after it one that shows the numbers which the text lacks."""
    import nbformat

    shown = prose.plain(text)
    if shown:
        made.cells.append(nbformat.v4.new_markdown_cell(shown))
    if prose.missing:
        keys = ", ".join(f'"{key}"' for key in dict.fromkeys(prose.missing))
        made.cells.append(nbformat.v4.new_code_cell(f"from eegfmri.results import recorded\n\nrecorded({keys})"))
        prose.missing.clear()


def finished(made, prose: Prose):
    """Return a notebook with the list of what it cites, and identifiers that equal sources give alike."""
    import nbformat

    if references := prose.references():
        made.cells.append(nbformat.v4.new_markdown_cell(references))
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    return made
