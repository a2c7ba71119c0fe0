"""What servers, listings, archives and records may say, and that none of it is believed unseen."""

import gzip
import hashlib
import io
import itertools
import json
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from damage import FOREIGN, damaged
from eegfmri.datasets import archives, download, transfer
from eegfmri.datasets.archives import Damaged, unpacked
from eegfmri.datasets.transfer import RemoteFile, Transfer, fetch_file, fetch_json, remote_size
from eegfmri.errors import DataError, EegFmriError
from fault_server import serving

REPOSITORY = Path(__file__).resolve().parents[1]

BODY = np.random.default_rng(0).bytes(5000)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,127.0.0.2")


@pytest.fixture
def server():
    with serving() as running:
        yield running


def patient() -> Transfer:
    return Transfer(pause=0.0)


def require_sentence(error: Exception) -> None:
    """Check that an error is one line of text that any terminal can show."""
    text = str(error)
    assert text.strip() and "\n" not in text and len(text) < 1500
    text.encode("utf-8")


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.fixture
def other_machine():
    """A server that stands for one elsewhere: it has an address that is not called this machine's, and must never be asked."""
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.2", 0))
    except OSError:
        pytest.skip("this system has one loopback address only")
    listener.listen()
    listener.settimeout(0.3)
    yield f"http://127.0.0.2:{listener.getsockname()[1]}/a"
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.close()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_nothing_is_asked_over_http_because_a_server_says_so(server, tmp_path, other_machine, code):
    for path in ("/file", "/list", "/size"):
        server.answers[path] = (code, {"Location": other_machine}, b"")
    with pytest.raises(DataError, match="is not https"):
        fetch_file(RemoteFile("a", f"{server.url}/file"), tmp_path / "a", patient())
    with pytest.raises(DataError, match="is not https"):
        fetch_json(f"{server.url}/list", patient())
    with pytest.raises(DataError, match="is not https"):
        remote_size(f"{server.url}/size", patient())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["next", "folder", "download"])
def test_listings_lead_nowhere_over_http(server, tmp_path, monkeypatch, other_machine, place):
    monkeypatch.setenv("EEGFMRI_OSF_URL", f"{server.url}/files")
    entries = [
        {"attributes": {"name": f"{name}.zip"}, "links": {"download": other_machine}}
        for name in ("EEG1", "EEG2", "fMRI")
    ]
    folder = {
        "attributes": {"kind": "folder"},
        "relationships": {"files": {"links": {"related": {"href": other_machine}}}},
    }
    page = {
        "data": [folder] if place == "folder" else entries,
        "links": {"next": other_machine if place == "next" else None},
    }
    server.content["/files/"] = json.dumps(page).encode()
    with pytest.raises(DataError, match="is not https"):
        download.make_plan("rest", tmp_path, transfer=patient())


def test_a_server_elsewhere_cannot_send_to_this_machine(server):
    answer = transfer.requests.Response()
    answer.status_code, answer.url, answer.headers["location"] = 302, "https://example.org/a", f"{server.url}/a"
    with pytest.raises(DataError, match="this machine itself"):
        transfer._Session().get_redirect_target(answer)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a/b",
        "http://example.org/",
        "//a",
        "https://",
        "https://[::1",
        "file:///etc/passwd",
        "http://127.0.0.1.example.org/",
        "http:\n//127.0.0.1",
    ],
)
def test_only_addresses_are_asked(url, tmp_path):
    with pytest.raises(DataError) as caught:
        fetch_file(RemoteFile("a", url), tmp_path / "a", patient())
    require_sentence(caught.value)


@pytest.mark.parametrize(
    "target", ["https://[::1", "http://\xff\xfe/", "\x00", "https://a:99999999/", "ftp://a/", "https://" + "a" * 70000]
)
def test_an_address_that_is_none_ends_in_a_sentence(server, tmp_path, target):
    for _ in range(1):
        server.answers["/a"] = (302, {"Location": target}, b"")
        with pytest.raises(EegFmriError) as caught:
            fetch_file(RemoteFile("a", f"{server.url}/a"), tmp_path / "a", patient())
        require_sentence(caught.value)


# --- numbers and tags ------------------------------------------------------------------------------------------------

NUMBERS = [
    "²",
    "٣".encode().decode("latin-1"),
    "-1",
    "",
    "1e9",
    "0x10",
    "9" * 5000,
    "1, 2",
    "NaN",
    "+5",
    " 5000 ",
    "5000.0",
    "\x80",
]


