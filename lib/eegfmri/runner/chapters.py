"""Chapters: found in the book's table of contents, read without running them, given parameters.

A chapter is a MyST notebook. Its parameters are the annotated assignments of the cell tagged ``parameters``; they are
read from the source and checked before anything runs.
"""

import ast
import builtins
import difflib
import io
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from eegfmri import cache, project
from eegfmri.errors import EegFmriError, RequestError

#: The parameter that the runner fills: None for simulated recordings, else the path given to ``--data``.
RESERVED = "data"

#: The profile that needs no entry in ``profiles.yml``: the parameters cell itself.
DEFAULT_PROFILE = "quick"

#: Tags that decide how a cell is executed; the others decide how it is shown.
EXECUTION_TAGS = ("parameters", "raises-exception", "skip-execution")


@dataclass(frozen=True)
class Parameter:
    """One public parameter of a chapter, as its parameters cell declares it."""

    name: str
    annotation: str
    default: object
    help: str = ""

    def validate(self, value: object) -> object:
        """Return ``value`` as the annotation's type holds it.

        Raises
        ------
        ValueError
            If it is not of the type; nothing is converted except an integer to a float and between list and tuple.
        """
        from pydantic import TypeAdapter, ValidationError

        adapter = TypeAdapter(_type_of(self.annotation))
        candidates = [value]
        if isinstance(value, (list, tuple)):
            candidates.append(list(value) if isinstance(value, tuple) else tuple(value))
        for candidate in candidates:
            try:
                return adapter.validate_python(candidate, strict=True)
            except ValidationError as error:
                problem = error
        raise ValueError(str(problem))

    def parse(self, text: str) -> object:
        """Return the value that ``text`` of the command line means: a Python literal, else the text itself."""
        try:
            return self.validate(ast.literal_eval(text))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return self.validate(text)


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
        """Datasets that must be there before the chapter runs with these parameters: the one that ``dataset`` names, or all."""
        chosen = parameters.get("dataset")
        return (chosen,) if chosen in self.datasets else self.datasets

    @property
    def reads_results(self) -> bool:
        """Whether the chapter reads the results of other chapters, and so is executed after them."""
        return bool(self.options.get("reads_results"))

    @property
    def defaults(self) -> dict[str, object]:
        """Parameters as the parameters cell sets them."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    @cached_property
    def modules(self) -> frozenset[str]:
        """Library modules that the code cells import, and those that they import in turn."""
        found: set[str] = set()
        for cell in self.cells:
            try:
                # Magics are no Python; what they do cannot import a library module.
                found |= cache.imported_modules(cell.python)
            except SyntaxError as error:
                line = cell.line + (error.lineno or 1) - 1
                raise EegFmriError(f"{self.path}:{line} is not valid Python: {error.msg}.") from None
        return frozenset(cache.import_closure(found))

    @cached_property
    def code(self) -> list:
        """What of the chapter can change its outputs: its code cells as `Cell.code` sees them."""
        return [cell.code for cell in self.cells]

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
        text = path.read_text(encoding="utf-8")
        if re.match(r"---\s*\n(.*\n)*?jupytext:", text):
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
    raise RequestError(f"There is no chapter {name!r}{_nearest(name, chapters)} `eegfmri chapters` lists them.")


def pages() -> list[str]:
    """Return the names of all pages in the table of contents, in its order."""
    import yaml

    path = project.book_dir() / "_toc.yml"
    names: list[str] = []

    def visit(node: object) -> None:
        if isinstance(node, list):
            for item in node:
                visit(item)
        elif isinstance(node, dict):
            for key in ("root", "file"):
                if key in node:
                    names.append(re.sub(r"\.(md|ipynb|rst)$", "", node[key]))
            for key in ("parts", "chapters", "sections"):
                visit(node.get(key))

    visit(yaml.safe_load(path.read_text(encoding="utf-8")))
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
    import yaml

    text = path.read_text(encoding="utf-8") if text is None else text
    matter = re.match(r"---\s*\n(.*?)\n---\s*\n", text, re.DOTALL)
    try:
        front = (yaml.safe_load(matter.group(1)) or {}) if matter else {}
    except yaml.YAMLError as error:
        raise EegFmriError(f"The front matter of {path} is not valid YAML: {error}.") from None
    cells = tuple(_code_cells(text))
    tagged = [cell for cell in cells if "parameters" in cell.tags]
    if len(tagged) > 1:
        raise EegFmriError(f"{path}:{tagged[1].line} is a second cell tagged `parameters`: a chapter has one.")
    parameters = read_parameters(tagged[0].source, path, tagged[0].line) if tagged else {}
    return Chapter(name, path, text, front, cells, parameters)


_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,}|:{3,})(?P<info>.*)$")


def _code_cells(text: str) -> Iterable[Cell]:
    import yaml

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
        tags = (yaml.safe_load("\n".join(options)) or {}).get("tags", []) if options else []
        yield Cell(
            "\n".join(body[skipped:]).rstrip(), start + skipped + 1, (tags,) if isinstance(tags, str) else tuple(tags)
        )


def _ends_in_semicolon(source: str) -> bool:
    """Say whether a cell ends in a semicolon, which keeps the notebook from showing its last value."""
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in layout]
    return bool(tokens) and tokens[-1].string == ";"


def read_parameters(source: str, path: Path | str = "the parameters cell", line: int = 1) -> dict[str, Parameter]:
    """Read the parameters that a cell declares, without running it.

    Parameters
    ----------
    source : str
        Source of the cell: annotated assignments of literals, each with a trailing comment as its help.
    path : pathlib.Path or str
        Where it stands, for error messages.
    line : int
        Line of the file at which it begins.

    Returns
    -------
    dict of str to Parameter
        In the order of the cell.

    Raises
    ------
    EegFmriError
        If a default is no literal, not of its own type, or the annotation is not understood.
    """
    comments = {
        token.start[0]: token.string.lstrip("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source + "\n").readline)
        if token.type == tokenize.COMMENT
    }
    body = ast.parse(source).body
    imported = {
        alias.asname or alias.name
        for node in body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    parameters = {}
    for node in body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name, where = node.target.id, f"{path}:{line + node.lineno - 1}"
        if name == RESERVED:
            raise EegFmriError(f"{where}: `{RESERVED}` is filled by the runner; leave it without annotation.")
        if node.value is None:
            raise EegFmriError(f"{where}: parameter {name} has no default.")
        # Python evaluates these annotations when the cell runs.
        used = {part.id for part in ast.walk(node.annotation) if isinstance(part, ast.Name)}
        for unknown in sorted(used - imported - set(dir(builtins))):
            raise EegFmriError(f"{where}: {unknown} is not known there: import it in the parameters cell.")
        try:
            default = ast.literal_eval(node.value)
        except (ValueError, SyntaxError):
            raise EegFmriError(f"{where}: the default of parameter {name} must be a literal.") from None
        parameter = Parameter(
            name, ast.unparse(node.annotation).replace("'", '"'), default, comments.get(node.end_lineno, "")
        )
        try:
            default = parameter.validate(default)
        except ValueError:
            raise EegFmriError(
                f"{where}: the default of parameter {name} is {default!r}, which is not {parameter.annotation}."
            ) from None
        parameters[name] = replace(parameter, default=default)
    return parameters


def _type_of(annotation: str) -> object:
    import typing

    names = {name: getattr(typing, name) for name in ("Literal", "Optional", "Union", "Any", "Annotated")}
    names |= {kind.__name__: kind for kind in (bool, int, float, str, list, tuple, dict)}
    try:
        return eval(annotation, {"__builtins__": {}}, names)
    # Evaluating a malformed annotation may raise nearly anything.
    except Exception as error:  # noqa: BLE001
        raise EegFmriError(f"The annotation {annotation!r} of a parameter is not understood: {error}.") from None


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
            raise RequestError(f"Parameter {assignment!r} is not of the form key=value.")
        if name == RESERVED:
            raise RequestError("The parameter data is filled by the option --data DIR.")
        if name not in chapter.parameters:
            near = _nearest(name, chapter.parameters) if chapter.parameters else ": it has none."
            raise RequestError(f"{chapter.name} has no parameter {name!r}{near}")
        parameter = chapter.parameters[name]
        try:
            values[name] = parameter.parse(text)
        except ValueError:
            raise RequestError(
                f"Parameter {name} of {chapter.name} must be {parameter.annotation}, and {text!r} is not: write it as Python does, "
                f"for example {name}={parameter.default!r}."
            ) from None
        values[name] = _existing(name, values[name], folder or Path.cwd())
    return values


def profile_parameters(chapter: Chapter, profile: str | None) -> dict[str, object]:
    """Return what a profile sets for a chapter: under its name, or under ``*`` for all that know the name."""
    if profile in (None, DEFAULT_PROFILE):
        return {}
    import yaml

    path = project.book_dir() / "profiles.yml"
    profiles = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
    if profile not in profiles:
        raise RequestError(f"There is no profile {profile!r}{_nearest(profile, [DEFAULT_PROFILE, *profiles])}")
    entries = profiles[profile] or {}
    common = {name: value for name, value in (entries.get("*") or {}).items() if name in chapter.parameters}
    values = common | (entries.get(chapter.name) or {})
    for name, value in values.items():
        if name not in chapter.parameters:
            raise EegFmriError(
                f"Profile {profile} in {path} sets {name} for {chapter.name}, which has no such parameter."
            )
        try:
            values[name] = chapter.parameters[name].validate(value)
        except ValueError:
            raise EegFmriError(
                f"Profile {profile} in {path} sets {name} of {chapter.name} to {value!r}, which is not "
                f"{chapter.parameters[name].annotation}."
            ) from None
    return values


def _existing(name: str, value: object, folder: Path) -> object:
    """Make a path among the parameters absolute, so that it means the same in the kernel; it must exist."""
    if not isinstance(value, str) or not name.endswith(("_file", "_dir")):
        return value
    path = (folder / Path(value).expanduser()).resolve()
    if not (path.is_dir() if name.endswith("_dir") else path.is_file()):
        raise RequestError(f"Parameter {name}: there is no {'folder' if name.endswith('_dir') else 'file'} {path}.")
    return str(path)


def _nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known one."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.0)
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
            "parameters": [
                {"name": p.name, "type": p.annotation, "default": p.default, "help": p.help}
                for p in chapter.parameters.values()
            ],
        }
        for name, chapter in chapters.items()
    ]
