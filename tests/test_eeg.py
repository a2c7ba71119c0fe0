"""Each step of EEG preprocessing against something independent of it; artefacts are planted here, by hand."""

import os
import threading
import time
from dataclasses import dataclass

import mne
import numpy as np
import pytest
from scipy import signal

from eegfmri.datasets.single_files import open_eeg
from eegfmri.errors import RequestError
from eegfmri.preprocessing import eeg, spectra
from eegfmri.recordings import Recording

RATE, T_R, N_VOLUMES, N_SLICES = 500.0, 2.0, 40, 20


def noise(shape, seed=0, rate=RATE, low=1.0, high=30.0, order=2):
    """EEG-like noise of 20 µV between two frequencies."""
    rng = np.random.default_rng(seed)
    band = signal.butter(order, (low, high), "bandpass", fs=rate, output="sos")
    x = signal.sosfiltfilt(band, rng.standard_normal(shape))
    return 20e-6 * x / x.std()


def as_raw(data, types=None, rate=RATE, names=None):
    names = names or [f"E{i}" for i in range(len(data))]
    return mne.io.RawArray(data, mne.create_info(names, rate, types or "eeg"), verbose="error")


def slice_artefact(n_channels, seed=1):
    """One random waveform per slice, the same in every slice and volume; a weight per channel."""
    rng = np.random.default_rng(seed)
    one_slice = rng.standard_normal(round(RATE * T_R / N_SLICES))
    return np.outer(rng.uniform(1e-3, 3e-3, n_channels), np.tile(one_slice, N_SLICES * N_VOLUMES))


def test_the_gradient_artefact_goes_in_every_volume_to_both_ends():
    brain = noise((3, round(RATE * T_R * N_VOLUMES)))
    done = eeg.remove_gradient_artefact(as_raw(brain + slice_artefact(3)), T_R, N_VOLUMES).get_data()
    left = (done - brain).reshape(3, N_VOLUMES, -1)
    per_volume = np.sqrt((left**2).mean(axis=(0, 2)))
    # what is left is the mean of 8 other volumes' brain, 20 µV / √8; slow waves shared by neighbours and the chance of a
    # single volume add to it. The artefact had 2000 µV.
    assert per_volume.max() < 2.5 * 20e-6 / np.sqrt(8)
    assert np.mean(per_volume) == pytest.approx(20e-6 / np.sqrt(8), rel=0.25)


def test_without_a_brain_nothing_is_left_and_without_a_scanner_little_is_lost():
    alone = eeg.remove_gradient_artefact(as_raw(slice_artefact(2)), T_R, N_VOLUMES).get_data()
    offset = alone.reshape(2, N_VOLUMES, -1)
    # the template is detrended, so a volume keeps its own line; a repeated volume has one and the same
    assert np.abs(signal.detrend(offset, axis=-1)).max() < 1e-12
    brain = noise((2, round(RATE * T_R * N_VOLUMES)), seed=3)
    done = eeg.remove_gradient_artefact(as_raw(brain), T_R, N_VOLUMES, window=20).get_data()
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(brain, done, strict=True)) > 0.95


def test_inside_a_run_the_gradient_step_is_mnes_own():
    raw = as_raw(noise((2, round(RATE * T_R * N_VOLUMES))) + slice_artefact(2))
    starts = np.round(np.arange(N_VOLUMES) * RATE * T_R).astype(int)
    mnes = mne.preprocessing.remove_fmri_gradient_artifact(raw, starts, verbose="error").get_data()
    ours = eeg.remove_gradient_artefact(raw, T_R, N_VOLUMES).get_data()
    length = round(RATE * T_R)
    np.testing.assert_allclose(ours[:, 4 * length : -4 * length], mnes[:, 4 * length : -4 * length], atol=1e-15)
    # the reason for not calling that function: it leaves the ends as they are
    assert np.abs(mnes[:, : 4 * length]).max() > 1e-3 > 10 * np.abs(ours[:, : 4 * length]).max()


