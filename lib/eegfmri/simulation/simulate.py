"""Simulated recordings in the layouts of the real datasets, with the planted truth beside them.

`simulate` writes a dataset, `ensure` makes it once under ``data/simulated`` and returns its folder. What is planted, by module:
sources, their power over time (``activity``), responses to ``stimuli``, what the ``body`` does, the ``eeg`` with the scanner's
``artefacts``, and the ``bold``; ``sleep``, ``oddball`` and ``rest`` write the layouts. ``parameters`` has every parameter with reason
and source. Whatever is random depends on the seed, the subject, the run and the purpose, and on nothing else: subject 3 is the same
whether 4 or 40 are made, by one thread or by many.
"""

import contextlib
import glob
import importlib
import importlib.metadata
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from eegfmri import cache
from eegfmri.errors import CannotWrite, DataError, RequestError, reading
from eegfmri.machine import cores
from eegfmri.simulation.damage import hide_files
from eegfmri.simulation.parameters import (
    ACQUISITIONS,
    DEFAULT_QUIRKS,
    OTHER_QUIRKS,
    Preset,
    Scale,
    get_preset,
    get_scale,
)
from eegfmri.text import read_facts

SIMULATION_FILE = "simulated.json"

#: Modules that write a dataset's layout.
LAYOUTS = {
    "sleep": "eegfmri.simulation.sleep",
    "oddball": "eegfmri.simulation.oddball",
    "rest": "eegfmri.simulation.rest",
}

_LIBRARIES = ("numpy", "scipy", "mne", "nilearn")


