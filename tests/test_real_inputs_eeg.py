"""EEG as people bring it: what can be understood is read with the right value, what cannot is refused in one sentence."""

import json
import os
import re
import shutil

import mne
import numpy as np
import pytest

import rest_layout
import sleep_layout
from eegfmri import cache
from eegfmri.datasets import rest, sleep
from eegfmri.datasets.brainvision import understand_unit
from eegfmri.datasets.single_files import open_eeg
from eegfmri.errors import DataError
from eegfmri.preprocessing.eeg import bad_spans, prepare
from eegfmri.preprocessing.spectra import PASS_BAND, prepare_spectrograms
from eegfmri.recordings import Stream
from eegfmri.windows import volume_windows

RUN = "task-rest_run-1"


@pytest.fixture
def root(tmp_path):
    """Two sound recordings, so that one can be damaged and the other watched."""
    for subject in ("01", "02"):
        sleep_layout.write_run(tmp_path, subject)
        sleep_layout.write_labels(tmp_path, subject, sleep_layout.epochs())
    return tmp_path


def file_of(root, suffix, subject="01"):
    return root / f"sub-{subject}/eeg/sub-{subject}_{RUN}_eeg{suffix}"


def edit(path, old, new, encoding="utf-8"):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new).encode(encoding))


def opened(root):
    first, second = sleep.read(root)
    assert second.status == "ok", second.problems
    return first


def microvolts(recording):
    data = recording.raw().get_data(picks=list(recording.scalp_channels))
    return 1e6 * float(np.median(data.std(axis=1)))


def assert_refused(recording, *words):
    assert recording.status == "refused", recording.repaired
    said = recording.problems[0]
    assert "\n" not in said
    assert len(said) < 600
    for word in words:
        assert word in said, said


# --- units and resolutions -------------------------------------------------------------------------------------------

SPELLINGS = ("µV", "μV", "uV", "uv", "UV", "microV", "microvolt", "µV ", "", "ÂµV", "Î¼V")


@pytest.mark.parametrize("unit", SPELLINGS)
def test_every_spelling_of_microvolt_is_read_as_microvolts(root, unit):
    edit(file_of(root, ".vhdr"), "µV", unit)
    recording = opened(root)
    assert recording.usable, recording.problems
    assert microvolts(recording) == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize(
    ("unit", "resolution"), [("mV", "0.0001"), ("V", "1e-7"), ("nV", "100"), ("millivolt", "0.0001")]
)
def test_other_units_are_scaled(root, unit, resolution):
    edit(file_of(root, ".vhdr"), "0.1,µV", f"{resolution},{unit}")
    assert microvolts(opened(root)) == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("unit", ["µ", "?µV", "MV", "xyz", "n/a", "C", "\ufffdV", "µS", "volts per metre"])
def test_a_unit_that_is_not_understood_is_refused_by_name(root, unit):
    edit(file_of(root, ".vhdr"), "µV", unit)
    assert_refused(opened(root), "unit", repr(unit))


@pytest.mark.parametrize("unit", SPELLINGS)
def test_units_are_understood_in_one_place(unit):
    assert understand_unit(unit) == "µV"


@pytest.mark.parametrize("resolution", ["", "-1", "0", "nan", "inf", "1e999", "-inf", "abc", "0,1"])
def test_a_resolution_that_cannot_be_is_refused(root, resolution):
    edit(file_of(root, ".vhdr"), "0.1,µV", f"{resolution},µV")
    assert_refused(opened(root))


@pytest.mark.parametrize("factor", ["1e6", "1e5", "1e-4", "1e-9"])
def test_amplitudes_that_no_scalp_gives_name_unit_and_value(root, factor):
    edit(file_of(root, ".vhdr"), "0.1,µV", f"{factor},µV")
    assert_refused(opened(root), "'µV'", "root mean square", "µV are due")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("codepage", ["UTF-8", "ANSI", "latin-1", "nonsense", "UTF-16"])
def test_a_header_in_another_encoding_than_it_says(root, encoding, codepage):
    edit(file_of(root, ".vhdr"), "Codepage=UTF-8", f"Codepage={codepage}")
    edit(file_of(root, ".vhdr"), "[Common", "[Common", encoding)
    recording = opened(root)
    assert recording.usable, recording.problems
    assert microvolts(recording) == pytest.approx(20, rel=0.1)
    # where bytes are as the header says, nothing was mended
    honest = encoding in ("latin-1", "cp1252") and codepage in ("ANSI", "latin-1")
    assert (recording.status == "ok") == honest, recording.repaired
    assert sum(".vhdr" in sentence for sentence in recording.repaired) == (not honest)


