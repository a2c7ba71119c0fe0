"""The networks of graph_fusion as scikit-learn estimators, trained by skorch on `eegfmri.windows.Windows`.

Fitted on training windows only: the graph of functional connectivity, the scaling of BOLD, the whitening of each training
subject's EEG, and the weights, whose training is stopped by the loss on validation subjects cut from the training ones.

Transductive, and only where ``alignment="transductive"``: the EEG of a subject that was not trained on is whitened by the
covariance of its own unlabelled windows. ``"calibration"`` uses its first minutes instead, ``"none"`` nothing. Training
subjects are aligned by all of their own windows.
"""

from functools import partial
from typing import Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn

from eegfmri.errors import RequestError
from eegfmri.estimators import training
from eegfmri.estimators.training import Batch, one_thread
from eegfmri.evaluation.splits import InnerValidation
from eegfmri.models import graphs
from eegfmri.models.graph_fusion import BoldConfig, BoldEncoder, EegConfig, EegEncoder, GraphFusion
from eegfmri.preprocessing.eeg import whitening
from eegfmri.preprocessing.sources import electrode_positions
from eegfmri.recordings import EPOCH_SECONDS
from eegfmri.windows import Windows

Alignment = Literal["transductive", "calibration", "none"]


class GraphFusionClassifier(ClassifierMixin, BaseEstimator):
    """Sleep stages from EEG, from BOLD, or from both through a gate.

    Parameters
    ----------
    modality : {"both", "eeg", "bold"}, default="both"
        What the network sees.
    alignment : {"transductive", "calibration", "none"}, default="transductive"
        Euclidean alignment of the EEG :cite:p:`he2020`, and what of a new subject it may use.
    calibration_minutes : float, default=5.0
        How much of a new subject ``"calibration"`` may use: minutes of scored epochs from the start of the session.
    adjacency : {"hybrid", "fixed", "learned"}, default="hybrid"
        The electrodes' graph.
    recurrent : bool, default=True
        LSTM over the epochs of context.
    modality_dropout : float, default=0.5
        Probability of dropping the EEG embedding in training.
    density : float, default=0.2
        Share of edges kept in the graph of functional connectivity.
    signs : {"keep", "fold", "drop"}, default="keep"
        What becomes of negative correlations.
    shared : bool, default=False
        Regions share the weights of their temporal convolutions.
    conv_features, graph_features, embedding : int
        Sizes, alike for both encoders.
    n_training_epochs : int, default=24
        At most so many passes over the data.
    patience : int, default=8
        Stop after so many passes without a lower validation loss; the best weights are kept.
    batch_size : int, default=16
        Windows per step, in stretches of neighbours that share epochs.
    learning_rate, weight_decay : float
        Of AdamW; the rate rises to this value and falls to nothing within ``n_training_epochs`` :cite:p:`smith2019`.
    validation_splits : int, default=4
        One of so many parts of the training subjects (or of one subject's time) is for validation.
    seed : int, default=0
        Of weights, order, dropout.
    """

    def __init__(
        self,
        modality: Literal["both", "eeg", "bold"] = "both",
        alignment: Alignment = "transductive",
        calibration_minutes: float = 5.0,
        adjacency: Literal["hybrid", "fixed", "learned"] = "hybrid",
        recurrent: bool = True,
        modality_dropout: float = 0.5,
        density: float = 0.2,
        signs: graphs.Signs = "keep",
        shared: bool = False,
        conv_features: int = 8,
        graph_features: int = 16,
        embedding: int = 32,
        n_training_epochs: int = 24,
        patience: int = 8,
        batch_size: int = 16,
        learning_rate: float = 6e-3,
        weight_decay: float = 1e-3,
        validation_splits: int = 4,
        seed: int = 0,
    ):
        self.modality = modality
        self.alignment = alignment
        self.calibration_minutes = calibration_minutes
        self.adjacency = adjacency
        self.recurrent = recurrent
        self.modality_dropout = modality_dropout
        self.density = density
        self.signs = signs
        self.shared = shared
        self.conv_features = conv_features
        self.graph_features = graph_features
        self.embedding = embedding
        self.n_training_epochs = n_training_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_splits = validation_splits
        self.seed = seed

    def fit(self, X: Windows, y: np.ndarray) -> "GraphFusionClassifier":
        """Learn graph, scaling, whitening and weights from the training windows.

        Parameters
        ----------
        X : Windows
            Training windows; the EEG's length is an odd number of scored epochs.
        y : numpy.ndarray
            Class indices, shape (n_windows,).

        Returns
        -------
        GraphFusionClassifier
            Itself.
        """
        if self.modality not in ("both", "eeg", "bold"):
            raise RequestError(f"modality is 'both', 'eeg' or 'bold', not {self.modality!r}.")
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        self._epochs_of(X)
        train, validation = next(iter(InnerValidation(self.validation_splits).split(X)))
        if self.modality != "eeg":
            # Statistics come from all training windows, validation ones included: those are training subjects, too.
            self.connectivity_ = graphs.sparsify(
                graphs.functional_connectivity(X.bold[i] for i in range(len(X))), density=self.density, signs=self.signs
            )
            self.bold_mean_, self.bold_scale_ = X.bold.moments()
        if self.modality != "bold":
            if self.alignment not in ("transductive", "calibration", "none"):
                raise RequestError(f"alignment is 'transductive', 'calibration' or 'none', not {self.alignment!r}.")
            of_training = "none" if self.alignment == "none" else "transductive"
            self.whitening_ = {subject: self._learn_whitening(X, subject, of_training) for subject in X.subjects}
        self.module_ = self._train(X, y, train, validation)
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return class indices, shape (n_windows,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: Windows, missing: str | None = None) -> np.ndarray:
        """Return probabilities of `classes_`, shape (n_windows, n_classes).

        Parameters
        ----------
        X : Windows
            Windows of any subjects; those of a new subject together, since alignment may need them.
        missing : {"eeg", "bold"} or None
            Withhold a modality from a network that was trained on both.

        Returns
        -------
        numpy.ndarray
            Rows sum to 1.
        """
        logits = self._outputs(X, missing)["logits"]
        return torch.softmax(torch.from_numpy(logits), dim=1).numpy()

    def extras(self, X: Windows) -> dict[str, list]:
        """Say more about test windows than their class, for the record of a fold.

        Parameters
        ----------
        X : Windows
            Test windows.

        Returns
        -------
        dict of str to list
            ``probabilities`` and ``embedding_eeg`` or ``embedding_bold``; for both modalities also ``gate`` (mean over the
            embedding), and ``without_eeg``, ``without_bold`` (classes with one modality missing). Where new subjects are
            aligned transductively, ``calibrated``: classes if only their first minutes were used.
        """
        found = self._outputs(X)
        said = {"probabilities": torch.softmax(torch.from_numpy(found["logits"]), dim=1).numpy()}
        said |= {f"embedding_{name}": found[name] for name in ("eeg", "bold") if name in found}
        if self.modality == "both":
            said["gate"] = found["gate"].mean(axis=1)
            for name in ("eeg", "bold"):
                said[f"without_{name}"] = self.classes_[self.predict_proba(X, missing=name).argmax(axis=1)]
        if self.modality != "bold" and self.alignment == "transductive":
            said["calibrated"] = self.classes_[self._outputs(X, alignment="calibration")["logits"].argmax(axis=1)]
        return _rounded(said)

    def learned(self, X: Windows) -> dict[str, list]:
        """Say what a fold's graphs look like and which of their edges decide, for the record of the fold.

        Parameters
        ----------
        X : Windows
            Test windows; their stages are not used.

        Returns
        -------
        dict of str to list
            ``scalp_adjacency`` (n_channels, n_channels) as learned; ``connectivity`` (n_regions, n_regions), of the training
            subjects, and ``edge_use``, of the same shape: by how much the score of the stage that was chosen would fall, to
            first order and on average over windows, if the edge were cut.
        """
        said = {}
        if self.modality != "bold":
            said["scalp_adjacency"] = self.module_.eeg.adjacency().detach().numpy()
        if self.modality != "eeg":
            said |= {"connectivity": self.connectivity_, "edge_use": self._edge_use(X)}
        return _rounded(said)

    def _edge_use(self, X: Windows) -> np.ndarray:
        """Average a_ij ∂(score of the chosen stage)/∂a_ij over windows; both directions of an edge together."""
        encoder, batches = self.module_.bold, self._batches(X)
        total = torch.zeros_like(encoder.normalised)
        with one_thread():
            for start in range(0, len(X), 4 * self.batch_size):
                rows = range(start, min(start + 4 * self.batch_size, len(X)))
                adjacency = encoder.normalised.clone().requires_grad_()
                found = self.module_.embed(**batches([(row, 0) for row in rows])[0].inputs, adjacency=adjacency)
                final = found["fused"] if self.module_.fusion is not None else found["bold"]
                [slope] = torch.autograd.grad(self.module_.classify(final).amax(dim=1).sum(), adjacency)
                total += slope * encoder.normalised
        use = (total + total.T).numpy() / len(X)
        np.fill_diagonal(use, 0.0)
        return use

    def _epochs_of(self, X: Windows) -> tuple[int, int]:
        """Return epochs per window and samples per epoch."""
        n_times = round(EPOCH_SECONDS * X.eeg.sfreq)
        n_epochs, rest = divmod(X.eeg.shape[2], n_times)
        if rest or n_epochs % 2 == 0:
            raise RequestError(
                f"Windows of {X.eeg.shape[2]} samples at {X.eeg.sfreq:g} Hz are no odd number of 30-s epochs: cut them with "
                "epoch_windows(eeg_epochs=1, 3, …)."
            )
        return n_epochs, n_times

    def _middle_epochs(self, X: Windows) -> np.ndarray:
        n_epochs, n_times = self._epochs_of(X)
        start = n_epochs // 2 * n_times
        return X.eeg[:, :, start : start + n_times]

    def _learn_whitening(self, X: Windows, subject: str, alignment: Alignment) -> np.ndarray:
        own = X[subject == X.groups]
        if alignment == "none":
            return np.eye(X.eeg.shape[1]) / self._middle_epochs(own).std()
        if alignment == "calibration":
            order = own.table["order"].to_numpy()
            own = own[order < order.min() + round(60 * self.calibration_minutes / EPOCH_SECONDS)]
        return whitening(np.asarray(self._middle_epochs(own), dtype=float))

    def _whitening_for(self, X: Windows, alignment: Alignment | None = None) -> dict[str, np.ndarray]:
        alignment, known = alignment or self.alignment, {}
        for subject in X.subjects:
            if subject in self.whitening_:
                known[subject] = self.whitening_[subject]
            elif alignment == "none":
                known[subject] = np.mean(list(self.whitening_.values()), axis=0)  # the training subjects' scale
            else:
                known[subject] = self._learn_whitening(X, subject, alignment)
        return known

    def _batches(self, X: Windows, missing: str | None = None, alignment: Alignment | None = None) -> "_Batches":
        eeg = self.modality != "bold" and missing != "eeg"
        bold = self.modality != "eeg" and missing != "bold"
        return _Batches(
            X,
            *self._epochs_of(X),
            self._whitening_for(X, alignment) if eeg else None,
            (self.bold_mean_, self.bold_scale_) if bold else None,
        )

    def _build(self, X: Windows) -> GraphFusion:
        sizes = {
            "conv_features": self.conv_features,
            "graph_features": self.graph_features,
            "embedding": self.embedding,
        }
        eeg = bold = None
        if self.modality != "bold":
            scalp = torch.tensor(graphs.scalp_adjacency(electrode_positions(X.eeg.names)), dtype=torch.float32)
            config = EegConfig(
                n_epochs=self._epochs_of(X)[0], adjacency=self.adjacency, recurrent=self.recurrent, **sizes
            )
            eeg = EegEncoder(scalp, config)
        if self.modality != "eeg":
            connectivity = torch.tensor(self.connectivity_, dtype=torch.float32)
            bold = BoldEncoder(connectivity, BoldConfig(shared=self.shared, **sizes))
        return GraphFusion(len(self.classes_), eeg, bold, self.modality_dropout)

    def _train(self, X: Windows, y: np.ndarray, train: np.ndarray, validation: np.ndarray) -> GraphFusion:
        coded = np.searchsorted(self.classes_, y)
        counts = np.bincount(coded[train], minlength=len(self.classes_))
        weights = torch.tensor(counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=torch.float32)
        trained = training.train(
            partial(self._build, X),
            self._batches(X),
            train,
            validation,
            criterion=nn.CrossEntropyLoss(weight=weights),
            y=coded,
            sampler=training.Stretches(X, train, self.batch_size // 2, self.seed),
            n_training_epochs=self.n_training_epochs,
            patience=self.patience,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=self.seed,
        )
        return trained.module

    @torch.no_grad()
    def _outputs(
        self, X: Windows, missing: str | None = None, alignment: Alignment | None = None
    ) -> dict[str, np.ndarray]:
        batches = self._batches(X, missing, alignment)
        found: dict[str, list] = {}
        with one_thread():
            for start in range(0, len(X), 4 * self.batch_size):
                rows = range(start, min(start + 4 * self.batch_size, len(X)))
                embeddings = self.module_.embed(**batches([(row, 0) for row in rows])[0].inputs)
                final = embeddings["fused"] if self.module_.fusion is not None else next(iter(embeddings.values()))
                embeddings["logits"] = self.module_.classify(final)
                for name, values in embeddings.items():
                    found.setdefault(name, []).append(values.numpy())
        return {name: np.concatenate(values) for name, values in found.items()}


def _rounded(said: dict[str, np.ndarray]) -> dict[str, list]:
    """Write arrays as lists of numbers with six decimals."""
    return {name: np.round(np.asarray(values, dtype=float), 6).tolist() for name, values in said.items()}


class _Batches:
    """Read a batch: each epoch of EEG once, whitened; BOLD scaled. Called by the data loader with rows and classes."""

    def __init__(
        self, windows: Windows, n_epochs: int, n_times: int, whitening_of: dict | None, bold_moments: tuple | None
    ):
        self.windows, self.n_epochs, self.n_times = windows, n_epochs, n_times
        self.whitening_of, self.bold_moments = whitening_of, bold_moments
        self.groups = windows.groups

    def __call__(self, batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
        rows, y = (np.array(values) for values in zip(*batch, strict=True))
        inputs = {}
        if self.whitening_of is not None:
            array = self.windows.eeg
            firsts = array.first[rows, None] + self.n_times * np.arange(self.n_epochs)
            keys = np.stack([np.broadcast_to(array.run[rows, None], firsts.shape), firsts], axis=-1).reshape(-1, 2)
            _, chosen, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
            epochs = np.empty((len(chosen), array.shape[1], self.n_times), dtype=np.float32)
            places = np.divmod(chosen, self.n_epochs)
            for place, (which, epoch) in enumerate(zip(*places, strict=True)):
                epochs[place] = array[rows[which], :, epoch * self.n_times : (epoch + 1) * self.n_times]
            whitenings = np.stack([self.whitening_of[self.groups[row]] for row in rows[places[0]]]).astype(np.float32)
            inputs["eeg"] = torch.bmm(torch.from_numpy(whitenings), torch.from_numpy(epochs))
            inputs["index"] = torch.from_numpy(index.reshape(len(rows), self.n_epochs))
        if self.bold_moments is not None:
            mean, scale = self.bold_moments
            bold = (self.windows.bold[rows] - mean[:, None]) / scale[:, None]
            inputs["bold"] = torch.from_numpy(bold.astype(np.float32))
        return Batch(inputs, len(rows)), torch.from_numpy(y)