@pytest.mark.parametrize("header", ["Retry-After", "Content-Length", "Content-Range", "ETag"])
@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_that_are_none_end_in_the_right_file_or_a_sentence(server, tmp_path, monkeypatch, header, value):
    monkeypatch.setattr(transfer, "MAX_PAUSE", 0.0)
    server.content["/a"] = BODY
    code = {"Retry-After": 503, "Content-Range": 206}.get(header, 200)
    server.answers["/a"] = (code, {header: value}, BODY)
    file = RemoteFile("a", f"{server.url}/a", len(BODY), hashlib.md5(BODY, usedforsecurity=False).hexdigest())
    try:
        fetch_file(file, tmp_path / "a", patient())
    except EegFmriError as error:
        require_sentence(error)
        assert not (tmp_path / "a").exists()
    else:
        assert (tmp_path / "a").read_bytes() == BODY
    server.answers["/b"] = (200, {header: value}, b"")
    assert remote_size(f"{server.url}/b", patient()) in (None, 0, 5000)


@pytest.mark.parametrize(
    ("text", "number"), [("²", None), ("12", 12), (" 7 ", 7), ("9" * 16, None), ("-1", None), ("١", None), ("", None)]
)
def test_a_number_is_decimal_digits(text, number):
    assert transfer.stated_number(text) == number


