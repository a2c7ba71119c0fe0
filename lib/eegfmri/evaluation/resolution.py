r"""How far apart two scores must be before a number of subjects can tell them apart: by simulated studies, and in closed form.

What is known is taken as it is: how many subjects, how many epochs of each stage they have, and in what bouts
(`eegfmri.simulation.stage_sequences`, from the real label tables). What a paper does not publish are assumptions with a name and a
range, the fields of `Assumptions`: how much subjects differ, how alike the epochs of one bout are, and how alike two methods are.

The model is a threshold on a normal variable. Method :math:`m` gets an epoch :math:`w` of bout :math:`b` of subject :math:`i` right if

.. math:: \mu_m + \tau a_{im} + \sqrt{\rho}\, e_{bm} + \sqrt{1 - \rho}\, \varepsilon_{wm} > 0,

all of them standard normal, where :math:`a` and :math:`e` of two methods correlate by the pairing, and the :math:`\varepsilon` do not.
Every stage has the same chance to be recognised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eegfmri.errors import RequestError

#: Nodes and weights of the integrals over a correlation; 48 give the bivariate normal distribution to 1e-9 up to a correlation of 0.99.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@dataclass(frozen=True)
class Assumptions:
    """What a study does not publish and its resolution depends on.

    Attributes
    ----------
    spread : float, default=0.1
        Standard deviation of subjects' true accuracies (a share, not points).
    pairing : float, default=0.7
        Correlation of two methods over subjects and over bouts: whom one finds easy, the other does.
    alike : float, default=0.5
        Correlation of the epochs of one bout, on the latent scale.
    """

    spread: float = 0.1
    pairing: float = 0.7
    alike: float = 0.5

    def __post_init__(self) -> None:
        if self.spread < 0 or not 0 <= self.pairing <= 1 or not 0 <= self.alike < 1:
            raise RequestError(
                f"{self} is no possible assumption: spread is at least 0, pairing between 0 and 1, alike at least 0 and below 1."
            )


@dataclass(frozen=True, eq=False)
class StageBouts:
    """Bouts of scored epochs: how long each is, of whom, and of which stage.

    Attributes
    ----------
    subject, stage, length : numpy.ndarray of int
        Shape (n_bouts,): number of the subject, number of the stage, epochs.
    subjects, classes : tuple of str
        Their names.
    """

    subject: np.ndarray
    stage: np.ndarray
    length: np.ndarray
    subjects: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def n_epochs(self) -> np.ndarray:
        """Epochs of each subject and stage, shape (n_subjects, n_classes)."""
        return self._per_stage(self.length)

    @property
    def squared(self) -> np.ndarray:
        """Sum of squared lengths of each subject's bouts of each stage, shape (n_subjects, n_classes)."""
        return self._per_stage(self.length**2)

    def _per_stage(self, values: np.ndarray) -> np.ndarray:
        out = np.zeros((len(self.subjects), len(self.classes)))
        np.add.at(out, (self.subject, self.stage), values)
        return out


def published_bouts(subjects: Sequence[str], classes: Sequence[str] = ("W", "N1", "N2")) -> StageBouts:
    """Return the bouts of subjects of ds003768, from the statistics of the real label tables that the project ships.

    Parameters
    ----------
    subjects : sequence of str
        Their names in the dataset.
    classes : sequence of str, default=("W", "N1", "N2")
        Stages that count.

    Returns
    -------
    StageBouts
        Certain epochs of all runs; a bout that a run's end or a doubtful epoch cuts counts as long as it was seen.

    Raises
    ------
    RequestError
        If a subject has no label table.
    """
    from eegfmri.simulation.stage_sequences import load_stage_statistics

    known = load_stage_statistics()["subjects"]
    if missing := [subject for subject in subjects if subject not in known]:
        raise RequestError(
            f"There are no label tables of {', '.join(missing)}: choose among {', '.join(sorted(known))}."
        )
    rows = [
        (number, place, int(length))
        for number, subject in enumerate(subjects)
        for kind in known[subject].values()
        for place, stage in enumerate(classes)
        for outcome in ("ended", "censored")
        for length, count in kind[outcome].get(stage, {}).items()
        for _ in range(count)
    ]
    return StageBouts(*np.array(rows).T, tuple(subjects), tuple(classes))


@dataclass(frozen=True)
class Latent:
    """A method on the latent scale of the model.

    Attributes
    ----------
    mean, deviation : float
        Of subjects' thresholds.
    """

    mean: float
    deviation: float