@pytest.mark.parametrize("t_r", [2.0, 1.9987])
def test_at_both_ends_the_gradient_step_is_mnes_with_a_window_to_one_side(t_r):
    data = noise((2, round(RATE * t_r * N_VOLUMES) + 1)) + 1e-3
    starts = np.round(np.arange(N_VOLUMES) * RATE * t_r).astype(int)
    ours = eeg.remove_gradient_artefact(as_raw(data.copy()), t_r, N_VOLUMES).get_data()
    for sides, numbers in (((0, 8), range(4)), ((8, 0), range(N_VOLUMES - 4, N_VOLUMES))):
        remover = mne.preprocessing.GradientRemover(data, starts, window=sides, tr_tol=1)
        for number in numbers:
            theirs = remover.get_tr_corrected(number)
            np.testing.assert_allclose(
                ours[:, starts[number] : starts[number] + theirs.shape[1]], theirs, atol=1e-12 * np.abs(data).max()
            )


def test_a_run_too_short_for_a_window_to_one_side_is_cleaned_as_well():
    clean = eeg.remove_gradient_artefact(as_raw(slice_artefact(1)[:, : round(RATE * T_R * 9)]), T_R, 9).get_data()
    assert np.abs(clean).max() < 1e-12, "each of nine volumes against the other eight"


def test_what_no_whole_volume_covers_is_left_alone():
    data = noise((1, round(RATE * T_R * 20) + 300))
    done = eeg.remove_gradient_artefact(as_raw(data), T_R, 25).get_data()
    np.testing.assert_array_equal(done[:, -300:], data[:, -300:])


@pytest.mark.parametrize("window", [0, 3, 40])
def test_a_window_that_cannot_be_is_refused(window):
    with pytest.raises(RequestError, match="even"):
        eeg.remove_gradient_artefact(as_raw(noise((1, round(RATE * T_R * N_VOLUMES)))), T_R, N_VOLUMES, window)


def with_pulse(seed=0, seconds=180, rate=250.0):
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate)) / rate
    beats = np.cumsum(rng.normal(0.95, 0.05, round(1.2 * seconds)))
    beats = beats[beats < seconds - 1]
    ecg, pulse = np.zeros(len(times)), np.zeros(len(times))
    for beat in beats:
        ecg += 1e-3 * np.exp(-0.5 * ((times - beat) / 0.015) ** 2)
        pulse += rng.normal(1, 0.1) * np.exp(-0.5 * ((times - beat - 0.22) / 0.05) ** 2)
    weights = np.array([60e-6, -80e-6, 40e-6])
    brain = noise((3, len(times)), seed=seed + 1, rate=rate)
    raw = as_raw(np.vstack([brain + np.outer(weights, pulse), ecg]), ["eeg"] * 3 + ["ecg"], rate)
    return raw, brain, np.outer(weights, pulse), beats


def test_beats_are_found_and_the_pulse_artefact_goes_while_the_brain_stays():
    raw, brain, pulse, beats = with_pulse()
    found = eeg.heart_beats(raw)
    assert np.abs(found[:, None] - beats).min(axis=0).max() < 0.02
    done = eeg.remove_pulse_artefact(raw).get_data()[:3]
    inside = slice(500, -500)
    before, after = (
        np.std((x - brain)[:, inside] - (x - brain)[:, inside].mean(axis=1, keepdims=True))
        for x in (brain + pulse, done)
    )
    # five functions fitted to a second of a signal with 60 degrees of freedom take √(5/60) of its 20 µV along
    assert after < np.hypot(0.25 * before, 1.3 * 20e-6 * np.sqrt(5 / 60))
    # four components of a piece of 240 samples take away little brain
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(done[:, inside], brain[:, inside], strict=True)) > 0.9
    # and beats at hand make the channel unnecessary
    given = eeg.remove_pulse_artefact(raw, beats=found).get_data()[:3]
    np.testing.assert_allclose(given, done)


@pytest.mark.parametrize("n_components", [0, 1, 4])
@pytest.mark.parametrize("seed", [0, 4])
def test_the_pulse_step_is_mnes_own(monkeypatch, n_components, seed):
    raw, _, _, beats = with_pulse(seed)
    beats = np.delete(beats, [20, 21, 60])  # and where beats were missed
    names = raw.ch_names[:3]
    theirs = mne.preprocessing.apply_pca_obs(
        raw, picks=names, qrs_times=beats, n_components=n_components, verbose="error"
    )
    ours = eeg.remove_pulse_artefact(raw, n_components, beats)
    np.testing.assert_allclose(ours.get_data(), theirs.get_data(), atol=1e-9 * raw.get_data(names).std())
    monkeypatch.setattr(eeg, "_CHANNELS_AT_ONCE", 2)
    few = eeg.remove_pulse_artefact(raw, n_components, beats)
    np.testing.assert_allclose(few.get_data(), ours.get_data(), atol=1e-9 * raw.get_data(names).std())


