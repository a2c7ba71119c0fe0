"""From electrodes to regions: the lead field of a spherical head, and its inverse.

A lead field says what a unit of current in each region does to each electrode. There are fewer electrodes than regions, so its
inverse is a choice: here the minimum norm, standardised so that a single source is found where it is (sLORETA,
:cite:t:`pascualmarqui2002`). What comes out is smeared over neighbours all the same; `resolution` says how far.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from eegfmri.errors import RequestError

#: How regions' currents are estimated from electrodes.
InverseMethod = Literal["sloreta", "minimum_norm"]

#: How far from the centre the outermost dipole may lie, as a share of the head's radius: inside the innermost of four shells.
DEEPEST = 0.86


def lead_field(ch_names: Sequence[str], points: np.ndarray) -> np.ndarray:
    """Potential at each electrode of a radial unit dipole at each point, in a spherical head of four shells.

    Electrodes and points lie in MNI152 space; the sphere is fitted to MNE's template electrodes there. Points outside its inner
    shell are moved inward along the radius. Against the average reference.

    Parameters
    ----------
    ch_names : sequence of str
        Electrodes of the extended 10–20 system, in any case.
    points : numpy.ndarray
        Shape (n_points, 3), mm: centres of regions.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, n_points), V per Am; columns sum to zero.

    Raises
    ------
    RequestError
        If a name has no position.
    """
    known = _template_positions(head_size=None)
    electrodes = _placed(ch_names, known)
    centre, radius = fit_sphere(np.array([xyz for xyz in known.values() if xyz[2] > -0.03]))
    on_sphere = electrodes - centre
    on_sphere *= radius / np.linalg.norm(on_sphere, axis=1, keepdims=True)
    dipoles = np.asarray(points, dtype=float) / 1000 - centre
    depth = np.maximum(np.linalg.norm(dipoles, axis=1, keepdims=True), 1e-9)
    normals = dipoles / depth
    dipoles *= np.minimum(1.0, DEEPEST * radius / depth)
    potential = sphere_potentials(on_sphere, dipoles, normals, radius)
    return potential - potential.mean(axis=0)


def fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a sphere to points by least squares.

    Parameters
    ----------
    points : numpy.ndarray
        Shape (n_points, 3).

    Returns
    -------
    centre : numpy.ndarray
        Shape (3,), in the points' unit.
    radius : float
        In the same unit.

    Examples
    --------
    >>> import numpy as np
    >>> directions = np.random.default_rng(0).standard_normal((20, 3))
    >>> directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    >>> centre, radius = fit_sphere(np.array([1.0, 2.0, 3.0]) + 9 * directions)
    >>> print(centre.round(6), round(radius, 6))
    [1. 2. 3.] 9.0
    """
    # |x − c|² = r² is linear in c and r² − |c|²
    design = np.c_[2 * points, np.ones(len(points))]
    *centre, rest = np.linalg.lstsq(design, (points**2).sum(axis=1), rcond=None)[0]
    centre = np.array(centre)
    return centre, float(np.sqrt(rest + centre @ centre))


def sphere_potentials(electrodes: np.ndarray, dipoles: np.ndarray, normals: np.ndarray, radius: float) -> np.ndarray:
    """Potential at electrodes on a sphere of four shells for unit dipoles inside it, by MNE's forward solution.

    Parameters
    ----------
    electrodes : numpy.ndarray
        Shape (n_channels, 3), m from the centre, on the outer shell.
    dipoles, normals : numpy.ndarray
        Shape (n_dipoles, 3): places in m from the centre, within the innermost shell (see `DEEPEST`), and directions of length 1.
    radius : float
        Of the outer shell, m.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, n_dipoles), V per Am, against infinity.
    """
    import mne

    names = [str(number) for number in range(len(electrodes))]
    info = mne.create_info(names, 100.0, "eeg")
    montage = mne.channels.make_dig_montage(dict(zip(names, electrodes, strict=True)), coord_frame="head")
    info.set_montage(montage, verbose="error")
    sphere = mne.make_sphere_model(r0=(0.0, 0.0, 0.0), head_radius=radius, verbose="error")
    space = mne.setup_volume_source_space(pos={"rr": dipoles, "nn": normals}, sphere=sphere, verbose="error")
    forward = mne.make_forward_solution(
        info, trans=None, src=space, bem=sphere, meg=False, eeg=True, mindist=0.0, verbose="error"
    )
    free = forward["sol"]["data"].reshape(len(electrodes), len(dipoles), 3)
    return np.einsum("cpk,pk->cp", free, normals)


