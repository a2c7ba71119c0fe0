"""Chapters: found in the book's table of contents, given parameters, executed, kept under a key.

A chapter is a MyST notebook. Its parameters are the annotated assignments of the cell tagged ``parameters``; they are
read from the source without running it and checked before anything runs. An executed chapter is kept under a key of
everything it depends on: its source, its parameters, the library modules that its cells import and theirs, the data
and the lock file. The modules that find, execute and render chapters are no part of the key, unless a chapter imports
them.
"""

import ast
import difflib
import io
import os
import re
import shutil
import sys
import tempfile
import time
import tokenize
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from eegfmri import cache, project, results
from eegfmri.errors import EegFmriError, RequestError

#: The parameter that the runner fills: None for simulated recordings, else the path given to ``--data``.
RESERVED = "data"

#: The profile that needs no entry in ``profiles.yml``: the parameters cell itself.
DEFAULT_PROFILE = "quick"

#: Executed notebooks kept per chapter; the oldest go first.
KEPT = 12

#: Distributions whose versions are written beside every result.
PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "torch", "mne", "nilearn", "nibabel", "plotly", "papermill")


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
        """Datasets that must be there before the chapter runs."""
        return tuple(self.options.get("datasets") or ())

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
            # Magics are no Python; what they do cannot import a library module.
            lines = [line if not line.lstrip().startswith(("%", "!")) else "" for line in cell.source.split("\n")]
            try:
                found |= cache.imported_modules("\n".join(lines))
            except SyntaxError as error:
                line = cell.line + (error.lineno or 1) - 1
                raise EegFmriError(f"{self.path}:{line} is not valid Python: {error.msg}.") from None
        return frozenset(cache.import_closure(found))


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
    raise RequestError(
        f"There is no chapter {name!r}{_nearest(name, chapters)}; `eegfmri chapters` lists all {len(chapters)}."
    )


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
    parameters = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name, where = node.target.id, f"{path}:{line + node.lineno - 1}"
        if name == RESERVED:
            raise EegFmriError(f"{where}: `{RESERVED}` is filled by the runner; leave it without annotation.")
        if node.value is None:
            raise EegFmriError(f"{where}: parameter {name} has no default.")
        try:
            default = ast.literal_eval(node.value)
        except (ValueError, SyntaxError):
            raise EegFmriError(f"{where}: the default of parameter {name} must be a literal.") from None
        parameter = Parameter(name, ast.unparse(node.annotation).replace("'", '"'), default, comments.get(node.end_lineno, ""))
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
    except Exception as error:
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
            raise RequestError(
                f"{chapter.name} has no parameter {name!r}{_nearest(name, chapter.parameters)}"
                f"{'' if chapter.parameters else '; it has none'}."
            )
        parameter = chapter.parameters[name]
        try:
            values[name] = parameter.parse(text)
        except ValueError:
            raise RequestError(
                f"Parameter {name} of {chapter.name} must be {parameter.annotation}, and {text!r} is not."
            ) from None
        values[name] = _existing(name, values[name], folder or Path.cwd())
    return values


def profile_parameters(chapter: Chapter, profile: str | None) -> dict[str, object]:
    """Return what a profile sets for a chapter: under its name, or under ``*`` for every chapter that knows the name."""
    if profile in (None, DEFAULT_PROFILE):
        return {}
    import yaml

    path = project.book_dir() / "profiles.yml"
    profiles = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
    if profile not in profiles:
        raise RequestError(f"There is no profile {profile!r}{_nearest(profile, [DEFAULT_PROFILE, *profiles])}.")
    entries = profiles[profile] or {}
    common = {name: value for name, value in (entries.get("*") or {}).items() if name in chapter.parameters}
    values = common | (entries.get(chapter.name) or {})
    for name, value in values.items():
        if name not in chapter.parameters:
            raise EegFmriError(f"Profile {profile} in {path} sets {name} for {chapter.name}, which has no such parameter.")
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
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.0)
    return f": did you mean {near[0]!r}?" if near else ""


