"""What a request needs and what it costs, looked at before anything is executed.

What would fail late fails here: recordings that are not there or cannot be used, a selection that leaves too few subjects, an atlas that
is not there and cannot be fetched, a full disk, too little memory, a folder that cannot be written. Costs are what is known (sizes
in headers, minutes that the chapter states, seconds of earlier runs) and say where they come from; what nobody has measured is named
and not guessed.
"""

import math
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from eegfmri import cache, project, results
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.machine import cores, memory
from eegfmri.prose import enumerate_names
from eegfmri.recordings import Recording, RecordingSet
from eegfmri.runner.estimate import estimate
from eegfmri.runner.execution import DataPlan, Request, build_dir
from eegfmri.runner.parameters import quoted

#: Files of an atlas under nilearn's folders, the host that has it, and bytes to fetch.
ATLASES = {
    "schaefer": (
        (
            "schaefer_2018/Schaefer2018_100Parcels_7Networks_order.txt",
            "schaefer_2018/Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz",
        ),
        "raw.githubusercontent.com",
        56_000,
    ),
    "harvard_oxford_cortical": (
        (
            "fsl/data/atlases/HarvardOxford-Cortical.xml",
            "fsl/data/atlases/HarvardOxford/HarvardOxford-cort-maxprob-thr25-2mm.nii.gz",
        ),
        "www.nitrc.org",
        26_000_000,
    ),
    "harvard_oxford_subcortical": (
        (
            "fsl/data/atlases/HarvardOxford-Subcortical.xml",
            "fsl/data/atlases/HarvardOxford/HarvardOxford-sub-maxprob-thr25-2mm.nii.gz",
        ),
        "www.nitrc.org",
        26_000_000,
    ),
}

#: Seconds that a host may take to answer.
PATIENCE = 5.0

#: Bytes that notebook, page and results of a chapter need at most, and that must be free anyway.
PAGE = 50_000_000

#: Seconds from which on the costs that were measured are asked; below them the minutes that a chapter states say more.
ESTIMATED = 1800.0

#: Parameters that change a result and not how long it takes.
FREE = frozenset({"seed", "simulation_seed", "n_jobs"})


@dataclass
class Preflight:
    """What was found about one request.

    Attributes
    ----------
    lines : list of (str, str)
        What, and what is known of it.
    problems : list of str
        One sentence each: why the request cannot be fulfilled, and what to do.
    """

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def say(self, what: str, text: str) -> None:
        """Add a line."""
        self.lines.append((what, text))

    def refuse(self, what: str, sentence: str) -> None:
        """Add a line that is a problem."""
        self.lines.append((what, sentence))
        self.problems.append(sentence)


class Known:
    """Recordings, atlases and folders that have been looked at, so that requests of one sweep or build share the looking."""

    def __init__(self, plan: DataPlan):
        self.plan = plan
        self._opened: dict[tuple, RecordingSet] = {}

    def recordings(self, request: Request, dataset: str) -> RecordingSet | None:
        """Open a dataset of a request; None where it is simulated and not there yet."""
        from eegfmri.opening import open_recordings

        root = self.plan.roots.get(dataset) or simulated_folder(dataset, request)
        source = request.parameters.get("source")
        place = (dataset, root, source)
        if root is None or not root.is_dir():
            return None
        if place not in self._opened:
            self._opened[place] = open_recordings(root, dataset, **({} if source is None else {"source": source}))
        return self._opened[place]


def simulated_folder(dataset: str, request: Request) -> Path:
    """Return where the simulated recordings of a request lie or will lie."""
    from eegfmri.simulation.parameters import get_scale
    from eegfmri.simulation.simulate import simulation_digest

    recipe = request.simulation
    scale = get_scale(recipe["scale"], dataset).name
    return project.simulated_dir() / f"{dataset}-{scale}-{simulation_digest(dataset, **recipe)}"


