"""Getting the datasets from where their authors put them: what to fetch, how much it is, and what it is enough for.

ds003768 comes file by file from OpenNeuro's public bucket, checked against the manifest in ``data/manifests``; so do two small sets of
measured series, from one commit of their authors' repositories. ds000116 comes as OpenfMRI's tarballs and NODDI as archives from
OSF; for these no checksum is published with the dataset, so what arrives first is recorded in ``downloads.json`` beside the data, and
anything that comes later must agree with it. Of single files the same record holds in which state their checksums were right; a file
in another state is said to have been compared by size only.

The addresses are parameters: ``EEGFMRI_OPENNEURO_URL``, ``EEGFMRI_OPENFMRI_URL``, ``EEGFMRI_OSF_URL``, ``EEGFMRI_ALERTNESS_URL`` and
``EEGFMRI_RSHRF_URL`` name mirrors.
"""

import os
import re
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from eegfmri import project
from eegfmri.cache import digest, file_stamp, read_json, write_json
from eegfmri.datasets.archives import Damaged, move_into, unpacked
from eegfmri.datasets.formats import SIMULATION_FILE
from eegfmri.datasets.transfer import (
    RemoteFile,
    Stopped,
    Transfer,
    fetch_file,
    fetch_json,
    file_checksums,
    remote_size,
    require_safe,
)
from eegfmri.errors import DataError, EegFmriError, RequestError
from eegfmri.text import read_text

#: Where each dataset lies, and the environment variable that names another place.
SOURCES = {
    "sleep": ("EEGFMRI_OPENNEURO_URL", "https://s3.amazonaws.com/openneuro.org/ds003768"),
    "oddball": ("EEGFMRI_OPENFMRI_URL", "https://openfmri.s3.amazonaws.com/tarballs"),
    "rest": ("EEGFMRI_OSF_URL", "https://api.osf.io/v2/nodes/94c5t/files/osfstorage/"),
    "alertness": (
        "EEGFMRI_ALERTNESS_URL",
        "https://raw.githubusercontent.com/neurdylab/fMRIAlertnessDetection/db5f3ef49e53585412627984c44b9db9b188a868/data",
    ),
    "rshrf": (
        "EEGFMRI_RSHRF_URL",
        "https://raw.githubusercontent.com/compneuro-da/rsHRF/85618cbc9449cf7456e1f6416ae55b3e27d5ff1e/demo_codes",
    ),
}

#: Measured series that are no recordings of a dataset: a few files that come whole, and what they are enough for.
SERIES = {
    "alertness": "alertness of 12 subjects, told from EEG and from BOLD (How EEG and BOLD move together)",
    "rshrf": "the haemodynamic response of two animals (How EEG and BOLD move together)",
}

#: What comes file by file, each checked against a manifest of its name.
BY_FILE = ("sleep", *SERIES)

#: Folder of each dataset under the destination.
FOLDERS = {"sleep": "ds003768", "oddball": "ds000116", "rest": "noddi", "alertness": "alertness", "rshrf": "rshrf"}

#: The subjects of `oddball`, by number; the metadata tarball has the slice order and the electrode positions.
ODDBALL_SUBJECTS = tuple(f"{number:03d}" for number in range(1, 18))

#: The archives of `rest`.
REST_ARCHIVES = ("EEG1.zip", "EEG2.zip", "fMRI.zip")

#: Archives whose absence is said and does not count as a failure: no reader needs them.
OPTIONAL = ("ds116_metadata.tgz",)

#: Bytes of the disk that a download leaves free.
RESERVE = 1_000_000_000

#: An archive and what is in it lie side by side until it is unpacked; the contents are hardly compressible.
UNPACKED_FACTOR = 2.3

RECORD = "downloads.json"

#: Entries of a dataset's folder that are written here or by the simulator, and by no archive.
OURS = (RECORD, SIMULATION_FILE, ".downloads")

#: Listings of OSF that are asked for: the project has one page.
MOST_PAGES = 60


