"""Execution of chapters: under a key of everything a result depends on, several at once, whole or not at all.

The key is made of the chapter's code cells, its parameters, the library modules that its cells import and theirs, the data
and the lock file. Code counts as its syntax tree: comments and docstrings change nothing, and neither does a chapter's prose,
which is only rendered again. The modules that find, execute and render chapters are no part of it, unless a chapter imports them.
An executed chapter is a folder with the notebook and ``results.json``; it appears under its final name when both are
complete, so that an interruption at any moment costs only what was unfinished.
"""

import ast
import contextlib
import json
import os
import shlex
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from eegfmri import cache, costs, project, recorded, results
from eegfmri import device as devices
from eegfmri.errors import EegFmriError, RequestError, is_printable, looking_up
from eegfmri.executors import SCHEDULER, Dask, Executor, Job, Threads
from eegfmri.machine import cores
from eegfmri.runner.chapters import Chapter, find
from eegfmri.runner.measure import PeakMemory, describe_machine
from eegfmri.runner.parameters import RESERVED, quoted, source_of
from eegfmri.text import jsonable

#: Executed notebooks kept per chapter beside those that runs and sweeps still refer to; those used longest ago go first.
KEPT = 12

#: Folders under this prefix and the key of an execution are being written, or were when the writer was killed.
PART = ".part-"

#: Beside notebook and results, what executing them took; the folder of an earlier version has none.
COST = "cost.json"

#: Distributions whose versions are written beside every result.
PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "torch", "mne", "nilearn", "nibabel", "plotly", "papermill")


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
    device : {"cpu", "cuda", "mps"}
        Where the chapter's networks are computed.
    own_key : str
        The key without the recorded runs that the page shows beside its own results.
    shown : dict of str to str
        Chapters whose recorded runs the page may show, with the digests of their code cells.
    """

    chapter: Chapter
    parameters: dict[str, object]
    data: str | None
    simulated: tuple[str, ...]
    key: str
    device: str = "cpu"
    own_key: str = ""
    shown: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the executed notebook and its results are kept."""
        return build_dir() / "executed" / self.chapter.name / self.key

    @property
    def cached(self) -> bool:
        """Whether the chapter has been executed already, and what was kept of it is as it was written."""
        return cache.is_whole_folder(self.folder, ("results.json", "notebook.ipynb"))

    @property
    def results(self) -> dict:
        """The document ``results.json`` of the executed chapter."""
        return results.read(self.folder / "results.json")

    @property
    def cost(self) -> dict | None:
        """``machine`` and ``peak_memory`` of the execution; None where an earlier version has not written them."""
        path = self.folder / COST
        return cache.read_json(path) if path.is_file() else None

    @property
    def command(self) -> str:
        """The command that executes the chapter with these parameters."""
        words = [f"eegfmri run {self.chapter.name}"]
        words += [f"-p {_shell(name, value)}" for name, value in self.parameters.items()]
        words += [] if self.device == "cpu" else [f"--device {self.device}"]
        return " ".join(words)

    @property
    def simulation(self) -> dict:
        """Preset, scale and seed of the simulated recordings, from parameters of those names where there are any."""
        return {
            "scale": self.parameters.get("scale", "small"),
            "preset": self.parameters.get("preset", "realistic"),
            "seed": self.parameters.get("simulation_seed", 0),
        }


def _shell(name: str, value: object) -> str:
    """Write an assignment for a shell; double quotes inside, so that the single ones outside need no escape."""
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, (list, tuple, dict)):
        written = json.dumps(value, ensure_ascii=False)
        with contextlib.suppress(ValueError, SyntaxError):
            text = written if ast.literal_eval(written) == value else text
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
        path = folder_of(data, "--data")
        if not path.is_dir():
            raise RequestError(f"--data: there is no folder {path}.")
        from eegfmri.datasets.roots import resolve

        return cls(str(path), resolve(path), simulate_missing)