def simulate(
    dataset: str,
    dest: str | Path,
    *,
    scale: str | Scale = "small",
    preset: str | Preset = "realistic",
    seed: int = 0,
    n_subjects: int | None = None,
    labels_dir: str | Path | None = None,
    quirks: Iterable[str] | None = None,
    n_jobs: int | None = None,
) -> Path:
    """Write a simulated dataset.

    Parameters
    ----------
    dataset : {"sleep", "oddball", "rest"}
        Whose layout to write.
    dest : str or pathlib.Path
        Folder to make; it appears when everything is written, or not at all.
    scale : str or Scale
        ``tiny`` (for tests), ``small`` (eight subjects, EEG at 250 Hz, volumes of 32 x 32 x 16), ``medium`` (as many subjects as the
        papers had, recordings as in ``small``) or ``full`` (the real numbers).
    preset : str or Preset
        ``realistic``, ``uncoupled``, ``weak`` or ``strong``.
    seed : int
        Seed of everything random.
    n_subjects : int or None
        Subjects; the scale's number if None.
    labels_dir : str or pathlib.Path or None
        Folder of real label tables: their stages are used, subject by subject, instead of drawn ones (sleep).
    quirks : iterable of str or None
        Which quirks of the real files to plant; those of the dataset in `eegfmri.simulation.parameters.DEFAULT_QUIRKS` if None.
    n_jobs : int or None
        Threads; as many as cores, at most 4, if None.

    Returns
    -------
    pathlib.Path
        ``dest``.

    Raises
    ------
    RequestError
        If an argument is unknown, out of range or of another dataset, ``dest`` exists and is not empty, or another process is
        writing it.
    CannotWrite
        If the disk is full, or the folder cannot be written to.
    """
    scale, preset = _resolve(dataset, scale, preset, n_subjects)
    quirks = _check_quirks(dataset, quirks)
    dest = Path(os.path.abspath(Path(dest).expanduser()))
    _require_free(dest)
    if labels_dir is not None:
        if dataset != "sleep":
            raise RequestError(f"labels_dir is given for the dataset {dataset!r}: only sleep has label tables.")
        # real tables bring their own
        quirks = tuple(quirk for quirk in quirks if quirk not in ("doubtful_labels", "rare_labels"))
    stages_from = _stages_from(labels_dir, seed, scale) if dataset == "sleep" else {}
    with CannotWrite.saying(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=dest.parent).close()  # a lock that cannot be written waits instead of failing
        lock = FileLock(dest.parent / f".{dest.name}.writing", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RequestError(f"Another process is writing {dest}: wait for it, or name another folder.") from None
    try:
        _require_free(dest)  # the other process may have been done a moment ago
        for stale in dest.parent.glob(f"{cache.PART}{glob.escape(dest.name)}-*"):  # left by a process that was killed
            shutil.rmtree(stale, ignore_errors=True)
        with CannotWrite.saying(dest):
            temporary = Path(tempfile.mkdtemp(prefix=f"{cache.PART}{dest.name}-", dir=dest.parent))
        try:
            temporary.chmod(0o755)
            digest = _digest(dataset, scale, preset, seed, labels_dir, quirks)
            with CannotWrite.saying(dest, full=True):
                _write(dataset, temporary, scale, preset, seed, digest, stages_from, quirks, n_jobs or min(4, cores()))
            with CannotWrite.saying(dest):
                if dest.exists():
                    dest.rmdir()
                os.replace(temporary, dest)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
    return dest


def _require_free(dest: Path) -> None:
    """Raise `RequestError` unless nothing is there but an empty folder."""
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise RequestError(f"{dest} exists and is not empty: name a new folder for the simulated recordings.")


def ensure(
    dataset: str,
    *,
    scale: str | Scale = "small",
    preset: str | Preset = "realistic",
    seed: int = 0,
    n_subjects: int | None = None,
) -> Path:
    """Return the simulated dataset of these parameters, made now if it is not there yet.

    Processes that ask at once wait for the one that makes it.

    Parameters
    ----------
    dataset, scale, preset, seed, n_subjects
        As in `simulate`.

    Returns
    -------
    pathlib.Path
        ``<dataset>-<scale>-<key>`` in `eegfmri.project.simulated_dir`.

    Raises
    ------
    RequestError
        As `simulate`.
    """
    from eegfmri.project import simulated_dir

    key = simulation_digest(dataset, scale=scale, preset=preset, seed=seed, n_subjects=n_subjects)
    folder = simulated_dir()
    dest = folder / f"{dataset}-{get_scale(scale, dataset).name}-{key}"
    if _is_made(dest, key):
        return dest
    with CannotWrite.saying(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{dest.name}.lock")
        lock.acquire()
    try:
        if not _is_made(dest, key):
            _remove_unfinished(folder)
            if dest.exists():  # the truth is damaged or gone; what is beside it was made from the same numbers
                shutil.rmtree(dest)
            simulate(dataset, dest, scale=scale, preset=preset, seed=seed, n_subjects=n_subjects)
    finally:
        lock.release()
    return dest


def _remove_unfinished(folder: Path) -> None:
    """Remove from the folder of simulated datasets what processes that were killed were writing."""
    for stale in folder.glob(f"{cache.PART}*"):
        name = stale.name.removeprefix(cache.PART).rpartition("-")[0]
        # filelock's Timeout is an OSError, too: somebody is writing it
        with contextlib.suppress(OSError), FileLock(folder / f".{name}.writing", timeout=0) as lock:
            shutil.rmtree(stale, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)


def _is_made(dest: Path, key: str) -> bool:
    """Say whether a simulated dataset is there whose truth can be read."""
    try:
        return cache.read_json(dest / SIMULATION_FILE)["digest"] == key
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return False


def simulation_digest(
    dataset: str,
    *,
    scale: str | Scale = "small",
    preset: str | Preset = "realistic",
    seed: int = 0,
    n_subjects: int | None = None,
) -> str:
    """Return the key of a simulated dataset: the simulator's code, its parameters, the libraries it computes with.

    Nothing heavy is imported, so it costs milliseconds.
    """
    scale, preset = _resolve(dataset, scale, preset, n_subjects)
    return _digest(dataset, scale, preset, seed, None, _check_quirks(dataset, None))


def read_truth(root: str | Path) -> dict:
    """Read what was planted.

    Parameters
    ----------
    root : str or pathlib.Path
        Folder of a simulated dataset.

    Returns
    -------
    dict
        ``simulated.json``: ``subjects`` → subject → latency, couplings, quality and ``runs`` → run → stages as they are and as they
        were ``scored``, lead-in, electrodes that come ``loose`` (channel, start and stop in s from the first volume), and the
        arrays ``power``, ``bold``, ``motion`` and ``trials``, memory-mapped; ``truth`` → bands, regions, couplings.

    Raises
    ------
    DataError
        If the folder holds no simulated dataset, or the truth is damaged.
    """
    root = Path(root)
    if not (root / SIMULATION_FILE).is_file():
        raise DataError(f"{root} has no {SIMULATION_FILE}: the truth is known for simulated recordings only.")
    document = read_facts(root / SIMULATION_FILE)
    with reading(root / SIMULATION_FILE, "simulate the dataset again"):
        for subject in document["subjects"].values():
            for run in subject["runs"].values():
                for kind in ("power", "bold", "motion", "trials"):
                    if kind in run:
                        if not cache.is_whole(root / run[kind]):
                            raise DataError(f"{root / run[kind]} is not as it was written: simulate the dataset again.")
                        run[kind] = cache.load_array(root / run[kind])
    return document


def _resolve(dataset: str, scale, preset, n_subjects: int | None) -> tuple[Scale, Preset]:
    if dataset not in LAYOUTS:
        raise RequestError(f"No simulator for dataset {dataset!r}: choose {', '.join(LAYOUTS)}.")
    scale, preset = get_scale(scale, dataset), get_preset(preset)
    if n_subjects is not None:
        # the tree of rest has 16 names and no rule for more
        most = 16 if dataset == "rest" else 99
        if not 1 <= n_subjects <= most:
            raise RequestError(f"n_subjects is {n_subjects}: give a number from 1 to {most}.")
        scale = replace(scale, n_subjects=n_subjects)
    return scale, preset


def _check_quirks(dataset: str, quirks: Iterable[str] | None) -> tuple[str, ...]:
    chosen = DEFAULT_QUIRKS[dataset] if quirks is None else tuple(dict.fromkeys(quirks))
    known = (*DEFAULT_QUIRKS[dataset], *OTHER_QUIRKS[dataset])
    for quirk in chosen:
        if quirk not in known:
            raise RequestError(f"No quirk {quirk!r} of {dataset}: choose from {', '.join(known)}.")
    return chosen


def _digest(dataset, scale: Scale, preset: Preset, seed: int, labels_dir, quirks) -> str:
    code = cache.code_digest(__name__)  # the layouts are named above, so that they and all they import belong to it
    if dataset != "sleep":
        stages = None
    elif labels_dir is None:
        from eegfmri.project import table

        stages = table("sleep_stage_statistics.json").read_text(encoding="utf-8")
    else:
        stages = [(path.name, path.read_text(encoding="utf-8")) for path in sorted(Path(labels_dir).glob("sub-*.tsv"))]
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    parameters = {**asdict(preset), "tsnr": str(preset.tsnr)}  # infinity is not JSON
    measured = asdict(ACQUISITIONS[dataset])  # channel names come from the reader's code
    return cache.digest(code, stages, libraries, dataset, measured, asdict(scale), parameters, seed, list(quirks))


def _stages_from(labels_dir, seed: int, scale: Scale) -> dict:
    from eegfmri.simulation.stage_sequences import load_stage_statistics, read_label_runs

    if labels_dir is None:
        return {"statistics": load_stage_statistics(), "seed": seed}
    paths = sorted(Path(labels_dir).glob("sub-*-sleep-stage.tsv"))
    tables = [(path.name.split("-")[1], read_label_runs(path)) for path in paths]
    tables = [(subject, runs) for subject, runs in tables if {kind for kind, _ in runs} == {"rest", "sleep"}]
    if len(tables) < scale.n_subjects:
        raise RequestError(
            f"{labels_dir} has tables of {len(tables)} subjects with rest and sleep runs, {scale.n_subjects} were asked for: "
            "give a smaller n_subjects."
        )
    return {"tables": tables}


def _write(
    dataset: str,
    root: Path,
    scale: Scale,
    preset: Preset,
    seed: int,
    digest: str,
    stages_from: dict,
    quirks: tuple[str, ...],
    n_jobs: int,
) -> None:
    import numpy as np
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    from eegfmri.simulation import subjects as simulate_subjects

    layout = importlib.import_module(LAYOUTS[dataset])

    def generator(*names: str) -> np.random.Generator:
        return np.random.default_rng([seed, zlib.crc32("/".join(names).encode())])

    # runs are the unit of parallel work; one BLAS thread each keeps them from crowding, and bits from depending on cores
    with threadpool_limits(1):
        subjects = layout.make_subjects(preset, scale, generator, stages_from)
        planned = layout.plan_quirks(subjects, quirks, scale)
        everywhere = {entry["quirk"] for entry in planned if entry["subject"] is None}
        layout.write_root(root, preset, scale, seed, digest, everywhere)
        own = {
            subject.name: {entry["quirk"]: entry["run"] for entry in planned if entry["subject"] == subject.name}
            for subject in subjects
        }
        parallel = Parallel(n_jobs=n_jobs, prefer="threads")
        written = parallel(
            delayed(layout.write_subject)(root, preset, scale, subject, generator, own[subject.name])
            for subject in subjects
        )
        jobs = []
        for subject, runs in zip(subjects, written, strict=True):
            for run in runs:
                here = {quirk for quirk, name in own[subject.name].items() if name in (run.name, None)}
                jobs.append((subject, run, here | everywhere))
        facts = parallel(
            delayed(layout.write_run)(root, preset, scale, subject, run, generator, here) for subject, run, here in jobs
        )
    runs: dict[str, dict] = {subject.name: {} for subject in subjects}
    for (subject, run, _), found in zip(jobs, facts, strict=True):
        runs[subject.name][run.name] = found
    document = {
        "schema": 1,
        "dataset": dataset,
        "scale": scale.name,
        "preset": preset.name,
        "seed": seed,
        "digest": digest,
        "quirks": planned,
        "subjects": {p.name: simulate_subjects.describe_subject(p, runs[p.name]) for p in subjects},
        "truth": simulate_subjects.describe_model(preset),
    }
    cache.write_json(root / SIMULATION_FILE, document)
    if "hidden_files" in everywhere:
        hide_files(root)
