r"""What a study can find: coupling × subjects × minutes, for three families of methods, on subjects simulated as features.

A *pool* of subjects is drawn once (`Pool`); a *study* takes some of them at random. One half of its subjects teaches, the other half is
tested: the score of a tested subject is the correlation over time between what is predicted from its EEG and its cleaned BOLD. A study has
*found* something if the mean of Fisher's z over its tested subjects exceeds zero (Student's t, one-sided, p < .05). Tested subjects take no
part in what they are tested with, and nothing else links them, so that the test keeps its level; scores of all subjects, each left out
once, do not have that property (`left_out_null`).

A regression with one regressor whose sign is known beforehand needs no teaching: its correlations with all subjects are tested two-sided
(`Family.learns`).

A *cell* of the map (`Cell`) is computed by a function that any executor can be given (`compute`), and kept on disk under a key of all
that can change it.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from eegfmri import cache, executors, metrics, project
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.lags import standardise
from eegfmri.simulation.features import AREAS, FEATURES, Measurement, draw_subject, region_targets
from eegfmri.simulation.parameters import ACQUISITIONS, get_preset

#: Repetition time of the simulated scans in s.
T_R = ACQUISITIONS["rest"].t_r

#: What is scored: the mean over regions of their correlations, the mean signal, and the dorsal attention network.
TARGETS = ("regions", "global", "dan")

#: Subjects that are drawn and kept together.
_CHUNK = 16

#: Level of every test.
LEVEL = 0.05

_DISTRIBUTIONS = ("numpy", "scipy", "scikit-learn", "nilearn", "mne")


@dataclass(frozen=True)
class Family:
    """A way to predict BOLD from EEG.

    Attributes
    ----------
    title : str
        As readers call it.
    learns : bool
        Whether it learns from other subjects; otherwise its sign is prescribed, and all subjects are tested.
    """

    title: str
    learns: bool = True


#: Families by the names that results give them.
FAMILIES: Mapping[str, Family] = {
    "alpha_fixed": Family("GLM, alpha, sign prescribed", learns=False),
    "alpha": Family("GLM, alpha"),
    "vigilance": Family("GLM, vigilance"),
    "ridge": Family("ridge on lagged band power"),
    "network": Family("small network"),
}


@dataclass(frozen=True)
class Settings:
    """Settings of the families, chosen on 28 November 2026 on studies of 8 and 32 subjects of a pool of seed 901, and left alone since.

    Tried were 3, 4, 5 and 7 lags, 4, 8 and 16 hidden units, rates from 0.001 to 0.03, penalties from 0.01 to 100 and batches of 64 and 128.

    Attributes
    ----------
    n_lags : int
        Volumes of band power before a volume that ridge and network see, from the volume itself on.
    penalties : tuple of float
        Among which ridge chooses, by halves of the teaching subjects; in units of a feature's variance.
    hidden : int
        Hidden units of the network (rectified linear).
    learning_rate : float
        Of Adam.
    penalty : float
        On squared weights of the network.
    batch_size : int
        Volumes a step.
    n_training_epochs : int
        At most so many.
    patience : int
        Training epochs without a better validation score after which training stops.
    """

    n_lags: int = 4
    penalties: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    hidden: int = 16
    learning_rate: float = 0.01
    penalty: float = 30.0
    batch_size: int = 128
    n_training_epochs: int = 30
    patience: int = 4


# --- pools -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """Subjects simulated as features, from which studies are drawn.

    Attributes
    ----------
    preset : str
        Of the simulator.
    n_subjects : int
        How many.
    minutes : float
        Longest recording that studies may take.
    seed : int
        Of everything random; a larger pool of the same seed has the same first subjects.
    measurement : Measurement
        What measuring does.
    """

    preset: str = "realistic"
    n_subjects: int = 128
    minutes: float = 10.0
    seed: int = 0
    measurement: Measurement = field(default_factory=Measurement)

    @property
    def n_volumes(self) -> int:
        """Volumes of a subject."""
        return volumes_of(self.minutes)

    def parts(self) -> list[Path]:
        """Return the paths of its pieces, present or not."""
        preset = {**asdict(get_preset(self.preset)), "tsnr": str(get_preset(self.preset).tsnr)}
        key = cache.digest(
            preset,
            self.n_volumes,
            self.seed,
            asdict(self.measurement),
            cache.code_digest("eegfmri.simulation.features"),
            cache.versions(*_DISTRIBUTIONS),
        )
        folder = project.cache_dir() / "features" / f"{self.preset}-{key}"
        return [
            folder / f"{first:04d}-{min(_CHUNK, self.n_subjects - first)}.npy"
            for first in range(0, self.n_subjects, _CHUNK)
        ]

    def load(self) -> np.ndarray:
        """Return all subjects, shape (n_subjects, n_rows, n_volumes), as `FeatureSubject.stacked` has them."""
        return np.concatenate([np.asarray(cache.load_array(path)) for path in self.parts()])


def volumes_of(minutes: float) -> int:
    """Return how many volumes a recording of so many minutes has."""
    return round(60 * minutes / T_R)


def draw_pool(pool: Pool, n_jobs: int = 1) -> None:
    """Draw the subjects of a pool that are not on disk.

    Parameters
    ----------
    pool : Pool
        Which.
    n_jobs : int, default=1
        Processes; a cluster where one is named, see `eegfmri.executors.chosen`.

    Raises
    ------
    EegFmriError
        If a piece fails.
    """
    jobs = [
        executors.Job(f"subjects {number * _CHUNK + 1} and on", _draw_part, (pool, number), "subjects")
        for number, path in enumerate(pool.parts())
        if not cache.is_whole(path)
    ]
    _do(jobs, n_jobs)


def _draw_part(pool: Pool, number: int) -> None:
    """Draw one piece of a pool."""
    from threadpoolctl import threadpool_limits

    first = number * _CHUNK
    numbers = range(first, min(first + _CHUNK, pool.n_subjects))

    def make() -> np.ndarray:
        with threadpool_limits(1):
            preset = get_preset(pool.preset)
            return np.stack(
                [draw_subject(preset, pool.seed, n, pool.n_volumes, pool.measurement).stacked() for n in numbers]
            )

    cache.kept_array(pool.parts()[number], make)


def _do(jobs: Sequence[executors.Job], n_jobs: int) -> None:
    executor = executors.chosen(min(n_jobs, max(1, len(jobs))))
    failures = [done.error for done in executors.completed(jobs, executor) if done.error is not None]
    if failures:
        raise EegFmriError(f"{failures[0]}") from failures[0]


# --- what is learned from --------------------------------------------------------------------------------------------


def design(power: np.ndarray, family: str, settings: Settings, t_r: float = T_R) -> np.ndarray:
    """Make what a family predicts from.

    Parameters
    ----------
    power : numpy.ndarray
        Shape (n_features, n_volumes), rows as in `eegfmri.simulation.features.FEATURES`.
    family : str
        One of `FAMILIES`.
    settings : Settings
        Lags.
    t_r : float
        Repetition time in s.

    Returns
    -------
    numpy.ndarray
        Shape (n_regressors, n_volumes), each of zero mean and unit variance over the run: transductive, like the cleaning of BOLD.
    """
    if family in ("ridge", "network"):
        rows = standardise(power)
        lagged = [
            np.concatenate([rows[:, :1].repeat(lag, axis=1), rows[:, : rows.shape[1] - lag]], axis=1)
            for lag in range(settings.n_lags)
        ]
        return standardise(np.concatenate(lagged))
    course = _band(power, "alpha")
    if family == "vigilance":
        course = course - _band(power, "theta")
    kernel = _response(t_r)
    padded = np.concatenate([np.full(len(kernel), course.mean()), course])
    return standardise(np.convolve(padded, kernel)[len(kernel) : len(padded)])[None]


def _band(power: np.ndarray, band: str) -> np.ndarray:
    """Mean over areas of a band's log power."""
    return power[[FEATURES.index(f"{area} {band}") for area in AREAS]].mean(axis=0)