def folder_of(given: str | Path, option: str = "--out") -> Path:
    """Return the absolute path of a folder that an option names; `RequestError` if that is none."""
    with looking_up(given, "give that of a folder", option):
        path = Path(given).expanduser().resolve()
        path.exists()
    # What is written there, and read again later, is UTF-8.
    if not is_printable(str(path)):
        raise RequestError(
            f"{option}: the name {quoted(str(path))} holds bytes that are no text, or control characters: rename it in plain letters."
        )
    return path


def prepare(
    chapter: Chapter,
    parameters: dict[str, object],
    plan: DataPlan | None = None,
    digests: dict[str, str] | None = None,
    device: str | None = None,
) -> Request:
    """Work out where a chapter's data come from and the key of its execution.

    Parameters
    ----------
    chapter : Chapter
        What is executed.
    parameters : dict
        Every public parameter.
    plan : DataPlan or None
        What ``--data`` offers; simulated recordings if None.
    digests : dict of str to str or None
        Identities of real datasets that have been read already; what is read now is added, so that the combinations of a sweep do
        not read every header again.
    device : {"auto", "cpu", "cuda", "mps"} or None
        Where networks are computed, see `eegfmri.device.resolve`; an accelerator is part of the key.

    Returns
    -------
    Request
        With its key.

    Raises
    ------
    RequestError
        If a dataset is missing and must not be simulated, or a device is not there.
    """
    plan, device = plan or DataPlan(), devices.resolve(device, "--device")
    needed = chapter.needs(parameters)
    real = {name: plan.roots[name] for name in needed if name in plan.roots}
    missing = tuple(name for name in needed if name not in real)
    if plan.given is not None and missing and not plan.simulate_missing:
        raise RequestError(
            f"{chapter.name} needs the {' and '.join(missing)} dataset{'s' if len(missing) > 1 else ''}, which "
            f"{plan.given} does not hold: add {'them' if len(missing) > 1 else 'it'}, or leave --data out to use "
            "simulated recordings."
        )
    request = Request(chapter, parameters, None, missing, "", device)
    identities = {}
    if real:
        from eegfmri.opening import open_recordings

        digests = {} if digests is None else digests
        for name, root in real.items():
            if name not in digests:
                digests[name] = open_recordings(root, name).digest
            identities[name] = digests[name]
    if missing:
        from eegfmri.simulation.simulate import simulation_digest

        for name in missing:
            identities[name] = simulation_digest(name, **request.simulation)
    data = None
    if real:
        # A chapter that needs real and simulated recordings is given one folder of links to both.
        data = plan.given if not missing else str(build_dir() / "data" / cache.digest(plan.given, identities))
    own_key = cache.digest(
        cache.code_digest(*chapter.modules),
        chapter.code,
        parameters,
        identities,
        None if data is None else str(data),
        lock_file(),
        _files_read(chapter),
        [_stamp(value) for name, value in parameters.items() if name.endswith(("_file", "_dir"))],
        _others_results(chapter) if chapter.reads_results else None,
        *([] if device == "cpu" else [device]),
    )
    shown, key = _recorded_runs(chapter), own_key
    if shown:
        key = cache.digest(own_key, [[name, *about] for name, about in shown.items()])
    if "eegfmri.costs" in chapter.modules:
        # A page that shows benchmarks says of each whether its code has changed since.
        measured = [[one.path.name, one.document["digest"], one.changed] for one in costs.benchmarks()]
        key = cache.digest(key, measured)
    cells = {name: digest for name, (digest, _, _) in shown.items()}
    return replace(request, data=data, key=key, own_key=own_key, shown=cells)


def lock_file() -> str | None:
    """Return the text of ``requirements.lock``, None where there is none."""
    path = project.root() / "requirements.lock"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def code_digests(chapter: Chapter) -> dict[str, str]:
    """Return the digests of a chapter's code cells (``chapter``) and of the library modules that it uses (``library``)."""
    return {"chapter": cache.digest(chapter.code), "library": cache.code_digest(*chapter.modules)}


