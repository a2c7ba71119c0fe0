"""Chapters: found in the book's table of contents, read without running them, given parameters.

A chapter is a MyST notebook. Its parameters are the annotated assignments of the cell tagged ``parameters``; they are
read from the source and checked before anything runs. What else the runner must know stands in the ``eegfmri`` block of the front
matter, see `Options`.
"""

import difflib
import io
import itertools
import os
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from eegfmri import cache, project
from eegfmri.errors import DataError, EegFmriError, RequestError, is_printable, looking_up
from eegfmri.results import KEY
from eegfmri.runner.parameters import QUOTED, RESERVED, Parameter, quoted, read_parameters
from eegfmri.text import load_yaml, read_text

#: The profile that needs no entry in ``profiles.yml``: the parameters cell itself.
DEFAULT_PROFILE = "quick"

#: Tags that decide how a cell is executed; the others decide how it is shown.
EXECUTION_TAGS = ("parameters", "raises-exception", "skip-execution")


@dataclass(frozen=True)
class Cell:
    """One code cell of a chapter: its source, its tags and the line of the file at which the source begins."""

    source: str
    line: int
    tags: tuple[str, ...] = ()

    @property
    def code(self) -> list:
        """What of the cell can change its outputs: the syntax tree, whether a semicolon hides the last value, and how it is executed."""
        tags = [tag for tag in EXECUTION_TAGS if tag in self.tags]
        if self.python != self.source:
            return [self.source, False, tags]
        # A string at the head of a module is its docstring; at the head of a cell it is a value that may be shown.
        return [cache.syntax(f"...\n{self.source}"), _ends_in_semicolon(self.source), tags]

    @property
    def python(self) -> str:
        """The source with its magics blanked, line by line."""
        lines = self.source.split("\n")
        return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)


