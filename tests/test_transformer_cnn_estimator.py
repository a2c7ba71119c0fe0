"""The networks of transformer_cnn as estimators: what they learn, from whom, that they repeat, and that nothing leaks."""

import numpy as np
import pytest
import torch

from eegfmri import cache
from eegfmri.errors import RequestError
from eegfmri.estimators.transformer_cnn import (
    AutoencoderReconstruction,
    TransformerCnnRegressor,
    UNetRegressor,
    pretrain,
    runs_of,
    together,
)
from eegfmri.evaluation.leaks import fitted_digest, poisoned
from eegfmri.evaluation.splits import ShuffledTogether, SubjectFolds
from eegfmri.evaluation.volumes import errors_of, evaluate_volumes
from eegfmri.preprocessing.spectra import SpectrogramSettings, band_table
from eegfmri.preprocessing.volumes import VolumeScaling
from eegfmri.recordings import Stream
from eegfmri.windows import volume_windows
from volumes_made import SFREQ, T_R, made_runs

BANDS = (("low", (1.0, 12.0)), ("high", (12.0, 25.0)))
SMALL = {
    "n_bands": 2, "features": (4, 8), "embedding": 6, "width": 16, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1,
    "feedforward": 16, "n_past": 8, "stretch": 12, "n_pretraining_epochs": 2, "n_training_epochs": 2, "learning_rate": 1e-3,
}  # fmt: skip


def cut(runs, folder, n_segments=3):
    """Windows whose EEG is band power per volume."""
    settings = SpectrogramSettings(frame=1.0, bands=BANDS)

    def power(recording):
        stream = recording.streams["eeg"]
        table = band_table(stream.load(), SFREQ, T_R, recording.n_volumes, settings)
        path = folder / f"{recording.name}_power.npy"
        cache.save_array(path, table)
        return Stream(path, 1 / T_R, tuple(f"{c} {b}" for c in stream.names for b, _ in BANDS))

    return volume_windows(runs, power, lambda r: r.streams["volumes"], eeg_seconds=n_segments * T_R, target="end")


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return cut(made_runs(folder, n_subjects=4, n_runs=1, n_volumes=40), folder)


@pytest.fixture(scope="module")
def fold(windows):
    return next(iter(SubjectFolds(4).split(windows)))


def unet(n_training_epochs):
    return UNetRegressor(n_bands=2, features=(4, 8), bottleneck=4, n_training_epochs=n_training_epochs)


def parts(windows, fold, kind="standardised"):
    scaling = VolumeScaling(kind).fit(windows[fold.train])
    train, test = windows[fold.train], windows[fold.test]
    return train, scaling.targets(train), test, scaling.targets(test)


def test_stretches_of_unequal_length_make_one_table():
    padded, real = together([np.array([4, 5, 6]), np.array([9])])
    assert padded.tolist() == [[4, 5, 6], [9, 9, 9]]
    assert padded.ravel()[real].tolist() == [4, 5, 6, 9]


def test_runs_are_in_order_of_time_whatever_the_order_of_windows(windows):
    shuffled = windows[np.random.default_rng(0).permutation(len(windows))]
    runs = runs_of(shuffled, np.arange(len(shuffled)))
    assert len(runs) == 4
    for rows in runs:
        assert (np.diff(shuffled.y[rows]) > 0).all()
        assert len(set(shuffled.groups[rows])) == 1


@pytest.mark.parametrize(
    "change",
    [{}, {"frozen": False}, {"validation": "volume"}, {"eeg_tokens": "channels"}, {"adaptation": "transductive"}],
)
def test_the_transformer_repeats_to_the_bit_and_predicts_without_looking(windows, fold, change):
    train, targets, test, truth = parts(windows, fold)
    first, again = (TransformerCnnRegressor(**SMALL | change).fit(train, targets) for _ in range(2))
    assert fitted_digest(first) == fitted_digest(again)
    said = first.predict(test)
    assert said.shape == truth.shape
    assert np.isfinite(said).all()
    np.testing.assert_array_equal(said, again.predict(test))
    other = TransformerCnnRegressor(**SMALL | change, seed=1).fit(train, targets)
    assert fitted_digest(other) != fitted_digest(first)


