"""Downloads against a server that fails on purpose: nothing wrong ever stands under a final name, a second run finishes."""

import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eegfmri.datasets import download, sleep
from eegfmri.datasets.transfer import MAX_IDLE_ATTEMPTS, RemoteFile, Stopped, Transfer, fetch_file
from eegfmri.errors import DataError, EegFmriError, RequestError
from eegfmri.ledger import claims
from fault_server import serving

REPOSITORY = Path(__file__).resolve().parents[1]


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def blob(seed: int, size: int = 300_000) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving() as running:
        yield running


def patient(**options) -> Transfer:
    """Return a transfer that does not wait between attempts."""
    return Transfer(pause=0.001, **options)


# --- ds003768, file by file ------------------------------------------------------------------------------------------

SLEEP_FILES = {
    "README": b"about",
    "sourcedata/sub-01-sleep-stage.tsv": b"session\n",
    "sourcedata/fMRI_processed_file_1/sub-01/sub-01 _task-rest_run-1_processed.nii.gz": blob(9),
    **{
        f"sub-01/eeg/sub-01_task-{run}_eeg.{suffix}": blob(number * 3 + place)
        for number, run in enumerate(("rest_run-1", "rest_run-2", "sleep_run-1"))
        for place, suffix in enumerate(("eeg", "vhdr", "vmrk"))
    },
    "sub-02/func/sub-02_task-rest_run-1_bold.nii.gz": blob(50),
}


@pytest.fixture
def small(tmp_path, monkeypatch, server):
    """A project whose manifest lists a few small files, and a server that has them."""
    root = tmp_path / "project"
    (root / "book").mkdir(parents=True)
    (root / "book" / "_toc.yml").write_text("format: jb-book\nroot: intro\n")
    rows = "".join(f"{name}\t{len(body)}\t{md5(body)}\n" for name, body in SLEEP_FILES.items())
    (root / "data" / "manifests").mkdir(parents=True)
    (root / "data" / "manifests" / "sleep.tsv").write_text(f"# made for a test\npath\tbytes\tmd5\n{rows}")
    monkeypatch.setenv("EEGFMRI_ROOT", str(root))
    monkeypatch.setenv("EEGFMRI_OPENNEURO_URL", server.url)
    server.content = {"/" + name.replace(" ", "%20"): body for name, body in SLEEP_FILES.items()}
    return root


class Guard:
    """Listens to a download, and sees at every event that each file under a final name is the right one."""

    def __init__(self, root: Path):
        self.root, self.looked = root, 0
        self.lock = threading.Lock()

    def __call__(self, event, file, value):
        with self.lock:
            for name, body in SLEEP_FILES.items():
                path = self.root / name
                if path.exists():
                    assert path.read_bytes() == body, f"{name} is wrong under its final name"
                    self.looked += 1


def sleep_plan(**options):
    return download.make_plan("sleep", transfer=patient(), **options)