# --- requests and their keys -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A chapter with everything its execution depends on.

    Attributes
    ----------
    chapter : Chapter
        What is executed.
    parameters : dict
        Every public parameter.
    data : str or None
        What the reserved parameter is filled with.
    simulated : tuple of str
        Datasets that must have been simulated before.
    key : str
        Hexadecimal key of the execution.
    """

    chapter: Chapter
    parameters: dict[str, object]
    data: str | None
    simulated: tuple[str, ...]
    key: str

    @property
    def folder(self) -> Path:
        """Where the executed notebook and its results are kept."""
        return build_dir() / "executed" / self.chapter.name / self.key

    @property
    def cached(self) -> bool:
        """Whether the chapter has been executed already."""
        return (self.folder / "results.json").is_file() and (self.folder / "notebook.ipynb").is_file()

    @property
    def results(self) -> dict:
        """The document ``results.json`` of the executed chapter."""
        return cache.read_json(self.folder / "results.json")

    @property
    def command(self) -> str:
        """The command that executes the chapter with these parameters."""
        words = [f"eegfmri run {self.chapter.name}"]
        words += [f"-p {_shell(name, value)}" for name, value in self.parameters.items()]
        return " ".join(words)

    @property
    def simulation(self) -> dict:
        """Preset, scale and seed of the simulated recordings, from the parameters of those names where there are any."""
        return {
            "scale": self.parameters.get("scale", "small"),
            "preset": self.parameters.get("preset", "realistic"),
            "seed": self.parameters.get("simulation_seed", 0),
        }


def _shell(name: str, value: object) -> str:
    """Write an assignment for a shell; double quotes inside, so that the single ones outside need no escape."""
    import json
    import shlex

    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, (list, tuple, dict)):
        written = json.dumps(value, ensure_ascii=False)
        try:
            text = written if ast.literal_eval(written) == value else text
        except (ValueError, SyntaxError):
            pass
    return shlex.quote(f"{name}={text}")


def build_dir() -> Path:
    """Return the folder of everything built: executed chapters, stage, results, HTML."""
    return project.book_dir() / "_build"


@dataclass(frozen=True)
class DataPlan:
    """What ``--data`` offers, and whether what it lacks is simulated instead.

    Attributes
    ----------
    given : str or None
        Absolute path of the folder, or None for simulated recordings only.
    roots : dict of str to pathlib.Path
        Datasets found there.
    simulate_missing : bool
        True for a build, False for a run, which refuses.
    """

    given: str | None = None
    roots: dict[str, Path] = field(default_factory=dict)
    simulate_missing: bool = True

    @classmethod
    def of(cls, data: str | Path | None, simulate_missing: bool) -> "DataPlan":
        """Look into the folder given to ``--data``."""
        if data is None:
            return cls()
        path = Path(data).expanduser().resolve()
        if not path.is_dir():
            raise RequestError(f"--data: there is no folder {path}.")
        from eegfmri import datasets

        return cls(str(path), dict(datasets.resolve(path)), simulate_missing)


def prepare(chapter: Chapter, parameters: dict[str, object], plan: DataPlan | None = None) -> Request:
    """Work out where a chapter's data come from and the key of its execution.

    Raises
    ------
    RequestError
        If a dataset is missing and must not be simulated.
    """
    plan = plan or DataPlan()
    real = {name: plan.roots[name] for name in chapter.datasets if name in plan.roots}
    missing = tuple(name for name in chapter.datasets if name not in real)
    if plan.given is not None and missing and not plan.simulate_missing:
        raise RequestError(
            f"{chapter.name} needs the {' and '.join(missing)} dataset{'s' if len(missing) > 1 else ''}, which "
            f"{plan.given} does not hold: add {'them' if len(missing) > 1 else 'it'}, or leave --data out to use "
            "simulated recordings."
        )
    request = Request(chapter, parameters, None, missing, "")
    identities = {}
    if real:
        from eegfmri import datasets

        for name, root in real.items():
            identities[name] = datasets.open_recordings(root, name).digest
    if missing:
        from eegfmri.datasets.simulate import simulation_digest

        for name in missing:
            identities[name] = simulation_digest(name, **request.simulation)
    data = None
    if real:
        # A chapter that needs real and simulated recordings is given one folder of links to both.
        data = plan.given if not missing else str(build_dir() / "data" / cache.digest(plan.given, identities))
    lock = project.root() / "requirements.lock"
    key = cache.digest(
        chapter.source,
        parameters,
        cache.code_digest(*chapter.modules),
        identities,
        None if data is None else str(data),
        lock.read_text(encoding="utf-8") if lock.is_file() else None,
        _files_read(chapter),
        [_stamp(value) for name, value in parameters.items() if name.endswith(("_file", "_dir"))],
        _others_results(chapter) if chapter.reads_results else None,
    )
    return replace(request, data=data, key=key)


def _files_read(chapter: Chapter) -> dict[str, str]:
    """Return tracked data files and the library's own tables that the chapter or its modules name, with their text."""
    base = Path(cache.__file__).parent
    sources = [chapter.source] + [cache._modules()[name].read_text(encoding="utf-8") for name in chapter.modules]
    candidates = [path for path in base.rglob("*") if path.suffix in (".csv", ".json", ".yml", ".tsv")]
    folder = project.data_dir()
    if folder.is_dir():
        candidates += [path for path in folder.iterdir() if path.suffix in (".csv", ".json", ".yml")]
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(candidates)
        if any(path.name in source for source in sources)
    }