def _recorded_runs(chapter: Chapter) -> dict[str, tuple[str, str, list]]:
    """Return, by chapter whose recorded runs the page shows, the digests of its cells and library now, and of each recorded run."""
    found = {}
    for name in chapter.shows_recorded:
        other = chapter if name == chapter.name else find(name)
        paths = sorted(path for path in recorded.folder(name).glob("*.json") if not path.name.startswith("."))
        # A page that names what has changed since must be made again when something does.
        digests = code_digests(other)
        files = [[path.name, cache.digest(path.read_bytes().hex())] for path in paths]
        found[name] = (digests["chapter"], digests["library"], files)
    return found


def _files_read(chapter: Chapter) -> dict[str, str]:
    """Return the profiles, tracked data files and the library's own tables that the code of chapter or library names, with their text."""
    base = Path(cache.__file__).parent
    code = [tree for tree, *_ in chapter.code] + list(chapter.files)
    code += [cache.syntax(cache._modules()[name].read_text(encoding="utf-8")) for name in chapter.modules]
    candidates = [path for path in base.rglob("*") if path.suffix in (".csv", ".json", ".yml", ".tsv")]
    candidates += [path for path in [project.book_dir() / "profiles.yml"] if path.is_file()]
    folder = project.data_dir()
    if folder.is_dir():
        candidates += [path for path in folder.iterdir() if path.suffix in (".csv", ".json", ".yml")]
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(candidates)
        if any(path.name in text for text in code)
    }


def _stamp(value: object) -> object:
    if not isinstance(value, str):
        return None
    path = Path(value)
    if path.is_dir():
        return [
            [str(child.relative_to(path)), *cache.file_stamp(child)[1:]]
            for child in sorted(path.rglob("*"))
            if child.is_file()
        ]
    return list(cache.file_stamp(path)) if path.is_file() else value


def _others_results(chapter: Chapter) -> list:
    return [
        [document["chapter"], document["parameters"], document["data"], document["results"]]
        for document in results.latest()
        if document["chapter"] != chapter.name
    ]


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


#: Called with an event (``start``, ``cell``, ``progress``, ``end``, ``data``, ``wait``, ``render``) and what it is about.
Listener = Callable[..., None]


def silent(event: str, **about: object) -> None:
    """Listen to nothing."""


def default_jobs(chapters: Iterable[Chapter]) -> int:
    """Return how many chapters run at once if nobody says: as many as there are cores or chapters."""
    return max(1, min(cores(), len(list(chapters))))


def ensure_data(requests: Iterable[Request], plan: DataPlan, listen: Listener = silent) -> None:
    """Make the simulated recordings that the requests need, each once, and the folders of links."""
    made: dict[str, Path] = {}
    for request in requests:
        for name in request.simulated:
            recipe = request.simulation
            identity = cache.digest(name, recipe)
            if identity not in made:
                from eegfmri.simulation.simulate import ensure

                listen("data", dataset=name, **recipe)
                made[identity] = Path(ensure(name, **recipe))
        if request.data is not None and request.simulated:
            folder = Path(request.data)
            needed = request.chapter.needs(request.parameters)
            links = {name: plan.roots[name] for name in needed if name in plan.roots}
            links |= {name: made[cache.digest(name, request.simulation)] for name in request.simulated}
            folder.mkdir(parents=True, exist_ok=True)
            for name, target in links.items():
                link = folder / name
                if not link.is_symlink():
                    link.symlink_to(target, target_is_directory=True)