@dataclass(frozen=True)
class Chapter:
    """One executable page of the book.

    Attributes
    ----------
    name : str
        Path inside the book without extension (``recordings/evaluation``).
    path : pathlib.Path
        The MyST notebook.
    source : str
        Its text.
    front : dict
        Its front matter.
    cells : tuple of Cell
        Its code cells.
    parameters : dict of str to Parameter
        Its public parameters in order.
    """

    name: str
    path: Path
    source: str = field(repr=False)
    front: dict = field(repr=False)
    cells: tuple[Cell, ...] = field(repr=False)
    parameters: dict[str, Parameter]

    @property
    def options(self) -> dict:
        """The front matter's ``eegfmri`` block."""
        return self.front.get("eegfmri") or {}

    @property
    def title(self) -> str:
        """Title from the front matter, else from the first heading."""
        heading = re.search(r"^# +(.+?)\s*$", self.source, re.MULTILINE)
        return self.options.get("title") or (heading.group(1) if heading else self.name)

    @property
    def summary(self) -> str:
        """One line about the chapter."""
        return self.options.get("summary") or self.title

    @property
    def datasets(self) -> tuple[str, ...]:
        """Datasets that the chapter can read."""
        return tuple(self.options.get("datasets") or ())

    def needs(self, parameters: Mapping[str, object]) -> tuple[str, ...]:
        """Datasets that must be there before the chapter runs with these parameters.

        None where files or folders of the reader take their place, the one that ``dataset`` names where it names one, else all.
        """
        if self.instead(parameters):
            return ()
        chosen = parameters.get("dataset")
        return (chosen,) if chosen in self.datasets else self.datasets

    def instead(self, parameters: Mapping[str, object]) -> tuple[str, ...]:
        """Parameters by which the reader's own files or folders take the place of all datasets; none where they do not."""
        groups = [[name] if isinstance(name, str) else name for name in self.options.get("instead") or ()]
        given = [names for names in groups if all(parameters.get(name) is not None for name in names)]
        return tuple(name for names in given for name in names)

    def min_subjects(self, parameters: Mapping[str, object]) -> int:
        """Subjects that must be left by a selection, so that the chapter can divide them."""
        number = self.options.get("min_subjects", 1)
        return int(parameters[number] if isinstance(number, str) else number)

    @property
    def reads_results(self) -> bool:
        """Whether the chapter reads the results of other chapters, and so is executed after them."""
        return bool(self.options.get("reads_results"))

    @property
    def defaults(self) -> dict[str, object]:
        """Parameters as the parameters cell sets them."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    @cached_property
    def imported(self) -> frozenset[str]:
        """Library modules that the code cells import themselves."""
        found: set[str] = set()
        for cell in self.cells:
            try:
                # Magics are no Python; what they do cannot import a library module.
                found |= cache.imported_modules(cell.python)
            except SyntaxError as error:
                line = cell.line + (error.lineno or 1) - 1
                raise EegFmriError(f"{self.path}:{line} is not valid Python: {error.msg}.") from None
        return frozenset(found)

    @cached_property
    def modules(self) -> frozenset[str]:
        """Library modules that the code cells import, and those that they import in turn."""
        return frozenset(cache.import_closure(self.imported))

    @cached_property
    def code(self) -> list:
        """What of the chapter can change its outputs: its code cells as `Cell.code` sees them."""
        return [cell.code for cell in self.cells]

    @property
    def shows_recorded(self) -> tuple[str, ...]:
        """Chapters whose recorded runs the page shows: those that its front matter names, else its own; none if it cannot read any."""
        if "eegfmri.recorded" not in self.modules:
            return ()
        return tuple(self.options.get("recorded") or (self.name,))

    @property
    def headline(self) -> tuple[str, ...]:
        """Keys of the results that the chapter is about, in the order in which they are shown."""
        return tuple(self.options.get("headline") or ())

    @property
    def files(self) -> tuple[str, ...]:
        """Tables that the front matter says the chapter reads, beside those that its code names."""
        return tuple(self.options.get("files") or ())


def discover() -> dict[str, Chapter]:
    """Return the chapters of the book's table of contents, by name, in its order.

    Raises
    ------
    EegFmriError
        If a listed page does not exist or its parameters cell cannot be read.
    """
    book = project.book_dir()
    chapters = {}
    for name in pages():
        path = book / f"{name}.md"
        if not path.is_file():
            if any((book / f"{name}{suffix}").is_file() for suffix in (".rst", ".ipynb")):
                continue
            raise EegFmriError(f"{book / '_toc.yml'} lists {name}, but there is no {path}.")
        text = read_text(path)
        matter = _MATTER.match(text)
        if matter and re.search(r"^jupytext:", matter[1], re.MULTILINE):
            chapters[name] = read_chapter(name, path, text)
    return chapters


def find(name: str, chapters: Mapping[str, Chapter] | None = None) -> Chapter:
    """Return the chapter of that name.

    Raises
    ------
    RequestError
        If there is none; the nearest name is given.
    """
    chapters = discover() if chapters is None else chapters
    name = name.removesuffix(".md").strip("/")
    if name in chapters:
        return chapters[name]
    raise RequestError(f"There is no chapter {quoted(name)}{_nearest(name, chapters)} `eegfmri chapters` lists them.")


def pages() -> list[str]:
    """Return the names of all pages in the table of contents, in its order."""
    path = project.book_dir() / "_toc.yml"
    if not path.is_file():
        raise EegFmriError(f"There is no table of contents {path}: it lists the pages of the book.")
    names: list[str] = []

    def visit(node: object) -> None:
        if isinstance(node, list):
            for item in node:
                visit(item)
        elif isinstance(node, dict):
            for key in ("root", "file"):
                if key not in node:
                    continue
                page = node[key]
                # A page lies in the book: what is written or replaced under its name must not lie elsewhere.
                if not isinstance(page, str) or not is_printable(page) or not _PAGE.fullmatch(page):
                    raise EegFmriError(
                        f"{path} lists the page {quoted(page)}: give a path inside the book, as in fusion/saliency."
                    )
                names.append(re.sub(r"\.(md|ipynb|rst)$", "", page))
            for key in ("parts", "chapters", "sections"):
                visit(node.get(key))

    visit(load_yaml(read_text(path), path))
    return names


def read_chapter(name: str, path: Path, text: str | None = None) -> Chapter:
    """Read a MyST notebook: front matter, code cells and parameters.

    Jupytext reads the same file for execution; this reader exists because it starts in milliseconds.

    Parameters
    ----------
    name : str
        Name of the chapter.
    path : pathlib.Path
        Its file.
    text : str or None
        Its text, if it has been read already.

    Returns
    -------
    Chapter
    """
    text = read_text(path) if text is None else text
    matter = _MATTER.match(text)
    front = (load_yaml(matter[1], f"The front matter of {path}") or {}) if matter else {}
    if not isinstance(front, dict):
        raise EegFmriError(f"The front matter of {path} is a {type(front).__name__}: give names and values.")
    cells = tuple(_code_cells(text, path))
    tagged = [cell for cell in cells if "parameters" in cell.tags]
    if len(tagged) > 1:
        raise EegFmriError(f"{path}:{tagged[1].line} is a second cell tagged `parameters`: a chapter has one.")
    parameters = read_parameters(tagged[0].source, path, tagged[0].line) if tagged else {}
    _check_options(front.get("eegfmri"), path, parameters)
    return Chapter(name, path, text, front, cells, parameters)


_MATTER = re.compile(r"---\s*\n(.*?)\n---\s*\n", re.DOTALL)

#: A page of the book: names between slashes, none of which leads upwards.
_PAGE = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[^/\\:]+(?:/[^/\\:]+)*")


@lru_cache(maxsize=1)
def _options_model():
    """Return the model of the ``eegfmri`` block of a chapter's front matter."""
    from typing import Annotated

    from pydantic import BaseModel, ConfigDict, Field

    class Options(BaseModel):
        model_config = ConfigDict(extra="allow", strict=True)

        title: str | None = None
        summary: str | None = None
        #: Of the chapter with its own parameters and simulated recordings.
        minutes: int | float | None = Field(default=None, ge=0, allow_inf_nan=False)
        datasets: list[str] | None = None
        files: list[str] | None = None
        reads_results: bool | None = None
        #: Keys of the results that the chapter is about: a sweep opens on them.
        headline: list[Annotated[str, Field(pattern=rf"^{KEY.pattern}$")]] | None = None
        #: Chapters whose recorded runs the page shows; its own where none is named.
        recorded: list[str] | None = None
        #: Parameters with a file or folder of the reader's own, given which no dataset is needed; a list in the list: all of these.
        instead: list[str | Annotated[list[str], Field(min_length=2)]] | None = None
        #: So many subjects must be left by a selection: a number (0 where no signals are read), or the parameter that has it.
        min_subjects: Annotated[int, Field(ge=0)] | str = 1
        #: Lists of parameters whose values must rise.
        rising: list[list[str]] | None = None
        #: Pairs of parameters of which the second must be a multiple of the first.
        multiples: list[Annotated[list[str], Field(min_length=2, max_length=2)]] | None = None

    return Options