def _stamp(value: object) -> object:
    if not isinstance(value, str):
        return None
    path = Path(value)
    if path.is_dir():
        return [[str(child.relative_to(path)), *cache.file_stamp(child)[1:]] for child in sorted(path.rglob("*")) if child.is_file()]
    return list(cache.file_stamp(path)) if path.is_file() else value


def _others_results(chapter: Chapter) -> list:
    return [
        [document["chapter"], document["parameters"], document["data"], document["results"]]
        for document in results.latest()
        if document["chapter"] != chapter.name
    ]


# --- execution -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of a chapter: ``executed``, ``cached`` or ``failed``."""

    request: Request
    status: str
    seconds: float
    error: str | None = None
    log: str | None = None

    def summary(self) -> dict:
        """Describe the outcome for ``eegfmri build --json``."""
        return {
            "chapter": self.request.chapter.name,
            "key": self.request.key,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


#: Called with an event (``start``, ``cell``, ``end``, ``data``, ``render``) and what it is about.
Listener = Callable[..., None]


def _silent(event: str, **about: object) -> None:
    """Listen to nothing."""


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_jobs(chapters: Iterable[Chapter]) -> int:
    """Return how many chapters run at once if nobody says: as many as there are cores or chapters."""
    return max(1, min(cores(), len(list(chapters))))


def ensure_data(requests: Iterable[Request], plan: DataPlan, listen: Listener = _silent) -> None:
    """Make the simulated recordings that the requests need, each once, and the folders of links."""
    made: dict[str, Path] = {}
    for request in requests:
        for name in request.simulated:
            recipe = request.simulation
            identity = cache.digest(name, recipe)
            if identity not in made:
                from eegfmri.datasets.simulate import ensure

                listen("data", dataset=name, **recipe)
                made[identity] = Path(ensure(name, **recipe))
        if request.data is not None and request.simulated:
            folder = Path(request.data)
            links = {name: plan.roots[name] for name in request.chapter.datasets if name in plan.roots}
            links |= {name: made[cache.digest(name, request.simulation)] for name in request.simulated}
            folder.mkdir(parents=True, exist_ok=True)
            for name, target in links.items():
                link = folder / name
                if not link.is_symlink():
                    link.symlink_to(target, target_is_directory=True)


def execute_all(
    requests: list[Request], jobs: int, threads: int, force: bool = False, listen: Listener = _silent
) -> list[Outcome]:
    """Execute the requests that are not cached, several at once, and let the others finish when one fails.

    Parameters
    ----------
    requests : list of Request
        What to execute.
    jobs : int
        How many kernels at once.
    threads : int
        Threads for the numerical libraries of each kernel.
    force : bool
        Execute cached ones as well.
    listen : callable
        Told what happens.

    Returns
    -------
    list of Outcome
        In the order of the requests.
    """
    outcomes: dict[int, Outcome] = {}
    pending = []
    for position, request in enumerate(requests):
        if request.cached and not force:
            outcomes[position] = Outcome(request, "cached", request.results["seconds"])
            listen("end", outcome=outcomes[position])
        else:
            pending.append(position)
    if pending:
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            futures = {pool.submit(execute, requests[i], threads, force, listen): i for i in pending}
            for future in as_completed(futures):
                outcome = future.result()
                outcomes[futures[future]] = outcome
                listen("end", outcome=outcome)
    return [outcomes[position] for position in sorted(outcomes)]


def execute(request: Request, threads: int = 1, force: bool = False, listen: Listener = _silent) -> Outcome:
    """Execute one chapter through papermill and keep the notebook and its results, whole or not at all.

    A failure is an outcome, not an exception, so that other chapters go on.
    """
    from filelock import FileLock

    begun = time.perf_counter()
    lock = build_dir() / "locks" / f"{request.chapter.name.replace('/', '-')}-{request.key}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if request.cached and not force:
            return Outcome(request, "cached", request.results["seconds"])
        listen("start", request=request)
        try:
            notebook = _run_notebook(request, threads, listen)
            _keep(request, notebook, time.perf_counter() - begun, threads)
        except Exception as error:
            text = traceback.format_exc()
            sentence = str(error) if isinstance(error, EegFmriError) else f"{request.chapter.name} failed: {error!r}"
            log = build_dir() / "logs" / f"{request.chapter.name.replace('/', '-')}.log"
            with cache.written_whole(log) as temporary:
                temporary.write_text(text, encoding="utf-8")
            return Outcome(request, "failed", time.perf_counter() - begun, sentence, text)
    return Outcome(request, "executed", time.perf_counter() - begun)


def _kernel_environment(threads: int) -> dict[str, str]:
    library = str(Path(cache.__file__).resolve().parents[1])
    paths = [library, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    ipython = build_dir() / "ipython"
    ipython.mkdir(parents=True, exist_ok=True)
    counts = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM")
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in counts[:5]},
        "VECLIB_MAXIMUM_THREADS": str(threads),
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads),
        "LOKY_MAX_CPU_COUNT": str(threads),
        "EEGFMRI_ROOT": str(project.root()),
        "EEGFMRI_RUNNER": "1",
        # Nobody's own startup files, progress bars or hash order in the book.
        "IPYTHONDIR": str(ipython),
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
        "MNE_LOGGING_LEVEL": "WARNING",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
    }


