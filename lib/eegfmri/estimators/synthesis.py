"""The networks of synthesis behind ``fit`` and ``predict``: from windows of EEG to volumes inside a mask.

Fitted on training windows only: the mean volume and the scale of what is left when it is subtracted, each training subject's
scaling of the EEG, and the weights, whose training is stopped by the loss on validation windows cut from the training ones. For a
transformer that loss is the one of free generation, not of teacher forcing.

Transductive, and only where ``adaptation="transductive"``: the EEG of a subject that was not trained on is scaled per channel by its
own unlabelled windows (`eegfmri.estimators.adaptation`).
"""

from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from scipy.signal import decimate
from torch import nn

from eegfmri import cache, project
from eegfmri import device as devices
from eegfmri.errors import RequestError
from eegfmri.estimators.adaptation import AdaptedEstimator
from eegfmri.estimators.training import Batch, TrainedEstimator, answer
from eegfmri.estimators.volume_baselines import LAGGED_POWER
from eegfmri.evaluation.splits import BlockedTogether, InnerValidation, ShuffledTogether
from eegfmri.evaluation.volumes import errors_of
from eegfmri.models import synthesis as models
from eegfmri.preprocessing.volumes import Targets, chunks
from eegfmri.windows import LazyArray, Windows

EegScaling = Literal["zscore", "minmax"]

#: Where nothing is learned, so many times more windows are taken together than in a training step.
TOGETHER = 4


