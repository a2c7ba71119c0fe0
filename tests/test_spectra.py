"""Spectra of windows and of volumes: against sines of known power, against scipy, and against the scanner's triggers."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import signal

from eegfmri.datasets import rest
from eegfmri.errors import RequestError
from eegfmri.preprocessing import eeg, spectra
from eegfmri.preprocessing.spectra import (
    FOUR_BANDS,
    SpectrogramSettings,
    band_means,
    segments,
    single_frequencies,
    spectrogram,
)
from rest_layout import CHANNELS, T_R, write_eeg, write_images

SFREQ = 250.0


def noise(shape, seed=0, rate=100.0):
    """EEG-like noise of 20 µV between 1 and 30 Hz."""
    band = signal.butter(2, (1.0, 30.0), "bandpass", fs=rate, output="sos")
    x = signal.sosfiltfilt(band, np.random.default_rng(seed).standard_normal(shape))
    return 20e-6 * x / x.std()


RAW = SpectrogramSettings(eeg=eeg.EegSettings(sfreq=SFREQ, l_freq=1.0, h_freq=30.0, reference="recorded"))


@pytest.mark.parametrize("rate, t_r", [(100.0, 2.1), (250.0, 2.16), (500.0, 2.0)])
def test_spectra_per_volume_are_scipys(rate, t_r):
    n = round(rate * t_r)
    x = noise((2, 7 * n + 11), rate=rate)
    f, density = spectra.volume_spectra(x, rate, t_r)
    reference_f, _, reference = signal.spectrogram(x[:, : 7 * n], rate, "hann", n, 0, detrend="constant")
    assert density.shape == (2, n // 2 + 1, 7)
    np.testing.assert_allclose(f, reference_f)
    np.testing.assert_allclose(density, reference, rtol=1e-9, atol=1e-22)


def test_a_volume_that_is_no_whole_number_of_samples_is_refused():
    with pytest.raises(RequestError, match=r"268\.8 samples"):
        spectra.volume_spectra(np.zeros((1, 5000)), 128.0, 2.1)
    with pytest.raises(RequestError, match="do not cover"):
        spectra.volume_spectra(np.zeros((1, 500)), 100.0, 2.1, 3)
    with pytest.raises(RequestError, match="beta"):
        spectra.volume_band_power(np.zeros((1, 500)), 50.0, 2.0)


def test_a_gap_costs_the_volumes_it_touches_and_no_other():
    x = noise((2, 4200), rate=100.0)
    gapped = eeg.with_gaps(x, 100.0, [(4.2, 0.0), (6.25, 2.2)])  # the first touches nothing
    power, whole = spectra.volume_band_power(gapped, 100.0, 2.1), spectra.volume_band_power(x, 100.0, 2.1)
    lost = np.isnan(power).all(axis=(0, 1))
    assert np.flatnonzero(lost).tolist() == [2, 3, 4]
    np.testing.assert_array_equal(power[..., ~lost], whole[..., ~lost])
    assert not np.isnan(x).any()


def test_band_power_leaves_out_the_segments_of_a_gap():
    x = noise((2, 6000), rate=100.0)
    spoilt = x.copy()
    spoilt[:, 2000:2400] = 1.0
    gapped = eeg.with_gaps(spoilt, 100.0, [(20.0, 4.0)])
    # by hand: Welch's segments of 400 every 200 samples, without those that touch 2000 … 2399
    segments = [start for start in range(0, 5601, 200) if start + 400 <= 2000 or start >= 2400]
    density = np.mean(
        [signal.periodogram(x[:, s : s + 400], 100.0, "hann", detrend="constant")[1] for s in segments], axis=0
    )
    f = np.fft.rfftfreq(400, 1 / 100)
    expected = [
        10 * np.log10(1e12 * density[:, (f >= low) & (f < high)].mean(axis=1)) for low, high in eeg.BANDS.values()
    ]
    np.testing.assert_allclose(spectra.band_power(gapped, 100.0), np.stack(expected, axis=1), rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = spectra.band_power(np.full((1, 1000), np.nan), 100.0)
    assert np.isnan(nothing).all()


def test_frames_that_hold_a_gap_have_no_density_and_the_others_theirs():
    x = noise((2, 1000))
    gapped = x.copy()
    gapped[1, 300:320] = np.nan
    whole, density = (spectrogram(one, 100.0, frame=1.0, overlap=0.5)[1] for one in (x, gapped))
    lost = np.isnan(density).all(axis=1)
    assert np.flatnonzero(lost[1]).tolist() == [5, 6], "frames of 100 samples every 50 that touch 300 … 319"
    assert not lost[0].any()
    np.testing.assert_array_equal(density[~np.isnan(density)], whole[~np.isnan(density)])


def test_segments_begin_with_their_volumes_to_the_sample():
    samples = np.arange(round(10 * T_R * SFREQ))
    first, cut = segments(samples, SFREQ, T_R, 10)
    assert first == 0
    assert cut.shape == (10, 540)
    np.testing.assert_array_equal(cut[:, 0], 540 * np.arange(10))
    first, cut = segments(samples, SFREQ, T_R, 10, lag=5.0)
    assert first == 3  # the segment of volume 2 would begin 0.68 s before the EEG
    np.testing.assert_array_equal(cut[:, 0], 540 * np.arange(3, 10) - 1250)
    assert len(cut) == 7
    first, cut = segments(samples, SFREQ, T_R, 10, lag=-1.0)
    assert (first, len(cut)) == (0, 9)  # the last one would end 1 s after the EEG
    np.testing.assert_array_equal(cut[:, 0], 540 * np.arange(9) + 250)
    with pytest.raises(RequestError, match="whole number"):
        segments(samples, 251.0, T_R, 10)
    with pytest.raises(RequestError, match="change the lag"):
        segments(samples, SFREQ, T_R, 10, lag=30.0)


def test_power_of_a_known_mixture_of_sines_lands_in_its_bands():
    # one sine in each band, of known amplitude in µV; a sine of amplitude a has the power a² / 2
    times = np.arange(round(20 * T_R * SFREQ)) / SFREQ
    sines = {"delta": (2.5, 20.0), "theta": (6.0, 10.0), "alpha": (10.0, 30.0), "beta": (20.0, 5.0)}
    mixture = 1e-6 * sum(a * np.sin(2 * np.pi * f * times + f) for f, a in sines.values())
    _, pieces = segments(mixture, SFREQ, T_R, 20)
    frequencies, density = spectrogram(pieces, SFREQ)
    assert density.shape == (20, len(frequencies), 3)
    np.testing.assert_allclose(np.diff(frequencies), 1 / 1.08)
    of_bands = 1e12 * band_means(frequencies, density.mean(axis=-1))
    for number, (name, (low, high)) in enumerate(FOUR_BANDS.items()):
        n_frequencies = ((frequencies >= low) & (frequencies < high)).sum()
        power = of_bands[:, number] * n_frequencies * frequencies[1]
        # a Hann window spreads a sine over three frequencies; all of them lie in the band, but leakage beyond is a percent or two
        np.testing.assert_allclose(power, sines[name][1] ** 2 / 2, rtol=0.05, err_msg=name)


def test_single_frequencies_are_those_of_the_transform():
    times = np.arange(round(20 * T_R * SFREQ)) / SFREQ
    _, pieces = segments(1e-6 * np.random.default_rng(0).normal(size=len(times)), SFREQ, T_R, 20)
    frequencies, density = spectrogram(pieces, SFREQ)
    bands = single_frequencies(1.0, 30.0)
    inside = (frequencies >= 1) & (frequencies <= 30)
    assert [name for name, _ in bands] == [f"{f:.2f} Hz" for f in frequencies[inside]]
    np.testing.assert_array_equal(
        band_means(frequencies, density.mean(axis=-1), dict(bands)), density.mean(axis=-1)[:, inside]
    )


def test_a_transform_too_short_for_the_pass_band_is_refused():
    with pytest.raises(RequestError, match="no frequency from 1 to 2 Hz: they are 10 Hz apart"):
        single_frequencies(1.0, 2.0, frame=0.1)


def test_the_mean_over_time_is_welchs_estimate():
    pieces = np.random.default_rng(0).normal(size=(3, 540))
    frequencies, density = spectrogram(pieces, SFREQ, frame=1.0, overlap=0.5)
    expected = signal.welch(pieces, SFREQ, nperseg=250, noverlap=125)
    np.testing.assert_allclose(frequencies, expected[0])
    np.testing.assert_allclose(density.mean(axis=-1), expected[1], rtol=1e-10)


def test_impossible_frames_and_bands_are_refused():
    pieces = np.zeros((2, 540))
    for bad in ({"frame": 3.0}, {"overlap": 1.0}, {"frame": 0.001}):
        with pytest.raises(RequestError, match="Frames of"):
            spectrogram(pieces, SFREQ, **bad)
    with pytest.raises(RequestError, match="band slow"):
        band_means(*_means(pieces, 0.5), {"slow": (0.5, 1.5)})
    with pytest.raises(RequestError, match="band fast"):
        band_means(*_means(pieces, 1.0), {"fast": (100.0, 140.0)})


def _means(pieces, frame):
    frequencies, density = spectrogram(pieces, SFREQ, frame=frame)
    return frequencies, density.mean(axis=-1)


def plant(root, lead_in, sfreq=SFREQ, volume=6, n_volumes=12):
    """A run in which Oz and Cz are silent, but for a burst of 10 Hz at Oz that lasts exactly one volume; the rest of the head is heard."""
    header = write_eeg(root, lead_in=lead_in, sfreq=sfreq, n_volumes=n_volumes)
    write_images(root, n_volumes=n_volumes)
    data = header.with_suffix(".dat")
    samples = np.fromfile(data, "<f4").reshape(-1, len(CHANNELS))
    samples[:] = np.random.default_rng(0).normal(
        0, 10, samples.shape
    )  # µV: a file that were silent throughout would be refused
    samples[:, [CHANNELS.index("Oz"), CHANNELS.index("Cz")]] = 0.0
    first = round(lead_in * sfreq) + round(volume * T_R * sfreq)
    n_burst = round(T_R * sfreq)
    samples[first : first + n_burst, CHANNELS.index("Oz")] = 50 * np.cos(2 * np.pi * 10 * np.arange(n_burst) / sfreq)
    samples.tofile(data)
    return rest.read(root)[0]


@pytest.mark.parametrize("seed", range(4))
def test_an_unknown_lead_in_is_told_by_the_triggers_to_one_sample(tmp_path, seed):
    lead_in = np.random.default_rng(seed).integers(1, 30000) / SFREQ  # up to two minutes, as in the dataset
    recording = plant(tmp_path, lead_in)
    raw = recording.raw()
    burst = raw.get_data(picks=["Oz"])[0]
    onset = int(np.flatnonzero(burst != 0)[0])
    assert abs(onset - round(6 * T_R * SFREQ)) <= 1
    # nothing of the burst falls into a neighbour's segment, and the whole of it into its own
    _, cut = segments(burst, SFREQ, T_R, 12)
    energy = (cut**2).sum(axis=1) / (burst**2).sum()
    assert energy[6] > 1 - 2 / 540
    assert np.argmax(energy) == 6


def test_the_table_of_a_recording_has_the_burst_where_it_was(tmp_path):
    recording = plant(tmp_path, lead_in=41.236)
    made = spectra.prepare_spectrograms(recording, RAW)
    table = made.load()
    assert table.shape == (63 * 4, 12)
    assert made.start == 0.0
    assert made.sfreq == pytest.approx(1 / T_R)
    alpha = table[made.names.index("Oz alpha")]
    assert alpha.argmax() == 6
    # 50 µV at 10 Hz: a²/2 = 1250 µV², over the six frequencies from 9 / 1.08 to 14 / 1.08 Hz that lie in the alpha band
    assert 10 ** (alpha[6] / 10) * 6 / 1.08 == pytest.approx(1250, rel=0.02)
    assert alpha[6] > 10 + np.delete(alpha, 6).max()  # a filter of 1 Hz rings into the neighbours, weakly
    assert (table[made.names.index("Cz alpha")] == spectra.SILENCE).all()
    late = spectra.prepare_spectrograms(recording, replace(RAW, lag=2 * T_R))
    assert late.start == pytest.approx(2 * T_R)
    assert late.load()[made.names.index("Oz alpha")].argmax() == 6  # of the volumes from the third on: the ninth
    assert late.load().shape[1] == 10


def test_filtering_each_segment_is_another_thing_than_filtering_before(tmp_path):
    recording = plant(tmp_path, lead_in=10.0)
    before, after = (
        spectra.prepare_spectrograms(recording, replace(RAW, filtered=filtered, decibels=False)).load()
        for filtered in ("before", "after")
    )
    row = 4 * recording.scalp_channels.index("Oz") + 2
    assert after[row].argmax() == before[row].argmax() == 6
    assert after[row, 5] == after[row, 7] == 0.0  # nothing rings across a cut
    assert before[row, 5] > 0
    with pytest.raises(RequestError, match="'before'"):
        spectra.prepare_spectrograms(recording, replace(RAW, filtered="during"))


@pytest.mark.parametrize("n_times, n_lags", [(50, 50), (3000, 100), (7, 1), (20, 30)])
def test_the_autocorrelation_is_numpys_correlation_divided_by_the_samples(n_times, n_lags):
    values = np.random.default_rng(3).standard_normal((2, n_times)) + 0.3
    found = spectra.autocorrelation(values, n_lags)
    for row, x in zip(found, values, strict=True):
        expected = np.zeros(n_lags)
        whole = np.correlate(x, x, "full")[n_times - 1 :] / n_times
        expected[: min(n_lags, n_times)] = whole[:n_lags]
        np.testing.assert_allclose(row, expected, atol=1e-12)