def standing(root: Path) -> dict[str, bytes]:
    """Return what lies under final names."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
        and ".downloads" not in path.parts
        and path.name != download.RECORD
        and not path.name.endswith((".part", ".tag", ".wrong"))
    }


def test_everything_arrives_and_a_second_run_fetches_nothing(small, server):
    plan = sleep_plan(extras=True)
    assert (len(plan.files), plan.n_bytes) == (len(SLEEP_FILES), sum(map(len, SLEEP_FILES.values())))
    report = download.fetch(plan, transfer=patient())
    assert (report["files"], report["faults"]) == (len(SLEEP_FILES), {})
    assert standing(plan.root) == SLEEP_FILES
    asked = len(server.log)
    assert sleep_plan(extras=True).missing == ()
    assert len(server.log) == asked


def test_every_fault_is_mended_and_counted_and_nothing_wrong_is_ever_named(small, server):
    names = [name for name in SLEEP_FILES if name.endswith(("eeg", "vhdr", "vmrk"))]
    planted = [
        ["drop"],
        ["drop", "drop", "drop"],
        ["busy", "busy"],
        ["wrong"],
        ["truncate"],
        ["drop", "ignore range"],
        ["drop", "busy", "drop"],
        ["labelled"],
        ["drop", "wrong"],
    ]
    assert len(names) == len(planted)
    server.faults = {"/" + name: list(faults) for name, faults in zip(names, planted, strict=True)}
    plan = sleep_plan()
    guard = Guard(plan.root)
    report = download.fetch(plan, n_jobs=4, transfer=patient(listen=guard))
    assert server.met == {"drop": 8, "busy": 3, "wrong": 2, "truncate": 1, "ignore range": 1, "labelled": 1}
    # Each fault planted is one met: what was truncated has another length than the manifest's.
    assert report["faults"] == {"busy": 3, "dropped": 8, "range ignored": 1, "wrong bytes": 2, "wrong length": 1}
    assert guard.looked > 0
    wanted = {name: body for name, body in SLEEP_FILES.items() if "processed" not in name}
    assert standing(plan.root) == wanted
    assert not list(plan.root.rglob("*.part*")) + list(plan.root.rglob("*.wrong"))


@pytest.mark.parametrize(
    ("fault", "kind", "times", "said"),
    [
        ("wrong", "wrong bytes", 2, "MD5"),
        ("truncate", "wrong length", 2, "bytes where"),
        ("busy", "busy", MAX_IDLE_ATTEMPTS, "503"),
        ("absent", "refused", 1, "404"),
    ],
)
def test_a_hopeless_file_fails_alone_and_a_second_run_finishes(small, server, fault, kind, times, said):
    name = "sub-01/eeg/sub-01_task-rest_run-1_eeg.eeg"
    server.always["/" + name] = fault
    plan = sleep_plan()
    transfer = patient(listen=Guard(plan.root))
    with pytest.raises(EegFmriError, match=said) as caught:
        download.fetch(plan, transfer=transfer)
    assert "the same command fetches the rest" in str(caught.value)
    assert transfer.faults == {kind: times}
    assert set(standing(plan.root)) == {file.name for file in plan.files} - {name}
    assert (plan.root / f"{name}.wrong").is_file() == (fault == "wrong")

    server.always.clear()
    asked = len(server.log)
    again = sleep_plan()
    assert [file.name for file in again.missing] == [name]
    download.fetch(again, transfer=patient(listen=Guard(plan.root)))
    assert standing(plan.root)[name] == SLEEP_FILES[name]
    assert {path for _, path, _ in server.log[asked:]} == {"/" + name}


def test_a_connection_that_never_holds_still_makes_progress(small, server):
    name = "/sub-01/eeg/sub-01_task-rest_run-1_eeg.eeg"
    server.faults[name] = ["drop"] * 12
    plan = sleep_plan(runs=["task-rest_run-1"])
    report = download.fetch(plan, transfer=patient())
    assert report["faults"] == {"dropped": 12}
    spans = [int(span.split("=")[1].rstrip("-")) for _, path, span in server.log if path == name and span]
    # Each attempt went on where the one before had ended.
    assert spans == sorted(spans)
    assert len(set(spans)) == 12


def test_an_interrupted_download_goes_on_where_it_was(small, server):
    name = "sub-01/eeg/sub-01_task-sleep_run-1_eeg.eeg"
    server.faults["/" + name] = ["drop"]
    plan = sleep_plan(runs=["task-sleep"])
    transfer = patient()
    transfer.listen = lambda event, file, value: transfer.stop.set() if event == "retry" else None
    with pytest.raises(Stopped):
        download.fetch(plan, n_jobs=1, transfer=transfer)
    part = plan.root / f"{name}.part"
    there = part.stat().st_size
    assert 0 < there < len(SLEEP_FILES[name])
    again = sleep_plan(runs=["task-sleep"])
    assert again.n_bytes == sum(file.n_bytes for file in again.missing) - there
    download.fetch(again, transfer=patient())
    assert ("GET", "/" + name, f"bytes={there}-") in server.log
    assert standing(plan.root)[name] == SLEEP_FILES[name]


def test_a_damaged_part_is_found_by_its_checksum_and_thrown_away(small, server):
    name = "sub-01/eeg/sub-01_task-rest_run-1_eeg.eeg"
    plan = sleep_plan()
    part = plan.root / f"{name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000))
    report = download.fetch(plan, transfer=patient(listen=Guard(plan.root)))
    assert report["faults"] == {"wrong bytes": 1}
    assert standing(plan.root)[name] == SLEEP_FILES[name]


@pytest.mark.parametrize("there", ["link", "pointer", "short"])
def test_what_stands_for_a_file_is_replaced_by_it(small, there):
    name = "sub-01/eeg/sub-01_task-rest_run-1_eeg.eeg"
    path = small / "data" / "ds003768" / name
    path.parent.mkdir(parents=True)
    if there == "link":
        path.symlink_to("../../.git/annex/objects/nowhere")
    else:
        path.write_bytes(b"/annex/objects/MD5E" if there == "pointer" else SLEEP_FILES[name][:-7])
    plan = sleep_plan()
    assert name in {file.name for file in plan.missing}
    download.fetch(plan, transfer=patient())
    assert not path.is_symlink()
    assert path.read_bytes() == SLEEP_FILES[name]


def test_verify_compares_checksums_of_what_is_there(small):
    plan = sleep_plan()
    download.fetch(plan, transfer=patient())
    name = "sub-02/func/sub-02_task-rest_run-1_bold.nii.gz"
    (plan.root / name).write_bytes(bytes(len(SLEEP_FILES[name])))
    assert sleep_plan().missing == ()
    assert [file.name for file in sleep_plan(verify=True).missing] == [name]


def test_parts_of_the_dataset_are_chosen_by_subject_run_and_kind(small):
    def names(**options):
        return {file.name for file in sleep_plan(**options).files}

    top = {"README", "sourcedata/sub-01-sleep-stage.tsv"}
    assert names(labels=True) == top
    assert names(subjects=["2"]) == {"README", "sub-02/func/sub-02_task-rest_run-1_bold.nii.gz"}
    rest_2 = {f"sub-01/eeg/sub-01_task-rest_run-2_eeg.{suffix}" for suffix in ("eeg", "vhdr", "vmrk")}
    assert names(subjects=["sub-01"], runs=["task-rest_run-2"]) == top | rest_2
    assert any("processed" in name for name in names(extras=True))
    with pytest.raises(RequestError, match="'77'"):
        names(subjects=["77"])
    with pytest.raises(RequestError, match="task-dream"):
        names(runs=["task-dream"])


def test_a_full_disk_is_said_before_anything_is_fetched(small, server, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    with pytest.raises(
        EegFmriError, match=r"GB are free; the smallest useful part is `eegfmri data get sleep --labels`"
    ):
        download.fetch(sleep_plan(), transfer=patient())
    assert server.log == []


def test_two_downloads_into_one_folder_do_not_meet(small):
    from filelock import FileLock

    plan = sleep_plan()
    (plan.root / ".downloads").mkdir(parents=True)
    with FileLock(plan.root / ".downloads" / "lock"), pytest.raises(RequestError, match="Another download"):
        download.fetch(plan, transfer=patient())


def test_only_https_and_this_machine(small):
    with pytest.raises(DataError, match="not https"):
        download.make_plan("sleep", base_url="http://example.org/ds003768")
    with pytest.raises(RequestError, match="no dataset"):
        download.make_plan("dreams")


# --- files without a checksum ----------------------------------------------------------------------------------------


def test_halves_of_different_files_are_never_joined(server, tmp_path):
    first, second = blob(1), blob(2)
    server.content["/a"] = first
    server.faults["/a"] = ["drop"]
    path = tmp_path / "a"
    transfer = patient()

    def listen(event, file, value):
        if event == "retry":
            server.content["/a"] = second

    transfer.listen = listen
    about = fetch_file(RemoteFile("a", f"{server.url}/a"), path, transfer)
    assert path.read_bytes() == second
    assert about == {"bytes": len(second), "md5": md5(second), "sha256": hashlib.sha256(second).hexdigest()}
    assert transfer.faults == {"dropped": 1, "range ignored": 1}


def test_without_checksum_and_tag_it_begins_again(server, tmp_path):
    server.tags = False
    server.content["/a"] = blob(1)
    server.faults["/a"] = ["drop"]
    fetch_file(RemoteFile("a", f"{server.url}/a"), tmp_path / "a", patient())
    assert (tmp_path / "a").read_bytes() == blob(1)
    assert [span for _, _, span in server.log] == [None, None]


def test_a_part_that_is_whole_already_is_recognised(server, tmp_path):
    body = blob(1)
    server.content["/a"] = body
    (tmp_path / "a.part").write_bytes(body)
    (tmp_path / "a.part.tag").write_text('"tag"')
    server.tags = True
    tag = f'"{hashlib.sha1(body).hexdigest()}"'
    (tmp_path / "a.part.tag").write_text(tag)
    fetch_file(RemoteFile("a", f"{server.url}/a"), tmp_path / "a", patient())
    assert (tmp_path / "a").read_bytes() == body
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


# --- archives --------------------------------------------------------------------------------------------------------


def tarball(members: list[tuple[str, object]], nested: str = "") -> bytes:
    """Pack members (name, bytes or a TarInfo with its kind) into a .tgz."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, body in members:
            info = body if isinstance(body, tarfile.TarInfo) else tarfile.TarInfo(nested + name)
            if isinstance(body, tarfile.TarInfo):
                tar.addfile(info)
            else:
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
    return stream.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tuple[str, tarfile.TarInfo]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