@dataclass(eq=False, repr=False)
class VolumeSynthesiser(AdaptedEstimator, TrainedEstimator):
    """A network that writes a volume from a window of EEG.

    The normalisation of the EEG is what is adapted. Optimised by AdamW.

    Attributes
    ----------
    model : str, default="fully_connected"
        One of `eegfmri.models.synthesis.MODELS`.
    sizes : {"small", "full"}, default="small"
        `default_config` or `full_config` of the network; single sizes can be changed by ``changes``.
    changes : dict or None
        Fields of the network's configuration that shall differ (``{"slice_dropout": 0.5}``).
    eeg_input : {"waveform", "power"}, default="waveform"
        What the network is given of the EEG: its samples, as published, or the logarithm of the power in each band and stretch of 2 s
        (`eegfmri.estimators.volume_baselines.with_lagged_power`), one row per channel. Convolutions need samples.
    eeg_scaling : {"zscore", "minmax"}, default="zscore"
        How EEG is normalised per subject and channel: to mean 0 and standard deviation 1, or to the range from 0 to 1. Power is
        always brought to mean 0 and deviation 1, per subject, channel and band.
    shift, noise : float, default=0.0
        Augmentation, in training only: standard deviation of a constant added to a channel of a window, and of noise added
        to every sample, in units of the normalised EEG.
    validation : {"subjects", "blocks", "shuffled"}, default="subjects"
        What is cut from the training windows to stop by: whole subjects, a block of each subject's time with a gap around it, or
        windows at random. It should pose the question that the test poses.
    validation_gap : float, default=20.0
        Seconds between the signals of training and validation windows, where blocks are cut.
    adaptation, calibration_minutes
        See `eegfmri.estimators.adaptation.AdaptedEstimator`.
    n_training_epochs, patience, batch_size, learning_rate, weight_decay, schedule, validation_splits, seed, device
        See `eegfmri.estimators.training.TrainedEstimator`.
    """

    model: str = "fully_connected"
    _: KW_ONLY
    sizes: Literal["small", "full"] = "small"
    changes: dict | None = None
    eeg_input: Literal["waveform", "power"] = "waveform"
    eeg_scaling: EegScaling = "zscore"
    shift: float = 0.0
    noise: float = 0.0
    n_training_epochs: int = 10
    patience: int | None = 4
    weight_decay: float = 1e-2
    validation: Literal["subjects", "blocks", "shuffled"] = "subjects"
    validation_gap: float = 20.0

    def fit(self, X: Windows, targets: Targets) -> "VolumeSynthesiser":
        """Learn mean volume, scalings and weights from the training windows.

        Parameters
        ----------
        X : Windows
            Training windows, one volume each.
        targets : Targets
            Scaled volumes, ``targets[rows]`` of shape (n, n_voxels), read when asked for.

        Returns
        -------
        VolumeSynthesiser
            Itself.
        """
        if self.model not in models.MODELS:
            raise RequestError(f"There is no network {self.model!r}: choose one of {', '.join(models.MODELS)}.")
        self.check_adaptation()
        if self.eeg_scaling not in ("zscore", "minmax"):
            raise RequestError(f"eeg_scaling is 'zscore' or 'minmax', not {self.eeg_scaling!r}.")
        training, validation = self._cut(X)
        if self.eeg_input not in ("waveform", "power"):
            raise RequestError(f"eeg_input is 'waveform' or 'power', not {self.eeg_input!r}.")
        if self.eeg_input == "power" and (
            self.model.startswith("convolutional") or (self.changes or {}).get("embedding")
        ):
            raise RequestError("Convolutions over time need the EEG's samples: ask for eeg_input='waveform'.")
        # Statistics come from all training windows, validation ones included: those are training subjects, too.
        self.mean_ = targets.mean()
        self.scale_ = _deviation(targets, self.mean_)
        self.eeg_scaling_ = {subject: self._learn_scaling(X[subject == X.groups]) for subject in X.subjects}
        self._train(
            partial(self._build, X),
            _Batches(self, X, targets),
            training,
            validation,
            criterion=nn.MSELoss,
            validation_batch_size=TOGETHER * self.batch_size,
        )
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return volumes in the targets' units, from EEG alone, shape (n_windows, n_voxels), float32."""
        return self._predict(X, self.module_)

    def predict_teacher_forced(self, X: Windows, targets: Targets) -> np.ndarray:
        """Return what a transformer writes when it is shown the true slices: no synthesis, an oracle.

        Parameters
        ----------
        X : Windows
            Test windows.
        targets : Targets
            Their true volumes.

        Returns
        -------
        numpy.ndarray
            Shape (n_windows, n_voxels), float32.
        """
        if not self.model.startswith("transformer"):
            raise RequestError(f"Only a transformer can be teacher-forced, not the network {self.model!r}.")
        return self._predict(X, self.module_.network.teacher_forced, targets)

    def extras(self, X: Windows, targets: Targets) -> dict[str, list]:
        """Return how training went; of a transformer also the channels' encodings and its teacher-forced error.

        Parameters
        ----------
        X : Windows
            Test windows.
        targets : Targets
            Their true volumes: used for the teacher-forced error, which is no score of synthesis, and for nothing else.

        Returns
        -------
        dict of str to list
            ``train_loss``, ``valid_loss`` per training epoch, in units of the mean volume's error on the training windows;
            ``channel_positions``, (n_channels, width), if they are learned; ``mse_teacher_forced`` per window.
        """
        outputs = {name: np.round(values.to_numpy(dtype=float), 6).tolist() for name, values in self.history_.items()}
        if not self.model.startswith("transformer"):
            return outputs
        positions = dict(self.module_.network.named_parameters()).get("channel_positions")
        if positions is not None:
            outputs["channel_positions"] = np.round(
                devices.moved(positions.detach(), "cpu").numpy().astype(float), 6
            ).tolist()
        outputs["mse_teacher_forced"] = errors_of(self.predict_teacher_forced(X, targets), targets).tolist()
        return outputs

    def config(self) -> models.FullyConnectedConfig | models.TransformerConfig:
        """Return the network's configuration as it is used here: EEG arrives pooled."""
        chosen = (models.full_config if self.sizes == "full" else models.default_config)(self.model)
        changes = dict(self.changes or {})
        known = {f.name for f in fields(chosen)}
        if unknown := set(changes) - known:
            raise RequestError(
                f"The network {self.model!r} has no {', '.join(sorted(unknown))}: change any of {', '.join(sorted(known))}."
            )
        return replace(chosen, **changes)

    def _build(self, X: Windows) -> nn.Module:
        config = self.config()
        mask = torch.from_numpy(X.bold.streams[0].space.mask)
        n_times = _power(X).shape[2] if self.eeg_input == "power" else X.eeg.shape[2] // config.pool
        network = models.build(
            self.model, X.eeg.shape[1], n_times, X.eeg.sfreq / config.pool, mask, replace(config, pool=1)
        )
        return models.Augmented(network, self.shift, self.noise)

    def _cut(self, X: Windows) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from and rows to stop by."""
        if self.validation == "subjects":
            return next(iter(InnerValidation(self.validation_splits).split(X)))
        if self.validation == "blocks":
            *_, fold = BlockedTogether(self.validation_splits, self.validation_gap).split(X)
        elif self.validation == "shuffled":
            [fold] = ShuffledTogether(1 / self.validation_splits, 1, self.seed).split(X)
        else:
            raise RequestError(f"validation is cut by 'subjects', 'blocks' or 'shuffled', not {self.validation!r}.")
        return fold.train, fold.test

    def _predict(self, X: Windows, write, targets=None) -> np.ndarray:
        batches = _Batches(self, X, targets)
        out = np.empty((len(X), len(self.mean_)), dtype=np.float32)
        self.module_.eval()
        for rows in chunks(np.arange(len(X)), TOGETHER * self.batch_size):
            out[rows] = answer(self.module_, **batches.inputs(rows), by=write).numpy()
        out *= self.scale_
        out += self.mean_
        return out

    def _learn_scaling(self, own: Windows) -> np.ndarray:
        """Offset and unit from what a subject's windows cover, shape (2, n_channels), of power (2, n_channels, n_values)."""
        if self.eeg_input == "power":
            return _moments_of_power(own)
        pieces = [run[:, covered] for run, covered in _covered(own.eeg, self.config().pool)]
        if self.eeg_scaling == "minmax":
            low = np.min([piece.min(axis=1) for piece in pieces], axis=0)
            offset, unit = low, np.max([piece.max(axis=1) for piece in pieces], axis=0) - low
        else:
            n = sum(piece.shape[1] for piece in pieces)
            offset = sum(piece.sum(axis=1, dtype=float) for piece in pieces) / n
            square = sum(
                np.square(piece - offset[:, None].astype(np.float32)).sum(axis=1, dtype=float) for piece in pieces
            )
            unit = np.sqrt(square / n)
        return np.stack([offset, np.where(unit > 0, unit, 1.0)])

    def scaling_for(self, X: Windows) -> dict[str, np.ndarray]:
        """Return each subject's scaling of the EEG, that of a new subject by ``adaptation``."""
        return self.adapted(X, self.eeg_scaling_, self._learn_scaling)


