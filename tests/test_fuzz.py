"""Damaged inputs, a fixed number of each reader from a fixed seed: `soak` counts the same without an end."""

import gzip
from collections import Counter

import nibabel
import numpy as np
import pytest

import fuzz_readers
import soak
from fuzz_mutations import damage

SEED = 20_000

#: How many cases of each reader: about a minute of one processor in all.
CASES = {
    "brainvision": 150,
    "brainvision_float": 150,
    "edf": 150,
    "set": 80,
    "set_uncompressed": 80,
    "nifti_gz": 200,
    "nifti": 200,
    "anatomy": 100,
    "sidecar": 250,
    "labels": 400,
    "events": 200,
    "bids_events": 250,
    "sleep": 90,
    "oddball": 90,
    "rest": 90,
    "late": 15,
    "claims": 40,
    "results": 100,
    "latest_results": 100,
    "manifest": 150,
    "download_record": 150,
    "cache": 40,
}


def test_every_reader_has_its_number_of_cases():
    assert set(CASES) == set(fuzz_readers.READERS)


@pytest.mark.parametrize("reader", CASES)
def test_damage_is_mended_and_said_or_refused_in_one_sentence(reader):
    outcomes = list(soak.cases(reader, range(SEED, SEED + CASES[reader])))
    failures = [str(outcome) for outcome in outcomes if not outcome.good]
    assert not failures, f"{len(failures)} of {len(outcomes)} cases: " + "\n".join(failures[:5])
    # damage that is never seen, or always, would not be damage
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds["refused"] + kinds["said"] > 0 or reader in ("cache", "latest_results")
    assert kinds.total() == CASES[reader]


def believes_everything(folder):
    """Read an image as nibabel does, and turn every failure into an empty one."""
    try:
        image = nibabel.load(folder / "mine.nii.gz")
        return fuzz_readers.Reading({"file": fuzz_readers.mark(np.asarray(image.dataobj))})
    except OSError:
        return fuzz_readers.Reading({"file": "nothing"})


def test_a_reader_that_believes_everything_fails(monkeypatch):
    sound = fuzz_readers.READERS["nifti_gz"]
    monkeypatch.setitem(
        fuzz_readers.READERS, "nifti_gz", fuzz_readers.Reader(sound.make, believes_everything, sound.free)
    )
    kinds = Counter(outcome.kind for outcome in soak.cases("nifti_gz", range(60)))
    assert kinds["silent"] > 5
    assert kinds["raw"] > 5
    assert kinds["memory"] + kinds["hang"] + kinds["died"] + kinds["raw"] > 5


def endless(folder):
    """Spin as a reader does that meets a cycle, once the file is damaged."""
    while len((folder / "mine.nii.gz").read_bytes()) > 0 and endless.sound != (folder / "mine.nii.gz").read_bytes():
        pass
    return fuzz_readers.Reading({"file": "x"})


def test_a_reader_that_never_ends_is_stopped_and_the_next_case_is_run(monkeypatch):
    sound = fuzz_readers.READERS["nifti_gz"]

    def make(folder):
        files = sound.make(folder)
        endless.sound = files[0].read_bytes()
        return files

    monkeypatch.setattr(soak, "MOST_SECONDS", 1)
    monkeypatch.setitem(fuzz_readers.READERS, "nifti_gz", fuzz_readers.Reader(make, endless, sound.free))
    kinds = [outcome.kind for outcome in soak.cases("nifti_gz", range(3))]
    assert kinds.count("hang") >= 1
    assert len(kinds) == 3


@pytest.mark.parametrize("name", ["x.nii.gz", "x.vhdr", "x.json", "x.yml", "x.set", "x.edf", "x.npy", "x"])
def test_one_seed_is_one_damage(name):
    content = gzip.compress(bytes(400), mtime=0) if name.endswith(".gz") else bytes(range(256)) * 3
    if name in ("x.set", "x.edf"):
        content = next(iter(fuzz_content(name)))
    for seed in range(20):
        once, again = (damage(np.random.default_rng(seed), name, content) for _ in range(2))
        assert once == again


def fuzz_content(name):
    """Sound files of formats whose damage needs their structure."""
    import tempfile
    from pathlib import Path

    reader = fuzz_readers.READERS["set" if name == "x.set" else "edf"]
    with tempfile.TemporaryDirectory() as folder:
        yield reader.make(Path(folder))[0].read_bytes()
