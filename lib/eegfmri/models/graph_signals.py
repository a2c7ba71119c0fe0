"""Signals on graphs: Laplacians, the graph Fourier transform, spectral filters and Chebyshev polynomials, equation by equation.

After the method section of :cite:t:`saliencyfusion`; equation numbers are its. What is printed there but cannot be meant is
named where it occurs, and tested in `eegfmri.ledger.printed_equations`. A graph signal has one value per node; more signals on the
same graph stand in further columns.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.polynomial import chebyshev

from eegfmri.errors import RequestError
from eegfmri.models.graph_convolution import normalise

#: What is asked with a tensor, whose gradients stay, or with an array, is answered in kind.
Array = torch.Tensor | np.ndarray

#: Which Laplacian: D − W as eq. 1 prints it, or I − D^(−1/2) W D^(−1/2), which is what its sentence names.
LaplacianKind = Literal["normalised", "combinatorial"]


def laplacian(adjacency: Array, kind: LaplacianKind = "normalised") -> Array:
    r"""Return the Laplacian of a graph, eq. 1.

    Degrees are sums of absolute weights, :math:`D_{ii} = \sum_j |w_{ij}|`, so that a signed graph's Laplacian has no negative
    eigenvalue either; without negative edges this is the degree as printed.

    Parameters
    ----------
    adjacency : torch.Tensor or numpy.ndarray
        Symmetric, diagonal 0, shape (n_nodes, n_nodes).
    kind : {"normalised", "combinatorial"}
        :math:`I - D^{-1/2} W D^{-1/2}`, eigenvalues in [0, 2], or :math:`D - W`.

    Returns
    -------
    torch.Tensor or numpy.ndarray
        As the adjacency is; symmetric, shape (n_nodes, n_nodes). A node without edges has a row of zeros.

    Raises
    ------
    RequestError
        If an array is not symmetric, or the kind unknown. (A tensor is taken at its word: networks ask at every step.)

    Examples
    --------
    Three nodes in a row:

    >>> import numpy as np
    >>> path = np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> print(laplacian(path, "combinatorial"))
    [[ 1. -1.  0.]
     [-1.  2. -1.]
     [ 0. -1.  1.]]
    >>> print(np.linalg.eigvalsh(laplacian(path)).round(6) + 0.0)
    [0. 1. 2.]
    """
    if kind not in ("normalised", "combinatorial"):
        raise RequestError(f"A Laplacian is 'normalised' or 'combinatorial', not {kind!r}.")
    if not isinstance(adjacency, torch.Tensor):
        weights = np.asarray(adjacency, dtype=float)
        if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or not np.allclose(weights, weights.T):
            raise RequestError(
                f"A Laplacian needs a symmetric matrix, not one of shape {weights.shape}: symmetrise it."
            )
        return laplacian(_tensor(weights), kind).numpy()
    degree = adjacency.abs().sum(dim=1)
    if kind == "combinatorial":
        return torch.diag(degree) - adjacency  # eq. 1
    return torch.diag((degree > 1e-12).to(adjacency.dtype)) - normalise(adjacency, self_loops=False)


def fourier_basis(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Diagonalise a Laplacian: :math:`L = U \Lambda U^\top`.

    Parameters
    ----------
    matrix : numpy.ndarray
        Symmetric, shape (n_nodes, n_nodes).

    Returns
    -------
    eigenvalues : numpy.ndarray
        Shape (n_nodes,), ascending: the graph frequencies λ.
    basis : numpy.ndarray
        Shape (n_nodes, n_nodes): the modes u in columns, orthonormal; each with its largest entry positive.
    """
    eigenvalues, basis = np.linalg.eigh(matrix)
    signs = np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(len(basis))])
    return eigenvalues, basis * np.where(signs == 0, 1.0, signs)


def transform(signal: np.ndarray, basis: np.ndarray) -> np.ndarray:
    r"""Graph Fourier transform :math:`\hat x = U^\top x`, eq. 2, of a signal of shape (n_nodes, …)."""
    return np.tensordot(basis.T, signal, axes=1)


def inverse_transform(spectrum: np.ndarray, basis: np.ndarray) -> np.ndarray:
    r"""Return the signal of a graph spectrum, :math:`x = U \hat x`, eq. 3, shape (n_nodes, …)."""
    return np.tensordot(basis, spectrum, axes=1)


def convolve(x: np.ndarray, y: np.ndarray, basis: np.ndarray) -> np.ndarray:
    r"""Convolve two signals on a graph, :math:`x *_G y = U\,((U^\top x) \odot (U^\top y))`, eq. 4, shape (n_nodes, …)."""
    return inverse_transform(transform(x, basis) * transform(y, basis), basis)


