"""Statistics that compare simulated with real files: right on signals whose answer is known; the shipped ones are derived."""

import importlib

import nibabel
import numpy as np
import pytest

import sleep_layout
from eegfmri.errors import DataError
from eegfmri.recovery import reference as reference


@pytest.mark.real_data
def test_the_shipped_statistics_are_those_of_the_real_files(real_data):
    found = reference.derive_reference_statistics(
        real_data / "studyforrest_bold" / "sub-02_task-oneback_run-1_bold.nii.gz",
        real_data / "eeglab_sample" / "eeglab_data.set",
        real_data / "ds003768_text" / "sourcedata",
        real_data / "eeg_bold_coupling" / "correlation_maps.npz",
        real_data / "alertness",
        real_data / "rshrf",
    )
    shipped = reference.load_reference_statistics()
    assert found.keys() == shipped.keys()
    assert found["method"] == shipped["method"]
    for kind in ("bold", "eeg", "stages", "coupling", "alertness", "response"):
        assert found[kind]["origin"] == shipped[kind]["origin"]
        # numbers are rounded to four decimals; libraries may differ in the last
        assert found[kind]["values"] == pytest.approx(shipped[kind]["values"], abs=2e-4)
    assert found["eeg"]["spectrum"]["db"] == pytest.approx(shipped["eeg"]["spectrum"]["db"], abs=0.02)


def test_the_method_that_the_shipped_statistics_name_is_there():
    module, _, name = reference.load_reference_statistics()["method"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_noise_of_known_size_and_memory_is_measured(tmp_path):
    rng = np.random.default_rng(0)
    shape, n_volumes, memory = (16, 16, 10), 400, 0.4
    noise = np.empty((*shape, n_volumes))
    noise[..., 0] = rng.standard_normal(shape)
    for k in range(1, n_volumes):
        noise[..., k] = memory * noise[..., k - 1] + np.sqrt(1 - memory**2) * rng.standard_normal(shape)
    inside = np.zeros(shape, dtype=bool)
    inside[3:-3, 3:-3, 2:-2] = True
    data = np.where(inside[..., None], 1000 + 10 * noise, 5.0)
    image = nibabel.Nifti1Image(data.astype(np.float32), np.diag([3.0, 3.0, 3.0, 1.0]))
    image.header.set_zooms((3.0, 3.0, 3.0, 2.0))
    nibabel.save(image, tmp_path / "bold.nii.gz")
    found = reference.bold_statistics(tmp_path / "bold.nii.gz")
    # 400 volumes know a standard deviation to about 5 %, an autocorrelation to 0.05
    assert found["tsnr"] == pytest.approx(100, rel=0.1)
    for lag in (1, 2, 3):
        assert found[f"autocorrelation_{lag}"] == pytest.approx(memory**lag, abs=0.06)
    assert abs(found["neighbours"]) < 0.06
    assert found["voxel_mm"] == pytest.approx(3)
    assert found["t_r"] == pytest.approx(2)


def test_shares_of_bands_add_up_and_follow_the_power():
    rng = np.random.default_rng(1)
    times = np.arange(0, 120, 1 / 200)
    waves = np.sin(2 * np.pi * 10.0 * times + rng.uniform(0, 6, (8, 1))) * rng.normal(1, 0.2, (8, 1))
    found = reference.eeg_statistics(1e-5 * (waves + 0.1 * rng.standard_normal(waves.shape)), 200.0, ["O1"] * 8)
    assert sum(found[band] for band in reference.SHARES) == pytest.approx(1, abs=0.01)
    assert found["alpha"] > 0.9
    assert found["alpha_frequency"] == pytest.approx(10, abs=0.1)
    spectrum = reference.mean_spectrum(waves, 200.0)
    assert spectrum["frequency"][int(np.argmax(spectrum["db"]))] == 10


def test_stages_are_counted_by_hand():
    found = reference.describe_stages([[["W", "W", "N1", None, "N1", "N2"]], [["W", "W", "W", "W"]]])
    assert found["share_W"] == pytest.approx(6 / 9, abs=1e-4)
    assert found["bout_N1"] == 1
    assert found["bout_W"] == 3
    # of six certain pairs, W to N1 and N1 to N2 change
    assert found["changes_per_hour"] == pytest.approx(120 * 2 / 6)
    assert "bout_N3" not in found
    assert found["n_subjects"] == 2


@pytest.mark.parametrize("unit", ["µV", "μV", "uV", "microV"])
def test_ones_own_eeg_passes_the_gate_of_units(tmp_path, unit):
    sleep_layout.write_run(tmp_path, "01")
    header = next(tmp_path.rglob("*.vhdr"))
    header.write_text(header.read_text(encoding="utf-8").replace("µV", unit), encoding="utf-8")
    eeg, sfreq, names = reference.read_eeg(header)
    assert eeg.shape[0] == len(names) == 30
    assert sfreq == 50
    assert np.median(eeg.std(axis=1)) == pytest.approx(20e-6, rel=0.1)
    header.write_text(header.read_text(encoding="utf-8").replace(unit, "xyz"), encoding="utf-8")
    with pytest.raises(DataError, match="'xyz'"):
        reference.read_eeg(header)


@pytest.mark.parametrize(("unit", "written"), [("sec", 2.0), ("msec", 2000.0), ("usec", 2e6)])
def test_the_repetition_time_of_ones_own_image_is_in_seconds(tmp_path, unit, written):
    data = 1000 + np.random.default_rng(0).standard_normal((8, 8, 6, 20)).astype(np.float32)
    data[:2] = 1.0
    image = nibabel.Nifti1Image(data, np.diag([3.0, 3.0, 3.0, 1.0]))
    image.header.set_zooms((3.0, 3.0, 3.0, written))
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, tmp_path / "bold.nii.gz")
    assert reference.bold_statistics(tmp_path / "bold.nii.gz")["t_r"] == pytest.approx(2.0)


def test_files_that_are_something_else_are_refused(tmp_path):
    (tmp_path / "notes.nii.gz").write_text("no image")
    with pytest.raises(DataError, match=r"notes\.nii\.gz"):
        reference.bold_statistics(tmp_path / "notes.nii.gz")
    (tmp_path / "notes.set").write_text("no EEG")
    with pytest.raises(DataError, match=r"notes\.set"):
        reference.read_eeg(tmp_path / "notes.set")
    with pytest.raises(DataError, match="sleep-stage"):
        reference.stage_statistics(tmp_path)