@lru_cache(maxsize=4)
def _response(t_r: float) -> np.ndarray:
    from nilearn.glm.first_level import glover_hrf

    return glover_hrf(t_r, oversampling=1, time_length=32.0)


def with_targets(bold: np.ndarray) -> np.ndarray:
    """Append to regional BOLD the mean signal and the network: shape (..., n_regions + 2, n_volumes)."""
    weights = np.stack(list(region_targets().values()))
    return np.concatenate([bold, weights @ bold], axis=-2)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over time of each subject, from which every linear method is fitted and scored, at any coupling.

    Attributes
    ----------
    gram : numpy.ndarray
        Shape (n_subjects, n_regressors, n_regressors).
    linked, rest : numpy.ndarray
        Shape (n_subjects, n_regressors, n_targets): products of regressors with what the coupling scales, and with what it does not.
    linked_linked, linked_rest, rest_rest : numpy.ndarray
        Shape (n_subjects, n_targets): products of these with themselves.
    planted : numpy.ndarray
        Shape (3, n_subjects, n_targets): of planted BOLD with itself, with the linked and with the rest.
    """

    gram: np.ndarray
    linked: np.ndarray
    rest: np.ndarray
    linked_linked: np.ndarray
    linked_rest: np.ndarray
    rest_rest: np.ndarray
    planted: np.ndarray

    def deviation(self, coupling: float) -> np.ndarray:
        """Return the standard deviation of each subject's targets at a coupling, shape (n_subjects, n_targets)."""
        return np.sqrt(coupling**2 * self.linked_linked + 2 * coupling * self.linked_rest + self.rest_rest)

    def products(self, coupling: float) -> np.ndarray:
        """Return correlations of regressors with targets at a coupling, shape (n_subjects, n_regressors, n_targets)."""
        return (coupling * self.linked + self.rest) / self.deviation(coupling)[:, None]

    def ceiling(self, coupling: float) -> np.ndarray:
        """Correlate planted BOLD itself with what is measured: an oracle, shape (n_subjects, n_targets); nothing at coupling 0."""
        own, with_linked, with_rest = self.planted
        return (coupling * with_linked + with_rest) / (np.sqrt(own) * self.deviation(coupling)) * (coupling > 0)