def inverse_operator(field: np.ndarray, method: InverseMethod = "sloreta", snr: float = 3.0) -> np.ndarray:
    r"""Estimate regions' currents from electrodes: :math:`W = L^\top (L L^\top + \lambda^2 H)^{+}`, and standardise it.

    Parameters
    ----------
    field : numpy.ndarray
        L, shape (n_channels, n_regions), average reference.
    method : {"sloreta", "minimum_norm"}
        Divide each row by the root of its entry in the resolution matrix, :math:`\sqrt{w_i^\top l_i}`, or do not.
    snr : float, default=3.0
        Amplitude of the signal over that of the noise: :math:`\lambda^2 = \mathrm{tr}(L L^\top) / (n\,\mathrm{snr}^2)`.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions, n_channels).

    Notes
    -----
    H is the average reference, the only direction in which potentials say nothing. Rows of regions that no electrode sees are 0.
    """
    field = np.asarray(field, dtype=float)
    field = field - field.mean(axis=0)
    n_channels = len(field)
    gram = field @ field.T
    reference = np.eye(n_channels) - 1 / n_channels
    noise = np.trace(gram) / (n_channels * snr**2)
    inverse = field.T @ np.linalg.pinv(gram + noise * reference, hermitian=True)
    if method == "minimum_norm":
        return inverse
    if method != "sloreta":
        raise RequestError(f"An inverse is 'sloreta' or 'minimum_norm', not {method!r}.")
    own = np.einsum("rc,cr->r", inverse, field)
    return np.divide(inverse, np.sqrt(np.maximum(own, 0))[:, None], out=np.zeros_like(inverse), where=own[:, None] > 0)


def resolution(field: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return how a unit in each region (columns) appears in all regions (rows), shape (n_regions, n_regions).

    Parameters
    ----------
    field : numpy.ndarray
        Shape (n_channels, n_regions).
    inverse : numpy.ndarray
        Shape (n_regions, n_channels).

    Returns
    -------
    numpy.ndarray
        The product of inverse and lead field.
    """
    return inverse @ field


def nearest_electrodes(field: np.ndarray) -> np.ndarray:
    """Name for each region the electrode that sees it best.

    Parameters
    ----------
    field : numpy.ndarray
        Lead field, shape (n_channels, n_regions).

    Returns
    -------
    numpy.ndarray
        Shape (n_regions,): index of the channel with the largest absolute potential.
    """
    return np.abs(field).argmax(axis=0)


def electrode_positions(ch_names: Sequence[str]) -> np.ndarray:
    """Positions of electrodes of the extended 10–20 system on the template head of MNE.

    Parameters
    ----------
    ch_names : sequence of str
        Names, in any case.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, 3), in m.

    Raises
    ------
    RequestError
        If a name has no position.
    """
    return _placed(ch_names, _template_positions())


def _template_positions(**size) -> dict[str, np.ndarray]:
    """Positions of all electrodes of MNE's template head in m, by their names in small letters."""
    import mne

    montage = mne.channels.make_standard_montage("colin27_1005", **size)
    return {name.lower(): xyz for name, xyz in montage.get_positions()["ch_pos"].items()}


def _placed(ch_names: Sequence[str], known: Mapping[str, np.ndarray]) -> np.ndarray:
    if lacking := [name for name in ch_names if name.lower() not in known]:
        raise RequestError(f"No standard position is known for {', '.join(lacking)}: leave the channel out.")
    return np.array([known[name.lower()] for name in ch_names])