def examine(request: Request, known: Known, out: str | Path | None = None) -> Preflight:
    """Look at everything that a request needs, without executing, simulating or fetching anything.

    Parameters
    ----------
    request : Request
        Prepared.
    known : Known
        What has been looked at.
    out : str, pathlib.Path or None
        Folder that is written, if any.

    Returns
    -------
    Preflight
        What is known, and what stands in the way.
    """
    found = Preflight()
    sets = _recordings(request, known, found)
    chosen = _subjects(request, sets, found)
    _atlas(request, found)
    _disk(request, chosen, out, found)
    _memory(chosen, found)
    _time(request, chosen, found)
    return found


def require(requests: Iterable[Request], known: Known, out: str | Path | None = None) -> None:
    """Refuse requests that cannot be fulfilled, all of them at once and before any is executed.

    Parameters
    ----------
    requests : iterable of Request
        What is to be executed.
    known : Known
        What has been looked at.
    out : str, pathlib.Path or None
        Folder that is written, if any.

    Raises
    ------
    RequestError
        With every problem found, each once.
    """
    problems = [problem for request in requests for problem in examine(request, known, out).problems]
    if problems:
        raise RequestError(" ".join(dict.fromkeys(problems)))


# --- recordings ------------------------------------------------------------------------------------------------------


def _recordings(request: Request, known: Known, found: Preflight) -> dict[str, RecordingSet | None]:
    """Open what the request reads; per dataset None where it is not simulated yet."""
    from eegfmri.simulation.parameters import get_scale

    sets: dict[str, RecordingSet | None] = {}
    own = request.chapter.instead(request.parameters)
    for name in own:
        found.say("recordings", f"{name}={request.parameters[name]}: no dataset is needed")
        sets |= _single_file(name, request, found)
    _measured(request, found)
    for dataset in request.chapter.needs(request.parameters):
        try:
            opened = known.recordings(request, dataset)
        except EegFmriError as error:
            found.refuse("recordings", str(error))
            continue
        sets[dataset] = opened
        if opened is None:
            recipe = request.simulation
            scale = get_scale(recipe["scale"], dataset)
            found.say(
                "recordings",
                f"{dataset}: {scale.n_subjects} subjects are simulated first (preset {recipe['preset']}, scale {scale.name}, "
                f"seed {recipe['seed']}), about {size(simulated_bytes(dataset, request))}",
            )
            continue
        usable = opened.select(usable=True)
        kind = "simulated" if opened.simulated else "real"
        found.say(
            "recordings", f"{dataset}: {len(usable)} of {len(opened)} recordings can be used ({kind}, {opened.root})"
        )
        if not len(usable) and request.chapter.min_subjects(request.parameters):
            found.refuse(
                "recordings",
                f"None of the {len(opened)} {dataset} recordings in {opened.root} can be used: "
                f"`eegfmri data check {opened.root}` says why.",
            )
            sets.pop(dataset)
    if not sets and not own and not found.problems:
        found.say("recordings", "none are needed")
    return sets


def _single_file(name: str, request: Request, found: Preflight) -> dict[str, RecordingSet]:
    from eegfmri.datasets import single_files

    path = request.parameters[name]
    try:
        if name == "eeg_file":
            return {"file": single_files.open_eeg(path)}
        if name == "bold_file":
            return {"file": single_files.open_bold(path, request.parameters.get("t_r"))}
    except EegFmriError as error:
        found.refuse("recordings", str(error))
    return {}


def _measured(request: Request, found: Preflight) -> None:
    """Read the reader's own measured series, whose statistics would otherwise be those shipped."""
    from eegfmri.datasets import coupling_files

    readers = {
        "alertness_dir": coupling_files.read_alertness,
        "coupling_file": coupling_files.read_correlation_maps,
        "rshrf_dir": coupling_files.read_responses,
    }
    for name, read in readers.items():
        path = request.parameters.get(name)
        if path is None:
            continue
        try:
            n_recordings = len(read(path).source)
        except EegFmriError as error:
            found.refuse("recordings", str(error))
        else:
            found.say("recordings", f"{name}: {counted(n_recordings, 'recording')} can be read (real, {path})")