def good_tarball(subject: str = "001", nested: str = "") -> bytes:
    return tarball(
        [(f"sub{subject}/EEG/task001_run001/EEG_noGA.mat", blob(3, 5000)), (f"sub{subject}/notes.txt", b"x")], nested
    )


def damaged(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 0x55]) + body[place + 1 :]


@pytest.fixture
def oddball(server, tmp_path, monkeypatch):
    monkeypatch.setenv("EEGFMRI_OPENFMRI_URL", server.url)
    server.content = {
        "/ds116_sub001.tgz": good_tarball(),
        "/ds116_metadata.tgz": tarball([("ds116_metadata/README", b"r")]),
    }

    def fetch(**options):
        plan = download.make_plan("oddball", tmp_path, subjects=["1"], transfer=patient())
        return plan, download.fetch(plan, transfer=patient(**options))

    return fetch


@pytest.mark.parametrize("nested", ["", "ds116_sub001/"])
def test_a_tarball_is_unpacked_recorded_and_not_fetched_again(oddball, server, tmp_path, nested):
    server.content["/ds116_sub001.tgz"] = good_tarball(nested=nested)
    plan, report = oddball()
    assert report["recorded"] == ["ds116_metadata.tgz", "ds116_sub001.tgz"]
    root = tmp_path / "ds000116"
    assert (root / nested / "sub001/EEG/task001_run001/EEG_noGA.mat").read_bytes() == blob(3, 5000)
    record = json.loads((root / "downloads.json").read_text())
    assert "No checksum is published" in record["about"]
    assert record["files"]["ds116_sub001.tgz"]["md5"] == md5(server.content["/ds116_sub001.tgz"])
    assert not (root / ".downloads").exists()
    asked = len(server.log)
    plan, report = oddball()
    assert (plan.missing, report["files"], len(server.log)) == ((), 0, asked)