# --- headers ---------------------------------------------------------------------------------------------------------

MENDED = {
    "trailing blanks and tabs": lambda text: re.sub(r"$", " \t", text, flags=re.MULTILINE),
    "leading blanks": lambda text: text.replace("\nCh3=", "\n  Ch3=").replace("\nSampling", "\n\tSampling"),
    "a line stated twice": lambda text: text.replace("Codepage=UTF-8", "Codepage=UTF-8\nCodepage=UTF-8"),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "old line ends": lambda text: text.replace("\n", "\r\n"),
    "blanks around the sign": lambda text: text.replace("=", " = "),
    "names with $b": lambda text: re.sub(r"(DataFile|MarkerFile)=.*(\.\w+)", r"\1=$b\2", text),
    "a path of another machine": lambda text: text.replace("DataFile=", "DataFile=C:\\data\\").replace(
        "MarkerFile=", "MarkerFile=C:\\x\\"
    ),
    "a comment in another alphabet": lambda text: text + "\n[Comment]\nСмесь = [x]\nno sign here\n",
    "stray blanks in names": lambda text: text.replace("=Fp1,", "= Fp1 ,"),
}


@pytest.mark.parametrize("kind", MENDED)
def test_what_is_meant_all_the_same_is_read_with_the_right_value(root, kind):
    path = file_of(root, ".vhdr")
    path.write_bytes(MENDED[kind](path.read_text(encoding="utf-8")).encode())
    recording = opened(root)
    assert recording.usable, recording.problems
    assert recording.first_sample == 200
    assert microvolts(recording) == pytest.approx(20, rel=0.1)
    # what the format allows is no fault
    allowed = kind in ("blank lines", "old line ends", "names with $b", "a comment in another alphabet")
    assert (recording.status == "ok") == allowed, recording.repaired


