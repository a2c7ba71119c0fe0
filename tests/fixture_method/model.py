"""Ridge regression in closed form, for every class against the others :cite:p:`fifth2026`."""

import torch


def ridge_weights(features: torch.Tensor, targets: torch.Tensor, penalty: float) -> torch.Tensor:
    """Return the weights of ridge regression, shape (n_features, n_classes).

    Parameters
    ----------
    features : torch.Tensor
        Shape (n_windows, n_features), standardised.
    targets : torch.Tensor
        Shape (n_windows, n_classes), 1 where a window is of a class.
    penalty : float
        Weight of the squared weights.

    Returns
    -------
    torch.Tensor
        The solution of (XᵀX + λI) W = XᵀY.
    """
    gram = features.T @ features + penalty * torch.eye(features.shape[1], dtype=features.dtype)  # (F, F)
    return torch.linalg.solve(gram, features.T @ targets)  # (F, C)