def _run_notebook(request: Request, threads: int, listen: Listener):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jupytext
        from papermill.exceptions import PapermillExecutionError
        from papermill.execute import execute_notebook

        from eegfmri.kernels import ENGINE, Progress, register

    register()
    chapter = request.chapter
    notebook = jupytext.reads(chapter.source, fmt="md:myst")
    if "parameters" not in {tag for cell in chapter.cells for tag in cell.tags}:
        injected = {}
    else:
        changed = {name: value for name, value in request.parameters.items() if value != chapter.defaults[name]}
        injected = {**changed, RESERVED: request.data}
    progress = Progress(lambda done, total: listen("cell", request=request, done=done, total=total))
    try:
        executed = execute_notebook(
            notebook,
            None,
            parameters=injected,
            engine_name=ENGINE,
            kernel_name="python3",
            progress_bar=False,
            environment=_kernel_environment(threads),
            folder=str(project.root()),
            progress=progress,
        )
    except PapermillExecutionError as error:
        cause = f"{error.ename}: {_first_line(error.evalue)}" if error.evalue else error.ename
        raise _cell_failed(chapter, progress.code_cell, cause) from error
    except Exception as error:
        if type(error).__name__ == "DeadKernelError":
            raise _cell_failed(chapter, progress.code_cell, "the kernel died, perhaps for lack of memory") from error
        raise
    return executed


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0] if text.strip() else text