@dataclass(frozen=True)
class Plan:
    """What a request means: which files, which of them are there, and how much is lacking.

    Attributes
    ----------
    dataset : str
        A key of `SOURCES`.
    root : pathlib.Path
        The dataset's folder.
    files : tuple of RemoteFile
        All that were asked for.
    missing : tuple of RemoteFile
        Those that are not there, or not in their right size.
    n_bytes : int or None
        Bytes still to come; None if the server does not tell.
    n_bytes_disk : int or None
        Bytes that they take on the disk while they are unpacked.
    by_size : tuple of RemoteFile
        Those that are there and have the right size, but have not been compared with their checksum as they are now.
    """

    dataset: str
    root: Path
    files: tuple[RemoteFile, ...]
    missing: tuple[RemoteFile, ...]
    n_bytes: int | None
    n_bytes_disk: int | None
    by_size: tuple[RemoteFile, ...] = ()


@dataclass(frozen=True)
class Subset:
    """A part of a dataset that is enough for something.

    Attributes
    ----------
    purpose : str
        What it is enough for.
    command : str
        The command that fetches it.
    n_files : int
        Number of files or archives.
    n_bytes : int or None
        Their size, where it is known without asking a server.
    """

    purpose: str
    command: str
    n_files: int
    n_bytes: int | None


@lru_cache(maxsize=4)
def _manifest(path: Path) -> tuple[RemoteFile, ...]:
    rows = []
    lines = read_text(path).split("\n")
    body = [line for line in lines if line and not line.startswith("#")]
    head = body[0].split("\t") if body else []
    if head[:2] != ["path", "bytes"] or head[2:] not in (["md5"], ["sha256"]):
        raise DataError(f"{path}: the columns are not path, bytes, md5 or sha256; restore the file from the project.")
    kind = head[2]
    for line in body[1:]:
        fields = _MANIFEST_LINE.fullmatch(line)
        if fields is None or ".." in Path(fields[1]).parts or len(fields[3]) != _DIGITS[kind]:
            raise DataError(
                f"{path}: the line {line[:80]!r} is not a path, a number of bytes and a checksum ({kind}); restore the file from the "
                "project."
            )
        rows.append(RemoteFile(fields[1], "", int(fields[2]), **{kind: fields[3]}))
    return tuple(rows)


#: A path inside the dataset, bytes, checksum.
_MANIFEST_LINE = re.compile(r"([^/\t\\\0][^\t\\\0]*)\t([0-9]{1,15})\t([0-9a-f]{32}|[0-9a-f]{64})")

#: Hexadecimal digits of a checksum.
_DIGITS = {"md5": 32, "sha256": 64}


def manifest(dataset: str = "sleep") -> tuple[RemoteFile, ...]:
    """Return every file of a dataset with size and checksum, from ``data/manifests``; addresses are left empty.

    Parameters
    ----------
    dataset : str, default="sleep"
        One of `BY_FILE`.

    Returns
    -------
    tuple of RemoteFile
        In the manifest's order.
    """
    return _manifest(project.table(f"manifests/{dataset}.tsv"))


