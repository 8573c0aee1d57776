"""A sampler: a mixture of Gaussians fitted to the codes of each class."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.exceptions import check_extra
from vae_augment.model.latent import LatentStats

MOST_COMPONENTS = 10  # as many as Ghosh et al. took for a whole dataset
LEAST_CODES = 10  # of a component, on average
LEAST_VARIANCE = 1e-3  # of a component, the class's own being 1


class Mixture(NamedTuple):
    """The mixture of a class, of Q components, in coordinates in which the class has mean 0 and covariance I.

    Args:
        ends: [Q], the upper ends of the components' shares of [0, 1].
        mean: [Q, L].
        std: [Q, L].
    """

    ends: Tensor
    mean: Tensor
    std: Tensor


def mixture(stats: LatentStats, rows: Tensor, noise: Tensor, pick: Tensor, temperature: float) -> Tensor:
    """Draws from a mixture of Gaussians fitted to the stored codes of the class, of as many components as BIC favours.

    Ghosh et al. (2020), "From Variational to Deterministic Autoencoders". The temperature scales a component's spread.
    """
    z = torch.empty_like(noise)
    for row in rows.unique().tolist():
        some = rows == row
        found = stats.once(("mixture", row), lambda row=row: fitted(stats, row))  # type: ignore[misc]
        chosen = torch.searchsorted(found.ends, pick[some]).clamp(max=len(found.ends) - 1)
        z[some] = found.mean[chosen] + temperature * found.std[chosen] * noise[some]
    return stats.mean[rows] + stats.spread(rows, z)


def fitted(stats: LatentStats, row: int) -> Mixture:
    """The mixture of a class, the same whenever it is fitted; components are of diagonal covariance."""
    check_extra("report", "method='mixture'", "sklearn")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture  # half a second, for those who ask for it
    from threadpoolctl import threadpool_limits

    codes = stats.exemplars[row, : stats.counts[row]].to(stats.mean) - stats.mean[row]
    points = torch.linalg.solve_triangular(stats.scale_tril[row], codes.T, upper=False).T.double().cpu().numpy()
    options = {"covariance_type": "diag", "reg_covar": LEAST_VARIANCE, "init_params": "random_from_data", "n_init": 3}
    if len(points) < 2:
        points = points.repeat(2, axis=0)  # scikit-learn fits nothing to a single one
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture that has not settled has a worse BIC
        tried = [
            GaussianMixture(count, random_state=0, **options).fit(points)
            for count in range(1, min(MOST_COMPONENTS, max(1, len(points) // LEAST_CODES)) + 1)
        ]
        best = min(tried, key=lambda model: model.bic(points))
    found = (best.weights_, best.means_, best.covariances_)
    shares, means, variances = (torch.from_numpy(array).to(stats.mean) for array in found)
    return Mixture(shares.cumsum(0), means, variances.sqrt())