def test_prediction_is_by_run_whatever_the_order_or_company_of_windows(windows, fold):
    train, targets, test, _ = parts(windows, fold)
    fitted = TransformerCnnRegressor(**SMALL).fit(train, targets)
    order = np.random.default_rng(1).permutation(len(test))
    np.testing.assert_allclose(fitted.predict(test[order]), fitted.predict(test)[order], atol=1e-5)
    both = fitted.predict(windows)
    np.testing.assert_allclose(both[fold.test], fitted.predict(test), atol=1e-4)


def test_forced_prediction_uses_the_past_only(windows, fold):
    train, targets, test, truth = parts(windows, fold)
    fitted = TransformerCnnRegressor(**SMALL).fit(train, targets)
    forced = fitted.predict_forced(test, truth)
    [run] = runs_of(test, np.arange(len(test)))
    half = run[: len(run) // 2]
    np.testing.assert_allclose(fitted.predict_forced(test[half], truth.subset(half)), forced[half], atol=1e-5)
    assert np.abs(forced - fitted.predict(test)).max() > 1e-4


def test_the_autoencoder_never_sees_a_volume_of_validation_or_test(windows, fold, tmp_path):
    """Noise in place of the validation subject changes no weight; learning from it would."""
    train = windows[fold.train]
    rows, validation = TransformerCnnRegressor(**SMALL)._split(train)
    victim = train.groups[validation[0]]
    assert victim not in train.groups[rows]
    spoilt = poisoned(train, victim, tmp_path)

    def weights(given, chosen, kept):
        targets = VolumeScaling("standardised").fit(given).targets(given)
        made, history = pretrain(given, targets, chosen, n_training_epochs=2, folder=tmp_path / kept)
        return fitted_digest(made), history

    clean, losses = weights(train, rows, "clean")
    assert weights(spoilt, rows, "spoilt")[0] == clean
    assert weights(spoilt, np.append(rows, validation[:4]), "seen")[0] != clean
    # a test subject: the whole fit, poisoned, is the same
    everything = poisoned(windows, windows[fold.test].subjects[0], tmp_path / "test")
    for estimator in (
        TransformerCnnRegressor(**SMALL),
        unet(1),
    ):
        states = []
        for number, given in enumerate((windows, everything)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(
                    "EEGFMRI_CACHE", str(tmp_path / f"cache-{number}")
                )  # nothing may be found instead of learned
                some, targets, *_ = parts(given, fold)
                states.append(fitted_digest(estimator.fit(some, targets)))
        assert states[0] == states[1]
    assert len(losses) == 2


def test_a_pretrained_autoencoder_is_found_again(windows, fold, tmp_path):
    train, targets, *_ = parts(windows, fold)
    rows = np.arange(30)
    made, history = pretrain(train, targets, rows, n_training_epochs=1, folder=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    found, same = pretrain(train, targets, rows, n_training_epochs=1, folder=tmp_path)
    assert fitted_digest(made) == fitted_digest(found)
    np.testing.assert_allclose(history["train_loss"], same["train_loss"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == before
    pretrain(train, targets, rows, n_training_epochs=1, seed=1, folder=tmp_path)
    assert len(list(tmp_path.glob("*/history.json"))) == 2


def test_training_changes_no_global_random_state(windows, fold):
    train, targets, *_ = parts(windows, fold)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    TransformerCnnRegressor(**SMALL).fit(train, targets)
    torch.testing.assert_close(torch.rand(3), expected)


def test_more_training_restores_volumes_of_subjects_it_knows_and_finds_them_by_their_eeg(windows):
    """Split by volume, the auto-encoder comes near the subject's volumes, and so does the model: it leaks by design."""
    train, targets, test, truth = parts(windows, next(iter(ShuffledTogether(0.25).split(windows))))
    longer = SMALL | {
        "n_pretraining_epochs": 25,
        "n_training_epochs": 12,
        "learning_rate": 3e-3,
        "validation": "volume",
        "dropout": 0.0,
    }
    fitted = TransformerCnnRegressor(**longer, pretraining_rate=5e-3, batch_size=8).fit(train, targets)
    shared = {
        name: value for name, value in fitted.get_params().items() if name in AutoencoderReconstruction().get_params()
    }
    ceiling = np.mean(errors_of(AutoencoderReconstruction(**shared).fit(train, targets).predict(test, truth), truth))
    mean = np.mean(errors_of(np.broadcast_to(targets[:].mean(axis=0), truth.shape), truth))
    # subjects' anatomies differ by a standard deviation in every voxel; six numbers hold four anatomies
    assert ceiling < 0.5 * mean
    assert fitted.history_["train_loss"].iloc[-1] < fitted.history_["train_loss"].iloc[0]


def test_what_training_noted_is_kept_with_the_fold(windows, tmp_path):
    methods = {
        "transformer_cnn": TransformerCnnRegressor(**SMALL, watch=True),
        "unet": UNetRegressor(n_bands=2, features=(4, 8), bottleneck=4, n_training_epochs=2),
    }
    evaluation = evaluate_volumes(
        methods, windows, SubjectFolds(4, 1), scaling=VolumeScaling("standardised"), other_time=["transformer_cnn"],
        structural_every=8, keep=["part-1"], kept_methods=["transformer_cnn"], folder=tmp_path,
    )  # fmt: skip
    said = evaluation.extras["transformer_cnn", "part-1"]
    assert set(said["history"]) >= {
        "train_loss",
        "valid_loss",
        "train_psnr",
        "valid_psnr",
        "train_ssim",
        "valid_ssim",
        "valid_loss_forced",
    }
    assert {len(column) for column in said["history"].values()} == {2}
    assert len(said["pretraining"]["train_loss"]) == 2
    assert len(said["mse_forced"]) == len(evaluation.prediction("transformer_cnn", "part-1"))
    assert len(evaluation.extras["unet", "part-1"]["history"]["valid_loss"]) == 2
    assert "transformer_cnn_other_time" in evaluation.methods
    with pytest.raises(RequestError, match="was not kept"):
        evaluation.prediction("unet", "part-1")
    assert evaluation.target("part-1").shape == evaluation.prediction("transformer_cnn", "part-1").shape


def test_what_cannot_be_is_refused(windows, fold):
    train, targets, *_ = parts(windows, fold)
    for change, said in (
        ({"n_bands": 4}, "4 bands"),
        ({"validation": "hour"}, "'subject' or by 'volume'"),
        ({"adaptation": "no"}, "adaptation is"),
    ):
        with pytest.raises(RequestError, match=said):
            TransformerCnnRegressor(**SMALL | change).fit(train, targets)


def test_an_auto_encoder_without_validation_learns_from_every_training_subject(windows, fold):
    train = windows[fold.train]
    targets = VolumeScaling().fit(train).targets(train)
    settings = {name: SMALL[name] for name in ("features", "embedding", "n_pretraining_epochs")}
    victim = train.groups[TransformerCnnRegressor(validation="subject")._split(train)[1][0]]
    changed = targets.copy() if isinstance(targets, np.ndarray) else np.array(targets[:])
    changed[train.groups == victim] += 1
    of = {}
    for validation in ("subject", None):
        estimator = AutoencoderReconstruction(validation=validation, **settings)
        of[validation] = [estimator.fit(train, values).module_ for values in (targets, targets)]
        assert fitted_digest(of[validation][0]) == fitted_digest(of[validation][1])
    assert fitted_digest(of["subject"][0]) != fitted_digest(of[None][0])