def test_beats_at_the_very_ends_of_a_run_are_no_obstacle():
    raw, *_ = with_pulse()
    half = 125  # of the interval between beats, in samples
    for first in (half, half - 1, 0):
        beats = np.r_[np.arange(first, raw.n_times - half, 2 * half), raw.n_times - half] / 250.0
        done = eeg.remove_pulse_artefact(raw, beats=beats).get_data()
        assert np.isfinite(done).all()


def test_without_a_heart_nothing_happens():
    raw = as_raw(noise((2, 5000)))
    assert len(eeg.heart_beats(raw)) == 0
    assert eeg.remove_pulse_artefact(raw) is raw


@dataclass(frozen=True, eq=False)
class FromScanner(Recording):
    """A run at a scanner-side rate, with or without a usable ECG."""

    signals: object = None

    @property
    def scalp_channels(self):
        return ("Fz", "Pz", "Oz")

    def raw(self):
        return self.signals.copy()


class Lazy(mne.io.BaseRaw):
    """Signals that are handed out when asked for; it notes how many samples (channels × times) it gave at once."""

    def __init__(self, raw):
        self.source, self.given = raw, []
        # MNE calls the reader below with a stand-in, which has these extras and nothing else of ours
        extras = [{"source": raw, "given": self.given}]
        super().__init__(raw.info, last_samps=[raw.n_times - 1], filenames=[None], raw_extras=extras, verbose="error")

    def _read_segment_file(self, data, idx, fi, start, stop, cals, mult):
        data[:] = self._raw_extras[fi]["source"].get_data()[idx, start:stop]
        self._raw_extras[fi]["given"].append(data.shape)


@dataclass(frozen=True, eq=False)
class Lazily(FromScanner):
    """The same, read when asked for; two channels that are not wanted lie between those that are."""

    def raw(self):
        return self.signals