def execute_all(
    requests: list[Request], jobs: int | Executor, threads: int, force: bool = False, listen: Listener = silent
) -> list[Outcome]:
    """Execute the requests that are not cached, several at once, and let the others finish when one fails.

    Parameters
    ----------
    requests : list of Request
        What to execute.
    jobs : int or Executor
        How many kernels at once on this machine, or a cluster whose workers start the kernels; from there nothing is heard before the
        end.
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
            os.utime(request.folder)
            outcomes[position] = Outcome(request, "cached", request.results["seconds"])
            listen("end", outcome=outcomes[position])
        else:
            pending.append(position)
    if pending:
        executor = Threads(jobs) if isinstance(jobs, int) else jobs
        hear = silent if isinstance(executor, Dask) else listen
        work = [Job(requests[i].chapter.name, execute, (requests[i], threads, force, hear)) for i in pending]
        for done in executor.run(work):
            request = requests[pending[done.position]]
            outcome = done.value if done.error is None else Outcome(request, "failed", done.seconds, str(done.error))
            outcomes[pending[done.position]] = outcome
            listen("end", outcome=outcome)
    return [outcomes[position] for position in sorted(outcomes)]


def execute(request: Request, threads: int = 1, force: bool = False, listen: Listener = silent) -> Outcome:
    """Execute one chapter through papermill and keep the notebook and its results, whole or not at all.

    A failure is an outcome, not an exception, so that other chapters go on.
    """
    begun = time.perf_counter()
    with _lock(request.chapter.name, request.key):
        if request.cached and not force:
            os.utime(request.folder)
            return Outcome(request, "cached", request.results["seconds"])
        listen("start", request=request)
        try:
            memory = PeakMemory()
            notebook = _run_notebook(request, threads, listen, memory)
            _keep(request, notebook, time.perf_counter() - begun, threads, memory)
        # Whatever a chapter, papermill or the disk may raise: the other chapters go on.
        except Exception as error:  # noqa: BLE001
            text = traceback.format_exc()
            sentence = str(error) if isinstance(error, EegFmriError) else f"{request.chapter.name} failed: {error!r}"
            log = build_dir() / "logs" / f"{request.chapter.name.replace('/', '-')}.log"
            # On a full disk the sentence is more than nothing.
            with contextlib.suppress(OSError), cache.written_whole(log) as temporary:
                temporary.write_text(text, encoding="utf-8")
            return Outcome(request, "failed", time.perf_counter() - begun, sentence, text)
    return Outcome(request, "executed", time.perf_counter() - begun)


def _lock(chapter: str, key: str, timeout: float = -1):
    """Return the lock that whoever executes a chapter under a key holds; it opens when its owner ends, however that ends."""
    from filelock import FileLock

    path = build_dir() / "locks" / f"{chapter.replace('/', '-')}-{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=timeout)


def _kernel_environment(threads: int) -> dict[str, str]:
    library = str(Path(cache.__file__).resolve().parents[1])
    paths = [library, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    ipython = build_dir() / "ipython"
    ipython.mkdir(parents=True, exist_ok=True)
    return {
        # Memory that arrays gave back is kept for the next ones, where the C library is glibc and nobody has said otherwise: being
        # handed new, zeroed pages again and again was a tenth to a fourth of a training step.
        "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TOP_PAD_": str(64 << 20),
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")},
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


def _run_notebook(request: Request, threads: int, listen: Listener, memory: PeakMemory):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jupytext
        from papermill.exceptions import PapermillExecutionError
        from papermill.execute import execute_notebook

        from eegfmri.runner.kernels import ENGINE, Progress, register

    register()
    chapter = request.chapter
    notebook = with_parameters(jupytext.reads(chapter.source, fmt="md:myst"), request)
    progress = Progress(
        lambda done, total: listen("cell", request=request, done=done, total=total),
        lambda state: listen("progress", request=request, state=state),
    )
    try:
        executed = execute_notebook(
            notebook,
            None,
            engine_name=ENGINE,
            kernel_name="python3",
            progress_bar=False,
            environment=_kernel_environment(threads)
            | {devices.VARIABLE: request.device, recorded.SHOWN: json.dumps(request.shown)},
            folder=str(project.root()),
            progress=progress,
            memory=memory,
        )
    except PapermillExecutionError as error:
        cause = f"{error.ename}: {_first_line(error.evalue)}" if error.evalue else error.ename
        raise _cell_failed(chapter, progress.code_cell, cause) from error
    except Exception as error:
        if type(error).__name__ == "DeadKernelError":
            raise _cell_failed(chapter, progress.code_cell, "the kernel died, perhaps for lack of memory") from error
        raise
    return executed


def with_parameters(notebook, request: Request):
    """Put a cell behind the parameters cell that sets what the request changes, and the reserved parameter.

    Papermill would write values of its own accord, a tuple as text in which quotes become code; here each is a literal or refused.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The chapter; a page without a parameters cell is returned as it is.
    request : Request
        Whose parameters.

    Returns
    -------
    nbformat.NotebookNode
        The notebook.
    """
    import nbformat

    at = next((i for i, cell in enumerate(notebook.cells, 1) if "parameters" in cell.metadata.get("tags", [])), None)
    if at is None:
        return notebook
    defaults = request.chapter.defaults
    changed = {name: value for name, value in request.parameters.items() if value != defaults[name]}
    lines = [f"{name} = {source_of(value)}" for name, value in {**changed, RESERVED: request.data}.items()]
    cell = nbformat.v4.new_code_cell("\n".join(["# Parameters", *lines]), metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(at, cell)
    return notebook


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


def _keep(request: Request, notebook, seconds: float, threads: int, memory: PeakMemory) -> None:
    import nbformat

    notebook = tidied(notebook)
    harvested = results.harvest(notebook)
    document = {
        "schema": results.SCHEMA,
        "chapter": request.chapter.name,
        "parameters": request.parameters,
        "data": harvested["data"],
        "environment": environment(threads, request.device) | {"code": code_digests(request.chapter)},
        "seconds": round(seconds, 3),
        "results": harvested["results"],
    }
    request.folder.parent.mkdir(parents=True, exist_ok=True)
    # Whoever executes holds the lock of this key: other folders of it were left by processes that were killed.
    for stale in request.folder.parent.glob(f"{PART}{request.key}-*"):
        shutil.rmtree(stale, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{PART}{request.key}-", dir=request.folder.parent))
    try:
        (temporary / "notebook.ipynb").write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        cache.write_json(temporary / "results.json", jsonable(document))
        machine = describe_machine() | {"cluster": SCHEDULER in os.environ}
        cache.write_json(temporary / COST, {"machine": machine, "peak_memory": memory.n_bytes or None})
        cache.seal_folder(temporary)
        temporary.chmod(0o755)
        if request.folder.exists():
            shutil.rmtree(request.folder)
        temporary.rename(request.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def tidied(notebook):
    """Return the executed notebook without traces of the machine, the injected cell hidden."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]
    return notebook