def latent(accuracy: float, spread: float) -> Latent:
    """Find the latent mean and deviation that give subjects this mean accuracy and this standard deviation of it.

    Parameters
    ----------
    accuracy : float
        Mean over subjects, above 0 and below 1.
    spread : float
        Standard deviation over subjects; below that of subjects who are always right or always wrong.

    Returns
    -------
    Latent
        Exact for the model: the mean in closed form, the deviation by root finding on the bivariate normal distribution.

    Raises
    ------
    RequestError
        If no such subjects exist.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    if not 0 < accuracy < 1 or not 0 <= spread < 0.95 * np.sqrt(accuracy * (1 - accuracy)):
        raise RequestError(f"No subjects have a mean accuracy of {accuracy:g} and a spread of {spread:g}.")
    threshold = ndtri(accuracy)
    if spread == 0:
        return Latent(float(threshold), 0.0)
    # Of two epochs with nothing but their subject in common, thresholds correlate by t² / (1 + t²).
    share = brentq(lambda r: _both(threshold, r) - accuracy**2 - spread**2, 1e-9, 1 - 1e-6)
    deviation = np.sqrt(share / (1 - share))
    return Latent(float(threshold * np.sqrt(1 + deviation**2)), float(deviation))


def _both(threshold: float, correlation: float) -> float:
    """Probability that two normal variables with this correlation lie below the threshold, by Plackett's integral."""
    from scipy.special import ndtr

    # P(both) = Phi(h)² + 1/2π ∫_0^{arcsin r} exp(−h² / (1 + sin θ)) dθ
    end = np.arcsin(correlation)
    angles = end * (_NODES + 1) / 2
    integral = (_WEIGHTS * np.exp(-(threshold**2) / (1 + np.sin(angles)))).sum() * end / 2
    return float(ndtr(threshold) ** 2 + integral / (2 * np.pi))


def standard_error(accuracy: float, bouts: StageBouts, assumptions: Assumptions, *, difference: bool = True) -> float:
    r"""Give the standard error of a balanced accuracy averaged over subjects, or of the difference of two methods', in closed form.

    A subject's recall of a stage with :math:`n` epochs in bouts of lengths :math:`l` varies around its true one by
    :math:`[v + c\,(\sum l^2 / n - 1)] / n`, where :math:`v` is the variance of right and wrong within a subject and :math:`c` their
    covariance within a bout; a subject's balanced accuracy by the mean of that over stages, divided by their number; true ones by the
    spread. All covariances are those of the model, from the bivariate normal distribution.

    Parameters
    ----------
    accuracy : float
        Mean accuracy of the methods, as if equal.
    bouts : StageBouts
        Who has how many epochs, and in what bouts.
    assumptions : Assumptions
        Spread, pairing, and how alike a bout's epochs are.
    difference : bool, default=True
        Of the difference of two methods on the same subjects; else of one method.

    Returns
    -------
    float
        In shares (0.01 is one point).
    """
    within, between = _variances(accuracy, bouts, assumptions, difference)
    n_subjects = len(bouts.subjects)
    return float(np.sqrt((between + within.mean()) / n_subjects))


def _variances(
    accuracy: float, bouts: StageBouts, assumptions: Assumptions, difference: bool
) -> tuple[np.ndarray, float]:
    """Variance of each subject's score around its true one, and of the true ones."""
    from scipy.special import ndtri

    alike, pairing, spread = assumptions.alike, assumptions.pairing, assumptions.spread
    threshold, ability = ndtri(accuracy), latent(accuracy, spread).deviation ** 2

    def covariance(common: float) -> float:
        """Of right and wrong of two epochs whose latent variables have this variance in common, out of 1 + ability."""
        return _both(threshold, common / (1 + ability)) - accuracy**2

    across = covariance(pairing * ability)  # two methods, two epochs of one subject
    variance = accuracy * (1 - accuracy) - spread**2
    in_bout = covariance(ability + alike) - spread**2
    in_bout_across = covariance(pairing * (ability + alike)) - across
    n_epochs, squared = bouts.n_epochs, bouts.squared
    present = n_epochs > 0
    n = np.where(present, n_epochs, 1)
    own = (variance + in_bout * (squared / n - 1)) / n
    shared = in_bout_across * squared / n**2
    per_stage = np.where(present, 2 * (own - shared) if difference else own, 0.0)
    within = per_stage.sum(axis=1) / np.maximum(present.sum(axis=1), 1) ** 2
    return within, 2 * (spread**2 - across) if difference else spread**2


@dataclass(frozen=True, eq=False)
class Studies:
    """Scores of many simulated studies with two methods.

    Attributes
    ----------
    per_subject : numpy.ndarray
        Balanced accuracy of each subject, shape (2, n_studies, n_subjects); NaN for subjects without epochs.
    pooled : numpy.ndarray
        Balanced accuracy of all epochs together, shape (2, n_studies).
    """

    per_subject: np.ndarray
    pooled: np.ndarray

    def scores(self, averaging: str = "pooled") -> np.ndarray:
        """Return the score of each method and study, shape (2, n_studies), averaged as asked."""
        return self.pooled if averaging == "pooled" else np.nanmean(self.per_subject, axis=-1)

    def standard_error(self, averaging: str = "pooled", *, difference: bool = True) -> float:
        """Give the standard deviation over studies of the difference of the two scores, or of the first score."""
        scores = self.scores(averaging)
        return float((scores[0] - scores[1] if difference else scores[0]).std(ddof=1))