def _cell_failed(chapter: Chapter, number: int, cause: str) -> EegFmriError:
    """Name the chapter, the code cell as a reader counts it, the cell's first line and the exception."""
    cell = chapter.cells[number - 1]
    lines = [line for line in cell.source.split("\n") if line.strip()]
    first = lines[0].strip() if lines else ""
    return EegFmriError(
        f"{chapter.name} failed in code cell {number} (`{first}`, line {cell.line} of {chapter.path.name}): {cause}"
    )


def _keep(request: Request, notebook, seconds: float, threads: int) -> None:
    import nbformat

    notebook = tidied(notebook, request)
    document = {
        "schema": results.SCHEMA,
        "chapter": request.chapter.name,
        "parameters": request.parameters,
        **{name: value for name, value in results.harvest(notebook).items() if name == "data"},
        "environment": environment(threads),
        "seconds": round(seconds, 3),
        "results": results.harvest(notebook)["results"],
    }
    request.folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=request.folder.parent))
    try:
        (temporary / "notebook.ipynb").write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        cache.write_json(temporary / "results.json", document)
        temporary.chmod(0o755)
        if request.folder.exists():
            shutil.rmtree(request.folder)
        temporary.rename(request.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def tidied(notebook, request: Request):
    """Return the executed notebook without traces of the machine, the injected cell hidden."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata["eegfmri"] = {
        **request.chapter.options,
        "chapter": request.chapter.name,
        "key": request.key,
        "parameters": request.parameters,
    }
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]
    return notebook


def environment(threads: int) -> dict:
    """Describe what a result was computed with: versions, platform, commit, when."""
    import importlib.metadata
    import platform

    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": threads,
        "packages": packages,
        "commit": commit(),
        "executed": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit() -> str | None:
    """Return the project's commit, with ``+`` if files differ from it, or None outside a git clone."""
    import subprocess

    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=project.root(),
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None if described.returncode == 0 else None


def prune(chapters: Iterable[Chapter], used: Iterable[Request]) -> None:
    """Remove what an interruption left, and the oldest executed notebooks beyond `KEPT` per chapter."""
    kept = {request.folder for request in used}
    for chapter in chapters:
        folder = build_dir() / "executed" / chapter.name
        if not folder.is_dir():
            continue
        for part in folder.glob(".part-*"):
            shutil.rmtree(part, ignore_errors=True)
        old = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for path in [path for path in old if path not in kept][: max(0, len(old) - KEPT)]:
            shutil.rmtree(path, ignore_errors=True)


# --- run and build ---------------------------------------------------------------------------------------------------


def run(
    name: str,
    assignments: Iterable[str] = (),
    profile: str | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    force: bool = False,
    listen: Listener = _silent,
) -> Path:
    """Execute one chapter and write the notebook, a stand-alone page and its results into a folder.

    Parameters
    ----------
    name : str
        Name of the chapter.
    assignments : iterable of str
        ``key=value`` each.
    profile : str or None
        Profile that the assignments are laid over.
    data : str, pathlib.Path or None
        Folder of real recordings; simulated ones if None.
    out : str, pathlib.Path or None
        Folder to write into; ``runs/<chapter>-<key>/`` if None.
    force : bool
        Execute although the result is cached.
    listen : callable
        Told what happens.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    RequestError
        If the request is wrong; nothing has run then.
    EegFmriError
        If a cell fails.
    """
    chapters = discover()
    chapter = find(name, chapters)
    parameters = resolve_parameters(chapter, profile, assignments)
    plan = DataPlan.of(data, simulate_missing=False)
    request = prepare(chapter, parameters, plan)
    stem = chapter.name.replace("/", "-")
    folder = Path(out).expanduser().resolve() if out is not None else project.root() / "runs" / f"{stem}-{request.key}"
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--out: {folder} is not a folder.")
    if force or not request.cached:
        ensure_data([request], plan, listen)
    # The same thread count as in a build, for the order of floating-point sums depends on it.
    threads = max(1, cores() // default_jobs(chapters.values()))
    [outcome] = execute_all([request], 1, threads, force, listen)
    if outcome.status == "failed":
        raise EegFmriError(outcome.error)
    from eegfmri import render

    listen("render", chapters=[chapter.name])
    page = render.standalone(request)
    folder.mkdir(parents=True, exist_ok=True)
    with cache.written_whole(folder / f"{stem}.ipynb") as temporary:
        shutil.copyfile(request.folder / "notebook.ipynb", temporary)
    with cache.written_whole(folder / f"{stem}.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    cache.write_json(folder / "results.json", request.results)
    return folder


def build(
    profile: str | None = None,
    data: str | Path | None = None,
    jobs: int | None = None,
    force: bool = False,
    listen: Listener = _silent,
    render_book: bool = True,
) -> tuple[dict, list[Outcome]]:
    """Execute the chapters that are not cached and render the book.

    Parameters
    ----------
    profile : str or None
        Profile of every chapter.
    data : str, pathlib.Path or None
        Folder of real recordings; what it lacks is simulated.
    jobs : int or None
        Chapters executed at once; as many as cores if None.
    force : bool
        Execute and render although nothing has changed.
    listen : callable
        Told what happens.
    render_book : bool
        False to execute only.

    Returns
    -------
    document : dict
        The document of ``eegfmri build --json``.
    outcomes : list of Outcome
        What became of each chapter.

    Raises
    ------
    RequestError
        If the request is wrong; nothing has run then.
    RenderError
        If rendering fails; the previous book stands.
    """
    from filelock import FileLock

    from eegfmri import render

    if jobs is not None and jobs < 1:
        raise RequestError(f"--jobs must be 1 or more, not {jobs}.")
    chapters = discover()
    parameters = {name: resolve_parameters(chapter, profile) for name, chapter in chapters.items()}
    plan = DataPlan.of(data, simulate_missing=True)
    jobs = default_jobs(chapters.values()) if jobs is None else jobs
    threads = max(1, cores() // jobs)
    build_dir().mkdir(parents=True, exist_ok=True)
    with FileLock(build_dir() / ".lock"):
        outcomes: list[Outcome] = []
        # Pages about results come last, so that they see those of this build.
        for last in (False, True):
            requests = [
                prepare(chapter, parameters[name], plan)
                for name, chapter in chapters.items()
                if chapter.reads_results == last
            ]
            ensure_data([request for request in requests if force or not request.cached], plan, listen)
            outcomes += execute_all(requests, jobs, threads, force, listen)
            _publish_results(outcomes, chapters)
        order = list(chapters)
        outcomes.sort(key=lambda outcome: order.index(outcome.request.chapter.name))
        prune(chapters.values(), [outcome.request for outcome in outcomes])
        page = render.html_dir() / "index.html"
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        document = {"schema": 1, "chapters": [outcome.summary() for outcome in outcomes], "rendered": False}
        try:
            if render_book and not failed:
                document["rendered"] = render.book([outcome.request for outcome in outcomes], force, listen)
        except EegFmriError as error:
            document["html"] = str(page) if page.is_file() else None
            raise RenderError(str(error), document) from error
        document["html"] = str(page) if page.is_file() else None
    return document, outcomes


class RenderError(EegFmriError):
    """The chapters are executed, but the book could not be rendered; ``document`` is what ``--json`` writes."""

    def __init__(self, message: str, document: dict):
        super().__init__(message)
        self.document = document


def _publish_results(outcomes: list[Outcome], chapters: Mapping[str, Chapter]) -> None:
    """Make ``_build/results`` hold the results of this build and nothing else."""
    folder = build_dir() / "results"
    done = {outcome.request.chapter.name: outcome for outcome in outcomes if outcome.status != "failed"}
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        known = {outcome.request.chapter.name for outcome in outcomes}
        if name not in chapters or (name in known and name not in done):
            path.unlink()
    for name, outcome in done.items():
        with cache.written_whole(folder / f"{name}.json") as temporary:
            shutil.copyfile(outcome.request.folder / "results.json", temporary)


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
