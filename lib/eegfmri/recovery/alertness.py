"""Alertness told from EEG and from BOLD: how far they agree, when, beyond what slow signals agree by chance, and in other subjects.

Everything takes arrays, two per subject, so that it runs on measured and on simulated series alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eegfmri.errors import RequestError
from eegfmri.lags import lag_curve, phase_randomised

#: Longest lag of the curve, in volumes.
MOST_VOLUMES = 10

#: Surrogates of each subject.
N_SURROGATES = 1000

#: EEG and BOLD of each subject, shape (n_volumes,) each.
Series = Mapping[object, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Transfer:
    r"""How well a regression made of other subjects predicts one, and why correlation and :math:`R^2` differ.

    With predictions :math:`p` of values :math:`y`, their standard deviations :math:`s` and means,

    .. math:: R^2 = r^2 - \Bigl(r - \frac{s_p}{s_y}\Bigr)^2 - \Bigl(\frac{\bar p - \bar y}{s_y}\Bigr)^2 .

    Attributes
    ----------
    r : float
        Correlation of predictions and values.
    r_squared : float
        Share of the values' variance that is explained; below zero where the values' own mean would predict better.
    scale_loss, offset_loss : float
        Second and third term of the equation, not negative: what a wrong size and a wrong mean cost.
    """

    r: float
    r_squared: float
    scale_loss: float
    offset_loss: float


def correlations(series: Series) -> dict[object, float]:
    """Correlate EEG with BOLD in each subject.

    Parameters
    ----------
    series : mapping
        Subject to EEG and BOLD, shape (n_volumes,) each.

    Returns
    -------
    dict
        Subject to r.
    """
    return {subject: float(np.corrcoef(eeg, bold)[0, 1]) for subject, (eeg, bold) in series.items()}


def lag_curves(series: Series, t_r: float, most: int = MOST_VOLUMES) -> tuple[np.ndarray, np.ndarray]:
    """Correlate EEG with BOLD of each subject at every lag of a few volumes.

    Parameters
    ----------
    series : mapping
        Subject to EEG and BOLD, shape (n_volumes,) each.
    t_r : float
        Repetition time in s.
    most : int, default=10
        Longest lag, in volumes.

    Returns
    -------
    lags : numpy.ndarray
        Shape (n_lags,), s; positive where BOLD follows.
    curves : numpy.ndarray
        Shape (n_subjects, n_lags).
    """
    lags = t_r * np.arange(-most, most + 1)
    curves = []
    for eeg, bold in series.values():
        times = t_r * np.arange(len(eeg))
        curves.append(lag_curve(eeg, times, bold, times, lags)[0])
    return lags, np.array(curves)


def surrogate_test(
    eeg: np.ndarray, bold: np.ndarray, n_surrogates: int = N_SURROGATES, seed: int | np.random.Generator = 0
) -> tuple[float, float]:
    """Ask whether two series agree more than series of the same spectra do by chance.

    Parameters
    ----------
    eeg, bold : numpy.ndarray
        Shape (n_volumes,).
    n_surrogates : int, default=1000
        Times that BOLD is given random phases, see `eegfmri.lags.phase_randomised`.
    seed : int or numpy.random.Generator, default=0
        Of the phases.

    Returns
    -------
    p : float
        Two-sided: how often a surrogate's correlation is at least as large.
    limit : float
        Absolute correlation that 5 % of the surrogates exceed.
    """
    drawn = phase_randomised(bold[None], n_surrogates, seed)[:, 0]
    drawn -= drawn.mean(axis=1, keepdims=True)
    centred = eeg - eeg.mean()
    by_chance = np.abs(drawn @ centred) / (np.linalg.norm(drawn, axis=1) * np.linalg.norm(centred))
    r = abs(np.corrcoef(eeg, bold)[0, 1])
    return float((1 + np.sum(by_chance >= r)) / (1 + n_surrogates)), float(np.quantile(by_chance, 0.95))


def leave_one_subject_out(series: Series) -> dict[object, Transfer]:
    """Predict each subject's BOLD from its EEG by a line fitted to the other subjects.

    Parameters
    ----------
    series : mapping
        Subject to EEG and BOLD, shape (n_volumes,) each, in the same units in everybody.

    Returns
    -------
    dict
        Subject to `Transfer`.

    Raises
    ------
    RequestError
        If there are fewer than two subjects.
    """
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

    if len(series) < 2:
        raise RequestError("One subject cannot be predicted from the others: give two subjects or more.")
    names = list(series)
    owner = np.repeat(np.arange(len(names)), [len(eeg) for eeg, _ in series.values()])
    eeg, bold = (np.concatenate([pair[place] for pair in series.values()]) for place in (0, 1))
    predicted = cross_val_predict(LinearRegression(), eeg[:, None], bold, groups=owner, cv=LeaveOneGroupOut())
    return {name: transfer(bold[owner == place], predicted[owner == place]) for place, name in enumerate(names)}


def transfer(values: np.ndarray, predicted: np.ndarray) -> Transfer:
    """Score predictions by correlation and by explained variance, and say what lies between the two.

    Parameters
    ----------
    values, predicted : numpy.ndarray
        Shape (n_volumes,).

    Returns
    -------
    Transfer
        Its terms add up.

    Examples
    --------
    Predictions that are right but for their size correlate perfectly and explain nothing:

    >>> import numpy as np
    >>> values = np.array([-1.0, 0.0, 1.0])
    >>> found = transfer(values, 3 * values)
    >>> print(round(found.r, 2), round(found.r_squared, 2), round(found.scale_loss, 2))
    1.0 -3.0 4.0
    """
    from sklearn.metrics import r2_score

    r, spread = np.corrcoef(values, predicted)[0, 1], values.std()
    return Transfer(
        r=float(r),
        r_squared=float(r2_score(values, predicted)),
        scale_loss=float((r - predicted.std() / spread) ** 2),
        offset_loss=float(((predicted.mean() - values.mean()) / spread) ** 2),
    )


def with_reactions(
    course: np.ndarray, t_r: float, stimulus_times: np.ndarray, reaction_times: np.ndarray, delay: float = 5.0
) -> float:
    """Correlate the ranks of alertness at stimuli with those of the reaction times.

    Parameters
    ----------
    course : numpy.ndarray
        Shape (n_volumes,): alertness.
    t_r : float
        Repetition time in s.
    stimulus_times : numpy.ndarray
        Shape (n_stimuli,), s from the first volume.
    reaction_times : numpy.ndarray
        Shape (n_stimuli,), s; NaN where no response came, and these stimuli are left out.
    delay : float, default=5.0
        Alertness is read so long after a stimulus, s: both courses lag behind the brain.

    Returns
    -------
    float
        Spearman's correlation, negative where the alert are fast; NaN with fewer than ten responses.
    """
    from scipy.stats import spearmanr

    answered = np.isfinite(reaction_times)
    if answered.sum() < 10:
        return float("nan")
    at = np.interp(stimulus_times[answered] + delay, t_r * np.arange(len(course)), course)
    return float(spearmanr(at, reaction_times[answered]).statistic)