def simulate_studies(
    accuracies: tuple[float, float],
    bouts: StageBouts,
    assumptions: Assumptions,
    n_studies: int = 1000,
    seed: int = 0,
) -> Studies:
    """Draw studies of two methods from the model of this module.

    Parameters
    ----------
    accuracies : (float, float)
        Mean accuracy of each method.
    bouts : StageBouts
        Who has how many epochs, and in what bouts.
    assumptions : Assumptions
        Spread, pairing, and how alike a bout's epochs are.
    n_studies : int, default=1000
        How many.
    seed : int, default=0
        Of the drawing.

    Returns
    -------
    Studies
        Their scores.
    """
    from scipy.special import ndtr

    rng = np.random.default_rng(seed)
    n_subjects, n_classes = len(bouts.subjects), len(bouts.classes)
    cells = bouts.subject * n_classes + bouts.stage
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    filled = cells[order][starts]
    n_epochs = bouts.n_epochs
    ability = _correlated(rng, (n_studies, n_subjects), assumptions.pairing)
    bout = _correlated(rng, (n_studies, len(order)), assumptions.pairing)
    recall = np.full((2, n_studies, n_subjects * n_classes), np.nan)
    hits = np.zeros((2, n_studies, n_subjects * n_classes))
    for method, accuracy in enumerate(accuracies):
        of = latent(accuracy, assumptions.spread)
        threshold = of.mean + of.deviation * ability[method][:, bouts.subject[order]]
        threshold = threshold + np.sqrt(assumptions.alike) * bout[method]
        right = rng.binomial(bouts.length[order], ndtr(threshold / np.sqrt(1 - assumptions.alike)))
        hits[method][:, filled] = np.add.reduceat(right, starts, axis=1)
        recall[method][:, filled] = hits[method][:, filled] / n_epochs.reshape(-1)[filled]
    shape = (2, n_studies, n_subjects, n_classes)
    totals = n_epochs.sum(axis=0)
    occurring = totals > 0
    pooled = (hits.reshape(shape).sum(axis=2)[..., occurring] / totals[occurring]).mean(axis=-1)
    present = np.maximum((n_epochs > 0).sum(axis=1), 1)
    per_subject = np.nansum(recall.reshape(shape), axis=-1) / present
    return Studies(np.where((n_epochs > 0).any(axis=1), per_subject, np.nan), pooled)


def _correlated(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> np.ndarray:
    """Draw a pair of standard normal arrays that correlate, shape (2, *shape)."""
    common, own = rng.normal(size=shape), rng.normal(size=(2, *shape))
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own


def half_width(error: float, n_subjects: int) -> float:
    """Give half of a 95 % interval of a mean over subjects, from its standard error, with Student's quantile."""
    from scipy.stats import t

    return float(t.ppf(0.975, n_subjects - 1) * error)


def detectable(error: float, n_subjects: int, power: float = 0.8) -> float:
    """Give the true difference that a study finds (p < .05, two-sided) with this probability, from the standard error of the difference."""
    from scipy.stats import t

    return float((t.ppf(0.975, n_subjects - 1) + t.ppf(power, n_subjects - 1)) * error)


def half_width_table(
    accuracy: float,
    bouts: StageBouts,
    spreads: Sequence[float],
    pairings: Sequence[float],
    alike: float = 0.5,
    *,
    difference: bool = True,
) -> Mapping[float, np.ndarray]:
    """Give the half-width of the 95 % interval for each pairing, against the spread between subjects.

    Parameters
    ----------
    accuracy : float
        Mean accuracy of the methods.
    bouts : StageBouts
        Who has how many epochs.
    spreads, pairings : sequence of float
        Assumptions to try.
    alike : float, default=0.5
        As in `Assumptions`.
    difference : bool, default=True
        As for `standard_error`.

    Returns
    -------
    mapping of float to numpy.ndarray
        By pairing: half-widths of shape (n_spreads,).
    """
    return {
        pairing: np.array(
            [
                half_width(
                    standard_error(accuracy, bouts, Assumptions(spread, pairing, alike), difference=difference),
                    len(bouts.subjects),
                )
                for spread in spreads
            ]
        )
        for pairing in pairings
    }


def largest_spread(gap: float, accuracy: float, bouts: StageBouts, pairing: float, alike: float = 0.5) -> float:
    """Give the largest spread between subjects at which a difference of two methods still excludes zero.

    Parameters
    ----------
    gap : float
        The difference, in shares.
    accuracy : float
        Mean accuracy of the methods.
    bouts : StageBouts
        Who has how many epochs.
    pairing, alike : float
        As in `Assumptions`.

    Returns
    -------
    float
        0 where even equal subjects would not do, because their epochs are too few; infinite where any possible spread would do.
    """
    from scipy.optimize import brentq

    n_subjects = len(bouts.subjects)

    def beyond(spread: float) -> float:
        error = standard_error(accuracy, bouts, Assumptions(spread, pairing, alike))
        return half_width(error, n_subjects) - abs(gap)

    widest = 0.9 * np.sqrt(accuracy * (1 - accuracy))
    if beyond(0.0) >= 0:
        return 0.0
    return float("inf") if beyond(widest) < 0 else float(brentq(beyond, 0.0, widest))
