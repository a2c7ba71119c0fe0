"""Measured series: a few small files of one commit, checked against SHA-256, fetched by the same careful transfer as the datasets."""

import hashlib
from pathlib import Path

import pytest

from eegfmri.datasets import download
from eegfmri.errors import DataError, RequestError
from fault_server import serving
from test_download import REPOSITORY, blob, patient, run, standing

FILES = {f"sub_{number}.mat": blob(number, 200_000) for number in (1, 2, 10)}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as running:
        running.content = {f"/{name}": body for name, body in FILES.items()}
        monkeypatch.setenv("EEGFMRI_ALERTNESS_URL", running.url)
        yield running


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose manifest of `alertness` lists what the server has."""
    root = tmp_path / "project"
    (root / "book").mkdir(parents=True)
    (root / "book" / "_toc.yml").write_text("format: jb-book\nroot: intro\n")
    (root / "data" / "manifests").mkdir(parents=True)
    rows = "".join(f"{name}\t{len(body)}\t{hashlib.sha256(body).hexdigest()}\n" for name, body in FILES.items())
    (root / "data" / "manifests" / "alertness.tsv").write_text(f"# made for a test\npath\tbytes\tsha256\n{rows}")
    monkeypatch.setenv("EEGFMRI_ROOT", str(root))
    return root


def plan(**options) -> download.Plan:
    return download.make_plan("alertness", transfer=patient(), **options)


def test_files_arrive_through_faults_and_a_second_run_fetches_nothing(project, server):
    server.faults = {"/sub_1.mat": ["drop", "drop"], "/sub_2.mat": ["wrong"], "/sub_10.mat": ["busy", "truncate"]}
    found = plan()
    assert (len(found.files), found.n_bytes) == (3, 600_000)
    report = download.fetch(found, transfer=patient())
    assert standing(found.root) == FILES
    assert report["faults"] == {"busy": 1, "dropped": 2, "wrong bytes": 1, "wrong length": 1}
    resumed = [span for _, path, span in server.log if path == "/sub_1.mat" and span]
    assert len(resumed) == 2
    asked = len(server.log)
    again = plan()
    assert (again.missing, again.by_size) == ((), ())
    assert len(server.log) == asked


def test_a_file_of_another_commit_is_refused(project, server):
    changed = bytearray(FILES["sub_2.mat"])
    changed[1000] ^= 1
    server.content["/sub_2.mat"] = bytes(changed)
    found = plan()
    with pytest.raises(DataError, match="SHA-256"):
        download.fetch(found, transfer=patient())
    assert set(standing(found.root)) == {"sub_1.mat", "sub_10.mat"}


def test_verify_finds_a_file_that_was_changed_and_not_resized(project, server):
    download.fetch(plan(), transfer=patient())
    path = plan().root / "sub_1.mat"
    body = bytearray(path.read_bytes())
    body[0] ^= 1
    path.write_bytes(bytes(body))
    assert [file.name for file in plan().by_size] == ["sub_1.mat"]
    assert [file.name for file in plan(verify=True).missing] == ["sub_1.mat"]


@pytest.mark.parametrize("options", [{"subjects": ["1"]}, {"runs": ["rest"]}, {"labels": True}, {"extras": True}])
def test_parts_cannot_be_chosen(project, server, options):
    with pytest.raises(RequestError, match="come whole"):
        plan(**options)


@pytest.mark.parametrize("line", ["sub_1.mat\t3\tabc", f"sub_1.mat\t3\t{'0' * 32}", f"../x.mat\t3\t{'0' * 64}"])
def test_a_damaged_manifest_is_refused(project, line):
    path = project / "data" / "manifests" / "alertness.tsv"
    path.write_text(f"path\tbytes\tsha256\n{line}\n")
    with pytest.raises(DataError, match="sha256"):
        download.manifest("alertness")


def test_the_command_fetches_and_says_what_for(project, server, tmp_path):
    done = run("data", "get", "alertness", "--dest", str(tmp_path / "here"))
    assert done.returncode == 0, done.stderr
    assert "3 files asked for, 0 are there, 3 to fetch" in done.stdout
    assert "alertness_dir=" in done.stdout
    assert "none stated" in done.stdout
    assert standing(tmp_path / "here" / "alertness") == FILES
    again = run("data", "get", "alertness", "--dest", str(tmp_path / "here"), "--dry-run")
    assert "3 are there, 0 to fetch" in again.stdout


@pytest.mark.parametrize(("dataset", "commit"), [("alertness", "db5f3ef4"), ("rshrf", "85618cbc")])
def test_the_shipped_manifests_name_the_commit_that_is_fetched(dataset, commit, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(REPOSITORY))
    monkeypatch.delenv(download.SOURCES[dataset][0], raising=False)
    found = download.make_plan(dataset, Path("/nowhere"))
    assert all(commit in file.url and file.url.endswith(f"/{file.name}") for file in found.files)
    assert all(file.url.startswith("https://raw.githubusercontent.com/") and file.sha256 for file in found.files)
    assert commit in (REPOSITORY / "data" / "manifests" / f"{dataset}.tsv").read_text()


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", ["alertness", "rshrf"])
def test_the_shipped_manifests_are_those_of_the_files(dataset, real_data, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(REPOSITORY))
    listed = {file.name: (file.n_bytes, file.sha256) for file in download.manifest(dataset)}
    there = {path.name: path.read_bytes() for path in (real_data / dataset).glob("*.mat")}
    assert listed == {name: (len(body), hashlib.sha256(body).hexdigest()) for name, body in there.items()}
