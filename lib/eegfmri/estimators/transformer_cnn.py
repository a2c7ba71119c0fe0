"""The networks of transformer_cnn as estimators: the auto-encoder trained on volumes alone, the transformer, the U-Net.

Windows come from `eegfmri.windows.volume_windows`, with `~eegfmri.preprocessing.spectra.prepare_spectrograms` as their EEG: rows are
channels and bands, one sample per volume. Of a fold's training windows a part is for validation. The auto-encoder learns from the
rest alone and stops after a fixed number of training epochs, so that it has seen no volume of validation or test; the transformer and the
U-Net keep the weights of the training epoch with the lowest validation loss.

Transductive, and only where ``adaptation="transductive"``: the mean and deviation of a new subject's band power come from its own
unlabelled EEG (`eegfmri.estimators.adaptation`).
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from torch import nn

from eegfmri import cache, project
from eegfmri import device as devices
from eegfmri.errors import RequestError
from eegfmri.estimators.adaptation import Adaptation, AdaptedEstimator
from eegfmri.estimators.training import Batch, TrainedEstimator, answer, one_thread, train
from eegfmri.evaluation.splits import InnerValidation
from eegfmri.evaluation.volumes import errors_of, range_of
from eegfmri.metrics import volumes as volume_metrics
from eegfmri.models.transformer_cnn import (
    Autoencoder,
    AutoencoderConfig,
    TransformerCnn,
    TransformerConfig,
    UNet,
    UNetConfig,
)
from eegfmri.preprocessing.volumes import Targets, chunks
from eegfmri.windows import Windows

#: Runs predicted side by side: the weights are fetched once a step for all of them.
RUNS = 4

#: Volumes of each kind that are watched in training.
WATCHED = 8


@dataclass(eq=False, repr=False)
class _OnVolumes(BaseEstimator):
    """What the estimators share: which training windows are for validation.

    Attributes
    ----------
    validation : {"subject", "volume"}
        Whole subjects of the training windows are for validation, or volumes drawn from all of them.
    validation_splits : int, default=3
        One of so many parts of the training windows is for validation.
    seed : int, default=0
        Of weights, order, dropout and validation.
    """

    _: KW_ONLY
    validation: Literal["subject", "volume"] = "subject"
    validation_splits: int = 3
    seed: int = 0

    def _split(self, X: Windows) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from, rows for validation."""
        if self.validation == "subject":
            return next(iter(InnerValidation(self.validation_splits).split(X)))
        if self.validation != "volume":
            raise RequestError(f"Validation is by 'subject' or by 'volume', not {self.validation!r}.")
        order = np.random.default_rng(self.seed).permutation(len(X))
        n_validation = len(X) // self.validation_splits
        return np.sort(order[n_validation:]), np.sort(order[:n_validation])


@dataclass(eq=False, repr=False)
class _FromSpectrograms(_OnVolumes, AdaptedEstimator, TrainedEstimator):
    """What the two that see EEG share: spectrograms in units.

    Attributes
    ----------
    n_bands : int, default=4
        Bands of each channel in the windows' EEG.
    """

    _: KW_ONLY
    n_bands: int = 4
    adaptation: Adaptation = "none"
    n_training_epochs: int = 100
    patience: int | None = 100
    batch_size: int = 16
    learning_rate: float = 1e-5

    def _learn_eeg(self, X: Windows) -> None:
        if X.eeg.shape[1] % self.n_bands:
            raise RequestError(
                f"{X.eeg.shape[1]} rows of EEG are not {self.n_bands} bands of each channel: give n_bands as in the spectrograms."
            )
        self.check_adaptation()
        self.eeg_mean_, self.eeg_scale_ = X.eeg.moments()

    def _eeg(self, X: Windows) -> torch.Tensor:
        """Spectrograms in units, shape (n_windows, n_channels, n_bands, n_segments).

        Without adaptation the units are those of the training windows, for all subjects alike; else each subject's own.
        """
        eeg = np.asarray(X.eeg[:], dtype=np.float32)
        units = self.adapted(X, {}, lambda own: own.eeg.moments(), unadapted=(self.eeg_mean_, self.eeg_scale_))
        for subject, (mean, scale) in units.items():
            own = X.groups == subject
            eeg[own] = (eeg[own] - mean[:, None]) / scale[:, None]
        return torch.from_numpy(eeg).unflatten(1, (-1, self.n_bands))


