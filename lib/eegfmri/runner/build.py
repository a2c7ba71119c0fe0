"""What ``eegfmri run`` and ``eegfmri build`` do: one chapter with its page and results, or the whole book."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eegfmri import cache, executors, project, results
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.machine import cores
from eegfmri.runner.chapters import Chapter, discover, find, resolve_parameters
from eegfmri.runner.execution import (
    DataPlan,
    Listener,
    Outcome,
    Request,
    build_dir,
    default_jobs,
    ensure_data,
    execute_all,
    folder_of,
    keep,
    notebook_of,
    prepare,
    prune,
    silent,
)

if TYPE_CHECKING:
    from eegfmri.runner.preflight import Preflight


def run(
    name: str,
    assignments: Iterable[str] = (),
    profile: str | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    force: bool = False,
    listen: Listener = silent,
    scheduler: str | None = None,
    device: str | None = None,
    record: bool = False,
) -> Path:
    """Execute one chapter and write the notebook, a stand-alone page and its results into a folder.

    Parameters
    ----------
    name : str
        Name of the chapter.
    assignments : iterable of str
        ``key=value`` each.
    profile : str or None
        Profile that the assignments override.
    data : str, pathlib.Path or None
        Folder of real recordings; simulated ones if None.
    out : str, pathlib.Path or None
        Folder to write into; ``runs/<chapter>-<key>/`` if None.
    force : bool
        Execute although the result is cached.
    listen : callable
        Told what happens.
    scheduler : str or None
        Address of a Dask cluster that the chapter's folds go to; None for this machine.
    device : {"auto", "cpu", "cuda", "mps"} or None
        Where networks are computed; None: what the environment variable ``EEGFMRI_DEVICE`` says, else the processor.
    record : bool
        Keep the results with the book as well, see `eegfmri.runner.record`; ``listen`` is told ``recorded`` and the path.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    RequestError
        If the request is wrong, or the cluster could not do the work; nothing has run then.
    EegFmriError
        If a cell fails.
    """
    from eegfmri.runner import preflight
    from eegfmri.runner import record as recording

    chapters = discover()
    request, plan, folder = _prepared(find(name, chapters), assignments, profile, data, out, device)
    chapter = request.chapter
    stem = chapter.name.replace("/", "-")
    known = preflight.Known(plan)
    recorded = recording.place(request, profile) if record else None
    # Of an execution by an earlier version it is not known on which machine it was done and what memory it took.
    force = force or (record and request.cached and request.cost is None)
    fresh = force or not request.cached
    problem = preflight.unwritable(folder)
    if problem:
        raise RequestError(f"--out: {problem}")
    # The same thread count as in a build, for the order of floating-point sums depends on it.
    threads = max(1, cores() // default_jobs(chapters.values()))
    with executors.on(scheduler if fresh else None):
        if fresh:
            preflight.require([request], known, folder)
            ensure_data([request], plan, listen)
            if request.simulated:
                preflight.require([request], known, folder)  # of what has been simulated more is known
        [outcome] = execute_all([request], 1, threads, force, listen)
    if outcome.status == "failed":
        raise EegFmriError(f"{outcome.error} Nothing is recorded." if record else outcome.error)
    if recorded is not None:
        listen("recorded", path=recording.write(request, recorded, profile))
    import nbformat

    from eegfmri.runner import notebooks, render

    listen("render", chapters=[chapter.name])
    page = render.standalone(request)
    notebook = notebooks.for_jupyter(notebook_of(request), chapter, request.results)
    folder.mkdir(parents=True, exist_ok=True)
    with cache.written_whole(folder / f"{stem}.ipynb") as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    with cache.written_whole(folder / f"{stem}.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    cache.write_json(folder / "results.json", request.results)
    keep(folder, [request])
    return folder


def _prepared(
    chapter: Chapter,
    assignments: Iterable[str],
    profile: str | None,
    data: str | Path | None,
    out: str | Path | None,
    device: str | None,
) -> tuple[Request, DataPlan, Path]:
    """Check what is asked for; return the request, where its data come from and the folder that is written."""
    parameters = resolve_parameters(chapter, profile, assignments)
    plan = DataPlan.of(data, simulate_missing=False)
    request = prepare(chapter, parameters, plan, device=device)
    return request, plan, runs_folder(request) if out is None else folder_of(out)


def forecast(
    name: str,
    assignments: Iterable[str] = (),
    profile: str | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    device: str | None = None,
) -> tuple[Request, "Preflight"]:
    """Say what a run needs and what it would cost; nothing is executed, simulated, fetched or written.

    Parameters
    ----------
    name, assignments, profile, data, out, device
        As for `run`.

    Returns
    -------
    request : Request
        What would be executed.
    found : Preflight
        What is known about it, and what stands in its way.

    Raises
    ------
    RequestError
        If the request itself is wrong.
    """
    from eegfmri.runner import preflight

    request, plan, folder = _prepared(find(name), assignments, profile, data, out, device)
    return request, preflight.examine(request, preflight.Known(plan), folder)


def build(
    profile: str | None = None,
    data: str | Path | None = None,
    jobs: int | None = None,
    force: bool = False,
    listen: Listener = silent,
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
    from eegfmri.runner import render

    if jobs is not None and jobs < 1:
        raise RequestError(f"--jobs must be 1 or more, not {jobs}.")
    chapters = discover()
    parameters = {name: resolve_parameters(chapter, profile) for name, chapter in chapters.items()}
    plan = DataPlan.of(data, simulate_missing=True)
    jobs = default_jobs(chapters.values()) if jobs is None else jobs
    threads = max(1, cores() // jobs)
    from eegfmri.runner import preflight

    problem = preflight.unwritable(build_dir())
    if problem:
        raise RequestError(problem)
    build_dir().mkdir(parents=True, exist_ok=True)
    known = preflight.Known(plan)
    with _alone(listen):
        # Pages about results have other keys later; what they need is known now.
        planned = [prepare(chapter, parameters[name], plan) for name, chapter in chapters.items()]
        preflight.require([request for request in planned if force or not request.cached], known)
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
            if not failed:
                document["rendered"] = render.book([outcome.request for outcome in outcomes], force, listen)
        except EegFmriError as error:
            document["html"] = str(page) if page.is_file() else None
            raise RenderError(str(error), document) from error
        document["html"] = str(page) if page.is_file() else None
    return document, outcomes


def execute_for_claims(
    names: Iterable[str], data: str | Path, profile: str = "full", listen: Listener = silent
) -> list[Outcome]:
    """Execute the chapters whose results claims are compared with, where their recordings are there; nothing is simulated.

    Parameters
    ----------
    names : iterable of str
        Chapters that claims name; those that the book does not hold are left out.
    data : str or pathlib.Path
        Folder of recordings.
    profile : str, default="full"
        Of the parameters.
    listen : callable
        Told what happens.

    Returns
    -------
    list of Outcome
        What became of each chapter; their results count as those of the last build.

    Raises
    ------
    RequestError
        If the folder holds the recordings of none of them.
    """
    chapters = discover()
    plan = DataPlan.of(data, simulate_missing=False)
    wanted = [chapters[name] for name in names if name in chapters and chapters[name].datasets]
    needed = {chapter.name: chapter.needs(resolve_parameters(chapter, profile)) for chapter in wanted}
    possible = [chapter for chapter in wanted if set(needed[chapter.name]) <= set(plan.roots)]
    if not possible:
        lacking = sorted({name for names in needed.values() for name in names} - set(plan.roots))
        raise RequestError(
            f"{plan.given} holds no recordings that these claims need ({', '.join(lacking) or 'no chapter tests them'}): "
            "give another folder, or leave --data out to see what the last build found."
        )
    from eegfmri.runner import preflight

    known = preflight.Known(plan)
    with _alone(listen):
        requests, refused = [], []
        for chapter in possible:
            request = prepare(chapter, resolve_parameters(chapter, profile), plan)
            problems = [] if request.cached else preflight.examine(request, known).problems
            # What one chapter lacks keeps no other from running.
            refused += [Outcome(request, "failed", 0.0, " ".join(problems))] if problems else []
            requests += [] if problems else [request]
        outcomes = refused + execute_all(requests, 1, max(1, cores() // default_jobs(chapters.values())), False, listen)
        _publish_results(outcomes, chapters)
    return outcomes


@contextmanager
def _alone(listen: Listener) -> Iterator[None]:
    """Hold the lock of the build folder; say so when another build has it."""
    from filelock import FileLock, Timeout

    lock = FileLock(build_dir() / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        listen("wait")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class RenderError(EegFmriError):
    """The chapters are executed, but the book could not be rendered; ``document`` is what ``--json`` writes."""

    def __init__(self, message: str, document: dict):
        super().__init__(message)
        self.document = document


def _publish_results(outcomes: list[Outcome], chapters: Mapping[str, Chapter]) -> None:
    """Make ``_build/results`` hold the results of this build and nothing else; those of real recordings lie with the runs, too.

    There no later build takes their place, and they stay when everything built is removed.
    """
    folder = build_dir() / "results"
    done = {outcome.request.chapter.name: outcome for outcome in outcomes if outcome.status != "failed"}
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        known = {outcome.request.chapter.name for outcome in outcomes}
        if name not in chapters or (name in known and name not in done):
            path.unlink()
    for name, outcome in done.items():
        targets = [folder / f"{name}.json"]
        if results.is_real(outcome.request.results["data"]):
            targets.append(runs_folder(outcome.request) / "results.json")
        for target in targets:
            with cache.written_whole(target) as temporary:
                shutil.copyfile(outcome.request.folder / "results.json", temporary)


def runs_folder(request: Request) -> Path:
    """Return the folder that a run is written into where no other is named."""
    return project.root() / "runs" / f"{request.chapter.name.replace('/', '-')}-{request.key}"