def _deviation(targets: Targets, mean: np.ndarray) -> float:
    """Root of the mean squared deviation from the mean volume, over windows and voxels; 1 where nothing varies."""
    squares = sum(float(np.square(targets[part] - mean).sum(dtype=float)) for part in chunks(np.arange(len(targets))))
    return float(np.sqrt(squares / (len(targets) * len(mean)))) or 1.0


#: Bytes of scaled EEG, or of its covariances, that are held for a fold's windows; where there would be more, batches are read from disk.
HELD = 2 << 30

#: Runs' scaled EEG and its covariances that were made last: folds and networks ask for the same again.
_RECENT = cache.Recent(512 << 20)


class _Batches:
    """Read a batch: EEG pooled, cut and scaled; volumes as deviations from the training mean. Called by the data loader."""

    def __init__(self, estimator: VolumeSynthesiser, windows: Windows, targets=None):
        self.estimator, self.windows, self.targets = estimator, windows, targets
        self.groups = windows.groups
        self.pool = estimator.config().pool
        self.n_times = windows.eeg.shape[2] // self.pool
        self.scaling = estimator.scaling_for(windows)
        self.power = self.table = None
        if estimator.eeg_input == "power":
            self.power = _power(windows)
            self.units = np.stack([self.scaling[subject] for subject in self.groups])  # (n, 2, C, values)
            return
        self.offset = windows.eeg.first % self.pool
        self.first = windows.eeg.first // self.pool
        self._held: dict[tuple[int, int], np.ndarray] = {}
        used = {(int(run), int(offset)) for run, offset in zip(windows.eeg.run, self.offset, strict=True)}
        pooled = sum(np.prod(windows.eeg.streams[run].load().shape) // self.pool for run, _ in used)
        self.holds = 4 * pooled <= HELD
        self._tabulate()

    # --- what networks are given ---

    def inputs(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        if self.power is not None:
            offset, unit = np.moveaxis(self.units[rows], 1, 0)  # (2, n, C, values)
            values = np.nan_to_num((self.power[rows] - offset) / unit)  # what a gap hides is taken as average
            inputs = {"eeg": torch.from_numpy(values.astype(np.float32))}
        elif self.table is not None:
            inputs = {"covariances": self.table[self.bins[rows]]}  # (n, bins, C, K (K + 1) / 2)
        else:
            inputs = {"eeg": torch.from_numpy(self._samples(rows))}
        if self.targets is not None and self.estimator.model.startswith("transformer"):
            inputs["volume"] = self.deviations(rows)
        return inputs

    def deviations(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((self.targets[rows] - self.estimator.mean_) / np.float32(self.estimator.scale_))

    def __call__(self, batch: list[tuple[int, object]]) -> tuple[Batch, torch.Tensor]:
        rows = np.array([row for row, _ in batch])
        inputs = self.inputs(rows)
        target = inputs["volume"] if "volume" in inputs else self.deviations(rows)
        return Batch(inputs, len(rows)), target

    # --- where it comes from ---

    def _samples(self, rows: np.ndarray) -> np.ndarray:
        eeg = np.empty((len(rows), self.windows.eeg.shape[1], self.n_times), dtype=np.float32)
        for place, row in enumerate(rows):
            eeg[place] = self._piece(row, self.first[row], self.n_times)
        return eeg

    def _piece(self, row: int, first: int, length: int) -> np.ndarray:
        """Return scaled samples of the run that a window lies in."""
        subject, run, offset = self.groups[row], int(self.windows.eeg.run[row]), int(self.offset[row])
        if not self.holds:
            piece = _pooled_run(self.windows.eeg, run, self.pool, offset)[:, first : first + length]
            return _scaled(piece, self.scaling[subject])
        if (run, offset) not in self._held:
            scaling = self.scaling[subject]
            self._held[run, offset] = _RECENT.get(
                (*self._source(run, offset), scaling.tobytes()),
                lambda: _scaled(_pooled_run(self.windows.eeg, run, self.pool, offset), scaling),
            )
        return self._held[run, offset][:, first : first + length]

    def _source(self, run: int, offset: int) -> tuple:
        return (*cache.file_stamp(self.windows.eeg.streams[run].path), self.pool, offset)

    def _tabulate(self) -> None:
        """Make the covariances that convolutions of single channels need of the EEG, where that is less work and fits into memory."""
        estimator, config = self.estimator, self.estimator.config()
        if estimator.model != "convolutional" or config.activation != "log_energy":
            return
        kernel, stride, size = config.steps(self.windows.eeg.sfreq / self.pool)
        if estimator.shift > 0 or estimator.noise > 0 or 2 * size < kernel + 1 or not self.holds:
            return
        n_bins = ((self.n_times - kernel) // stride + 1) // size
        first = self.first[:, None] + stride * size * np.arange(n_bins)
        places = np.stack(
            np.broadcast_arrays(self.windows.eeg.run[:, None], self.offset[:, None], first), axis=-1
        ).reshape(-1, 3)
        # Windows overlap, and so do their bins, if they are apart by whole ones.
        found, rows, bins = np.unique(places, axis=0, return_index=True, return_inverse=True)
        n_channels = self.windows.eeg.shape[1]
        if 4 * len(found) * n_channels * kernel * (kernel + 1) // 2 > HELD:
            return
        length, parts = (size - 1) * stride + kernel, []
        for run, offset in dict.fromkeys(map(tuple, found[:, :2].tolist())):
            own = np.flatnonzero((found[:, 0] == run) & (found[:, 1] == offset))
            row = rows[own[0]] // n_bins

            def make(own=own, row=row) -> torch.Tensor:
                pieces = np.stack([self._piece(row, first, length) for first in found[own, 2]])
                flat = torch.from_numpy(pieces).flatten(0, 1)
                made = models.bin_covariances(flat, kernel, stride, size)
                return made.reshape(len(own), n_channels, -1)

            scaling = self.scaling[self.groups[row]]
            steps = (kernel, stride, size)
            key = (*self._source(run, offset), scaling.tobytes(), steps, found[own, 2].tobytes())
            parts.append(_RECENT.get(key, make))
        self.table = torch.cat(parts)
        self.bins = torch.from_numpy(bins.reshape(-1, n_bins))


def _scaled(values: np.ndarray, scaling: np.ndarray) -> np.ndarray:
    offset, unit = scaling.astype(np.float32)[..., None]  # (C, 1) each
    return (values - offset) / unit


def _power(X: Windows) -> np.ndarray:
    """Power of each channel in each band and stretch, shape (n_windows, n_channels, n_bands × n_stretches)."""
    if LAGGED_POWER not in X.features:
        raise RequestError("The windows lack their lagged band power: call with_lagged_power first.")
    return X.features[LAGGED_POWER].reshape(len(X), X.eeg.shape[1], -1).astype(float)


def _moments_of_power(own: Windows) -> np.ndarray:
    """Mean and deviation of a subject's power per channel and band, over windows and stretches alike."""
    shape = own.features[LAGGED_POWER].shape if LAGGED_POWER in own.features else ()
    power = _power(own).reshape(shape)
    known = np.where(np.isfinite(power), power, np.nan)
    found = np.stack([np.nanmean(known, axis=(0, 3)), np.nanstd(known, axis=(0, 3))])  # (2, C, bands)
    found[1][~(found[1] > 0)] = 1.0
    return np.repeat(np.nan_to_num(found), power.shape[3], axis=2)


def _pooled_run(array: LazyArray, run: int, pool: int, offset: int) -> np.ndarray:
    """A run's EEG at a rate ``pool`` times lower, from sample ``offset`` on; memory-mapped.

    What the lower rate cannot show is filtered out first, by scipy's `decimate`: a mean over neighbours would let 31 to 45 Hz come back
    as beta. The filter reaches a few dozen samples beyond either side. Windows overlap by up to fourteen fifteenths, so filtering
    each of them anew would do the same sums fifteen times.
    """
    stream = array.streams[run]
    if pool == 1:
        return stream.load()
    key = cache.digest("decimated", cache.file_stamp(stream.path), pool, offset, cache.versions("scipy"))
    path = project.cache_dir() / "eeg" / f"{stream.path.stem}-decimated-{key}.npy"

    def make() -> np.ndarray:
        values = stream.load()
        n_pooled = (values.shape[1] - offset) // pool
        kept = np.asarray(values[:, offset : offset + n_pooled * pool], dtype=np.float32)
        return np.stack([decimate(channel, pool, ftype="fir").astype(np.float32) for channel in kept])

    return cache.load_array(cache.kept_array(path, make))


def _covered(array: LazyArray, pool: int):
    """Yield each run's pooled EEG and which of its samples lie in a window."""
    n_times = array.length // pool
    offsets = array.first % pool
    for run, offset in sorted({(int(r), int(o)) for r, o in zip(array.run, offsets, strict=True)}):
        values = _pooled_run(array, run, pool, offset)
        covered = np.zeros(values.shape[1], dtype=bool)
        for first in np.unique(array.first[(array.run == run) & (offsets == offset)]) // pool:
            covered[first : first + n_times] = True
        yield values, covered
