"""What ``eegfmri run --record`` does: the results of a run kept with the book, once and for all.

See `eegfmri.recorded` for how pages read them.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from eegfmri import cache, recorded, results
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.runner.chapters import DEFAULT_PROFILE, Chapter, common_parameters, discover, resolve_parameters
from eegfmri.runner.execution import Request, build_dir, lock_file
from eegfmri.text import jsonable


def place(request: Request, profile: str | None) -> Path:
    """Return the file that a run is recorded in, having seen that it may be.

    Parameters
    ----------
    request : Request
        What is to be executed.
    profile : str or None
        Name of the profile; None is that of the parameters cell.

    Returns
    -------
    pathlib.Path
        ``data/recorded/<chapter>/<profile>-<preset>-<key>.json``; not there yet.

    Raises
    ------
    RequestError
        If the run is recorded already, or nobody else could repeat it.
    """
    chapter, profile = request.chapter, profile or DEFAULT_PROFILE
    if chapter.reads_results:
        raise RequestError(f"--record: {chapter.name} shows results of other chapters: record the runs of those.")
    own = [name for name, value in request.parameters.items() if name.endswith(("_file", "_dir")) and value is not None]
    if own:
        raise RequestError(
            f"--record: {chapter.name} would be made from files of your own ({', '.join(own)}), which nobody else has: record runs of "
            "datasets."
        )
    if not re.fullmatch(r"\w[\w.-]*", profile):
        raise RequestError(f"--record: the profile {profile!r} cannot stand in a file name: give it one of letters.")
    scale = common_parameters(profile).get("scale")
    if request.simulated and scale not in (None, request.simulation["scale"]):
        raise RequestError(
            f"--record: profile {profile} is for simulated recordings of scale {scale}, and {chapter.name} would be made from scale "
            f"{request.simulation['scale']}: let its parameter scale take {scale}, and hand it to open_recordings."
        )
    there = sorted(recorded.folder(chapter.name).glob(f"*-{request.own_key}.json"))
    if there:
        raise RequestError(
            f"--record: this run is recorded already, in {there[0]}, and a recorded run is never overwritten: leave --record out."
        )
    return recorded.folder(chapter.name) / f"{profile}-{_preset(request)}-{request.own_key}.json"


def write(request: Request, path: Path, profile: str | None) -> Path:
    """Keep the results of an executed chapter.

    Parameters
    ----------
    request : Request
        Executed by this version of the library, so that what it took is known.
    path : pathlib.Path
        From `place`.
    profile : str or None
        Name of the profile; None is that of the parameters cell.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    EegFmriError
        If another process has recorded the run meanwhile, or its recordings are partly real and partly simulated.
    """
    from filelock import FileLock

    document, cost, profile = request.results, request.cost or {}, profile or DEFAULT_PROFILE
    facts = {
        "profile": profile,
        "preset": _preset(request),
        "key": request.own_key,
        "date": datetime.fromisoformat(document["environment"]["executed"]).astimezone(UTC).date().isoformat(),
        "assigned": assigned(request.chapter, profile, request.parameters),
        "seeds": {name: value for name, value in request.parameters.items() if name.endswith("seed")},
        "simulation": request.simulation if request.simulated else None,
        "digests": {
            **document["environment"]["code"],
            "data": document["data"]["digest"],
            "packages": cache.digest(lock_file()) if lock_file() is not None else None,
        },
        "modules": sorted(request.chapter.imported),
        "folds": _folds(request),
        "machine": cost.get("machine"),
        "peak_memory": cost.get("peak_memory"),
    }
    whole = jsonable({**document, "recorded": facts})
    whole["recorded"]["digest"] = recorded.seal(whole)
    lock = build_dir() / "locks" / f"recorded-{request.own_key}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if path.exists():
            raise EegFmriError(f"{path} was recorded meanwhile by another process, and stays as it is.")
        cache.write_json(path, whole)
    return path


def assigned(chapter: Chapter, profile: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters that are not as the profile has them."""
    usual = resolve_parameters(chapter, profile)
    return {name: value for name, value in parameters.items() if value != usual[name]}


def listing() -> list[dict]:
    """Describe every recorded run, as `eegfmri.recorded.listing` does, those of chapters that are no longer in the book included."""
    if not recorded.folder().is_dir():
        return []
    return recorded.listing({name: cache.digest(chapter.code) for name, chapter in discover().items()})


def _preset(request: Request) -> str:
    if request.simulated:
        return str(request.simulation["preset"])
    return recorded.NOTHING if request.data is None else recorded.REAL


def _folds(request: Request) -> dict[str, dict]:
    """Collect what `eegfmri.recorded.record_folds` left in the executed notebook; every key must be that of a result."""
    notebook = cache.read_json(request.folder / "notebook.ipynb")
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    found: dict[str, dict] = {}
    for output in outputs:
        found |= output.get("metadata", {}).get("eegfmri", {}).get("folds", {})
    unknown = found.keys() - {result["key"] for result in results.harvest(notebook)["results"]}
    if unknown:
        raise EegFmriError(f"{request.chapter.name} records folds of {', '.join(sorted(unknown))}, which is no result.")
    return found