def notebook_of(request: Request):
    """Return the notebook of an executed chapter: the chapter as its source is now, with the outputs of its execution.

    Since the key was made of the code cells alone, prose, comments and what decides how a cell is shown may have changed. The parameters
    cell holds the values that were used; a cell below it is left only where a folder of recordings was named.

    Parameters
    ----------
    request : Request
        An executed chapter.

    Returns
    -------
    nbformat.NotebookNode
        The notebook.

    Raises
    ------
    EegFmriError
        If what was executed has not the chapter's code cells.
    """
    import jupytext
    import nbformat

    executed = nbformat.read(request.folder / "notebook.ipynb", as_version=4)
    notebook = jupytext.reads(request.chapter.source, fmt="md:myst")
    injected = [cell for cell in executed.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    ran = [cell for cell in executed.cells if cell.cell_type == "code" and cell not in injected]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(ran) != len(code):
        raise EegFmriError(
            f"{request.folder} holds {len(ran)} executed code cells of {request.chapter.name}, which has {len(code)}: "
            "remove that folder and execute the chapter again."
        )
    for cell, done in zip(code, ran, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    at = next((i for i, cell in enumerate(notebook.cells, 1) if "parameters" in cell.metadata.get("tags", [])), 0)
    if at and injected:
        notebook.cells[at - 1].source = with_values(notebook.cells[at - 1].source, request)
        injected[0].source = f"{RESERVED} = {source_of(request.data)}"
        notebook.cells[at:at] = injected if request.data is not None else []
    # Jupytext gives cells random identifiers; counted ones keep equal notebooks equal files.
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata = {
        **notebook.metadata,
        **executed.metadata,
        "eegfmri": {
            **request.chapter.options,
            "chapter": request.chapter.name,
            "key": request.key,
            "parameters": request.parameters,
        },
    }
    return nbformat.from_dict(notebook)


def with_values(source: str, request: Request) -> str:
    """Return a parameters cell with the values of a request in the place of the chapter's own; types and comments stay.

    Parameters
    ----------
    source : str
        The cell.
    request : Request
        Whose parameters.

    Returns
    -------
    str
        The cell; as it was where nothing was changed.
    """
    defaults = request.chapter.defaults
    changed = {name: value for name, value in request.parameters.items() if value != defaults[name]}
    lines = source.split("\n")
    # From the end, so that places before a change stay where they are.
    for node in reversed(ast.parse(source).body):
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if not isinstance(target, ast.Name) or target.id not in changed or node.value is None:
            continue
        value, first, last = node.value, node.value.lineno - 1, node.value.end_lineno - 1
        # Syntax trees count bytes.
        before = lines[first].encode()[: value.col_offset].decode()
        after = lines[last].encode()[value.end_col_offset :].decode()
        lines[first : last + 1] = [f"{before}{source_of(changed[target.id])}{after}"]
    return "\n".join(lines)


def environment(threads: int, device: str = "cpu") -> dict:
    """Describe what a result was computed with: versions, platform, device, commit, when."""
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
        "device": devices.described(device),
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


def keep(folder: Path, requests: Iterable[Request]) -> None:
    """Let `prune` spare what a run or a sweep executes, as long as the folder of its results is there."""
    names = sorted(f"{request.chapter.name}/{request.key}" for request in requests)
    cache.keep_json(build_dir() / "kept" / f"{cache.digest(folder)}.json", {"folder": str(folder), "executed": names})


def _kept() -> set[Path]:
    """Return the executed chapters that runs and sweeps refer to, and forget about those whose folders are gone."""
    found: set[Path] = set()
    for path in sorted((build_dir() / "kept").glob("*.json")):
        if path.name.startswith("."):
            continue
        record = cache.kept_json(path)
        if record is not None and Path(record["folder"]).is_dir():
            found |= {build_dir() / "executed" / name for name in record["executed"]}
        else:
            path.unlink(missing_ok=True)
    return found


def prune(chapters: Iterable[Chapter], used: Iterable[Request]) -> None:
    """Remove what an interruption left, and of the executed notebooks that nobody refers to all but the `KEPT` used last.

    Parameters
    ----------
    chapters : iterable of Chapter
        Whose executions are looked at.
    used : iterable of Request
        Executions to be spared, beside those of runs and sweeps whose results are there; what is being executed is spared, too.
    """
    from filelock import Timeout

    spared, kept = {request.folder for request in used}, _kept()
    for chapter in chapters:
        folder = build_dir() / "executed" / chapter.name
        if not folder.is_dir():
            continue
        found = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        parts = [path for path in found if path.name.startswith(PART)]
        free = [path for path in found if path not in kept and path not in parts]
        old = [path for path in free if path not in spared][: max(0, len(free) - KEPT)]
        for path in parts + old:
            key = path.name.removeprefix(PART).partition("-")[0]
            with contextlib.suppress(Timeout), _lock(chapter.name, key, timeout=0):
                shutil.rmtree(path, ignore_errors=True)