def spectral_filter(
    signal: np.ndarray, eigenvalues: np.ndarray, basis: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    r"""Filter a signal by a function of the graph frequency, :math:`y = U g(\Lambda) U^\top x`, eq. 5.

    Parameters
    ----------
    signal : numpy.ndarray
        Shape (n_nodes, …).
    eigenvalues, basis : numpy.ndarray
        From `fourier_basis`.
    gain : callable
        g: takes frequencies, returns as many factors.

    Returns
    -------
    numpy.ndarray
        Shape of the signal.

    Notes
    -----
    Eq. 6 restates this as a convolution with the signal whose spectrum is g(λ). As printed its left factor is a matrix; g(Λ) is
    to be read there as the vector of its diagonal: ``convolve(x, U @ g(λ), U)``.
    """
    factors = np.asarray(gain(eigenvalues), dtype=float)
    spectrum = transform(signal, basis)
    return inverse_transform(factors.reshape(-1, *[1] * (spectrum.ndim - 1)) * spectrum, basis)


def scaled(matrix: Array, largest: float | None = None) -> Array:
    r"""Scale a Laplacian so that its eigenvalues lie in [−1, 1]: :math:`2 L / \lambda_{max} - I`, before eq. 10.

    Parameters
    ----------
    matrix : torch.Tensor or numpy.ndarray
        Shape (n_nodes, n_nodes), no negative eigenvalue.
    largest : float or None
        λ_max, or a bound on it (2 for the normalised Laplacian); None computes it.

    Returns
    -------
    torch.Tensor or numpy.ndarray
        As the matrix is, shape (n_nodes, n_nodes); −I for a graph without edges.
    """
    if not isinstance(matrix, torch.Tensor):
        return scaled(_tensor(matrix), largest).numpy()
    if largest is None:
        largest = torch.linalg.eigvalsh(matrix)[-1].clamp_min(1e-6)
    return 2 * matrix / largest - torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def chebyshev_polynomials(matrix: Array, n_terms: int, signal: Array | None = None) -> Array:
    r"""Return :math:`T_0(L) \dots T_{n-1}(L)` by the recursion of eq. 8 and 9, or what they make of a signal.

    Parameters
    ----------
    matrix : torch.Tensor or numpy.ndarray
        From `scaled`, shape (n_nodes, n_nodes).
    n_terms : int
        At least 1.
    signal : torch.Tensor, numpy.ndarray or None
        Shape (n_nodes, …), of the matrix's kind. The recursion then runs on the signal, and the polynomials themselves, whose products cost
        more, are never made.

    Returns
    -------
    torch.Tensor or numpy.ndarray
        Shape (n_terms, n_nodes, n_nodes), or (n_terms, n_nodes, …).
    """
    if not isinstance(matrix, torch.Tensor):
        signal = None if signal is None else _tensor(signal)
        return chebyshev_polynomials(_tensor(matrix), n_terms, signal).numpy()
    if signal is None:
        terms = [torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device), matrix]  # eq. 8
    else:
        terms = [signal, torch.tensordot(matrix, signal, dims=1)]
    while len(terms) < n_terms:
        terms.append(2 * torch.tensordot(matrix, terms[-1], dims=1) - terms[-2])  # eq. 9
    return torch.stack(terms[:n_terms])


def chebyshev_filter(signal: np.ndarray, scaled_laplacian: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    r"""Filter a signal without diagonalising anything, eq. 10 as meant: :math:`y = \sum_{k=0}^{K} \theta_k T_k(\tilde L)\,x`.

    As printed, eq. 10 has the eigenvalues Λ in the place of the Laplacian, and so has lost U and its transpose; and its sum ends at K − 1.

    Parameters
    ----------
    signal : numpy.ndarray
        Shape (n_nodes, …).
    scaled_laplacian : numpy.ndarray
        From `scaled`.
    coefficients : numpy.ndarray
        θ, shape (K + 1,).

    Returns
    -------
    numpy.ndarray
        Shape of the signal.
    """
    terms = chebyshev_polynomials(scaled_laplacian, len(coefficients), signal)
    return np.tensordot(coefficients, terms, axes=1)


def chebyshev_gain(eigenvalues: np.ndarray, coefficients: np.ndarray, largest: float | None = None) -> np.ndarray:
    r"""Evaluate :math:`g(\lambda) = \sum_k \theta_k T_k(2\lambda/\lambda_{max} - 1)`, eq. 7 on scaled frequencies.

    Parameters
    ----------
    eigenvalues : numpy.ndarray
        λ, shape (n,).
    coefficients : numpy.ndarray
        θ, shape (K + 1,).
    largest : float or None
        λ_max; the largest of the eigenvalues if None.

    Returns
    -------
    numpy.ndarray
        Shape (n,).
    """
    largest = float(np.max(eigenvalues)) if largest is None else largest
    return chebyshev.chebval(2 * np.asarray(eigenvalues) / largest - 1, coefficients)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=float))