def sleep_files(
    subjects: Iterable[str] | None = None, runs: Iterable[str] | None = None, labels: bool = False, extras: bool = False
) -> tuple[RemoteFile, ...]:
    """Choose files of ds003768.

    Parameters
    ----------
    subjects : iterable of str or None
        Subjects, as ``"01"``.
    runs : iterable of str or None
        Beginnings of run names (``"task-sleep"``, ``"task-rest_run-1"``).
    labels : bool, default=False
        Tables and sidecars at the top only: no signals.
    extras : bool, default=False
        Also eye tracking, field maps and the images that the authors processed, two thirds of the whole.

    Returns
    -------
    tuple of RemoteFile
        In the manifest's order; text files at the top always belong to it.

    Raises
    ------
    RequestError
        If there is no such subject, or no such run of theirs.
    """
    subjects = None if subjects is None else tuple(subjects)
    runs = None if runs is None else tuple(runs)
    known = sorted({m[1] for file in manifest() if (m := re.match(r"sub-(\d\d)/", file.name))})
    for subject in subjects or ():
        if subject not in known:
            raise RequestError(f"--subjects: ds003768 has no subject {subject!r}; there are {known[0]} to {known[-1]}.")
    chosen, found_run = [], False
    for file in manifest():
        if file.name.startswith("."):
            continue
        owner = re.search(r"(?:^|/)sub-(\d\d)", file.name, flags=re.IGNORECASE)
        if owner and subjects is not None and owner[1] not in subjects:
            continue
        is_signal = file.name.startswith("sub-")
        is_extra = file.name.startswith("sourcedata/") and not file.name.endswith("-sleep-stage.tsv")
        if (is_signal and labels) or (is_extra and (labels or not extras)):
            continue
        run = re.search(r"task-\w+_run-\d+", file.name)
        if run and runs is not None:
            if not run[0].startswith(runs):
                continue
            found_run = True
        chosen.append(file)
    if runs is not None and not found_run:
        raise RequestError(
            f"--runs: nobody chosen has a run that begins with {', '.join(runs)}; runs are called task-rest_run-1, task-sleep_run-1 "
            "and so on."
        )
    return tuple(chosen)


def subsets(dataset: str, papers: Mapping[str, Collection[str] | None] | None = None) -> tuple[Subset, ...]:
    """List useful parts of a dataset, the smallest first, each with what it is enough for.

    Parameters
    ----------
    dataset : str
        A key of `SOURCES`.
    papers : mapping of str to collection of str or None
        Papers that used the dataset, and the subjects whom their published results need; None for all.

    Returns
    -------
    tuple of Subset
        With sizes where a manifest has them; the other servers have to be asked.
    """
    papers = papers or {}
    if dataset in SERIES:
        return (_subset(dataset, SERIES[dataset], {}),)
    parts: list[tuple[str, dict]] = []
    if dataset == "sleep":
        parts += [
            ("stage counts, hypnograms and the choice of the 23 subjects (The three datasets)", {"labels": True}),
            (
                "one run through every step, with its real traces (A simultaneous recording, preprocessing)",
                {"subjects": ("01",), "runs": ("task-rest_run-1",)},
            ),
            ("one subject's whole night", {"subjects": ("01",)}),
        ]
    elif dataset == "oddball":
        parts += [("one subject's six runs, with the task's events", {"subjects": ("001",)})]
    for name, chosen in papers.items():
        if chosen is not None:
            parts.append(
                (f"every published score and figure of {name}: {len(chosen)} subjects", {"subjects": tuple(chosen)})
            )
    everyone = {
        "sleep": "everyone's EEG, BOLD and T1",
        "oddball": "everyone",
        "rest": "everyone, whom the archives hold",
    }
    needing_all = [name for name, chosen in papers.items() if chosen is None]
    scores = f"; every published score and figure of {' and '.join(needing_all)}" if needing_all else ""
    parts.append((f"{everyone[dataset]}{scores}", {}))
    if dataset == "sleep":
        parts.append(("all of it: eye tracking, field maps and processed images too", {"extras": True}))
    return tuple(_subset(dataset, purpose, choice) for purpose, choice in parts)


def _subset(dataset: str, purpose: str, choice: dict) -> Subset:
    """Return a part of a dataset with the command that fetches it, its number of files and, where a manifest has it, its size in bytes."""
    words = [f"eegfmri data get {dataset}"]
    words += [
        f"--{name} {','.join(value)}" if isinstance(value, tuple) else f"--{name}" for name, value in choice.items()
    ]
    if dataset in BY_FILE:
        files = sleep_files(**choice) if dataset == "sleep" else manifest(dataset)
        return Subset(purpose, " ".join(words), len(files), sum(file.n_bytes for file in files))
    if dataset == "oddball":
        return Subset(purpose, " ".join(words), len(choice.get("subjects", ODDBALL_SUBJECTS)) + 1, None)
    return Subset(purpose, " ".join(words), len(REST_ARCHIVES), None)