def _subjects(
    request: Request, sets: Mapping[str, RecordingSet | None], found: Preflight
) -> dict[str, tuple[Recording, ...]]:
    """Select as the chapter does; return the usable recordings that are left, by dataset."""
    left: dict[str, tuple[Recording, ...]] = {}
    for dataset, opened in sets.items():
        if opened is None:
            if request.chapter.min_subjects(request.parameters) > 1:
                found.say("subjects", f"{dataset}: known when the recordings are simulated")
            continue
        try:
            kept, rules = _selected(request, opened)
        except EegFmriError as error:
            found.refuse("subjects", str(error))
            continue
        left[dataset] = kept
        subjects = list(dict.fromkeys(recording.subject for recording in kept))
        needed = request.chapter.min_subjects(request.parameters)
        how = f" by {enumerate_names(rules)}" if rules else ""
        if dataset != "file":
            found.say("subjects", f"{dataset}: {len(subjects)} of {len(opened.subjects)} left{how}; {needed} needed")
        if needed and len(subjects) < needed and dataset != "file":
            found.refuse(
                "subjects",
                f"{request.chapter.name} needs at least {counted(needed, 'subject')}, and {len(subjects) or 'none'} of the "
                f"{counted(len(opened.subjects), 'subject')} in {opened.root} "
                f"{'is' if len(subjects) < 2 else 'are'} left{how}: select others, or add recordings.",
            )
    return left


def _selected(request: Request, opened: RecordingSet) -> tuple[tuple[Recording, ...], list[str]]:
    """Return the usable recordings that parameters leave, and the parameters that select."""
    parameters, rules = request.parameters, []
    for name in ("subject", "recording"):
        value = parameters.get(name)
        if value is None:
            continue
        names = opened.subjects if name == "subject" else [recording.name for recording in opened]
        if value not in names:
            shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            raise RequestError(
                f"Parameter {name}: there is no {quoted(value)} in {opened.root}: there are {shown or 'none'}."
            )
        if name == "recording":
            opened[value].require_signals()
    kept = opened.select(usable=True)
    if "selection" in parameters and "subjects" in parameters and parameters["selection"] != "all":
        from eegfmri.datasets.sleep import select_subjects

        chosen = set(select_subjects(opened, parameters["selection"]))
        kept = kept.select(subjects=[subject for subject in kept.subjects if subject in chosen])
        rules.append(f"selection={parameters['selection']}")
    if parameters.get("subjects") is not None:
        opened.select(subjects=parameters["subjects"])
        kept = kept.select(subjects=[subject for subject in kept.subjects if subject in parameters["subjects"]])
        rules.append("subjects")
    if parameters.get("excluded"):
        kept = kept.select(subjects=[subject for subject in kept.subjects if subject not in parameters["excluded"]])
        rules.append("excluded")
    recordings = kept.recordings
    name = "classes" if "classes" in parameters else "stages"
    stages = parameters.get(name)
    if stages and opened.dataset == "sleep":
        present = {stage for recording in recordings for stage in _stages_of(recording)} & set(stages)
        if recordings and len(present) < 2:
            lacking = [stage for stage in stages if stage not in present]
            raise RequestError(
                f"No usable epoch of {enumerate_names(lacking)} is among the recordings that are left in {opened.root}: "
                f"leave {'it' if len(lacking) == 1 else 'them'} out of {name}, or select other subjects."
            )
        recordings = tuple(recording for recording in recordings if set(stages) & set(_stages_of(recording)))
    if parameters.get("n_subjects") is not None:
        first = list(dict.fromkeys(recording.subject for recording in recordings))[: parameters["n_subjects"]]
        recordings = tuple(recording for recording in recordings if recording.subject in first)
        rules.append(f"n_subjects={parameters['n_subjects']}")
    return recordings, rules


def _stages_of(recording: Recording) -> list[str]:
    return recording.epochs.loc[recording.epochs["used"].astype(bool), "stage"].dropna().unique().tolist()


# --- atlas -----------------------------------------------------------------------------------------------------------