@dataclass(eq=False, repr=False)
class _WithAutoencoder(_OnVolumes):
    """What the two that have an auto-encoder share.

    Attributes
    ----------
    features : sequence of int, default=(16, 32, 64)
        Of the auto-encoder's convolutions.
    embedding : int, default=256
        Numbers in a token.
    centred : bool, default=True
        The auto-encoder works on deviations from the mean training volume.
    n_pretraining_epochs : int, default=100
        Number of its training epochs.
    pretraining_rate : float
        Of Adam, for the auto-encoder.
    batch_size : int, default=16
        Volumes per step of the auto-encoder.
    schedule : bool, default=True
        Let the rate rise and fall; else it is constant.
    device : {"auto", "cpu", "cuda", "mps"} or None
        See `eegfmri.estimators.training.TrainedEstimator`.
    """

    _: KW_ONLY
    features: Sequence[int] = (16, 32, 64)
    embedding: int = 256
    centred: bool = True
    n_pretraining_epochs: int = 100
    pretraining_rate: float = 1e-3
    batch_size: int = 16
    schedule: bool = True
    device: str | None = None

    def _pretrained(self, X: Windows, targets: Targets, rows: np.ndarray) -> Autoencoder:
        autoencoder, self.pretraining_ = pretrain(
            X,
            targets,
            rows,
            AutoencoderConfig(tuple(self.features), self.embedding),
            centred=self.centred,
            n_training_epochs=self.n_pretraining_epochs,
            batch_size=self.batch_size,
            learning_rate=self.pretraining_rate,
            schedule=self.schedule,
            seed=self.seed,
            device=self.device,
        )
        return autoencoder


def pretrain(
    X: Windows,
    targets: Targets,
    rows: np.ndarray,
    config: AutoencoderConfig | None = None,
    *,
    centred: bool = True,
    n_training_epochs: int = 10,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    schedule: bool = True,
    seed: int = 0,
    device: str | None = None,
    folder: str | Path | None = None,
) -> tuple[Autoencoder, pd.DataFrame]:
    """Train the auto-encoder on volumes, or find it trained.

    Parameters
    ----------
    X : Windows
        Their volumes, not their EEG, are used.
    targets : Targets
        The windows' volumes, scaled.
    rows : numpy.ndarray
        Windows whose volumes may be seen.
    config : AutoencoderConfig or None
        Sizes.
    centred : bool, default=True
        Subtract the mean of these volumes, and add it to what comes out.
    n_training_epochs, batch_size : int
        Number of training epochs; volumes per step.
    learning_rate : float
        Of Adam.
    schedule : bool, default=True
        Let the rate rise and fall, see `eegfmri.estimators.training.train`.
    seed : int, default=0
        Of weights and order.
    device : {"auto", "cpu", "cuda", "mps"} or None
        Where it is trained, see `eegfmri.device.resolve`.
    folder : str, pathlib.Path or None
        Where trained weights are kept, under a key of all the above; None: the project's cache.

    Returns
    -------
    autoencoder : Autoencoder
        In evaluation mode, on the device; the weights of the last training epoch.
    history : pandas.DataFrame
        One row per training epoch: ``train_loss``.
    """
    config, device = config or AutoencoderConfig(), devices.resolve(device)
    used = np.unique(X.bold.run[rows])
    key = cache.digest(
        X.table.iloc[rows][["subject", "run", "volume"]].to_csv(index=False),
        [cache.file_stamp(X.bold.streams[run].path)[1:] for run in used],
        {subject: [np.asarray(part) for part in targets.subjects[subject]] for subject in np.unique(X.groups[rows])},
        X.bold.streams[0].space.mask,
        [asdict(config), centred, n_training_epochs, batch_size, learning_rate, schedule, seed],
        cache.code_digest(__name__),
        cache.versions("torch", "skorch"),
        *([] if device == "cpu" else [device]),
    )
    folder = (project.cache_dir() / "autoencoders" if folder is None else Path(folder)) / key
    mask = torch.from_numpy(X.bold.streams[0].space.mask)
    folder.mkdir(parents=True, exist_ok=True)
    with cache.making(folder):  # two methods of a fold may need the same one at once
        names = _autoencoder_of(mask, config).state_dict()
        history = cache.kept_json(folder / "history.json")
        if history is None or not all(cache.is_whole(folder / f"{name}.npy") for name in names):
            module, epochs = _pretrain(
                targets,
                rows,
                mask,
                config,
                centred,
                n_training_epochs,
                batch_size,
                learning_rate,
                schedule,
                seed,
                device,
            )
            for name, values in devices.moved(module.state_dict(), "cpu").items():
                cache.save_array(folder / f"{name}.npy", values.numpy())
            history = epochs.to_dict("list")
            cache.keep_json(folder / "history.json", history)
    autoencoder = _autoencoder_of(mask, config)
    kept = {name: np.array(cache.load_array(folder / f"{name}.npy")) for name in autoencoder.state_dict()}
    autoencoder.load_state_dict({name: torch.from_numpy(values) for name, values in kept.items()})
    return autoencoder.eval().to(device), pd.DataFrame(history)