def make_plan(
    dataset: str,
    dest: str | Path | None = None,
    *,
    subjects: Iterable[str] | None = None,
    runs: Iterable[str] | None = None,
    labels: bool = False,
    extras: bool = False,
    verify: bool = False,
    base_url: str | None = None,
    transfer: Transfer | None = None,
) -> Plan:
    """Work out what a request means, asking the servers for sizes where no manifest has them.

    Parameters
    ----------
    dataset : str
        A key of `SOURCES`.
    dest : str, pathlib.Path or None
        Where datasets lie side by side; the project's ``data`` folder if None.
    subjects, runs : iterable of str or None
        Parts of the dataset; ``"1"``, ``"01"`` and ``"sub-01"`` mean the same subject.
    labels, extras : bool, default=False
        See `sleep_files`; of `sleep` only.
    verify : bool, default=False
        Compare the checksums of files that are there, not only their sizes.
    base_url : str or None
        Another place to fetch from.
    transfer : Transfer or None
        How to talk to servers.

    Returns
    -------
    Plan
        What is wanted and what of it is lacking.

    Raises
    ------
    RequestError
        If there is no such dataset, subject or run, or the dataset cannot be had in such parts.
    DataError
        If a server's listing lacks an archive.
    """
    if dataset not in SOURCES:
        raise RequestError(f"There is no dataset {dataset!r}: choose one of {', '.join(SOURCES)}.")
    transfer = transfer or Transfer()
    variable, address = SOURCES[dataset]
    base = (base_url or os.environ.get(variable) or address).rstrip("/")
    require_safe(base)
    root = Path(dest if dest is not None else project.data_dir()) / FOLDERS[dataset]
    subjects = None if subjects is None else tuple(_subject(dataset, name) for name in subjects)
    if dataset in SERIES and (labels or extras or runs is not None or subjects is not None):
        raise RequestError(f"{dataset} is a few small files that come whole: leave out what chooses parts.")
    if dataset != "sleep" and (labels or extras):
        raise RequestError(f"--labels and --extras are parts of sleep; {dataset} comes in archives.")
    if dataset != "sleep" and runs is not None:
        raise RequestError(f"--runs: {dataset} comes in archives that hold all runs of a subject; leave it out.")
    if dataset in BY_FILE:
        record = _verified(root)
        chosen = sleep_files(subjects, runs, labels, extras) if dataset == "sleep" else manifest(dataset)
        files = tuple(replace(file, url=f"{base}/{quote(file.name)}") for file in chosen)
        states = {file.name: _state(root, file, verify, record) for file in files}
        missing = tuple(file for file in files if states[file.name] == "missing")
        by_size = tuple(file for file in files if states[file.name] == "by size")
        n_bytes = sum(file.n_bytes - _part_size(root / file.name) for file in missing)
        return Plan(dataset, root, files, missing, n_bytes, n_bytes, by_size)
    if dataset == "oddball":
        for subject in subjects or ():
            if subject not in ODDBALL_SUBJECTS:
                raise RequestError(f"--subjects: ds000116 has no subject {subject!r}; there are 001 to 017.")
        names = [f"ds116_sub{subject}.tgz" for subject in subjects or ODDBALL_SUBJECTS] + ["ds116_metadata.tgz"]
        files = tuple(RemoteFile(name, f"{base}/{name}") for name in names)
    else:
        if subjects is not None:
            raise RequestError(
                "--subjects: the archives of rest hold everyone and cannot be had in parts; leave it out."
            )
        files = None
    record = _record(root)
    wanted = [file.name for file in files] if files else list(REST_ARCHIVES)
    lacking = [name for name in wanted if not _is_unpacked(root, name, record)]
    if files is None:
        listed = _osf_listing(f"{base}/", transfer) if lacking else {}
        absent = [name for name in lacking if name.lower() not in listed]
        if absent:
            raise DataError(
                f"OSF lists no {', '.join(absent)} at {base}; look at https://osf.io/94c5t for where they went."
            )
        files = tuple(listed.get(name.lower(), RemoteFile(name, "")) for name in wanted)
    files = tuple(_with_record(file, record) for file in files)
    sized, asking = [], True
    for file in files:
        if asking and file.name in lacking and file.n_bytes is None:
            file = replace(file, n_bytes=remote_size(file.url, transfer))
            # The sum is unknown already; a host out of reach is not asked for each of its files.
            asking = file.n_bytes is not None
        sized.append(file)
    missing = tuple(file for file in sized if file.name in lacking)
    sizes = [file.n_bytes for file in missing]
    n_bytes = None if None in sizes else sum(sizes) - sum(_part_size(_downloads(root) / file.name) for file in missing)
    return Plan(
        dataset, root, tuple(sized), missing, n_bytes, None if n_bytes is None else round(n_bytes * UNPACKED_FACTOR)
    )