def _atlas(request: Request, found: Preflight) -> None:
    name = request.parameters.get("atlas")
    if name not in ATLASES:
        found.say("downloads", "none")
        return
    files, host, n_bytes = ATLASES[name]
    folder = _atlas_folder(files)
    if folder is not None:
        found.say("atlas", f"{name} is there ({folder})")
        found.say("downloads", "none")
    elif _answers(host):
        found.say("atlas", f"{name} is fetched from {host}, which answers")
        found.say("downloads", f"about {size(n_bytes)} (the atlas)")
    else:
        found.refuse(
            "atlas",
            f"The atlas {name} is in none of nilearn's folders and {host} does not answer: connect to a network, set NILEARN_DATA "
            "to a folder that holds it, or use atlas=offline.",
        )


def _atlas_folder(files: Iterable[str]) -> Path | None:
    """Return the folder of nilearn's that holds the files, or None."""
    from nilearn.datasets import get_data_dirs

    for folder in map(Path, get_data_dirs()):
        if all((folder / name).is_file() for name in files):
            return folder
    return None


@lru_cache(maxsize=8)
def _answers(host: str) -> bool:
    """Say whether a host can be reached, through the proxy where one is set."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    place = (host, 443)
    proxy = getproxies().get("https")
    if proxy and not proxy_bypass(host):
        address = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        place = (address.hostname, address.port or 80)
    try:
        with socket.create_connection(place, timeout=PATIENCE):
            return True
    except (OSError, ValueError, TypeError):
        return False


# --- disk and memory -------------------------------------------------------------------------------------------------


def _disk(
    request: Request, chosen: Mapping[str, tuple[Recording, ...]], out: str | Path | None, found: Preflight
) -> None:
    """Look whether every folder that is written can be written and has room."""
    needs: dict[Path, list[tuple[str, float]]] = {build_dir(): [("notebooks and pages", PAGE)]}
    if out is not None:
        needs.setdefault(Path(out), []).append(("notebooks and pages", PAGE))
    prepared = sum(prepared_bytes(recording, request.parameters) for run in chosen.values() for recording in run)
    if prepared:
        needs.setdefault(project.cache_dir(), []).append(("prepared signals", prepared))
    simulated = sum(
        simulated_bytes(name, request) for name in request.simulated if not simulated_folder(name, request).is_dir()
    )
    if simulated:
        needs.setdefault(project.simulated_dir(), []).append(("simulated recordings", simulated))
    disks: dict[int, tuple[Path, dict[str, float]]] = {}
    for folder, parts in needs.items():
        problem = unwritable(folder)
        if problem:
            found.refuse("output" if out is not None and folder == Path(out) else "disk", problem)
            continue
        place = _existing(folder)
        _, sums = disks.setdefault(place.stat().st_dev, (place, {}))
        for what, n_bytes in parts:
            sums[what] = sums.get(what, 0.0) + n_bytes
    for place, sums in disks.values():
        free, total = shutil.disk_usage(place).free, sum(sums.values())
        parts = ", ".join(f"{what} {size(n_bytes)}" for what, n_bytes in sums.items())
        about = f"about {size(total)} at most ({parts}), {size(free)} free at {place}"
        if free < total:
            found.refuse(
                "disk", f"The disk is too full: {about}; make room, or set EEGFMRI_CACHE to a folder of another disk."
            )
        else:
            found.say("disk", about)
    if out is not None and not unwritable(Path(out)):
        found.say("output", str(out))


def unwritable(folder: str | Path) -> str:
    """Say why a folder, there or to be made, cannot be written; empty where it can.

    Parameters
    ----------
    folder : str or pathlib.Path
        The folder.

    Returns
    -------
    str
        One sentence, or nothing.
    """
    folder = Path(folder)
    try:
        if "\0" in str(folder):
            raise ValueError("its name holds a zero byte")
        if folder.exists() and not folder.is_dir():
            return f"{folder} is not a folder: name another one."
        place = _existing(folder)
        if not place.is_dir():
            return f"{folder} cannot be made, for {place} is not a folder: name another one."
        longest = max((len(os.fsencode(part)) for part in folder.parts), default=0)
        if longest > os.pathconf(place, "PC_NAME_MAX") if hasattr(os, "pathconf") else longest > 255:
            return f"{quoted(str(folder))} is too long a name: give a shorter one."
        with tempfile.TemporaryFile(dir=place):
            return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return (
            f"{quoted(str(folder))[1:-1]} cannot be written ({reason}): name another folder, or change its permissions."
        )


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    folder = folder.expanduser().absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def prepared_bytes(recording: Recording, parameters: Mapping[str, object]) -> float:
    """Return about how many bytes the prepared signals of a recording take: EEG and, on a grid, volumes, 4 bytes a value."""
    seconds = recording.duration or (recording.n_times or 0) / (recording.sfreq or 1)
    sfreq = parameters.get("sfreq") or recording.sfreq or 0
    n_bytes = 4.0 * len(recording.scalp_channels) * seconds * sfreq
    grid = parameters.get("grid")
    if grid is not None:
        from eegfmri.preprocessing.registration import GRIDS

        if grid in GRIDS:
            n_bytes += 4.0 * math.prod(GRIDS[grid].shape) * (recording.n_volumes or 0)
    return n_bytes


def simulated_bytes(dataset: str, request: Request) -> float:
    """Return about how many bytes simulated recordings take: 2 a sample and voxel, images taken as uncompressed."""
    from eegfmri.simulation.parameters import ACQUISITIONS, get_scale

    scale = get_scale(request.simulation["scale"], dataset)
    acquisition = ACQUISITIONS[dataset]
    seconds = simulated_seconds(dataset, request)
    samples = seconds * len(acquisition.channels) * scale.sfreq
    if scale.raw_sfreq:
        samples += seconds * len(acquisition.channels) * scale.raw_sfreq * scale.raw_subjects / scale.n_subjects
    voxels = math.prod(scale.matrix) * seconds / acquisition.t_r
    voxels += math.prod(scale.t1_matrix or (0,)) * scale.n_subjects
    return 2.0 * (samples + voxels)


def simulated_seconds(dataset: str, request: Request, scale: str | None = None) -> float:
    """Return how many seconds of recording are simulated."""
    from eegfmri.recordings import EPOCH_SECONDS
    from eegfmri.simulation.parameters import ACQUISITIONS, get_scale

    scale = get_scale(scale or request.simulation["scale"], dataset)
    if dataset == "sleep":
        run_seconds = EPOCH_SECONDS * (scale.n_rest * scale.rest_epochs + scale.n_sleep * scale.sleep_epochs)
    else:
        n_runs = len(scale.runs) if dataset == "oddball" else 1
        run_seconds = n_runs * scale.n_volumes * ACQUISITIONS[dataset].t_r
    return scale.n_subjects * run_seconds


def _memory(chosen: Mapping[str, tuple[Recording, ...]], found: Preflight) -> None:
    """Compare the largest run in memory with what the machine has."""
    available, total = memory()
    has = f"{size(available)} of {size(total)} free"
    largest = max((loaded_bytes(recording) for runs in chosen.values() for recording in runs), default=0.0)
    if not largest and chosen:
        found.say("memory", has)
    elif not largest:
        found.say("memory", f"not known before the recordings are there; {has}")
    elif largest > total:
        found.refuse(
            "memory",
            f"The largest run takes {size(largest)} of memory once it is read, and this machine has {size(total)}: use a larger one.",
        )
    else:
        found.say("memory", f"at least {size(largest)} (the largest run once it is read); {has}")


def loaded_bytes(recording: Recording) -> float:
    """Return how many bytes a run takes in memory: EEG with 8 bytes a sample as MNE reads it, volumes with 4 a voxel."""
    samples = len(recording.ch_names) * (recording.n_times or 0)
    return 8.0 * samples + 4.0 * math.prod(recording.volume_shape or (0,)) * (recording.n_volumes or 0)


# --- time ------------------------------------------------------------------------------------------------------------


def _time(request: Request, chosen: Mapping[str, tuple[Recording, ...]], found: Preflight) -> None:
    if request.cached:
        found.say("time", "executed already: only the page is rendered")
        return
    earlier = _earlier(request)
    if earlier is not None:
        seconds, when = earlier
        found.say("time", f"about {duration(seconds)}: what a run with these parameters took on {when}")
        return
    by_costs = estimate(request.chapter.name, request.parameters, chosen)
    if by_costs is not None and by_costs.seconds > ESTIMATED:
        n_jobs = max(1, min(int(request.parameters.get("n_jobs") or 1), cores()))
        day = max(by_costs.measured)
        parts = (
            f"preparing {duration(by_costs.preparing)}, training {duration(by_costs.training)}"
            if by_costs.training
            else (f"preparing {duration(by_costs.preparing)}")
        )
        without = f"; nobody has measured {enumerate_names(by_costs.unknown)}" if by_costs.unknown else ""
        found.say(
            "time",
            f"about {duration(by_costs.seconds / n_jobs)} with n_jobs = {n_jobs}: {parts} on one core, by the benchmarks of "
            f"{day.day} {day:%B %Y} (page What it costs){without}",
        )
        return
    minutes = request.chapter.options.get("minutes")
    defaults = request.chapter.defaults
    changed = [
        f"{name} {defaults[name]!r} → {value!r}"
        for name, value in request.parameters.items()
        if name not in FREE and value != defaults[name] and not name.endswith(("_file", "_dir"))
    ]
    more = f"; nobody has measured what these change: {', '.join(changed)}" if changed else ""
    if minutes is None:
        found.say("time", f"not known: no run of this chapter is kept, and it states no minutes{more}")
        return
    stated = f"the chapter states {duration(60 * minutes)} for its own parameters and simulated recordings"
    have = sum(recording.duration or 0.0 for runs in chosen.values() for recording in runs)
    # What is not simulated yet will be as long as its scale says.
    have += sum(simulated_seconds(name, request) for name in request.simulated if not chosen.get(name))
    usual = sum(simulated_seconds(name, request, "small") for name in request.chapter.needs(request.parameters))
    if request.chapter.min_subjects(request.parameters) > 1 and have > 1.2 * usual > 0:
        about = f"about {duration(60 * minutes * have / usual)} by the length of the recordings"
        stated = f"{stated}, {duration(usual)} long, and these are {duration(have)} long"
    else:
        about = "not known" if changed else f"about {duration(60 * minutes)}"
    found.say("time", f"{about}: {stated}{more}")


def _earlier(request: Request) -> tuple[float, str] | None:
    """Return seconds and date of the last kept run of the chapter that differs in seeds at most, or None."""
    places = [
        *(build_dir() / "executed" / request.chapter.name).glob("[!.]*/results.json"),
        *(project.root() / "runs").glob("[!.]*/results.json"),
        *(project.data_dir() / "recorded" / request.chapter.name).glob("*.json"),
    ]
    wanted, best = _deciding(request.parameters), None
    for path in places:
        try:
            document = results.read(path)
        except EegFmriError:
            continue
        when = str(document.get("environment", {}).get("executed", ""))[:10]
        data = document.get("data") or {}
        alike = _deciding(document.get("parameters", {})) == wanted and document["chapter"] == request.chapter.name
        if alike and "seconds" in document and results.is_real(data) == (request.data is not None) and when:
            best = max(best or ("", 0.0), (when, float(document["seconds"])))
    return None if best is None else (best[1], best[0])


def _deciding(parameters: Mapping[str, object]) -> str:
    return cache.digest({name: value for name, value in parameters.items() if name not in FREE})


# --- words -----------------------------------------------------------------------------------------------------------


def size(n_bytes: float) -> str:
    """Write a number of bytes with two digits that count: ``56 kB``, ``1.2 GB``."""
    power = 0
    while n_bytes >= 1000 and power < 4:
        n_bytes, power = n_bytes / 1000, power + 1
    unit = ("B", "kB", "MB", "GB", "TB")[power]
    return f"{n_bytes:.1f} {unit}" if n_bytes < 10 and power else f"{n_bytes:.0f} {unit}"


def duration(seconds: float) -> str:
    """Write a time with one or two digits that count: ``40 s``, ``5 min``, ``1.5 h``, ``16 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"


def counted(number: int, what: str) -> str:
    """Write a number of things: ``1 subject``, ``2 subjects``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