REFUSED = {
    "no section of channels": lambda text: text.replace("[Channel Infos]", "[Channels]"),
    "no sampling interval": lambda text: re.sub("SamplingInterval=.*\n", "", text),
    "an interval of 0": lambda text: re.sub("SamplingInterval=.*", "SamplingInterval=0", text),
    "an interval that is no number": lambda text: re.sub("SamplingInterval=.*", "SamplingInterval=fast", text),
    "an infinite interval": lambda text: re.sub("SamplingInterval=.*", "SamplingInterval=1e999", text),
    "no number of channels": lambda text: text.replace("NumberOfChannels=32\n", ""),
    "a channel too many": lambda text: text.replace("NumberOfChannels=32", "NumberOfChannels=33"),
    "a channel too few": lambda text: text.replace("NumberOfChannels=32", "NumberOfChannels=31"),
    "a huge number of channels": lambda text: text.replace("NumberOfChannels=32", "NumberOfChannels=99999999999"),
    "two rates": lambda text: text.replace("SamplingInterval=", "SamplingInterval=4000\nSamplingInterval="),
    "an unknown number format": lambda text: text.replace("INT_16", "INT_24"),
    "another number format": lambda text: text.replace("INT_16", "IEEE_FLOAT_32"),
    "text instead of numbers": lambda text: text.replace("DataFormat=BINARY", "DataFormat=ASCII"),
    "an unknown orientation": lambda text: text.replace("MULTIPLEXED", "SIDEWAYS"),
    "channel after channel without a length": lambda text: text.replace("MULTIPLEXED", "VECTORIZED"),
    "a line without a sign": lambda text: text.replace("Ch5=", "Ch5 "),
    "another format": lambda text: text.replace("Brain Vision", "Brain Storm"),
    "nothing": lambda text: "",
    "half of it": lambda text: text[: len(text) // 2],
    "a path out of the folder": lambda text: re.sub("DataFile=.*", "DataFile=../../../etc/passwd", text).replace(
        "_eeg.eeg", "x"
    ),
    "zeros": lambda text: "\0" * 1000,
    "thirty thousand blanks": lambda text: text.replace(
        "NumberOfChannels=32", "NumberOfChannels=" + " " * 30_000 + "x"
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_header_that_cannot_be_believed_refuses_its_recording_alone(root, kind):
    path = file_of(root, ".vhdr")
    path.write_bytes(REFUSED[kind](path.read_text(encoding="utf-8")).encode())
    recording = opened(root)
    if kind != "a path out of the folder":  # its own signal file is there
        assert_refused(recording)
    assert not any("passwd" in str(file) for file in recording.files())


@pytest.mark.parametrize("seed", range(12))
def test_damaged_bytes_anywhere_in_the_triple_never_end_the_check(root, seed):
    rng = np.random.default_rng(seed)
    path = file_of(root, (".vhdr", ".vmrk", ".eeg")[seed % 3])
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, min(len(content), 2000), 12):
        content[place] = int(rng.integers(0, 256))
    path.write_bytes(bytes(content[: int(rng.integers(len(content) // 2, len(content)))]))
    recording = opened(root)
    if recording.usable:
        assert 0.1 < microvolts(recording) < 1000
    else:
        assert_refused(recording)


def test_a_pipe_where_a_file_is_expected_is_refused_and_not_waited_for(root):
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        path = file_of(root, suffix)
        kept = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert not opened(root).usable
        path.unlink()
        path.write_bytes(kept)


def test_hidden_files_are_no_recordings(root):
    for path in (
        file_of(root, ".vhdr"),
        root / f"sub-01/func/sub-01_{RUN}_bold.nii.gz",
        root / "sourcedata/sub-01-sleep-stage.tsv",
    ):
        path.with_name("._" + path.name).write_bytes(b"\x00\x05\x16\x07" + bytes(range(256)))
    assert len(sleep.read(root)) == 2


# --- markers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig", "utf-16"])
def test_markers_in_any_encoding_and_locale(root, encoding, monkeypatch):
    edit(file_of(root, ".vmrk"), "Stimulus,S  1", "Bürste,größer 3 µ", encoding)
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    recording = opened(root)
    assert recording.usable, recording.problems
    assert (recording.first_sample, recording.n_volumes) == (200, 29)
    faults = {
        "latin-1": "encoded in cp1252 where UTF-8 is due",
        "utf-8-sig": "a mark of byte order before its text",
        "utf-16": "encoded in UTF-16",
    }
    said = [f"{file_of(root, '.vmrk').name}: {faults[name]}; read as meant." for name in faults if name == encoding]
    assert list(recording.repaired) == said


def test_markers_that_are_encoded_as_they_say_are_not_mended(root):
    path = file_of(root, ".vmrk")
    edit(path, "Stimulus,S  1", "Bürste,größer 3 µ", "cp1252")
    path.write_bytes(path.read_bytes().replace(b"Codepage=UTF-8", b"Codepage=ANSI"))
    assert b"Codepage=ANSI" in path.read_bytes()
    assert opened(root).status == "ok"


@pytest.mark.parametrize("trigger", ["R128 ", "R128\t", " R128", "R 128"])
def test_stray_blanks_in_triggers(root, trigger):
    sleep_layout.write_markers(file_of(root, ".vmrk"), [4 + 2.1 * k for k in range(29)], 50.0, trigger)
    assert (opened(root).first_sample, opened(root).n_volumes) == (200, 29)


def test_indented_triggers_are_not_lost(root):
    edit(file_of(root, ".vmrk"), "\nMk4=", "\n  Mk4=")
    assert opened(root).repaired == (f"{file_of(root, '.vmrk').name}: indented lines (1); read as meant.",)
    assert opened(root).n_volumes == 29


def test_blanks_around_the_sign_of_a_marker_lose_no_trigger(root):
    edit(file_of(root, ".vmrk"), "\nMk3=", "\nMk3 = ")
    edit(file_of(root, ".vmrk"), ",1,0\nMk4", ",1,0 \t\nMk4")
    (said,) = opened(root).repaired
    assert "blanks at the ends of lines (1); lines with blanks around the sign of equality (1)" in said
    assert (opened(root).first_sample, opened(root).n_volumes) == (200, 29)


@pytest.mark.parametrize(
    "line", ["Mk9=Response,R128,x,1,0", "Mk9=Response", "Mk9=Response,R128,99999999999,1,0", "Mk9=Response,R128,-5,1,0"]
)
def test_a_damaged_marker_never_ends_the_check(root, line):
    edit(file_of(root, ".vmrk"), "Mk9=", f"{line}\nMk9=")
    opened(root)


# --- samples ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def export(tmp_path):
    rest_layout.write_eeg(tmp_path, points=True)
    rest_layout.write_images(tmp_path)
    return tmp_path / f"EEG1/35/export/{rest_layout.stamp('35')}_Pulse_Artifact_Correction_bin.dat"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gap_in_one_channel_stays_a_gap(export, value):
    samples = np.fromfile(export, "<f4").reshape(-1, 64)
    samples[6000:6500, 3] = value  # 2 s, 4 s after the first volume
    samples.tofile(export)
    (recording,) = rest.read(export.parents[3])
    assert recording.status == "repaired"
    assert "2.00 s" in recording.repaired[0]
    raw = recording.raw()
    (span,) = bad_spans(raw)
    assert span == pytest.approx((4.0, 2.0))
    data = raw.get_data()
    assert np.isfinite(data).all()
    untouched = samples[5000:, 4].astype(float) * 1e-6
    np.testing.assert_allclose(data[4], untouched, rtol=1e-5)
    assert np.isfinite(raw.copy().load_data().filter(1, 40, verbose="error").get_data()).all()


def test_a_gap_is_left_out_of_windows_and_counted(export, tmp_path):
    samples = np.fromfile(export, "<f4").reshape(-1, 64)
    whole, gapped = samples.copy(), samples.copy()
    gapped[6000:6500, 3] = np.nan  # from 4 to 6 s after the first volume, which is the second to the third
    found = {}
    for name, written in (("whole", whole), ("gapped", gapped)):
        written.tofile(export)
        (recording,) = rest.read(export.parents[3])
        stream = prepare(recording, PASS_BAND)
        assert np.isfinite(stream.load()).all()
        n_volumes = recording.n_volumes
        cache.save_array(tmp_path / f"{name}.npy", np.zeros((2, n_volumes), np.float32))
        volumes = Stream(tmp_path / f"{name}.npy", 1 / recording.t_r, ("a", "b"), start=recording.t_r / 2)
        tables = prepare_spectrograms(recording)
        found[name] = (
            stream,
            volume_windows(
                [recording], lambda _, s=stream: s, lambda _, v=volumes: v, eeg_seconds=recording.t_r, target="end"
            ),
            tables,
            volume_windows(
                [recording], lambda _, t=tables: t, lambda _, v=volumes: v, eeg_seconds=recording.t_r, target="end"
            ),
        )
    (stream, windows, tables, of_tables), (before, all_windows, all_tables, all_of_tables) = (
        found["gapped"],
        found["whole"],
    )
    assert before.gaps == () and "gap in the EEG" not in all_windows.dropped
    assert len(stream.gaps) == 1 and stream.gaps[0] == pytest.approx((4.0, 2.0)) and "2.0 s" in stream.notes[0]
    touched = [1, 2]
    for some, every in ((windows, all_windows), (of_tables, all_of_tables)):
        assert some.dropped["gap in the EEG"] == len(touched)
        assert some.y.tolist() == [volume for volume in every.y if volume not in touched]
        assert np.isfinite(some.eeg[:]).all()
    lost = np.isnan(tables.load()).all(axis=0)
    assert np.flatnonzero(lost).tolist() == touched and np.isfinite(all_tables.load()).all()


def test_a_recording_that_is_mostly_a_gap_is_refused(export):
    samples = np.fromfile(export, "<f4").reshape(-1, 64)
    samples[1000:, 3] = np.nan
    samples.tofile(export)
    (recording,) = rest.read(export.parents[3])
    assert_refused(recording, "no values")


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_signal_that_does_not_vary_is_refused(export, value):
    samples = np.full_like(np.fromfile(export, "<f4"), value)
    samples.tofile(export)
    (recording,) = rest.read(export.parents[3])
    assert_refused(recording, "do not vary")


@pytest.mark.parametrize("subset", ["longer", "shorter"])
def test_a_channelwise_file_of_another_length_is_refused_in_every_dataset(root, subset):
    header, data = file_of(root, ".vhdr"), file_of(root, ".eeg")
    n_times = data.stat().st_size // 64
    edit(header, "MULTIPLEXED\n", f"VECTORIZED\nDataPoints={n_times}\n")
    content = data.read_bytes()
    data.write_bytes(content + bytes(6400) if subset == "longer" else content[: -64 * 500])
    assert_refused(opened(root), "channel after channel")


def test_more_samples_than_the_header_promises_are_refused(root):
    edit(file_of(root, ".vhdr"), "MULTIPLEXED\n", "MULTIPLEXED\nDataPoints=1000\n")
    assert_refused(opened(root), "bytes")


def test_signals_that_vanish_after_opening_name_the_file(root):
    recording = opened(root)
    raw = recording.raw()
    os.truncate(file_of(root, ".eeg"), 100)
    with pytest.raises(DataError, match=r"_eeg\.eeg"):
        raw.get_data()
    file_of(root, ".eeg").unlink()
    with pytest.raises(DataError, match="_eeg"):
        recording.raw().get_data()


def test_a_fault_of_the_library_is_seen_with_debug(root, monkeypatch, capsys):
    def broken(*_):
        raise KeyError("a bug")

    monkeypatch.setattr(sleep, "_cap", broken)
    monkeypatch.setenv("EEGFMRI_DEBUG", "")
    recording = sleep.read(root)[0]
    assert_refused(recording, "KeyError", "a bug", f"sub-01_{RUN}")
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("EEGFMRI_DEBUG", "1")
    sleep.read(root)
    assert "in broken" in capsys.readouterr().err


def test_the_simulators_mark_counts_without_its_file(root, monkeypatch):
    assert not sleep.read(root).simulated
    edit(file_of(root, ".vhdr"), "\n\n[Common", "\n; SIMULATED recording, written by eegfmri\n\n[Common")
    recordings = sleep.read(root)
    assert recordings.simulated
    assert [recording.simulated for recording in recordings] == [True, False]
    assert recordings.check()["simulated"]
    assert recordings.provenance.startswith("Simulated")
    monkeypatch.setenv("EEGFMRI_TEST_AS_REAL", "1")
    assert not sleep.read(root).simulated


# --- NODDI's own headers ---------------------------------------------------------------------------------------------


@pytest.fixture
def noddi(real_data, tmp_path):
    """The real headers and markers of two subjects, with signals of noise where the repository has none."""
    real = real_data / "noddi_headers"
    rng = np.random.default_rng(0)
    for subject in ("32", "35"):
        for source, folder in (("export", real / "derivatives"), ("raw", real)):
            place = tmp_path / "EEG1" / subject / source
            place.mkdir(parents=True)
            for path in (folder / f"sub-{subject}" / "eeg").glob("*.v*"):
                (place / path.name).write_bytes(path.read_bytes())
            stem = place / f"sub-{subject}_task-rest_eeg"
            if source == "export":
                points = int(re.search(r"DataPoints=(\d+)", stem.with_suffix(".vhdr").read_text(encoding="utf-8"))[1])
                rng.normal(0, 20, points * 64).astype("<f4").tofile(stem.with_suffix(".dat"))
            else:
                rng.normal(0, 200, 5000 * 20 * 64).astype("<i2").tofile(stem.with_suffix(".eeg"))
        rest_layout.write_images(tmp_path, subject, n_volumes=300, n_slices=30)
    shutil.copyfile(real / "task-rest_bold.json", tmp_path / "task-rest_bold.json")
    return tmp_path


@pytest.mark.real_data
def test_both_real_montages_are_known_and_what_is_used_is_a_choice(noddi):
    recordings = rest.read(noddi)
    assert [recording.usable for recording in recordings] == [True, True]
    assert [recording.first_sample for recording in recordings] == [36, 32392]
    assert [recording.n_volumes for recording in recordings] == [299, 300]
    (note,) = recordings.notes
    assert "32 with F1 F2 C1 C2 P1 P2" in note
    assert "35 with P9 P10 PO9 PO10 O9 O10" in note
    assert "57" in note
    common = {recording.scalp_channels for recording in recordings}
    assert len(common) == 1
    assert len(common.pop()) == 57
    own = rest.read(noddi, electrodes="own")
    assert [len(recording.scalp_channels) for recording in own] == [63, 63]
    assert {"F1", "C2"} < set(own[0].scalp_channels)
    assert {"P9", "O10"} < set(own[1].scalp_channels)
    assert [row["montage"] for row in recordings.check()["recordings"]] == [
        "F1 F2 C1 C2 P1 P2",
        "P9 P10 PO9 PO10 O9 O10",
    ]
    assert own[0].raw().get_channel_types().count("eeg") == 63


@pytest.mark.real_data
def test_the_real_sidecar_gives_ascending_slices(noddi):
    from eegfmri.images import read_slice_times

    times = read_slice_times(rest.read(noddi)[0].bold_file)
    assert len(times) == 30
    assert (np.diff(times) > 0).all()


@pytest.mark.real_data
def test_a_refused_recorders_file_does_not_advise_itself(noddi):
    for recording in rest.read(noddi, source="raw"):
        if not recording.usable:
            assert "source='raw'" not in recording.problems[0]
            assert "source='export'" in recording.problems[0]


# --- single files ----------------------------------------------------------------------------------------------------


def test_a_renamed_triple_is_read_like_a_datasets(root, tmp_path):
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        shutil.copyfile(file_of(root, suffix), tmp_path / f"mine{suffix}")
    edit(tmp_path / "mine.vhdr", "µV", "μV")
    (recording,) = open_eeg(tmp_path / "mine.vhdr")
    assert recording.status == "repaired"
    assert microvolts(recording) == pytest.approx(20, rel=0.1)
    with pytest.raises(DataError, match=r"give mine\.vhdr"):
        open_eeg(tmp_path / "mine.eeg")


@pytest.mark.parametrize(
    "name", ["x.mat", "x.txt", "x.csv", "x.set", "x.edf", "x.vhdr", "x.fif", "x.bdf", "x.mff", "x.SET", "x"]
)
@pytest.mark.parametrize("content", [b"", b"nonsense\n1\t2\n", bytes(range(256)) * 20])
def test_a_file_that_is_no_eeg_is_one_sentence_with_its_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        open_eeg(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_channels_that_become_one_are_named(tmp_path):
    data = np.random.default_rng(0).normal(0, 2e-5, (3, 1000))
    raw = mne.io.RawArray(data, mne.create_info(["Cz", "CZ.", "Fz"], 250.0, "eeg"), verbose="error")
    raw.save(tmp_path / "x_raw.fif", verbose="error")
    with pytest.raises(DataError, match="more than one channel Cz"):
        open_eeg(tmp_path / "x_raw.fif")


@pytest.mark.parametrize(("factor", "usable"), [(1.0, True), (1e6, False), (1e-4, False), (1e3, False)])
def test_amplitudes_of_single_files_are_judged(tmp_path, factor, usable):
    data = factor * np.random.default_rng(0).normal(0, 2e-5, (2, 1000))
    raw = mne.io.RawArray(data, mne.create_info(["Cz", "Fz"], 250.0, "eeg"), verbose="error")
    raw.save(tmp_path / "x_raw.fif", verbose="error")
    if usable:
        assert microvolts(open_eeg(tmp_path / "x_raw.fif")[0]) == pytest.approx(20, rel=0.1)
    else:
        with pytest.raises(DataError, match="root mean square"):
            open_eeg(tmp_path / "x_raw.fif")


def test_a_gap_of_a_single_file_is_annotated(tmp_path):
    data = np.random.default_rng(0).normal(0, 2e-5, (2, 1000))
    data[0, 250:500] = np.nan
    raw = mne.io.RawArray(data, mne.create_info(["Cz", "Fz"], 250.0, "eeg"), verbose="error")
    raw.save(tmp_path / "x_raw.fif", verbose="error")
    (recording,) = open_eeg(tmp_path / "x_raw.fif")
    assert bad_spans(recording.raw()) == [(1.0, 1.0)]
    assert np.isfinite(recording.raw().get_data()).all()


# --- sidecars --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["[1]", "{,}", '{"a": 1,}', "", "null", "[" * 100_000, '\ufeff{"SamplingFrequency": 50}']
)
def test_a_damaged_sidecar_of_the_dataset_is_a_note(root, text):
    (root / "task-rest_eeg.json").write_text(text, encoding="utf-8")
    recordings = sleep.read(root)
    assert [recording.status for recording in recordings] == ["ok", "ok"]
    (note,) = [note for note in recordings.notes if "task-rest_eeg.json" in note]
    assert text.startswith("\ufeff") == ("a mark of byte order" in note)


@pytest.mark.parametrize("value", ["n/a", None, [250], {}, "250 Hz", float("nan")])
def test_a_rate_in_a_sidecar_that_is_no_number_is_passed_over(root, value):
    (root / "task-rest_eeg.json").write_text(json.dumps({"SamplingFrequency": value}))
    assert [recording.status for recording in sleep.read(root)] == ["ok", "ok"]