def lazily(name, artefacts=True):
    raw, *_ = with_pulse()
    ecg = raw.get_data()[3]
    data = np.vstack([raw.get_data()[:3], noise((2, raw.n_times), seed=9, rate=250.0), ecg])[[0, 3, 1, 2, 4, 5]]
    # three EEG channels, one nobody asked for after the first, an EOG before the ECG
    lazy = Lazy(
        as_raw(data, ["eeg", "misc", "eeg", "eeg", "eog", "ecg"], 250.0, ["Fz", "Trigger", "Pz", "Oz", "EOG", "ECG"])
    )
    n_volumes = int(lazy.times[-1] // T_R)
    recording = Lazily("rest", name, "run-1", sfreq=250.0, t_r=T_R, n_volumes=n_volumes, first_sample=0, signals=lazy)
    return recording, lazy, eeg.EegSettings(remove_artefacts=artefacts)


@pytest.mark.parametrize("artefacts", [True, False])
def test_a_few_channels_at_a_time_give_what_all_at_once_give(monkeypatch, artefacts):
    whole, lazy, settings = lazily(f"whole{artefacts}", artefacts)
    expected = np.asarray(eeg.prepare(whole, settings).load())
    assert len(lazy.given) == 1
    raw = lazy.source
    if artefacts:  # the steps one after the other, each on everything
        raw = eeg.remove_gradient_artefact(raw, T_R, whole.n_volumes)
        raw = eeg.remove_pulse_artefact(eeg.resample_raw(raw, eeg.PULSE_RATE))
    steps = eeg.resample(raw.get_data(picks=["Fz", "Pz", "Oz"]), 250.0, settings.sfreq)
    steps = eeg.average_reference(eeg.band_pass(steps, settings.sfreq, settings.l_freq, settings.h_freq))
    np.testing.assert_allclose(expected, steps, atol=1e-6 * steps.std())
    for at_once in (1, 2, 3):
        in_parts, lazy, settings = lazily(f"parts{artefacts}{at_once}", artefacts)
        monkeypatch.setattr(eeg, "SAMPLES_AT_ONCE", at_once * lazy.n_times)
        parts = np.asarray(eeg.prepare(in_parts, settings).load())
        assert max(n_channels for n_channels, _ in lazy.given) <= at_once
        np.testing.assert_allclose(parts, expected, atol=1e-6 * expected.std())


def test_no_more_is_read_at_once_than_is_allowed_and_a_channel_is_read_once(monkeypatch):
    _, lazy, _ = lazily("counted")
    monkeypatch.setattr(eeg, "SAMPLES_AT_ONCE", 2 * lazy.n_times + 1)
    eeg.resample_raw(lazy, 100.0)
    assert lazy.given == [(2, lazy.n_times)] * 3
    lazy.given.clear()
    monkeypatch.setattr(eeg, "SAMPLES_AT_ONCE", 10)  # a channel is the least
    eeg.resample_raw(lazy, 100.0)
    assert lazy.given == [(1, lazy.n_times)] * 6


@pytest.mark.parametrize("ecg", ["beats", "silent", "absent"])
def test_a_run_says_where_its_pulse_artefact_could_not_be_removed(ecg):
    raw, *_ = with_pulse()
    raw.rename_channels(dict(zip(raw.ch_names, ("Fz", "Pz", "Oz", "ECG"), strict=True)))
    if ecg == "absent":
        raw.drop_channels("ECG")
    elif ecg == "silent":
        raw.apply_function(lambda x: 0 * x, picks="ECG")
    t_r = 2.0
    n_volumes = int(raw.times[-1] // t_r)
    recording = FromScanner(
        "rest", ecg, "run-1", sfreq=raw.info["sfreq"], t_r=t_r, n_volumes=n_volumes, first_sample=0, signals=raw
    )
    settings = eeg.EegSettings(remove_artefacts=True)
    notes = eeg.prepare(recording, settings).notes
    if ecg == "beats":
        assert notes == ()
    else:
        [note] = notes
        assert recording.name in note
        assert {"silent": "no heart beats", "absent": "no ECG channel"}[ecg] in note
    assert eeg.prepare(recording, settings).notes == notes, "what is found prepared says the same"


@pytest.mark.parametrize("rates", [(5000.0, 1000.0), (250.0, 100.0), (128.0, 100.0), (100.0, 1000.0)])
def test_resampling_agrees_with_mne_away_from_the_ends(rates):
    old, new = rates
    x = noise((2, round(20 * old)), rate=old, high=20.0, order=4)
    ours = eeg.resample(x, old, new)
    # a second of padding: MNE's fixed 100 samples need not become a whole number of new ones, which stretches time
    mnes = mne.filter.resample(x, up=new, down=old, npad=round(old), verbose="error")
    assert ours.shape == mnes.shape
    edge = round(new)
    # filters of finite length differ near half the lower rate, where this signal still has a hundredth of its power
    below = [mne.filter.filter_data(y, new, None, 30.0, verbose="error")[:, edge:-edge] for y in (ours, mnes)]
    assert (below[0] - below[1]).std() < 0.005 * x.std()


def test_resampling_holds_level_and_slope_at_the_ends():
    line = 1e-3 + np.linspace(0, 1e-4, 5000)
    short = eeg.resample(line, 500.0, 100.0)
    np.testing.assert_allclose(short, 1e-3 + 1e-4 * np.arange(1000) * 5 / 4999, atol=1e-9)


def test_resampling_many_rows_is_resampling_each_and_keeps_single_precision():
    x = noise((2, 3, 1000)).astype(np.float32)
    out = eeg.resample(x, 500.0, 200.0)
    assert out.dtype == np.float32
    assert out.shape == (2, 3, 400)
    np.testing.assert_allclose(out[1, 2], signal.resample_poly(x[1, 2], 2, 5, padtype="line"), rtol=1e-5)


def test_resampling_a_raw_keeps_names_types_and_bad_spans():
    raw = as_raw(noise((2, 5000)), ["eeg", "ecg"])
    raw.set_annotations(mne.Annotations([1.0, 2.0], [0.5, 0.1], ["BAD_move", "R128"]))
    slow = eeg.resample_raw(raw, 250.0)
    assert (slow.ch_names, slow.get_channel_types(), slow.n_times) == (raw.ch_names, ["eeg", "ecg"], 2500)
    assert eeg.bad_spans(slow) == [(1.0, 0.5)]


def test_resampling_a_raw_keeps_positions_bad_channels_and_what_annotations_are_called():
    raw = mne.io.RawArray(
        noise((3, 5000)), mne.create_info(["Fz", "Pz", "ECG"], RATE, ["eeg", "eeg", "ecg"]), 500, verbose="error"
    )
    raw.set_montage("standard_1020", verbose="error")
    raw.info["bads"] = ["Pz"]
    raw.set_meas_date(0)
    raw.set_annotations(mne.Annotations([3.0, 4.0], [0.5, 0.0], ["BAD_move", "R128"], orig_time=0))
    slow = eeg.resample_raw(raw, RATE / 4)
    assert slow.info["bads"] == ["Pz"]
    for old, new in zip(raw.info["chs"], slow.info["chs"], strict=True):
        np.testing.assert_array_equal(old["loc"][:3], new["loc"][:3])
    assert list(slow.annotations.description) == ["BAD_move", "R128"]
    np.testing.assert_allclose(slow.annotations.onset, np.array([3.0, 4.0]) - raw.first_time)


def test_threads_are_as_many_as_cores_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    seen, original = set(), signal.resample_poly

    def noted(*args, **kwargs):
        seen.add(threading.get_ident())
        time.sleep(0.01)  # long enough that a second thread, if there were one, would take the next row
        return original(*args, **kwargs)

    monkeypatch.setattr(signal, "resample_poly", noted)
    eeg.resample(noise((6, 1000)), 500.0, 200.0)
    assert len(seen) == 1


def test_the_band_pass_passes_the_band_and_stops_the_rest():
    t = np.arange(0, 30, 1 / 250)
    kept, slow, fast = np.sin(2 * np.pi * 10 * t), np.ones(len(t)), np.sin(2 * np.pi * 70 * t)
    out = eeg.band_pass(np.stack([kept, slow, fast]), 250.0, 0.5, 45.0)[:, 1000:-1000]
    assert out[0] == pytest.approx(kept[1000:-1000], abs=0.01)
    assert np.abs(out[1:]).max() < 0.01


ELECTRODES = ("Fz", "Cz", "Pz", "TP9", "TP10", "FCz")


@pytest.fixture
def potentials():
    """True potentials of six electrodes, and what a recorder with reference FCz writes: the other five."""
    phi = noise((6, 2000), seed=5)
    return phi, phi[:5] - phi[5]


def test_the_recorded_reference_is_recovered(potentials):
    phi, recorded = potentials
    data, names = eeg.rereference(recorded, ELECTRODES[:5], "average", recover="FCz")
    assert names == ELECTRODES
    np.testing.assert_allclose(data, phi - phi.mean(axis=0), atol=1e-18)


def test_references_are_taken_by_name(potentials):
    phi, recorded = potentials
    for to, rows in (("mastoids", [3, 4]), ("Cz", [1]), (("Fz", "Pz"), [0, 2])):
        data, names = eeg.rereference(recorded, ELECTRODES[:5], to)
        np.testing.assert_allclose(data, phi[:5] - phi[rows].mean(axis=0), atol=1e-18)
        assert names == ELECTRODES[:5]
    np.testing.assert_array_equal(eeg.rereference(recorded, ELECTRODES[:5], "recorded")[0], recorded)


@pytest.mark.parametrize("to, recover", [("Oz", None), ("average", "Cz"), ((), None)])
def test_a_reference_that_is_not_there_is_refused(potentials, to, recover):
    with pytest.raises(RequestError, match="channel"):
        eeg.rereference(potentials[1], ELECTRODES[:5], to, recover)


def test_mastoids_that_are_not_there_are_refused(potentials):
    with pytest.raises(RequestError, match="TP9/TP10"):
        eeg.rereference(potentials[1][:3], ELECTRODES[:3], "mastoids")


def covariance(x):
    return x @ x.T / x.shape[1]


def mixed(seed=0, n_channels=8, seconds=120, rate=100.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_channels, n_channels)) @ noise((n_channels, round(seconds * rate)), seed, rate)


def test_alignment_makes_the_mean_covariance_the_identity():
    aligned, _ = eeg.euclidean_alignment(mixed(), 100.0, seconds=10)
    np.testing.assert_allclose(covariance(aligned), np.eye(8), atol=1e-9)


def test_after_an_average_reference_it_is_the_identity_on_the_range():
    x = eeg.average_reference(mixed())
    aligned, matrix = eeg.euclidean_alignment(x, 100.0, seconds=10)
    centring = np.eye(8) - 1 / 8  # projector onto what an average reference leaves
    np.testing.assert_allclose(covariance(aligned), centring, atol=1e-9)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6 * np.abs(matrix).max())
    # single precision on disk must not be taken for a dimension
    aligned, _ = eeg.euclidean_alignment(x.astype(np.float32), 100.0, seconds=10)
    np.testing.assert_allclose(covariance(aligned.astype(float)), centring, atol=1e-4)