def _check_options(options: object, path: Path, parameters: Mapping[str, Parameter]) -> None:
    """Check the ``eegfmri`` block of the front matter."""
    from pydantic import ValidationError

    try:
        found = _options_model().model_validate({} if options is None else options)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(("eegfmri", *(str(part) for part in first["loc"])))
        raise EegFmriError(f"The front matter of {path} is not understood ({place}: {first['msg']}).") from None
    groups = [[name] if isinstance(name, str) else name for name in found.instead or ()]
    groups += [*(found.rising or ()), *(found.multiples or ())]
    groups.append([found.min_subjects] if isinstance(found.min_subjects, str) else [])
    for name in (name for names in groups for name in names):
        if name not in parameters:
            raise EegFmriError(f"The front matter of {path} names {name}, which is no parameter of the chapter.")


_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,}|:{3,})(?P<info>.*)$")


def _code_cells(text: str, path: Path) -> Iterable[Cell]:
    lines = text.split("\n")
    index = 0
    while index < len(lines):
        opening = _FENCE.match(lines[index])
        index += 1
        if not opening:
            continue
        closing = re.compile(rf"^{re.escape(opening['fence'][0])}{{{len(opening['fence'])},}}\s*$")
        start = index
        while index < len(lines) and not closing.match(lines[index]):
            index += 1
        body = lines[start:index]
        index += 1
        if not opening["info"].startswith("{code-cell}") or opening["fence"][0] != "`":
            continue
        options: list[str] = []
        skipped = 0
        if body and body[0].strip() == "---":
            skipped = next((i for i, line in enumerate(body[1:], 1) if line.strip() == "---"), len(body) - 1) + 1
            options = body[1 : skipped - 1]
        else:
            while skipped < len(body) and body[skipped].startswith(":"):
                options.append(body[skipped][1:])
                skipped += 1
        while skipped < len(body) and not body[skipped].strip():
            skipped += 1
        tags: object = ()
        if options:
            given = load_yaml("\n".join(options), f"{path}:{start + 1}: the options of a code cell")
            tags = (given.get("tags") if isinstance(given, dict) else given) or ()
        tags = (tags,) if isinstance(tags, str) else tags
        if not isinstance(tags, (list, tuple)) or not all(isinstance(tag, str) for tag in tags):
            raise EegFmriError(f"{path}:{start + 1}: the tags of a code cell are {quoted(tags)}: give a list of names.")
        yield Cell("\n".join(body[skipped:]).rstrip(), start + skipped + 1, tuple(tags))