@pytest.mark.parametrize("tag", [b"\xff\xfe", b'"a\nb"', b'"a" "b"', b"", b'W/"a"', b'"' + b"x" * 1000 + b'"'])
def test_a_version_tag_that_cannot_be_sent_back_is_none(server, tmp_path, tag):
    server.content["/a"] = BODY
    (tmp_path / "a.part").write_bytes(BODY[:1000])
    (tmp_path / "a.part.tag").write_bytes(tag)
    about = fetch_file(RemoteFile("a", f"{server.url}/a"), tmp_path / "a", patient())
    assert about["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_without_end_stops_before_the_disk_is_full(server, tmp_path, monkeypatch):
    server.answers["/a"] = (200, {"Content-Length": None}, BODY * 100)
    monkeypatch.setattr(transfer, "_BETWEEN_CHECKS", 1000)
    monkeypatch.setattr(transfer, "_CHUNK", 1000)
    monkeypatch.setattr(
        transfer.shutil, "disk_usage", lambda _: os.terminal_size((0, 0)) and type("Disk", (), {"free": 1})()
    )
    with pytest.raises(EegFmriError, match="its server does not say how far"):
        fetch_file(RemoteFile("a", f"{server.url}/a"), tmp_path / "a", patient())
    assert not (tmp_path / "a").exists()


# --- listings --------------------------------------------------------------------------------------------------------

#: Values that JSON may have where another is expected.
VALUES = (None, True, 0, -1, 1e400, "", "x", "\ud800", [], {}, [None], [[]], {"data": None}, 10**30)


def pages() -> dict:
    entries = [
        {"attributes": {"name": f"{name}.zip", "kind": "file", "size": 10, "extra": {"hashes": {"md5": "0" * 32, "sha256": "1" * 64}}},
         "links": {"download": f"https://example.org/{name}"}}
        for name in ("EEG1", "EEG2", "fMRI")
    ]  # fmt: skip
    return {"data": entries, "links": {"next": None}}


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Return the paths of everything inside nested JSON, the whole included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


def with_value(document: object, path: tuple, value: object) -> object:
    if not path:
        return value
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def listed(server, content: bytes) -> dict | None:
    server.content["/files/"] = content
    try:
        return download._osf_listing(f"{server.url}/files/", patient())
    except EegFmriError as error:
        require_sentence(error)
        return None


def test_whatever_a_listing_says_ends_in_files_or_a_sentence(server):
    outcomes = {"files": 0, "refused": 0}
    whole = listed(server, json.dumps(pages()).encode())
    assert [file.sha256 for file in whole.values()] == ["1" * 64] * 3
    for path, value in itertools.product(places(pages()), VALUES):
        found = listed(server, json.dumps(with_value(pages(), path, value)).encode())
        outcomes["refused" if found is None else "files"] += 1
        for file in (found or {}).values():
            assert isinstance(file.url, str) and isinstance(file.name, str)
            assert file.n_bytes is None or type(file.n_bytes) is int
            assert file.md5 in (None, "0" * 32) and file.sha256 in (None, "1" * 64)
    for version in (*damaged(json.dumps(pages()).encode(), 60, seed=1), *FOREIGN):
        outcomes["refused" if listed(server, version) is None else "files"] += 1
    assert min(outcomes.values()) > 20


def test_data_null_is_a_sentence_of_the_command(server, tmp_path):
    server.content["/files/"] = b'{"data": null}'
    done = subprocess.run(
        [sys.executable, "-m", "eegfmri", "data", "get", "rest", "--dest", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "lib"), "EEGFMRI_OSF_URL": f"{server.url}/files"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("The list of files at") and "whose data is null" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_listing_that_goes_round_in_circles_ends(server):
    page = pages()
    page["links"]["next"] = f"{server.url}/files/"
    page["data"] += [
        {"attributes": {"kind": "folder"}, "relationships": {"files": {"links": {"related": {"href": f"{server.url}/files/?{n}"}}}}}
        for n in range(200)
    ]  # fmt: skip
    for n in range(200):
        server.content[f"/files/?{n}"] = json.dumps(page).encode()
    assert len(listed(server, json.dumps(page).encode())) == 3
    assert len(server.log) <= download.MOST_PAGES


def test_a_listing_of_any_length_is_not_kept_in_memory(server, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_LISTING", 1000)
    server.content["/files/"] = b"[" + b" " * 5000 + b"]"
    with pytest.raises(EegFmriError, match="more than"):
        fetch_json(f"{server.url}/files/", patient())


def test_both_checksums_of_a_listing_are_compared(server, tmp_path):
    server.content["/a"] = BODY
    md5, sha256 = hashlib.md5(BODY, usedforsecurity=False).hexdigest(), hashlib.sha256(BODY).hexdigest()
    fetch_file(RemoteFile("a", f"{server.url}/a", None, md5, sha256), tmp_path / "a", patient())
    with pytest.raises(DataError, match="SHA-256"):
        fetch_file(RemoteFile("a", f"{server.url}/a", None, md5, "0" * 64), tmp_path / "b", patient())
    assert not (tmp_path / "b").exists()


# --- archives --------------------------------------------------------------------------------------------------------

MEMBERS = {
    "sub001/EEG/a.mat": BODY,
    "sub001/notes.txt": b"notes\n" * 50,
    "sub001/a/b/c.txt": b"",
    "sub001/empty/": None,
}


def tar(members: dict, form: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as bundle:
        for name, body in members.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type, info.size = (tarfile.DIRTYPE, 0) if body is None else (tarfile.REGTYPE, len(body))
            bundle.addfile(info, io.BytesIO(body or b""))
    return stream.getvalue()


def zipped(members: dict, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as bundle:
        for name, body in members.items():
            bundle.writestr(name, body or b"")
    return stream.getvalue()


LONG = {f"sub001/{'long' * 60}.mat": b"x", **MEMBERS}

ARCHIVES = {
    "gzip.tgz": gzip.compress(tar(MEMBERS), mtime=0),
    "pax.tgz": gzip.compress(tar(LONG, tarfile.PAX_FORMAT), mtime=0),
    "stored.zip": zipped(MEMBERS, zipfile.ZIP_STORED),
    "deflated.zip": zipped(MEMBERS, zipfile.ZIP_DEFLATED),
    "bzip2.zip": zipped(MEMBERS, zipfile.ZIP_BZIP2),
    "lzma.zip": zipped(MEMBERS, zipfile.ZIP_LZMA),
}


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def unpack(path: Path, content: bytes) -> dict | None:
    """Unpack an archive; return what it held, or None where a sentence refused it."""
    path.write_bytes(content)
    beside = set(path.parent.iterdir())
    try:
        with unpacked(path, path.with_name("unpacking")) as folder:
            found = contents(folder)
    except EegFmriError as error:
        require_sentence(error)
        assert path.name in str(error)
        found = None
    assert set(path.parent.iterdir()) == beside
    return found


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archives_give_what_they_held_or_a_sentence(tmp_path, name):
    whole = unpack(tmp_path / name, ARCHIVES[name])
    assert whole["sub001/EEG/a.mat"] == BODY
    refused = 0
    for version in damaged(ARCHIVES[name], 250, seed=len(name)):
        found = unpack(tmp_path / name, version)
        refused += found is None
        if found is not None and name.endswith("tgz"):
            assert found == whole, "a gzip's checksum stands for all of it"
        elif found is not None:
            # A zip's names are stated twice, its checksums are those of the members.
            assert set(found.values()) <= {*whole.values(), b""}
    assert refused > 125


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_that_are_damaged_inside_their_gzip_raise_nothing_raw(tmp_path, form):
    for version in damaged(tar(LONG, form), 400, seed=form):
        unpack(tmp_path / "a.tgz", gzip.compress(version, 1))


def extended(kind: bytes, size: int, body: bytes) -> bytes:
    """A header of a tar that claims so many bytes, then other bytes, then a good member."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + body + tar({"sub001/a": b"x"})


@pytest.mark.parametrize("kind", archives._Header._EXTENSIONS)
@pytest.mark.parametrize("size", [archives.MOST_HEADER + 1, 1 << 33, 1 << 62])
def test_headers_of_gigabytes_are_not_read(tmp_path, kind, size):
    (tmp_path / "a.tgz").write_bytes(gzip.compress(extended(kind, size, bytes(1 << 16))))
    with pytest.raises(Damaged, match=f"a header claims {size} bytes"), unpacked(tmp_path / "a.tgz", tmp_path / "u"):
        pass


@pytest.mark.parametrize(
    "records",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sub001/a"},
        {"GNU.sparse.size": "99999999999"},
        {"GNU.sparse.map": "0,1"},
        {"size": "-5"},
        {"size": "9" * 30},
        {"mtime": "1e999"},
        {"mtime": "nan"},
        {"uid": "9" * 5000},
        {"path": "a" * 5000},
        {"path": "../../x"},
        {"path": "\x00"},
    ],
    ids=str,
)
def test_attributes_that_claim_anything_are_not_believed(tmp_path, records):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as bundle:
        info = tarfile.TarInfo("sub001/a")
        info.size, info.pax_headers = 3000, dict(records)
        bundle.addfile(info, io.BytesIO(b"9\n" * 1500))
    found = unpack(tmp_path / "a.tgz", gzip.compress(stream.getvalue()))
    assert found is None or set(found) <= {"sub001", "sub001/a"}


def test_archives_may_not_hold_more_than_archives_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LEAST_CONTENTS", 1_000_000)
    zeros = {"sub001/zeros": bytes(20_000_000)}
    for name, content in (("a.tgz", gzip.compress(tar(zeros))), ("a.zip", zipped(zeros, zipfile.ZIP_DEFLATED))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="beyond what an archive"), unpacked(tmp_path / name, tmp_path / "u"):
            pass
    # Behind the end of a tar, and in members that are not unpacked.
    for content in (tar(MEMBERS) + bytes(20_000_000), tar({"__MACOSX/x": bytes(20_000_000), **MEMBERS})):
        assert unpack(tmp_path / "b.tgz", gzip.compress(content)) is None
    monkeypatch.setattr(archives, "MOST_MEMBERS", 50)
    many = {f"sub001/{number}": b"" for number in range(60)}
    assert unpack(tmp_path / "c.tgz", gzip.compress(tar(many))) is None
    assert unpack(tmp_path / "c.zip", zipped(many, zipfile.ZIP_STORED)) is None


def test_a_tar_that_breaks_off_is_not_taken_for_one_that_ends(tmp_path):
    whole = tar(MEMBERS)
    second = whole.index(b"sub001/notes.txt")
    for content in (whole[:second], whole[: second + 100], whole[:second] + b"\xff" * 512 + whole[second + 512 :]):
        (tmp_path / "a.tgz").write_bytes(gzip.compress(content))
        with pytest.raises(Damaged), unpacked(tmp_path / "a.tgz", tmp_path / "u"):
            pass


@pytest.fixture
def oddball(server, tmp_path, monkeypatch):
    monkeypatch.setenv("EEGFMRI_OPENFMRI_URL", server.url)
    server.content = {
        "/ds116_sub001.tgz": ARCHIVES["gzip.tgz"],
        "/ds116_metadata.tgz": gzip.compress(tar({"ds116_metadata/README": b"r"})),
    }

    def fetch():
        plan = download.make_plan("oddball", tmp_path, subjects=["1"], transfer=patient())
        return download.fetch(plan, transfer=patient())

    return fetch


@pytest.mark.parametrize(
    "name", ["downloads.json", "simulated.json", "Simulated.JSON", ".downloads/lock", "./downloads.json"]
)
def test_no_archive_writes_what_is_written_here(oddball, server, tmp_path, name):
    root = tmp_path / "ds000116"
    root.mkdir()
    (root / "simulated.json").write_text("ours")
    server.content["/ds116_sub001.tgz"] = gzip.compress(tar({**MEMBERS, name: b'{"files": {}}'}))
    with pytest.raises(DataError, match="which no dataset has"):
        oddball()
    assert (root / "simulated.json").read_text() == "ours"
    assert list(json.loads((root / "downloads.json").read_text())["files"]) == ["ds116_metadata.tgz"]
    assert not (root / "sub001").exists()
    server.content["/ds116_sub001.tgz"] = ARCHIVES["gzip.tgz"]
    assert oddball()["files"] == 1


def test_a_damaged_archive_is_set_aside_and_fetched_again(oddball, server, tmp_path):
    server.faults["/ds116_sub001.tgz"] = ["wrong"]
    report = oddball()
    assert report["files"] == 2
    assert report["faults"] == {"bad archive": 1}
    assert (tmp_path / "ds000116/sub001/EEG/a.mat").read_bytes() == BODY
    assert not list(tmp_path.rglob("*.wrong"))


def test_an_archive_that_comes_damaged_twice_is_kept_and_named(oddball, server, tmp_path):
    server.always["/ds116_sub001.tgz"] = "wrong"
    with pytest.raises(DataError, match=r"ds116_sub001\.tgz is damaged .* it is kept as .*\.wrong") as caught:
        oddball()
    require_sentence(caught.value)
    assert sum(path == "/ds116_sub001.tgz" for _, path, _ in server.log) == 2
    assert (tmp_path / "ds000116/.downloads/ds116_sub001.tgz.wrong").is_file()


def test_a_damaged_record_ends_in_a_sentence_or_means_what_it_says(oddball, tmp_path):
    oddball()
    path = tmp_path / "ds000116" / "downloads.json"
    content = path.read_bytes()
    record = json.loads(content)
    odd = [json.dumps(with_value(record, place, value)).encode() for place in places(record) for value in VALUES]
    outcomes = {True: 0, False: 0}
    for version in (*odd, *damaged(content, 100, seed=4), *FOREIGN):
        path.write_bytes(version)
        try:
            download.make_plan("oddball", tmp_path, subjects=["1"], transfer=patient())
        except EegFmriError as error:
            require_sentence(error)
            outcomes[False] += 1
        else:
            outcomes[True] += 1
    assert min(outcomes.values()) > 10


# --- single files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sleep(server, tmp_path, monkeypatch):
    root = tmp_path / "project"
    (root / "book").mkdir(parents=True)
    (root / "book" / "_toc.yml").write_text("root: intro\n")
    rows = f"README\t{len(BODY)}\t{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}\n"
    (root / "data" / "manifests").mkdir(parents=True)
    (root / "data" / "manifests" / "sleep.tsv").write_text(f"path\tbytes\tmd5\n{rows}")
    monkeypatch.setenv("EEGFMRI_ROOT", str(root))
    monkeypatch.setenv("EEGFMRI_OPENNEURO_URL", server.url)
    server.content["/README"] = BODY
    return root


def planned(**options) -> download.Plan:
    return download.make_plan("sleep", transfer=patient(), **options)


def test_files_that_came_here_are_known_and_those_put_there_are_said_to_be_of_the_right_size(sleep):
    download.fetch(planned(), transfer=patient())
    plan = planned()
    assert (plan.missing, plan.by_size) == ((), ())
    path = plan.root / "README"
    path.write_bytes(bytes(len(BODY)))
    os.utime(path, (1, 1))
    assert [file.name for file in planned().by_size] == ["README"]
    assert [file.name for file in planned(verify=True).missing] == ["README"]
    path.write_bytes(BODY)
    os.utime(path, (2, 2))
    assert len(planned().by_size) == 1
    done = subprocess.run(
        [sys.executable, "-m", "eegfmri", "data", "get", "sleep"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "lib")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "1 of those that are there were compared by size only; --verify" in done.stdout
    assert planned(verify=True).by_size == ()
    assert planned().by_size == ()
    for version in FOREIGN:
        (plan.root / download.RECORD).write_bytes(version)
        assert len(planned().by_size) == 1
    planned(verify=True)
    assert planned().by_size == ()


def test_a_damaged_manifest_is_a_sentence(sleep):
    path = sleep / "data" / "manifests" / "sleep.tsv"
    content = path.read_bytes()
    names = (b"../x", b"/x", b"a/../../x", b"a\\b", b"")
    odd = [content.replace(b"README", name) for name in names]
    odd += [content.replace(b"5000", number.encode()) for number in ("²", "-1", "", "9" * 5000, "5e3")]
    for version in (*odd, *damaged(content, 100, seed=9), *FOREIGN):
        path.write_bytes(version)
        download._manifest.cache_clear()
        try:
            download.manifest()
        except EegFmriError as error:
            require_sentence(error)
        else:
            assert version not in odd
    path.write_bytes(content)
    download._manifest.cache_clear()
    assert len(download.manifest()) == 1