def moments(arrays: np.ndarray, family: str, minutes: float, settings: Settings) -> Moments:
    """Sum up the subjects of a pool over the first minutes of their recordings.

    Parameters
    ----------
    arrays : numpy.ndarray
        As `Pool.load` returns them.
    family : str
        One of `FAMILIES`.
    minutes : float
        How much of each recording.
    settings : Settings
        Lags.

    Returns
    -------
    Moments
        Everything per volume, with the mean of each series taken out.
    """
    n_volumes, found = volumes_of(minutes), []
    for array in arrays[:, :, :n_volumes]:
        power, planted, linked, rest = split_rows(np.asarray(array, dtype=float))
        x = design(power, family, settings)
        planted, linked, rest = (_centred(with_targets(part)) for part in (planted, linked, rest))

        def mean(a, b):
            return (a * b).mean(axis=1)

        found.append(
            (
                x @ x.T / n_volumes, x @ linked.T / n_volumes, x @ rest.T / n_volumes, mean(linked, linked), mean(linked, rest),
                mean(rest, rest), np.stack([mean(planted, planted), mean(planted, linked), mean(planted, rest)]),
            )
        )  # fmt: skip
    stacked = [np.stack(parts) for parts in zip(*found, strict=True)]
    return Moments(*stacked[:-1], stacked[-1].transpose(1, 0, 2))