def _ends_in_semicolon(source: str) -> bool:
    """Say whether a cell ends in a semicolon, which keeps the notebook from showing its last value."""
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in layout]
    return bool(tokens) and tokens[-1].string == ";"


def resolve_parameters(
    chapter: Chapter, profile: str | None = None, assignments: Iterable[str] = (), folder: Path | None = None
) -> dict[str, object]:
    """Return a chapter's parameters: those of its cell, then of the profile, then those assigned.

    Parameters
    ----------
    chapter : Chapter
        Whose parameters.
    profile : str or None
        Name in ``book/profiles.yml``; None or ``quick`` for the defaults.
    assignments : iterable of str
        ``key=value`` each.
    folder : pathlib.Path or None
        Folder that relative files among the assignments refer to; the working directory if None.

    Returns
    -------
    dict
        Every parameter of the chapter by name, in the order of its cell.

    Raises
    ------
    RequestError
        If a name is unknown (the nearest one is given), a value has the wrong type, or a file does not exist.
    """
    values = chapter.defaults | profile_parameters(chapter, profile)
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        name = name.strip()
        if not separator or not name.isidentifier():
            raise RequestError(f"Parameter {quoted(assignment)} is not of the form key=value.")
        if name == RESERVED:
            raise RequestError("The parameter data is filled by the option --data DIR.")
        if name not in chapter.parameters:
            near = _nearest(name, chapter.parameters) if chapter.parameters else ": it has none."
            raise RequestError(f"{chapter.name} has no parameter {quoted(name)}{near}")
        parameter = chapter.parameters[name]
        try:
            values[name] = parameter.parse(text)
        except ValueError:
            if "str" in parameter.annotation and not is_printable(text):
                raise RequestError(
                    f"Parameter {name} of {chapter.name} is given as {quoted(text)}, which holds control characters or bytes that are "
                    "no text: name it, or rename the file, in plain letters."
                ) from None
            raise RequestError(
                f"Parameter {name} of {chapter.name} must be {parameter.expected}, and {quoted(text)} is not: write it as Python does, "
                f"for example {name}={parameter.default!r}."
            ) from None
        values[name] = _existing(name, values[name], folder or Path.cwd())
    for names in chapter.options.get("rising") or ():
        given = [(name, values[name]) for name in names if values[name] is not None]
        if any(first >= second for (_, first), (_, second) in itertools.pairwise(given)):
            shown = " and ".join(f"{name}={value!r}" for name, value in given)
            raise RequestError(f"Parameters of {chapter.name}: {shown} must rise in this order.")
    for part, whole in chapter.options.get("multiples") or ():
        if values[whole] % values[part]:
            raise RequestError(
                f"Parameters of {chapter.name}: {whole}={values[whole]!r} must be a multiple of {part}={values[part]!r}."
            )
    return values