def size_text(n_bytes: int | None) -> str:
    """Write a size in GB, small ones in MB."""
    if n_bytes is None:
        return "unknown size"
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.2g} MB"


def require_space(plan: Plan) -> None:
    """Raise `EegFmriError` if what is lacking does not fit, naming sizes and the smallest useful part."""
    place = next(path for path in (plan.root, *plan.root.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    needed = (plan.n_bytes_disk or 0) + RESERVE * bool(plan.missing)
    if needed > free:
        smallest = subsets(plan.dataset)[0]
        size = f" ({size_text(smallest.n_bytes)})" if smallest.n_bytes is not None else ""
        raise EegFmriError(
            f"{plan.root} needs {needed / 1e9:.1f} GB, 1 GB of reserve included, and {free / 1e9:.1f} GB are free; the smallest useful "
            f"part is `{smallest.command}`{size}, or name another place with --dest."
        )


def fetch(plan: Plan, n_jobs: int = 4, transfer: Transfer | None = None) -> dict:
    """Fetch what a plan lacks, several files at once.

    Parameters
    ----------
    plan : Plan
        From `make_plan`.
    n_jobs : int, default=4
        Files at once.
    transfer : Transfer or None
        Listener, pauses and counts.

    Returns
    -------
    dict
        ``files``, ``bytes``, ``seconds``, ``faults`` (how often each kind was met), ``recorded`` (archives whose
        checksum was taken from what arrived, since none is published) and ``absent`` (what could be done without).

    Raises
    ------
    RequestError
        If another download into the same folder is running.
    EegFmriError
        If the disk is too small, or files could not be had; what arrived whole stays.
    """
    from filelock import FileLock, Timeout

    transfer = transfer or Transfer()
    require_space(plan)
    begun = time.monotonic()
    done: dict[str, dict] = {}
    failed: dict[str, EegFmriError] = {}
    absent: list[str] = []
    if plan.missing:
        _downloads(plan.root).mkdir(parents=True, exist_ok=True)
    lock = FileLock(_downloads(plan.root) / "lock")
    recording = threading.Lock()
    try:
        with lock.acquire(timeout=0) if plan.missing else nullcontext():
            for file, outcome in _outcomes(plan, n_jobs, transfer, recording):
                if not isinstance(outcome, EegFmriError):
                    done[file.name] = outcome
                elif file.name in OPTIONAL and isinstance(outcome, DataError):
                    absent.append(file.name)
                else:
                    failed[file.name] = outcome
                    transfer.listen("failed", file, outcome)
    except Timeout:
        raise RequestError(f"Another download into {plan.root} is running: wait for it, or end it.") from None
    if plan.dataset in BY_FILE:
        _remember(plan.root, {file.name: done[file.name] for file in plan.missing if file.name in done})
    if failed:
        first = next(iter(failed.values()))
        sentence = str(first) if str(first).endswith(".") else f"{first}."
        more = f" {len(failed) - 1} more failed." if len(failed) > 1 else ""
        stay = f"{len(done)} of {len(plan.missing)} files arrived and stay; the same command fetches the rest."
        raise type(first)(f"{sentence}{more} {stay}")
    if not any(_downloads(plan.root).glob("*.part")) and _downloads(plan.root).is_dir():
        shutil.rmtree(_downloads(plan.root), ignore_errors=True)
    return {
        "files": len(done),
        "bytes": sum(about["bytes"] for about in done.values()),
        "seconds": time.monotonic() - begun,
        "faults": dict(sorted(transfer.faults.items())),
        "recorded": sorted(name for name, about in done.items() if about.get("checksum") == "recorded"),
        "absent": absent,
    }


def _outcomes(
    plan: Plan, n_jobs: int, transfer: Transfer, recording: threading.Lock
) -> Iterator[tuple[RemoteFile, dict | EegFmriError]]:
    """Fetch the missing files in threads; yield each with what is known of it, or with what went wrong."""
    pool = ThreadPoolExecutor(n_jobs)
    jobs = {pool.submit(_one, plan, file, transfer, recording): file for file in plan.missing}
    try:
        for job in as_completed(jobs):
            try:
                outcome = job.result()
            except Stopped:
                raise
            except EegFmriError as error:
                outcome = error
            except OSError as error:
                outcome = EegFmriError(f"{jobs[job].name} could not be written: {error.strerror or error}.")
            yield jobs[job], outcome
    except BaseException:
        # Ctrl-C as well: the threads notice, and leave their parts for the next time.
        transfer.stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _one(plan: Plan, file: RemoteFile, transfer: Transfer, recording: threading.Lock) -> dict:
    """Fetch one file to its final name, or one archive and unpack it."""
    if transfer.stop.is_set():
        raise Stopped("The download was interrupted; the same command goes on from there.")
    if plan.dataset in BY_FILE:
        return fetch_file(file, plan.root / file.name, transfer)
    archive = _downloads(plan.root) / file.name
    if archive.is_file():
        # Whole, but not unpacked when the last attempt ended.
        about = {"bytes": archive.stat().st_size, **file_checksums(archive)}
        if file.differs(about) is not None:
            archive.unlink()
    if not archive.is_file():
        about = fetch_file(file, archive, transfer)
    try:
        try:
            return _unpack(plan, file, archive, about, recording)
        except Damaged as error:
            # With the right checksum it is the server's own: fetched again, it would be the same.
            if file.md5 or file.sha256:
                raise
            transfer.fault("bad archive")
            transfer.listen("retry", file, str(error))
            aside = archive.with_name(f"{archive.name}.wrong")
            os.replace(archive, aside)
            about = fetch_file(file, archive, transfer)
            done = _unpack(plan, file, archive, about, recording)
            aside.unlink(missing_ok=True)
            return done
    except DataError as error:
        if not archive.is_file():
            raise
        transfer.fault("bad archive")
        aside = archive.with_name(f"{archive.name}.wrong")
        os.replace(archive, aside)
        raise type(error)(f"{str(error).rstrip('.')}; it is kept as {aside}.") from error


def _unpack(plan: Plan, file: RemoteFile, archive: Path, about: dict, recording: threading.Lock) -> dict:
    """Unpack an archive into the dataset's folder and record it; return what is known of it."""
    about = {**about, "checksum": "published" if file.md5 and not _record(plan.root).get(file.name) else "recorded"}
    with unpacked(archive, archive.with_name(f"{archive.name}.unpacking")) as folder:
        inner = _contents(plan, file, folder)
        tops = sorted(path.name for path in inner.iterdir())
        with recording:
            _require_free(plan.root, tops, file)
            # First what is going to be there, then the move, then that it is complete: a crash between leaves a record
            # that says so, and the next attempt replaces exactly these entries.
            entry = {"url": file.url, **about, "unpacked": tops}
            _write_record(plan.root, {file.name: {**entry, "complete": False}})
            move_into(inner, plan.root, tops)
            _write_record(plan.root, {file.name: {**entry, "complete": True}})
    archive.unlink()
    return about


def _contents(plan: Plan, file: RemoteFile, folder: Path) -> Path:
    """Find in an unpacked archive the folder whose entries belong into the dataset's folder; refuse one without data."""
    if plan.dataset == "rest":
        stem = file.name.removesuffix(".zip")
        if (folder / stem).is_dir():
            return folder
        # Zipped from inside: the subjects' folders stand at the top.
        if any(re.fullmatch(r"\d\d", path.name) for path in folder.iterdir()):
            wrapped = folder / "wrapped" / stem
            entries = list(folder.iterdir())
            wrapped.mkdir(parents=True)
            for path in entries:
                os.replace(path, wrapped / path.name)
            return wrapped.parent
        raise DataError(
            f"{file.name} holds neither {stem}/ nor folders of subjects: it is not the archive that was expected."
        )
    subject = re.search(r"sub\d{3}", file.name)
    if subject and not any(path.is_dir() for place in (folder, *folder.iterdir()) for path in place.glob(subject[0])):
        raise DataError(f"{file.name} holds no folder {subject[0]}: it is not the archive that was expected.")
    return folder


def _require_free(root: Path, tops: list[str], file: RemoteFile) -> None:
    """Refuse to replace what was not put there by this download."""
    record = _record(root)
    ours = set(record.get(file.name, {}).get("unpacked", ()))
    own = [name for name in tops if name.casefold() in OURS]
    if own:
        raise DataError(
            f"{file.name} was refused: it holds {own[0]}, which no dataset has and which is written here only."
        )
    taken = [name for name in tops if (root / name).exists() and name not in ours]
    if taken:
        raise EegFmriError(
            f"{root / taken[0]} is in the way of what {file.name} holds, and was not put there by this command: move it away."
        )


def _subject(dataset: str, name: str) -> str:
    """Write a subject's number as the dataset does."""
    digits = name.strip().lower().removeprefix("sub").lstrip("-")
    return f"{int(digits):0{3 if dataset == 'oddball' else 2}d}" if re.fullmatch("[0-9]{1,6}", digits) else name


def _state(root: Path, file: RemoteFile, verify: bool, record: dict) -> str:
    """Say of a single file whether it is ``missing``, ``verified`` as it stands, or has been compared ``by size`` only."""
    path = root / file.name
    if not path.is_file() or path.stat().st_size != file.n_bytes:
        return "missing"
    known = record.get(file.name, {})
    right = file.differs({kind: known.get(kind, "") for kind in _DIGITS}) is None
    seen = right and known.get("time_ns") == file_stamp(path)[2]
    if not verify:
        return "verified" if seen else "by size"
    found = file_checksums(path)
    if file.differs(found) is not None:
        return "missing"
    if not seen:
        _remember(root, {file.name: {"bytes": file.n_bytes, **found}})
    return "verified"


def _remember(root: Path, verified: dict[str, dict]) -> None:
    """Record the state in which single files had the right checksums."""
    if verified:
        states = {name: {**about, "time_ns": file_stamp(root / name)[2]} for name, about in verified.items()}
        _write_record(root, states, _verified(root))


def _verified(root: Path) -> dict[str, dict]:
    """Return the record of single files; where it is damaged, they are compared anew."""
    try:
        return _record(root)
    except DataError:
        return {}


def _part_size(path: Path) -> int:
    part = path.with_name(path.name + ".part")
    return part.stat().st_size if part.is_file() else 0


def _downloads(root: Path) -> Path:
    return root / ".downloads"


def _record(root: Path) -> dict[str, dict]:
    """Return the record of what was fetched into a dataset's folder, by name; empty if there is none."""
    path = root / RECORD
    if not os.path.lexists(path):
        return {}
    try:
        document = read_json(path) if path.is_file() else {}
        files = document["files"]
        # Records of the first edition have no digest.
        known = document.keys() - {"digest"} == {"schema", "about", "files"}
        if known and document.get("digest", digest(files)) == digest(files) and all(map(_is_entry, files.values())):
            return files
        reason = "it is not as it was written"
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        reason = type(error).__name__
    raise DataError(
        f"{path} is damaged ({reason}), and nobody knows whether the archives are unpacked whole: remove it and the folders beside "
        "it, and fetch them again."
    )


def _is_entry(entry: object) -> bool:
    """Say whether an entry of the record is as `_write_record` writes them: of an archive, or of a single file."""
    if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int):
        return False
    checksums = [entry.get("md5"), entry.get("sha256", "0" * 64)]
    if [_checksum(text, length) for text, length in zip(checksums, (32, 64), strict=True)] != checksums:
        return False
    if "time_ns" in entry:
        return isinstance(entry["time_ns"], int)
    tops = entry.get("unpacked")
    plain = isinstance(tops, list) and all(isinstance(top, str) and Path(top).name == top for top in tops)
    return plain and isinstance(entry.get("complete"), bool)


def _checksum(text: object, length: int) -> str | None:
    """Return a checksum of so many hexadecimal digits, in lower case, or None if it is none."""
    return text.lower() if isinstance(text, str) and re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", text) else None


def _write_record(root: Path, entries: dict[str, dict], before: dict[str, dict] | None = None) -> None:
    before = _record(root) if before is None else before
    about = (
        "What was fetched. No checksum is published with archives: theirs are those of the first arrival. Of single files: in "
        "which state (time_ns) their checksums were right."
    )
    files = dict(sorted({**before, **entries}.items()))
    write_json(root / RECORD, {"schema": 1, "about": about, "files": files, "digest": digest(files)})


def _with_record(file: RemoteFile, record: dict) -> RemoteFile:
    """Hold a file to what arrived first, where nothing is published."""
    known = record.get(file.name)
    if known is None or file.md5:
        return file
    sha256 = file.sha256 or known.get("sha256")
    return replace(file, md5=known["md5"], sha256=sha256, n_bytes=file.n_bytes or known["bytes"])


def _is_unpacked(root: Path, name: str, record: dict) -> bool:
    if name in record:
        return record[name]["complete"] and all((root / top).exists() for top in record[name]["unpacked"])
    # Unpacked by hand, before this command was used.
    stem = name.removesuffix(".zip").removesuffix(".tgz")
    places = [root / stem, *([root / stem.removeprefix("ds116_")] if "sub" in stem else [])]
    return any(place.is_dir() and any(place.iterdir()) for place in places)


def _osf_listing(url: str, transfer: Transfer) -> dict[str, RemoteFile]:
    """Ask OSF for the files of a project, folders and further pages included, by lower-case name; what stands higher wins."""
    found: dict[str, RemoteFile] = {}
    # Address and depth of the folder; what is in folders comes after what is beside them.
    pending, asked = [(url, 0)], set()
    while pending and len(asked) < MOST_PAGES:
        address, depth = pending.pop(0)
        if address in asked:
            continue
        asked.add(address)
        page = fetch_json(address, transfer)
        entries = page.get("data") if isinstance(page, dict) else None
        if not isinstance(entries, list):
            kind = (
                type(page).__name__ if not isinstance(page, dict) else f"object whose data is {_kind(page.get('data'))}"
            )
            raise EegFmriError(
                f"The list of files at {address} is no list but {kind}: run the command again later, or look at "
                "https://osf.io/94c5t for where the files went."
            )
        for entry in entries:
            name, kind = _text_at(entry, "attributes", "name"), _text_at(entry, "attributes", "kind")
            inner = _text_at(entry, "relationships", "files", "links", "related", "href")
            link = _text_at(entry, "links", "download")
            if kind == "folder" and inner and depth < 3:
                pending.append((inner, depth + 1))
            elif kind != "folder" and name and link:
                canonical = next((known for known in REST_ARCHIVES if known.lower() == name.lower()), name)
                size = _at(entry, "attributes", "size")
                size = size if type(size) is int and 0 <= size < 10**15 else None
                hashes = [_at(entry, "attributes", "extra", "hashes", kind) for kind in ("md5", "sha256")]
                md5, sha256 = (_checksum(text, length) for text, length in zip(hashes, (32, 64), strict=True))
                found.setdefault(name.lower(), RemoteFile(canonical, link, size, md5, sha256))
        following = _text_at(page, "links", "next")
        if following:
            pending.insert(0, (following, depth))
    return found


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _at(value: object, *keys: str) -> object:
    """Return what lies under keys in nested objects, or None where there is no such thing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text_at(value: object, *keys: str) -> str | None:
    found = _at(value, *keys)
    return found if isinstance(found, str) else None