def test_calibration_looks_at_its_minutes_and_nothing_else():
    x = mixed()
    _, matrix = eeg.euclidean_alignment(x, 100.0, seconds=10, calibration_minutes=1.0)
    poisoned = x.copy()
    poisoned[:, 6000:] = 1e3
    _, same = eeg.euclidean_alignment(poisoned, 100.0, seconds=10, calibration_minutes=1.0)
    np.testing.assert_array_equal(matrix, same)
    _, other = eeg.euclidean_alignment(poisoned, 100.0, seconds=10)
    assert not np.allclose(matrix, other)


def test_windows_with_gaps_teach_nothing_and_none_is_refused():
    windows = np.stack(np.split(mixed(), 12, axis=1))
    gapped = windows.copy()
    gapped[3, :, 5] = np.nan
    np.testing.assert_allclose(eeg.whitening(gapped), eeg.whitening(np.delete(windows, 3, axis=0)))
    with pytest.raises(RequestError, match="gaps"):
        eeg.whitening(np.full((2, 3, 10), np.nan))
    with pytest.raises(RequestError, match="no window"):
        eeg.euclidean_alignment(mixed(), 100.0, seconds=30, calibration_minutes=0.2)


@pytest.mark.real_data
def test_real_eeg_passes_through_the_whole_pipeline(real_data):
    opened = open_eeg(real_data / "eeglab_sample" / "eeglab_data.set")
    recording = opened[0]
    assert (recording.sfreq, len(recording.scalp_channels), recording.raw().get_channel_types().count("eog")) == (
        128.0,
        30,
        2,
    )
    stream = eeg.prepare(recording)
    data = np.asarray(stream.load())
    assert data.shape == (30, 23832)  # 30504 samples at 128 Hz are 238.3 s
    assert np.abs(data.sum(axis=0)).max() < 1e-9
    assert 3e-6 < data.std() < 40e-6
    # eyes open and shut: the back of the head has more alpha than the front, relative to its beta
    power = spectra.band_power(data, stream.sfreq)
    ratio = power[:, 2] - power[:, 3]
    rows = {name: row for row, name in enumerate(stream.names)}
    assert ratio[[rows["O1"], rows["O2"], rows["Oz"]]].mean() > ratio[[rows["F3"], rows["F4"], rows["Fz"]]].mean()
    aligned, _ = eeg.euclidean_alignment(data, stream.sfreq)
    assert np.trace(covariance(aligned[:, : 7 * 3000].astype(float))) == pytest.approx(29, rel=1e-3)
    assert np.isfinite(spectra.volume_band_power(data, stream.sfreq, 2.1)).all()


@pytest.mark.real_data
def test_artefacts_planted_into_real_eeg_come_out_again(real_data):
    opened = open_eeg(real_data / "eeglab_sample" / "eeglab_data.set")
    brain = eeg.resample(np.asarray(eeg.prepare(opened[0]).load(), dtype=float)[:4], 100.0, RATE)
    brain = brain[:, : round(RATE * T_R * N_VOLUMES)]
    done = eeg.remove_gradient_artefact(as_raw(brain + slice_artefact(4)), T_R, N_VOLUMES, window=16).get_data()
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(done, brain, strict=True)) > 0.9


def test_annotations_beyond_the_signal_are_left_behind_without_a_word(recwarn):
    raw = as_raw(noise((2, 2000)))
    raw.set_annotations(mne.Annotations([0.5, 1.0], [0.2, 0.1], ["here", "BAD too"]), emit_warning=False)
    raw.annotations.append(raw.times[-1] + 5.0, 0.0, "after the end")
    slow = eeg.resample_raw(raw, RATE / 4)
    assert list(slow.annotations.description) == ["here", "BAD too"]
    assert not [warning for warning in recwarn if "annotation" in str(warning.message)]