def profile_parameters(chapter: Chapter, profile: str | None) -> dict[str, object]:
    """Return what a profile sets for a chapter: under its name, or under ``*`` for all that know the name.

    Parameters
    ----------
    chapter : Chapter
        Whose parameters.
    profile : str or None
        Name in ``book/profiles.yml``; None or ``quick`` sets nothing.

    Returns
    -------
    dict
        Checked as what is assigned on the command line.

    Raises
    ------
    RequestError
        If there is no such profile, the file is not understood, or a value does not fit the chapter.
    """
    if profile in (None, DEFAULT_PROFILE):
        return {}
    path, entries = _profile(profile)
    common = _mapping(entries.get("*"), path, f"profile {profile}, every chapter")
    values = {name: value for name, value in common.items() if name in chapter.parameters}
    values |= _mapping(entries.get(chapter.name), path, f"profile {profile}, {chapter.name}")
    for name, value in values.items():
        if name not in chapter.parameters:
            raise RequestError(
                f"Profile {profile} in {path} sets {name} for {chapter.name}, which has no such parameter"
                f"{_nearest(name, chapter.parameters)}"
            )
        parameter = chapter.parameters[name]
        try:
            values[name] = parameter.validate(value)
        except ValueError:
            raise RequestError(
                f"Profile {profile} in {path} sets {name} of {chapter.name} to {quoted(value)}, which is not {parameter.expected}."
            ) from None
        values[name] = _existing(name, values[name], project.root())
    return values


def common_parameters(profile: str | None) -> dict[str, object]:
    """Return what a profile sets for every chapter that has a parameter of that name; nothing for the chapters' own."""
    if profile in (None, DEFAULT_PROFILE):
        return {}
    path, entries = _profile(profile)
    return _mapping(entries.get("*"), path, f"profile {profile}, every chapter")


def _profile(profile: str) -> tuple[Path, dict[str, object]]:
    """Return the file of profiles and what it holds of one; `RequestError` if there is no such profile."""
    path = project.book_dir() / "profiles.yml"
    try:
        document = load_yaml(read_text(path), path) if path.is_file() else {}
    except DataError as error:
        raise RequestError(f"Profile {quoted(profile)} cannot be looked up: {error}") from None
    profiles = _mapping(document, path, "profiles")
    if profile not in profiles:
        raise RequestError(f"There is no profile {quoted(profile)}{_nearest(profile, [DEFAULT_PROFILE, *profiles])}")
    return path, _mapping(profiles[profile], path, f"profile {profile}")


def _mapping(found: object, path: Path, what: str) -> dict[str, object]:
    """Return what a level of ``profiles.yml`` holds: names and values, or nothing."""
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise RequestError(f"{path}: {what}: names and values are expected, not {quoted(found)}.")
    return dict(found)


def _existing(name: str, value: object, folder: Path) -> object:
    """Make a path among the parameters absolute, so that it means the same in the kernel; it must exist."""
    if not isinstance(value, str) or not name.endswith(("_file", "_dir")):
        return value
    kind = "folder" if name.endswith("_dir") else "file"
    if not value.strip():
        raise RequestError(f"Parameter {name} is empty: give the path of a {kind}, or leave it out.")
    with looking_up(value, f"give that of a {kind}", f"Parameter {name}"):
        path = (folder / Path(value).expanduser()).resolve()
        there, right = path.exists(), path.is_dir() if kind == "folder" else path.is_file()
    if there and not right:
        raise RequestError(f"Parameter {name}: {quoted(str(path))[1:-1]} is no {kind}: give the path of one.")
    if not right:
        raise RequestError(f"Parameter {name}: there is no {kind} {path}.")
    if not is_printable(str(path)):
        raise RequestError(
            f"Parameter {name}: the name {quoted(str(path))} holds bytes that are no text: rename it in plain letters."
        )
    if not os.access(path, os.R_OK):
        raise RequestError(f"Parameter {name}: {path} may not be read: change its permissions.")
    return str(path)


def _nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known one."""
    near = difflib.get_close_matches(name[:QUOTED], list(names), n=1, cutoff=0.0)
    return f": did you mean {near[0]!r}?" if near else "."


def listing(chapters: Mapping[str, Chapter] | None = None) -> list[dict]:
    """Describe every chapter for ``eegfmri chapters``: name, summary, minutes and parameters."""
    chapters = discover() if chapters is None else chapters
    return [
        {
            "chapter": name,
            "title": chapter.title,
            "summary": chapter.summary,
            "minutes": chapter.options.get("minutes"),
            "datasets": list(chapter.datasets),
            "parameters": [p.described() for p in chapter.parameters.values()],
        }
        for name, chapter in chapters.items()
    ]