def test_a_missing_metadata_tarball_is_said_and_stops_nothing(oddball, server):
    del server.content["/ds116_metadata.tgz"]
    _, report = oddball()
    assert report["absent"] == ["ds116_metadata.tgz"]
    assert report["files"] == 1


def test_a_tarball_that_changed_since_its_first_arrival_is_refused(oddball, server, tmp_path):
    import shutil

    oddball()
    shutil.rmtree(tmp_path / "ds000116" / "sub001")
    server.content["/ds116_sub001.tgz"] = tarball([("sub001/EEG/other.mat", b"something else")])
    with pytest.raises(DataError, match="came wrong 2 times"):
        oddball()
    assert not (tmp_path / "ds000116" / "sub001").exists()


EVIL_TAR = {
    "parent": [("../../escaped", b"x")],
    "hidden parent": [("sub001/../../../escaped", b"x")],
    "absolute": [("/tmp/escaped-from-a-test", b"x")],
    "symbolic link": [special("sub001/link", tarfile.SYMTYPE, "/etc/passwd")],
    "link and through it": [special("sub001/out", tarfile.SYMTYPE, "../../.."), ("sub001/out/escaped", b"x")],
    "hard link": [special("sub001/link", tarfile.LNKTYPE, "../../outside")],
    "character device": [special("sub001/null", tarfile.CHRTYPE)],
    "block device": [special("sub001/disk", tarfile.BLKTYPE)],
    "pipe": [special("sub001/pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("kind", EVIL_TAR)
def test_hostile_tarballs_unpack_nothing_and_a_second_run_finishes(oddball, server, tmp_path, kind):
    (tmp_path / "outside").write_bytes(b"mine")
    good = [("sub001/EEG/before.mat", b"before")]
    server.content["/ds116_sub001.tgz"] = tarball([*good, *EVIL_TAR[kind]])
    with pytest.raises(DataError, match="was refused, and nothing of it unpacked"):
        oddball()
    root = tmp_path / "ds000116"
    assert not (root / "sub001").exists()
    assert (root / ".downloads" / "ds116_sub001.tgz.wrong").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds000116", "outside"]
    assert not Path("/tmp/escaped-from-a-test").exists()
    assert not list(root.rglob("*before*"))
    # The metadata, which came beside it, is there.
    assert (root / "ds116_metadata" / "README").is_file()

    server.content["/ds116_sub001.tgz"] = good_tarball()
    _, report = oddball()
    assert report["files"] == 1
    assert (root / "sub001/EEG/task001_run001/EEG_noGA.mat").is_file()
    assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in root.rglob("*"))


@pytest.mark.parametrize(
    "body",
    [
        good_tarball()[:-400],
        damaged(good_tarball(), 2000),
        # The checksum at the very end, after all members have been read.
        damaged(good_tarball(), len(good_tarball()) - 6),
        b"<html>gone</html>",
        gzip.compress(b"no tar at all" * 100),
        tarball([("other/EEG/x.mat", b"x")]),
        tarball([("sub002/EEG/x.mat", b"x")]),
    ],
    ids=["cut off", "damaged", "checksum", "html", "no tar", "no subject", "another subject"],
)
def test_damaged_or_foreign_tarballs_unpack_nothing(oddball, server, tmp_path, body):
    server.content["/ds116_sub001.tgz"] = body
    with pytest.raises(DataError):
        oddball()
    assert sorted(path.name for path in (tmp_path / "ds000116").iterdir()) == [
        ".downloads",
        "downloads.json",
        "ds116_metadata",
    ]


def test_what_is_in_the_way_is_left_alone(oddball, tmp_path):
    mine = tmp_path / "ds000116" / "ds116_metadata"
    mine.parent.mkdir(parents=True)
    mine.write_text("a file of mine")
    with pytest.raises(EegFmriError, match="in the way"):
        oddball()
    assert mine.read_text() == "a file of mine"


def test_folders_unpacked_by_hand_are_not_fetched(oddball, server, tmp_path):
    folder = tmp_path / "ds000116" / "sub001" / "EEG"
    folder.mkdir(parents=True)
    plan, _ = oddball()
    assert [file.name for file in plan.missing] == ["ds116_metadata.tgz"]


def test_a_crash_while_moving_is_mended_by_the_next_run(oddball, server, tmp_path, monkeypatch):
    server.content["/ds116_sub001.tgz"] = tarball([("sub001/EEG/x.mat", b"x"), ("zz/notes", b"n")])
    real = os.replace

    def crash(source, target):
        if Path(target).name == "zz":
            raise OSError(5, "the plug was pulled")
        return real(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(EegFmriError, match="plug"):
        oddball()
    monkeypatch.setattr(os, "replace", real)
    plan, _ = oddball()
    assert [file.name for file in plan.missing] == ["ds116_sub001.tgz"]
    assert (tmp_path / "ds000116/zz/notes").is_file()
    # Fetched once: the archive that had come was unpacked again.
    assert sum(path == "/ds116_sub001.tgz" for _, path, _ in server.log) == 1


def zipped(members: list[tuple[str, bytes]], mode: int = stat.S_IFREG | 0o644, flags: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, body in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            bundle.writestr(info, body)
    body = stream.getvalue()
    if flags:
        place = body.index(b"PK\x01\x02") + 8
        body = body[:place] + flags.to_bytes(2, "little") + body[place + 2 :]
    return body


def good_zip(name: str) -> list[tuple[str, bytes]]:
    inner = "32/3_nw_mepi_rest_with_cross.nii.gz" if name == "fMRI" else "32/export/x.vhdr"
    return [(f"{name}/{inner}", blob(4, 3000)), ("__MACOSX/._x", b"litter")]


@pytest.fixture
def osf(server, tmp_path, monkeypatch):
    """OSF's listing: two pages and a folder, as its interface gives them."""
    monkeypatch.setenv("EEGFMRI_OSF_URL", f"{server.url}/files")
    archives = {f"/download/{name}": zipped(good_zip(name)) for name in ("EEG1", "EEG2", "fMRI")}

    def entry(name, checksum=True):
        body = archives[f"/download/{name}"]
        hashes = {"md5": md5(body), "sha256": "0"} if checksum else {}
        attributes = {"name": f"{name}.zip", "kind": "file", "size": len(body), "extra": {"hashes": hashes}}
        return {"attributes": attributes, "links": {"download": f"{server.url}/download/{name}"}}

    def listing(checksum=True):
        folder = {"attributes": {"name": "images", "kind": "folder"}}
        folder["relationships"] = {"files": {"links": {"related": {"href": f"{server.url}/images"}}}}
        pages = {
            "/files/": {"data": [entry("EEG1", checksum), folder], "links": {"next": f"{server.url}/files/?page=2"}},
            "/files/?page=2": {"data": [entry("EEG2", checksum)], "links": {"next": None}},
            "/images": {"data": [entry("fMRI", checksum)], "links": {"next": None}},
        }
        server.content |= {path: json.dumps(page).encode() for path, page in pages.items()} | archives

    listing()

    def fetch():
        plan = download.make_plan("rest", tmp_path, transfer=patient())
        return plan, download.fetch(plan, transfer=patient())

    fetch.archives, fetch.listing = archives, listing
    return fetch


def test_the_archives_of_osf_are_found_fetched_and_unpacked(osf, server, tmp_path):
    server.faults = {"/files/": ["busy"], "/download/EEG1": ["drop"], "/download/fMRI": ["wrong"]}
    _, report = osf()
    assert report["files"] == 3
    assert report["faults"] == {"dropped": 1, "wrong bytes": 1}
    root = tmp_path / "noddi"
    assert sorted(path.name for path in root.iterdir()) == ["EEG1", "EEG2", "downloads.json", "fMRI"]
    assert (root / "fMRI/32/3_nw_mepi_rest_with_cross.nii.gz").read_bytes() == blob(4, 3000)
    # OSF gives checksums with its listing: nothing had to be taken on trust.
    assert report["recorded"] == []
    asked = len(server.log)
    assert osf()[0].missing == ()
    assert len(server.log) == asked


def test_archives_packed_from_inside_get_their_folder(osf, tmp_path):
    osf.archives["/download/EEG2"] = zipped([("40/export/x.vhdr", b"x"), ("41/export/x.vhdr", b"y")])
    osf.listing(checksum=False)
    _, report = osf()
    assert report["recorded"] == ["EEG1.zip", "EEG2.zip", "fMRI.zip"]
    assert (tmp_path / "noddi/EEG2/40/export/x.vhdr").is_file()


def test_a_listing_without_an_archive_is_said(osf, server):
    server.content["/images"] = b'{"data": [], "links": {}}'
    with pytest.raises(DataError, match=r"lists no fMRI.zip"):
        osf()


EVIL_ZIP = {
    "parent": {"members": [("../escaped", b"x")]},
    "hidden parent": {"members": [("EEG1/32/../../../escaped", b"x")]},
    "absolute": {"members": [("/tmp/escaped-from-a-test", b"x")]},
    "backslash": {"members": [("EEG1\\..\\..\\escaped", b"x")]},
    "drive": {"members": [("C:/escaped", b"x")]},
    "link": {"members": [("EEG1/link", b"/etc/passwd")], "mode": stat.S_IFLNK | 0o777},
    "device": {"members": [("EEG1/null", b"")], "mode": stat.S_IFCHR | 0o666},
    "twice": {"members": [("EEG1/32/a", b"x"), ("EEG1/32/./a", b"y")]},
    "encrypted": {"members": [("EEG1/32/a", b"x")], "flags": 1},
}


@pytest.mark.parametrize("kind", EVIL_ZIP)
def test_hostile_zips_unpack_nothing_and_a_second_run_finishes(osf, server, tmp_path, kind):
    good = osf.archives["/download/EEG1"]
    osf.archives["/download/EEG1"] = zipped(**EVIL_ZIP[kind])
    osf.listing()
    with pytest.raises(DataError, match="was refused, and nothing of it unpacked"):
        osf()
    root = tmp_path / "noddi"
    assert sorted(path.name for path in root.iterdir()) == [".downloads", "EEG2", "downloads.json", "fMRI"]
    assert not (tmp_path / "escaped").exists()
    assert not Path("/tmp/escaped-from-a-test").exists()
    osf.archives["/download/EEG1"] = good
    osf.listing()
    _, report = osf()
    assert report["files"] == 1
    assert (root / "EEG1/32/export/x.vhdr").is_file()


@pytest.mark.parametrize("body", [zipped(good_zip("EEG1"))[:-50], damaged(zipped(good_zip("EEG1")), 500), b"<html>"])
def test_damaged_zips_unpack_nothing(osf, tmp_path, body):
    osf.archives["/download/EEG1"] = body
    osf.listing(checksum=False)
    with pytest.raises(DataError):
        osf()
    assert not (tmp_path / "noddi" / "EEG1").exists()


def test_archives_cannot_be_had_in_parts_that_they_have_not(osf, oddball):
    with pytest.raises(RequestError, match="hold everyone"):
        download.make_plan("rest", subjects=["32"])
    with pytest.raises(RequestError, match="all runs"):
        download.make_plan("oddball", runs=["task001"])
    with pytest.raises(RequestError, match="parts of sleep"):
        download.make_plan("oddball", labels=True)
    with pytest.raises(RequestError, match="'018'"):
        download.make_plan("oddball", subjects=["18"])


# --- the command, the manifest ---------------------------------------------------------------------------------------


def run(*words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "lib")}
    return subprocess.run(
        [sys.executable, "-m", "eegfmri", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        input="",
    )


def test_the_command_fetches_says_and_finds_nothing_more_to_do(small, tmp_path):
    done = run("data", "get", "sleep", "--subjects", "01", "--runs", "task-rest", "--dest", str(tmp_path / "here"))
    assert done.returncode == 0, done.stderr
    assert "8 files asked for, 0 are there, 8 to fetch" in done.stdout
    assert "8 files, 1.8 MB" in done.stdout
    again = run("data", "get", "sleep", "--subjects", "1", "--runs", "task-rest", "--dest", str(tmp_path / "here"))
    assert again.returncode == 0
    assert "8 are there, 0 to fetch" in again.stdout


def test_a_dry_run_names_the_parts_and_fetches_nothing(small, server, monkeypatch):
    # The parts named are those of the real manifest.
    monkeypatch.setenv("EEGFMRI_ROOT", str(REPOSITORY))
    done = run("data", "get", "sleep", "--dry-run", "--dest", str(small / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert "graph_fusion" in done.stdout
    assert "92.9 GB" in done.stdout
    assert server.log == []
    assert not (small / "elsewhere").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["slep"], "did you mean 'sleep'"),
        (["sleep", "--jobs", "0"], "--jobs"),
        (["sleep", "--subjects", "77"], "--subjects"),
        (["rest", "--subjects", "32"], "hold everyone"),
        (["sleep", "--dest", __file__], "not a folder"),
    ],
)
def test_a_wrong_request_leaves_with_2(small, server, words, said):
    done = run("data", "get", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert server.log == []


def test_a_failure_leaves_with_1_and_one_sentence_on_what_to_do(small, server):
    server.always["/README"] = "wrong"
    done = run("data", "get", "sleep", "--labels")
    assert done.returncode == 1
    assert "README came wrong 2 times" in done.stderr
    assert "the same command fetches the rest" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_manifest_is_whole(monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(REPOSITORY))
    files = download.manifest()
    assert len(files) == len({file.name for file in files}) == 1716
    assert all(len(file.md5) == 32 and file.n_bytes > 0 for file in files)
    names = [file.name for file in files]
    assert sum(name.endswith("_eeg.eeg") for name in names) == 255
    assert sum(name.endswith("_bold.nii.gz") for name in names) == 255
    assert sum(name.endswith("-sleep-stage.tsv") for name in names) == 33
    # The four uploads that broke off are not a whole number of samples long.
    short = [f.name for f in files if f.name.endswith("_eeg.eeg") and f.n_bytes % 64]
    assert short == [f"sub-16/eeg/sub-16_task-sleep_run-{run}_eeg.eeg" for run in (2, 3, 4, 5)]
    assert download.subsets("sleep")[0].n_bytes < 1e6


@pytest.mark.real_data
def test_the_manifest_agrees_with_the_datasets_own_keys_and_texts(real_data, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(REPOSITORY))
    listed = {file.name: file for file in download.manifest()}
    folder = real_data / "ds003768_text"
    keys = dict(line.split("\t") for line in (folder / "ANNEX_KEYS.tsv").read_text().splitlines())
    assert len(keys) == 1355
    for name, key in keys.items():
        assert key.startswith(f"MD5E-s{listed[name].n_bytes}--{listed[name].md5}"), name
    texts = set(listed) - set(keys)
    assert len(texts) == 361
    for name in texts:
        body = (folder / name).read_bytes()
        assert (len(body), md5(body)) == (listed[name].n_bytes, listed[name].md5), name


@pytest.mark.real_data
def test_the_23_subjects_are_those_of_the_default_rule(real_data):
    assert sleep.select_subjects(sleep.read(real_data / "ds003768_text")) == tuple(
        claims.papers(REPOSITORY / "data" / "claims.yml")["graph_fusion"].subjects
    )
