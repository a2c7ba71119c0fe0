"""Where a command meets a system that gives it no room, no output or no folder: one sentence, no traceback, nothing half."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import rest_layout
from book_project import environment, make_project
from eegfmri import project
from eegfmri.datasets.brainvision import read_header
from eegfmri.errors import CannotWrite, DataError, EegFmriError, RequestError
from eegfmri.runner import render
from eegfmri.simulation import simulate as simulator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shells and devices of Unix")


FULL = "The output cannot be written, the disk is full (No space left on device): make room and run the command again."


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("borders") / "project")


def shell(small: Path, line: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a line of bash in which ``eegfmri`` is the command; its exit codes end the output, in brackets."""
    return subprocess.run(
        ["bash", "-c", f'eegfmri() {{ "{sys.executable}" -m eegfmri "$@"; }}; {line}; echo "[${{PIPESTATUS[0]}}]" >&2'],
        cwd=small,
        env={**environment(small), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("command", ["chapters", "data list", "--help", "run --help"])
@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("| head -0", "[0]"),
        ("| head -1", "[0]"),
        (">&-", "[0]"),
        (">/dev/full", f"{FULL}\n[1]"),
    ],
)
def test_an_output_that_takes_no_more_is_no_traceback(small, command, end, said):
    if end == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    # A reader that is gone before anything is written must be seen when it is written.
    done = shell(small, f"eegfmri {command} {end}", PYTHONUNBUFFERED="1" if "head" in end else "")
    assert done.stderr.strip() == said


@pytest.mark.parametrize("command", ["chapters 2>&-", "chapers 2>&-", "chapers >&- 2>&-", "chapers 2>/dev/full"])
def test_a_sentence_that_nobody_can_hear_changes_no_exit_code(small, command):
    done = shell(small, f"eegfmri {command}; code=$?; (exit $code)")
    assert done.stderr.strip() == ("[0]" if command.startswith("chapters") else "[2]")


@pytest.mark.parametrize("variable", ["EEGFMRI_CACHE", "EEGFMRI_ROOT"])
@pytest.mark.parametrize("value", ["", "  ", __file__])
def test_a_variable_that_names_no_folder_is_refused_before_anything_runs(small, variable, value):
    done = shell(small, "eegfmri run fixtures/first", **{variable: value})
    assert done.stderr.startswith(f"{variable} ")
    assert done.stderr.endswith("give it the path of one, or unset it.\n[2]\n")
    assert not (small / "book" / "_build").exists()


def test_folders_named_by_variables_are_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("EEGFMRI_CACHE", "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert project.cache_dir() == tmp_path / "somewhere"
    monkeypatch.setenv("EEGFMRI_CACHE", "")
    with pytest.raises(RequestError, match="names no folder"):
        project.cache_dir()


# --- simulating into one folder --------------------------------------------------------------------------------------

WAITING = """
import sys
from eegfmri.simulation import simulate
def wait(*_args, **_options):
    print("writing", flush=True)
    sys.stdin.read()
simulate._write = wait
simulate.simulate("oddball", sys.argv[1], scale="tiny", n_subjects=1, n_jobs=1)
"""


def test_two_simulations_into_one_folder_do_not_meet_and_a_killed_one_leaves_nothing(tmp_path):
    dest = tmp_path / "out"
    first = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(dest)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def second():
        simulator.simulate("oddball", dest, scale="tiny", n_subjects=1, n_jobs=1)

    try:
        assert first.stdout.readline() == "writing\n"
        with pytest.raises(RequestError) as refused:
            second()
        assert str(refused.value) == f"Another process is writing {dest}: wait for it, or name another folder."
    finally:
        first.kill()
        first.wait()
    assert len(list(tmp_path.glob(".part-out-*"))) == 1
    second()
    assert (dest / "simulated.json").is_file()
    assert list(tmp_path.iterdir()) == [dest]
    with pytest.raises(RequestError, match="exists and is not empty"):
        second()


def test_a_simulated_dataset_whose_truth_is_damaged_is_made_anew(small, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(small))
    monkeypatch.setattr(
        simulator, "_write", lambda _, root, *rest: (root / "simulated.json").write_text(f'{{"digest": "{rest[3]}"}}')
    )
    stale = small / "data" / "simulated" / ".part-rest-tiny-0123-abcdefgh"
    stale.mkdir(parents=True)
    dest = simulator.ensure("oddball", scale="tiny")
    assert not stale.exists()
    whole = (dest / "simulated.json").read_bytes()
    for version in (whole[:-1], b"", b"null", b"{}", b"\xff\xfe", b"[" * 100_000):
        (dest / "simulated.json").write_bytes(version)
        assert simulator.ensure("oddball", scale="tiny") == dest
        assert (dest / "simulated.json").read_bytes() == whole
    assert [path.name for path in dest.parent.iterdir() if not path.name.startswith(".")] == [dest.name]
    for version in (
        whole[:-1],
        b"null",
        b'{"subjects": null}',
        b'{"subjects": {"1": {"runs": {"1": {"bold": "no.npy"}}}}}',
    ):
        (dest / "simulated.json").write_bytes(version)
        with pytest.raises(DataError, match=r"simulated\.json|simulate the dataset again"):
            simulator.read_truth(dest)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_while_simulating_is_one_sentence(tmp_path, monkeypatch, number):
    def full(*_args, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(simulator, "_write", full)
    with pytest.raises(CannotWrite, match="cannot be written"):
        simulator.simulate("oddball", tmp_path / "out", scale="tiny", n_subjects=1, n_jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_rendering_is_one_sentence(small, tmp_path, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(small))
    said = "Exception occurred:\n  File sphinx\nOSError: [Errno 28] No space left on device\n"
    monkeypatch.setattr(render.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 2, "", said))
    with pytest.raises(EegFmriError, match=r"^The book cannot be rendered, the disk that holds .* is full: make room"):
        render._jupyter_book(tmp_path, strict=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite, match="allow writing"):
        simulator.simulate("oddball", tmp_path / "in" / "out", scale="tiny", n_subjects=1, n_jobs=1)


def test_a_place_where_no_folder_can_be_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "out", tmp_path / "file" / "in" / "out", Path("/proc/out")):
        with pytest.raises(CannotWrite, match="cannot be written"):
            simulator.simulate("oddball", place, scale="tiny", n_subjects=1, n_jobs=1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(CannotWrite), project.temporary_folder("page"):
        pass


# --- headers of any length -------------------------------------------------------------------------------------------


@pytest.fixture
def header(tmp_path):
    rest_layout.write_eeg(tmp_path, "32")
    return next(tmp_path.rglob("*.vhdr"))


def test_blanks_around_a_value_cost_nothing_and_change_nothing(header):
    text, before = header.read_text(encoding="utf-8"), read_header(header)
    for replaced in ("DataFile=" + " " * 30_000, " " * 30_000 + "DataFile = "):
        header.write_text(text.replace("DataFile=", replaced), encoding="utf-8")
        assert read_header(header).common == before.common


@pytest.mark.parametrize(
    "line", ["Codepage{0}x={0}UTF-8", "{0}x{0}y", "Note={1}", "{1}=x", "Ch1=Cz{0},{0}0.1", "a{0}b=c"]
)
def test_lines_that_no_header_needs_are_refused_by_their_place(header, line):
    lines = header.read_text(encoding="utf-8").splitlines()
    place = next(number for number, text in enumerate(lines) if text.startswith("[Common"))
    lines.insert(place + 1, line.format(" " * 60_000, "9" * 60_000))
    header.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=rf"line {place + 2}") as caught:
        read_header(header)
    assert len(str(caught.value)) < 300