def _autoencoder_of(mask: torch.Tensor, config: AutoencoderConfig) -> Autoencoder:
    """Return an autoencoder whose weights are going to be replaced; drawing them leaves the generator as it was."""
    with torch.random.fork_rng(devices=[]):
        return Autoencoder(mask, config)


def _pretrain(
    targets: Targets,
    rows: np.ndarray,
    mask: torch.Tensor,
    config: AutoencoderConfig,
    centred: bool,
    n_training_epochs: int,
    batch_size: int,
    learning_rate: float,
    schedule: bool,
    seed: int,
    device: str,
) -> tuple[Autoencoder, pd.DataFrame]:
    mean = torch.from_numpy(targets.mean(rows)) if centred else None

    def build() -> Autoencoder:
        made = Autoencoder(mask, config)
        if mean is not None:
            made.mean.copy_(mean)
        return made

    def read(batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
        volumes = torch.from_numpy(targets[[row for row, _ in batch]])
        return Batch({"volumes": volumes}, len(batch)), volumes

    trained = train(
        build,
        read,
        rows,
        rows[:1],  # nothing is stopped by it, and no other volume may be looked at
        criterion=nn.MSELoss,
        n_training_epochs=n_training_epochs,
        patience=None,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        optimiser=torch.optim.Adam,
        seed=seed,
        device=device,
    )
    return trained.module, trained.history[["train_loss"]]


@dataclass(eq=False, repr=False)
class TransformerCnnRegressor(_WithAutoencoder, _FromSpectrograms):
    """Volumes from spectrograms, generated autoregressively through each run.

    The units of band power are what may be adapted; ``"none"`` by default. Optimised by Adam.

    Attributes
    ----------
    n_bands : int, default=4
        Bands of each channel in the windows' EEG.
    features, embedding, centred, n_pretraining_epochs, pretraining_rate, batch_size
        Of the auto-encoder, see `AutoencoderReconstruction`.
    frozen : bool, default=True
        The auto-encoder stays as it was pre-trained.
    width, n_heads, n_encoder_layers, n_decoder_layers, feedforward, dropout, n_past, eeg_tokens
        See `eegfmri.models.transformer_cnn.TransformerConfig`.
    scheduled_sampling : float, default=0.0
        Probability that a volume of the past is the model's own in training.
    validation : {"subject", "volume"}
        Whole subjects of the training windows are for validation, or volumes drawn from all of them.
    stretch : int, default=32
        Volumes that follow each other in a training sequence.
    batch_stretches : int, default=1
        Training sequences per step.
    watch : bool, default=False
        Note PSNR, SSIM and the validation loss under teacher forcing after each training epoch.
    adaptation, calibration_minutes
        See `eegfmri.estimators.adaptation.AdaptedEstimator`.
    n_training_epochs, patience, learning_rate, weight_decay, schedule, validation_splits, seed, device
        See `eegfmri.estimators.training.TrainedEstimator`; ``schedule``, ``seed`` and ``device`` are the auto-encoder's, too.
    """

    _: KW_ONLY
    frozen: bool = True
    width: int = 256
    n_heads: int = 8
    n_encoder_layers: int = 4
    n_decoder_layers: int = 4
    feedforward: int = 1024
    dropout: float = 0.1
    n_past: int | None = 32
    eeg_tokens: Literal["segments", "channels"] = "segments"
    scheduled_sampling: float = 0.0
    stretch: int = 32
    batch_stretches: int = 1
    watch: bool = False

    def fit(self, X: Windows, targets: Targets) -> "TransformerCnnRegressor":
        """Pre-train the auto-encoder, then train the transformer under teacher forcing.

        Parameters
        ----------
        X : Windows
            Training windows.
        targets : Targets
            Their volumes, scaled.

        Returns
        -------
        TransformerCnnRegressor
            Itself.
        """
        rows, validation = self._split(X)
        self._learn_eeg(X[rows])
        autoencoder = self._pretrained(X, targets, rows)
        stretches = [part for run in runs_of(X, rows) for part in np.array_split(run, -(-len(run) // self.stretch))]
        runs = runs_of(X, validation)
        read = _ReadStretches(X, targets, self._eeg(X), [*stretches, *runs], len(stretches))
        config = TransformerConfig(
            self.width,
            self.n_heads,
            self.n_encoder_layers,
            self.n_decoder_layers,
            self.feedforward,
            self.dropout,
            self.n_past,
            self.eeg_tokens,
        )

        def build() -> TransformerCnn:
            model = TransformerCnn(
                autoencoder, *read.eeg.shape[1:], config, frozen=self.frozen, scheduled_sampling=self.scheduled_sampling
            )
            raw = encoded(autoencoder, targets, rows)
            model.standardise_tokens(raw)
            if self.frozen:
                read.tokens = torch.zeros(len(X), self.embedding)
                read.tokens[rows] = (raw - model.token_mean) / model.token_scale
            return model  # the auto-encoder may lie on another device already; training brings the rest there

        watch = _Watch(read, X, targets, rows, validation) if self.watch else None
        self._train(
            build,
            read,
            np.arange(len(stretches)),
            len(stretches) + np.arange(len(runs)),
            criterion=nn.MSELoss,
            batch_size=self.batch_stretches,
            validation_batch_size=RUNS,
            optimiser=torch.optim.Adam,
            observe=watch,
        )
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Predict volumes by autoregression through each run, shape (n_windows, n_voxels); no volume is looked at."""
        eeg, number = self._eeg(X), torch.tensor(X.y)
        out = np.empty(X.bold.shape[:2], dtype=np.float32)
        runs = runs_of(X, np.arange(len(X)))
        for some in np.array_split(np.arange(len(runs)), -(-len(runs) // RUNS)):
            chosen = [runs[place] for place in some]
            padded, _ = together(chosen)
            generated = answer(self.module_, eeg[padded], number[padded], by=self.module_.generate)
            for rows, tokens in zip(chosen, generated, strict=True):
                self._render(tokens, rows, out)
        return out

    def _render(self, tokens: torch.Tensor, rows: np.ndarray, out: np.ndarray) -> None:
        """Write the volumes of tokens into rows of ``out``."""
        for part in chunks(np.arange(len(rows))):
            out[rows[part]] = answer(self.module_, tokens[part], by=self.module_.render).numpy()

    def predict_forced(self, X: Windows, targets: Targets) -> np.ndarray:
        """Predict each volume from the true ones before it: what teacher forcing at test would score, no prediction."""
        eeg, out = self._eeg(X), np.empty(targets.shape, dtype=np.float32)
        for rows in runs_of(X, np.arange(len(X))):
            tokens = _tokens_of(self.module_, targets, rows)
            position = torch.from_numpy(X.y[rows])[None]
            forced = answer(self.module_, eeg[rows][None], position, tokens[None], by=self.module_.force)[0]
            self._render(forced, rows, out)
        return out

    def extras(self, X: Windows, targets: Targets) -> dict[str, list]:
        """Return how training went, for the record of a fold.

        Parameters
        ----------
        X : Windows
            Test windows.
        targets : Targets
            Their volumes.

        Returns
        -------
        dict of str to list
            ``pretraining`` and ``history``: their columns, one value per training epoch. ``mse_forced``: error of each test volume if the
            true volumes before it were given.
        """
        return {
            "pretraining": _rounded(self.pretraining_),
            "history": _rounded(self.history_),
            "mse_forced": errors_of(self.predict_forced(X, targets), targets).tolist(),
        }


@dataclass(eq=False, repr=False)
class AutoencoderReconstruction(_WithAutoencoder):
    """Oracle: what the auto-encoder makes of the true test volume, the ceiling of whatever is rendered by it.

    Attributes
    ----------
    features : sequence of int, default=(16, 32, 64)
        Of the auto-encoder's convolutions.
    embedding : int, default=256
        Numbers in a token.
    centred : bool, default=True
        The auto-encoder works on deviations from the mean training volume.
    n_pretraining_epochs : int, default=100
        Number of training epochs; none is left out.
    pretraining_rate : float
        Of Adam.
    batch_size : int, default=16
        Volumes per step.
    schedule : bool, default=True
        Let the rate rise and fall; else it is constant.
    validation, validation_splits, seed, device
        As for `TransformerCnnRegressor`; with the same values it is the same auto-encoder. With ``validation=None`` it learns from all
        training windows.
    """

    sees_targets = True

    def fit(self, X: Windows, targets: Targets) -> "AutoencoderReconstruction":
        """Pre-train, or find it pre-trained."""
        rows = np.arange(len(X)) if self.validation is None else self._split(X)[0]
        self.module_ = self._pretrained(X, targets, rows)
        return self

    def predict(self, X: Windows, targets: Targets) -> np.ndarray:
        """Reconstruct the windows' own volumes, shape (n_windows, n_voxels)."""
        parts = chunks(np.arange(len(X)))
        return np.concatenate([answer(self.module_, torch.from_numpy(targets[part])).numpy() for part in parts])


@dataclass(eq=False, repr=False)
class UNetRegressor(_FromSpectrograms):
    """Volumes from spectrograms, each by itself, by the U-Net. Optimised by Adam.

    Attributes
    ----------
    features : tuple of int, default=(32, 64)
        Feature maps at the two levels.
    bottleneck : int, default=64
        Features that the EEG is pressed into.
    centred : bool, default=True
        Predict deviations from the mean training volume.
    n_bands, adaptation, calibration_minutes, validation, validation_splits, seed
        As for `TransformerCnnRegressor`.
    n_training_epochs, patience, batch_size, learning_rate, weight_decay, schedule, device
        See `eegfmri.estimators.training.TrainedEstimator`.
    """

    _: KW_ONLY
    features: tuple[int, int] = (32, 64)
    bottleneck: int = 64
    centred: bool = True

    def fit(self, X: Windows, targets: Targets) -> "UNetRegressor":
        """Train on the windows that are not for validation."""
        rows, validation = self._split(X)
        self._learn_eeg(X[rows])
        eeg = self._eeg(X)
        mask = torch.from_numpy(X.bold.streams[0].space.mask)
        mean = torch.from_numpy(targets.mean(rows)) if self.centred else None

        def build() -> UNet:
            made = UNet(mask, *eeg.shape[1:], UNetConfig(self.bottleneck, tuple(self.features)))
            if mean is not None:
                made.mean.copy_(mean)
            return made

        def read(batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
            chosen = [row for row, _ in batch]
            return Batch({"eeg": eeg[chosen]}, len(chosen)), torch.from_numpy(targets[chosen])

        self._train(build, read, rows, validation, criterion=nn.MSELoss, optimiser=torch.optim.Adam)
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Predict volumes, shape (n_windows, n_voxels)."""
        eeg = self._eeg(X)
        return np.concatenate([answer(self.module_, eeg[part]).numpy() for part in chunks(np.arange(len(X)))])

    def extras(self, X: Windows, targets: Targets) -> dict[str, list]:
        """Return how training went, for the record of a fold: ``history``, its columns with one value per training epoch."""
        return {"history": _rounded(self.history_)}


def runs_of(X: Windows, rows: np.ndarray) -> list[np.ndarray]:
    """Part rows into runs, each in order of time; volumes that are not among them leave gaps."""
    rows = np.asarray(rows)
    parts = [rows[X.bold.run[rows] == run] for run in dict.fromkeys(X.bold.run[rows].tolist())]
    return [part[np.argsort(X.y[part], kind="stable")] for part in parts]


def together(stretches: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Make one table of stretches of unequal length: shorter ones repeat their last row, which nothing before it can see.

    Parameters
    ----------
    stretches : sequence of numpy.ndarray
        Rows, in order of time.

    Returns
    -------
    padded : numpy.ndarray
        Shape (n_stretches, longest).
    real : numpy.ndarray
        Where in the flattened table the rows stand that are no repetition, in the order of the stretches.
    """
    longest = max(map(len, stretches))
    padded = np.stack([rows[np.minimum(np.arange(longest), len(rows) - 1)] for rows in stretches])
    real = np.concatenate([place * longest + np.arange(len(rows)) for place, rows in enumerate(stretches)])
    return padded, real


def encoded(autoencoder: Autoencoder, targets: Targets, rows: np.ndarray) -> torch.Tensor:
    """Tokens of some targets as the auto-encoder makes them, shape (n_rows, embedding)."""
    volumes = (torch.from_numpy(targets[part]) for part in chunks(rows))
    return torch.cat([answer(autoencoder, some, by=autoencoder.encode) for some in volumes])


def _tokens_of(model: TransformerCnn, targets: Targets, rows: np.ndarray) -> torch.Tensor:
    """Tokens of some targets in the model's unit, shape (n_rows, embedding)."""
    raw = encoded(model.autoencoder, targets, rows)
    return answer(model, raw, by=lambda raw: (raw - model.token_mean) / model.token_scale)


class _ReadStretches:
    """Read stretches of runs: those to learn from with the tokens of their past, those for validation without.

    ``tokens`` holds the token of every window's volume if the auto-encoder is frozen; else volumes are given to be encoded anew.
    """

    def __init__(self, X: Windows, targets: Targets, eeg: torch.Tensor, stretches: list[np.ndarray], n_training: int):
        self.number, self.targets, self.eeg = torch.tensor(X.y), targets, eeg
        self.stretches, self.n_training = stretches, n_training
        self.tokens: torch.Tensor | None = None

    def __call__(self, batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
        chosen = [self.stretches[number] for number, _ in batch]
        inputs, rows = self.inputs(chosen, forced=batch[0][0] < self.n_training)
        # a training epoch's loss is averaged over volumes, and validation runs are longer than stretches
        return Batch(inputs, len(rows)), torch.from_numpy(self.targets[rows])

    def inputs(self, chosen: list[np.ndarray], forced: bool) -> tuple[dict, np.ndarray]:
        """Arguments of the model for some stretches, and the windows that it renders."""
        padded, real = together(chosen)
        inputs = {"eeg": self.eeg[padded], "position": self.number[padded], "rendered": torch.from_numpy(real)}
        if forced and self.tokens is not None:
            inputs["tokens"] = self.tokens[padded]
        elif forced:
            inputs["volumes"] = torch.from_numpy(self.targets[padded.ravel()]).unflatten(0, padded.shape)
        return inputs, np.concatenate(chosen)


class _Watch:
    """PSNR and SSIM of a few training and validation volumes after each training epoch, and the validation loss under teacher forcing."""

    def __init__(self, read: _ReadStretches, X: Windows, targets: Targets, rows: np.ndarray, validation: np.ndarray):
        self.read, self.targets = read, targets
        self.space = X.bold.streams[0].space
        self.inside = volume_metrics.eroded(self.space.mask)
        self.range = range_of(targets.subset(rows))
        self.training = read.stretches[: read.n_training][:: max(1, read.n_training // 2)][:2]
        self.validation = read.stretches[read.n_training :]
        self.true_tokens: list[torch.Tensor] | None = None

    def __call__(self, model: TransformerCnn, said: list[torch.Tensor]) -> dict[str, float]:
        found = {}
        with one_thread():
            inputs, rows = self.read.inputs(self.training, forced=True)
            generated = torch.cat(said).numpy()  # of the validation runs, in their order
            for name, predicted, own in (
                ("train", answer(model, **inputs).numpy(), rows),
                ("valid", generated, np.concatenate(self.validation)),
            ):
                found |= {f"{name}_{score}": value for score, value in self._scores(predicted, own).items()}
            squares = count = 0.0
            for rows, tokens in zip(self.validation, self._tokens(model), strict=True):
                inputs, _ = self.read.inputs([rows], forced=False)
                predicted = answer(model, **(inputs | {"tokens": tokens[None]})).numpy()
                squares += ((predicted - self.targets[rows]) ** 2).mean(axis=1, dtype=float).sum()
                count += len(rows)
        return found | {"valid_loss_forced": squares / count}

    def _tokens(self, model: TransformerCnn) -> list[torch.Tensor]:
        """True tokens of the validation runs; those of a frozen auto-encoder stay what they are."""
        if self.true_tokens is None or not model.frozen:
            self.true_tokens = [_tokens_of(model, self.targets, rows) for rows in self.validation]
        return self.true_tokens

    def _scores(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        true = self.targets[rows]
        mse = ((predicted - true) ** 2).mean(axis=1, dtype=float)
        some = np.unique(np.linspace(0, len(rows) - 1, min(WATCHED, len(rows))).astype(int))
        ssim = [
            volume_metrics.ssim(self.space.fill(true[n]), self.space.fill(predicted[n]), self.range, self.inside)
            for n in some
        ]
        return {
            "psnr": float(np.mean(volume_metrics.psnr(mse, self.range))),
            "ssim": float(np.mean([one.whole for one in ssim])),
            "ssim_inside": float(np.mean([one.inside for one in ssim])),
        }


def _rounded(history: pd.DataFrame) -> dict[str, list]:
    return {name: [float(f"{value:.6g}") for value in column] for name, column in history.items()}