def split_rows(array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take a subject's rows apart again: power, planted, linked and remaining BOLD."""
    power, bold = array[: len(FEATURES)], array[len(FEATURES) :]
    return power, *np.split(bold, 3)


def _centred(series: np.ndarray) -> np.ndarray:
    return series - series.mean(axis=-1, keepdims=True)


@lru_cache(maxsize=2)
def _loaded(paths: tuple[str, ...]) -> np.ndarray:
    return np.concatenate([np.asarray(cache.load_array(path)) for path in paths])


@lru_cache(maxsize=16)
def _moments_of(pool: Pool, family: str, minutes: float, settings: Settings) -> Moments:
    """Moments of a pool; a process that computes several cells computes them once."""
    return moments(_loaded(tuple(map(str, pool.parts()))), family, minutes, settings)


# --- fitting and scoring ---------------------------------------------------------------------------------------------


def fit_ridge(gram: np.ndarray, products: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Fit a ridge regression to teaching subjects, its penalty chosen by predicting either half of them from the other.

    Parameters
    ----------
    gram : numpy.ndarray
        Shape (n_subjects, n_regressors, n_regressors), from standardised regressors.
    products : numpy.ndarray
        Shape (n_subjects, n_regressors, n_targets).
    penalties : sequence of float
        To choose among.

    Returns
    -------
    numpy.ndarray
        Weights, shape (n_regressors, n_targets).
    """
    n_subjects = len(gram)
    if n_subjects > 1 and len(penalties) > 1:
        scores = np.zeros(len(penalties))
        for held in (slice(0, n_subjects // 2), slice(n_subjects // 2, None)):
            kept = np.ones(n_subjects, dtype=bool)
            kept[held] = False
            own, answers = gram[held].mean(axis=0), products[held].mean(axis=0)
            for place, weights in enumerate(
                _ridge_path(gram[kept].mean(axis=0), products[kept].mean(axis=0), penalties)
            ):
                scores[place] += np.nanmean(_correlation(weights, own, answers))
        penalties = (penalties[int(scores.argmax())],)
    return _ridge_path(gram.mean(axis=0), products.mean(axis=0), penalties)[0]


def _ridge_path(gram: np.ndarray, products: np.ndarray, penalties: Sequence[float]) -> list[np.ndarray]:
    values, vectors = np.linalg.eigh(gram)
    turned = vectors.T @ products
    return [vectors @ (turned / (np.maximum(values, 0.0) + penalty)[:, None]) for penalty in penalties]


def _correlation(weights: np.ndarray, gram: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Correlation over time of predictions with targets, from moments, shape (n_targets,); 0 where nothing is predicted."""
    size = np.sqrt(np.maximum((weights * (gram @ weights)).sum(axis=0), 0.0))
    return np.divide((weights * products).sum(axis=0), size, out=np.zeros(len(size)), where=size > 1e-12)


def by_target(r: np.ndarray) -> dict[str, np.ndarray]:
    """Sum correlations of regions, mean signal and network up as `TARGETS`; shape (..., n_regions + 2) to (...)."""
    return {"regions": r[..., :-2].mean(axis=-1), "global": r[..., -2], "dan": r[..., -1]}


@dataclass(eq=False)
class SmallNetwork:
    """A network with one hidden layer from lagged band power to all targets at once, trained with Adam by scikit-learn.

    Attributes
    ----------
    settings : Settings
        Size, rate, penalty, when to stop.
    seed : int
        Of weights and of the order of volumes.
    """

    settings: Settings
    seed: int = 0

    def fit(self, inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> "SmallNetwork":
        """Train on three quarters of the subjects and stop by the others, whose best training epoch is kept.

        Parameters
        ----------
        inputs, targets : sequence of numpy.ndarray
            One per subject, at least two: shapes (n_volumes, n_regressors) and (n_volumes, n_targets), standardised.

        Returns
        -------
        SmallNetwork
            Itself.
        """
        from sklearn.neural_network import MLPRegressor

        settings = self.settings
        n_held = max(1, len(inputs) // 4)
        taught, answers = np.concatenate(inputs[n_held:]), np.concatenate(targets[n_held:])
        network = MLPRegressor(
            hidden_layer_sizes=(settings.hidden,), alpha=settings.penalty, learning_rate_init=settings.learning_rate,
            batch_size=min(settings.batch_size, len(taught)), random_state=self.seed,
        )  # fmt: skip
        best, since = -np.inf, 0
        for _ in range(settings.n_training_epochs):
            network.partial_fit(taught, answers)
            weights = [*network.coefs_, *network.intercepts_]
            said = [_forward(weights, own) for own in inputs[:n_held]]
            score = np.mean([_over_time(a, b).mean() for a, b in zip(said, targets[:n_held], strict=True)])
            if score > best:
                best, since, self.weights_ = score, 0, [w.copy() for w in weights]
            else:
                since += 1
                if since >= settings.patience:
                    break
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return what is predicted for one subject, shape (n_volumes, n_targets)."""
        return _forward(self.weights_, inputs)


def _forward(weights: Sequence[np.ndarray], inputs: np.ndarray) -> np.ndarray:
    first, second, bias_first, bias_second = weights
    return np.maximum(inputs @ first + bias_first, 0) @ second + bias_second


def _over_time(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlate columns over rows; 0 where one does not vary."""
    return (standardise(one.T) * standardise(other.T)).mean(axis=1)


# --- cells -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One place of the map: a family, a coupling, a number of subjects and a length, and how many studies of it.

    Attributes
    ----------
    pool : Pool
        Whose subjects.
    family : str
        One of `FAMILIES`.
    coupling : float
        Share of the preset's coupling.
    n_subjects : int
        In a study, teaching and tested ones together.
    minutes : float
        Of each subject.
    n_studies : int
        Studies.
    seed : int
        Of which subjects a study has, and of the network. Families and couplings are given the same studies.
    settings : Settings
        Of the families.
    """

    pool: Pool
    family: str
    coupling: float
    n_subjects: int
    minutes: float
    n_studies: int
    seed: int = 0
    settings: Settings = Settings()

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise RequestError(f"There is no family {self.family!r}: choose one of {', '.join(FAMILIES)}.")
        if not 4 <= self.n_subjects <= self.pool.n_subjects or self.minutes > self.pool.minutes:
            raise RequestError(
                f"A study of {self.n_subjects} subjects of {self.minutes:g} min cannot be drawn from a pool of {self.pool.n_subjects} "
                f"subjects of {self.pool.minutes:g} min: at least 4 and at most so many."
            )

    @property
    def path(self) -> Path:
        """Where it is kept: the name is a digest of everything that can change it."""
        key = cache.digest(
            asdict(self),
            [path.parent.name for path in self.pool.parts()[:1]],
            cache.code_digest(__name__),
            cache.versions(*_DISTRIBUTIONS),
        )
        return project.cache_dir() / "power_map" / f"{self.family}-{self.n_subjects}-{key}.json"


@dataclass(frozen=True, eq=False)
class Found:
    """What the studies of a cell came to.

    Attributes
    ----------
    cell : Cell
        Which.
    scores : dict of str to numpy.ndarray
        By target: correlation of each tested subject, shape (n_studies, n_tested).
    """

    cell: Cell
    scores: dict[str, np.ndarray]

    def p_values(self, target: str) -> np.ndarray:
        """Return each study's p, shape (n_studies,): one-sided for what was learned, two-sided where the sign was prescribed."""
        from scipy import stats

        z = np.arctanh(np.clip(self.scores[target], -0.999, 0.999))
        side = "greater" if FAMILIES[self.cell.family].learns else "two-sided"
        return stats.ttest_1samp(z, 0.0, axis=1, alternative=side).pvalue

    def power(self, target: str) -> metrics.Interval:
        """Return the share of studies that found something, with its limits after Wilson over studies."""
        return share_of(self.p_values(target) < LEVEL)

    def score(self, target: str, seed: int = 0) -> metrics.Interval:
        """Return the mean score over studies, with a bootstrap interval over studies."""
        return metrics.bootstrap_mean(self.scores[target].mean(axis=1), seed)


def share_of(found: np.ndarray) -> metrics.Interval:
    """Share of studies with its 95 % limits after Wilson :cite:p:`wilson1927`.

    Parameters
    ----------
    found : numpy.ndarray of bool
        Shape (n_studies,).

    Returns
    -------
    eegfmri.metrics.Interval
        ``n`` is the number of studies.
    """
    from scipy.stats import binomtest

    limits = binomtest(int(found.sum()), len(found)).proportion_ci(method="wilson")
    return metrics.Interval(float(found.mean()), float(limits.low), float(limits.high), len(found))


def compute(cell: Cell) -> None:
    """Compute a cell and keep it, unless it is on disk; its pool must be.

    Parameters
    ----------
    cell : Cell
        Which.
    """
    from threadpoolctl import threadpool_limits

    if cache.kept_json(cell.path) is not None:
        return
    with threadpool_limits(1):
        scores = _study_network(cell) if cell.family == "network" else _study_linear(cell)
    cache.keep_json(cell.path, {target: np.round(values, 5).tolist() for target, values in scores.items()})


def read(cell: Cell) -> Found | None:
    """Return what a cell came to, or None if it is not on disk."""
    kept = cache.kept_json(cell.path)
    return None if kept is None else Found(cell, {target: np.array(values) for target, values in kept.items()})


def compute_map(cells: Sequence[Cell], n_jobs: int = 1) -> list[Found]:
    """Compute all cells that are not on disk, wherever the executor has room, and return all.

    Parameters
    ----------
    cells : sequence of Cell
        Of any pools.
    n_jobs : int, default=1
        Processes; a cluster where the environment variable ``EEGFMRI_SCHEDULER`` names one.

    Returns
    -------
    list of Found
        In the order of the cells. Whoever is interrupted has lost the cells that were being computed, and no other.

    Raises
    ------
    EegFmriError
        If a cell fails; the others are on disk then.
    """
    for pool in dict.fromkeys(cell.pool for cell in cells):
        draw_pool(pool, n_jobs)
    jobs = [
        executors.Job(
            f"{cell.n_subjects} subjects, {cell.minutes:g} min, {cell.coupling:g} × coupling, {cell.family}",
            compute,
            (cell,),
            cell.family,
        )
        for cell in cells
        if cache.kept_json(cell.path) is None
    ]
    _do(jobs, n_jobs)
    return [read(cell) for cell in cells]


def studies_of(cell: Cell) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw which subjects of the pool teach and which are tested in each study of a cell.

    Parameters
    ----------
    cell : Cell
        Which; family and coupling make no difference.

    Returns
    -------
    list of (numpy.ndarray, numpy.ndarray)
        Numbers of subjects. Within a study all differ; as many studies as the pool holds share nobody, further ones begin anew.
    """
    name = f"{cell.n_subjects}/{cell.minutes:g}"
    rng = np.random.default_rng([cell.seed, zlib.crc32(name.encode())])
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    while len(drawn) < cell.n_studies:
        order = rng.permutation(cell.pool.n_subjects)
        for first in range(0, len(order) - cell.n_subjects + 1, cell.n_subjects):
            own = order[first : first + cell.n_subjects]
            drawn.append((own[: cell.n_subjects // 2], own[cell.n_subjects // 2 :]))
    return drawn[: cell.n_studies]


def _study_linear(cell: Cell) -> dict[str, np.ndarray]:
    family = "alpha" if cell.family == "alpha_fixed" else cell.family
    sums = _moments_of(cell.pool, family, cell.minutes, cell.settings)
    products, found = sums.products(cell.coupling), []
    for teach, test in studies_of(cell):
        if not FAMILIES[cell.family].learns:
            # alpha power and BOLD of the cortex go opposite ways: the sign is the literature's
            found.append(-products[np.concatenate([teach, test]), 0])
            continue
        weights = _taught(sums.gram[teach], products[teach], cell.settings.penalties)
        found.append([_correlation(weights, sums.gram[one], products[one]) for one in test])
    return by_target(np.array(found))


def _study_network(cell: Cell) -> dict[str, np.ndarray]:
    arrays, n_volumes = _loaded(tuple(map(str, cell.pool.parts()))), volumes_of(cell.minutes)

    def subject(number: int) -> tuple[np.ndarray, np.ndarray]:
        power, _, linked, rest = split_rows(np.asarray(arrays[number][:, :n_volumes], dtype=float))
        series = with_targets(cell.coupling * linked + rest)
        return design(power, "network", cell.settings).T, standardise(series).T

    found = []
    for number, (teach, test) in enumerate(studies_of(cell)):
        inputs, targets = zip(*map(subject, teach), strict=True)
        network = SmallNetwork(cell.settings, cell.seed + number).fit(inputs, targets)
        found.append([_over_time(network.predict(x), y) for x, y in map(subject, test)])
    return by_target(np.array(found))


def prescribed(pool: Pool, minutes: float, coupling: float, settings: Settings = Settings()) -> dict[str, np.ndarray]:
    """Correlate alpha power, convolved and its sign turned, with BOLD in every subject of a pool: nothing is learned.

    Parameters
    ----------
    pool : Pool
        On disk.
    minutes : float
        Of each subject.
    coupling : float
        Share of the preset's coupling.
    settings : Settings
        Of the families.

    Returns
    -------
    dict of str to numpy.ndarray
        By target, shape (n_subjects,).
    """
    return by_target(-_moments_of(pool, "alpha", minutes, settings).products(coupling)[:, 0])


def ceilings(pool: Pool, minutes: float, coupling: float, settings: Settings = Settings()) -> dict[str, np.ndarray]:
    """Correlate each subject's own planted BOLD with what is measured: an oracle that no method can exceed by much.

    Parameters
    ----------
    pool : Pool
        On disk.
    minutes : float
        Of each subject.
    coupling : float
        Share of the preset's coupling.
    settings : Settings
        Of the families.

    Returns
    -------
    dict of str to numpy.ndarray
        By target, shape (n_subjects,).
    """
    return by_target(_moments_of(pool, "alpha", minutes, settings).ceiling(coupling))


# --- what the map comes to -------------------------------------------------------------------------------------------


def table_of(found: Sequence[Found], seed: int = 0) -> pd.DataFrame:
    """Return power and score of every cell and target, with their intervals.

    Parameters
    ----------
    found : sequence of Found
        Cells.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        ``preset``, ``family``, ``coupling``, ``n_subjects``, ``minutes``, ``target``, ``power``, ``power_low``, ``power_high``, ``score``,
        ``score_low``, ``score_high``, ``n_studies``.
    """
    rows = []
    for one in found:
        for target in TARGETS:
            power, score = one.power(target), one.score(target, seed)
            rows.append(
                {
                    "preset": one.cell.pool.preset, "family": one.cell.family, "coupling": one.cell.coupling,
                    "n_subjects": one.cell.n_subjects, "minutes": one.cell.minutes, "target": target,
                    "power": power.value, "power_low": power.low, "power_high": power.high,
                    "score": score.value, "score_low": score.low, "score_high": score.high, "n_studies": power.n,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def smallest_study(table: pd.DataFrame, power: float = 0.8) -> float | None:
    """Return the smallest number of subjects from which on the power is reached, and stays.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of one family, target, coupling and length: ``n_subjects`` and ``power``.
    power : float, default=0.8
        Asked for.

    Returns
    -------
    float or None
        None if the largest study does not reach it.
    """
    rows = table.sort_values("n_subjects")
    reached = rows["power"].to_numpy() >= power
    if not reached[-1]:
        return None
    short = np.flatnonzero(~reached)
    return float(rows["n_subjects"].iloc[0 if not len(short) else short[-1] + 1])


def left_out(gram: np.ndarray, products: np.ndarray, penalties: Sequence[float]) -> dict[str, np.ndarray]:
    """Score each subject by a linear method that has learned from all others.

    Parameters
    ----------
    gram : numpy.ndarray
        Shape (n_subjects, n_regressors, n_regressors), from standardised regressors.
    products : numpy.ndarray
        Shape (n_subjects, n_regressors, n_targets): their correlations with targets.
    penalties : sequence of float
        Of the ridge, chosen among the others; of one regressor it makes no difference.

    Returns
    -------
    dict of str to numpy.ndarray
        By target, shape (n_subjects,).
    """
    r = []
    for left in range(len(gram)):
        others = np.arange(len(gram)) != left
        r.append(_correlation(_taught(gram[others], products[others], penalties), gram[left], products[left]))
    return by_target(np.array(r))


def _taught(gram: np.ndarray, products: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Weights that teaching subjects give: of one regressor its mean slopes, of several those of a ridge."""
    return products.mean(axis=0) if gram.shape[1] == 1 else fit_ridge(gram, products, penalties)


def left_out_subjects(
    power: Sequence[np.ndarray], bold: Sequence[np.ndarray], family: str, settings: Settings, seed: int = 0
) -> dict[str, np.ndarray]:
    """Score each subject by a method that has learned from all others, from power and BOLD as they are.

    Parameters
    ----------
    power : sequence of numpy.ndarray
        One per subject: shape (n_features, n_volumes).
    bold : sequence of numpy.ndarray
        Shape (n_regions, n_volumes), cleaned; regions of the offline atlas. What does not vary in somebody is left out of ``regions``.
    family : str
        One of `FAMILIES` that learns.
    settings : Settings
        Of the families.
    seed : int, default=0
        Of the network.

    Returns
    -------
    dict of str to numpy.ndarray
        By target, shape (n_subjects,).
    """
    inputs = [design(rows, family, settings) for rows in power]
    there = np.all([series.std(axis=1) > 0 for series in map(with_targets, bold)], axis=0)
    targets = [standardise(with_targets(series)[there]) for series in bold]
    if family == "network":
        r = []
        for left in range(len(inputs)):
            others = [n for n in range(len(inputs)) if n != left]
            network = SmallNetwork(settings, seed + left).fit(
                [inputs[n].T for n in others], [targets[n].T for n in others]
            )
            r.append(_over_time(network.predict(inputs[left].T), targets[left].T))
        return by_target(np.array(r))
    gram = np.stack([x @ x.T / x.shape[1] for x in inputs])
    products = np.stack([x @ y.T / x.shape[1] for x, y in zip(inputs, targets, strict=True)])
    return left_out(gram, products, settings.penalties)


def left_out_studies(cell: Cell) -> dict[str, np.ndarray]:
    """Score all subjects of a cell's studies, each left out once.

    Parameters
    ----------
    cell : Cell
        Of a family that learns and is linear, or of the network; its pool must be on disk.

    Returns
    -------
    dict of str to numpy.ndarray
        By target, shape (n_studies, n_subjects).
    """
    found: list[dict[str, np.ndarray]] = []
    if cell.family == "network":
        arrays, n_volumes = _loaded(tuple(map(str, cell.pool.parts()))), volumes_of(cell.minutes)
        for number, parts in enumerate(studies_of(cell)):
            rows = [split_rows(np.asarray(arrays[one][:, :n_volumes], dtype=float)) for one in np.concatenate(parts)]
            bold = [cell.coupling * linked + rest for _, _, linked, rest in rows]
            found.append(
                left_out_subjects([row[0] for row in rows], bold, "network", cell.settings, cell.seed + 100 * number)
            )
    else:
        sums = _moments_of(cell.pool, cell.family, cell.minutes, cell.settings)
        products = sums.products(cell.coupling)
        for parts in studies_of(cell):
            own = np.concatenate(parts)
            found.append(left_out(sums.gram[own], products[own], cell.settings.penalties))
    return {target: np.stack([one[target] for one in found]) for target in TARGETS}


def left_out_null(cell: Cell, target: str = "regions") -> metrics.Interval:
    """Count how often a plain t test finds something if every subject is left out once and all scores are tested together.

    Parameters
    ----------
    cell : Cell
        At coupling 0; its pool must be on disk.
    target : str, default="regions"
        One of `TARGETS`.

    Returns
    -------
    eegfmri.metrics.Interval
        Share of studies with p < .05, one-sided, with Wilson's limits; it would be 5 % if scores were independent.

    Raises
    ------
    RequestError
        If there is something to find.
    """
    from scipy import stats

    if cell.coupling != 0:
        raise RequestError(
            f"False positives are counted where there is nothing to find: the coupling is {cell.coupling:g}, not 0."
        )
    scores = np.arctanh(np.clip(left_out_studies(cell)[target], -0.999, 0.999))
    return share_of(stats.ttest_1samp(scores, 0.0, axis=1, alternative="greater").pvalue < LEVEL)


# --- in closed form --------------------------------------------------------------------------------------------------


def t_test_power(mean: float, deviation: float, n_subjects: float, level: float = LEVEL) -> float:
    """Power of a two-sided t test of a mean over subjects, from the noncentral t distribution.

    Parameters
    ----------
    mean, deviation : float
        Of the subjects' values.
    n_subjects : float
        At least 2.
    level : float, default=0.05
        Of the test.

    Returns
    -------
    float
        Probability of p below the level.
    """
    from scipy.stats import nct, norm, t

    limit, shift = t.ppf(1 - level / 2, n_subjects - 1), np.sqrt(n_subjects) * abs(mean) / deviation
    power = nct.sf(limit, n_subjects - 1, shift) + nct.cdf(-limit, n_subjects - 1, shift)
    # far out scipy's series ends in NaN, where the normal distribution is as good
    return float(power) if np.isfinite(power) else float(norm.sf(limit - shift))


def subjects_needed(mean: float, deviation: float, power: float = 0.8, most: int = 100_000) -> int | None:
    """Return the smallest number of subjects with which `t_test_power` reaches a power.

    Parameters
    ----------
    mean, deviation : float
        Of the subjects' values.
    power : float, default=0.8
        Asked for.
    most : int, default=100000
        Given up above.

    Returns
    -------
    int or None
        None beyond ``most``.
    """
    if mean == 0:
        return None
    low, high = 1, 2
    while t_test_power(mean, deviation, high) < power:
        low, high = high, 2 * high
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if t_test_power(mean, deviation, middle) >= power else (middle, high)
    return high


def shorter(deviation: float, sampling: float, minutes: float, own_minutes: float) -> float:
    """Return the deviation between subjects of a correlation, as recordings of another length would show it.

    Parameters
    ----------
    deviation : float
        Between subjects, as measured in recordings of ``own_minutes``.
    sampling : float
        Standard deviation that the correlation has in recordings of one minute though nothing differs; it falls with the root of minutes.
    minutes, own_minutes : float
        Wanted, and measured.

    Returns
    -------
    float
        The part that subjects differ by is left, the part that is chance is exchanged.
    """
    true = max(deviation**2 - sampling**2 / own_minutes, 0.0)
    return float(np.sqrt(true + sampling**2 / minutes))
