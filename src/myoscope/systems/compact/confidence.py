"""How sure a segmentation is: a calibrated probability for each structure, and slices unlike any seen in training."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Familiar:
    """Where the features (C,) of training slices lie: their `mean` (C,) and what makes them white, (C, C)."""

    mean: Tensor
    whitening: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> "Familiar":
        """From the features (N, C) of training slices; the covariance is shrunk.

        Source:
            Lee et al. 2018, Mahalanobis distance for detecting abnormal samples, arXiv:1807.03888; shrinkage after
            Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4.
        """
        from sklearn.covariance import LedoitWolf

        found = LedoitWolf().fit(features.double().numpy(force=True))
        whitening = np.linalg.cholesky(np.linalg.inv(found.covariance_))
        return cls(torch.tensor(found.location_).float(), torch.tensor(whitening).float())

    def distance(self, features: Tensor) -> Tensor:
        """Root mean square of the whitened features, (N, C) to (N,)."""
        white = (features - self.mean.to(features)) @ self.whitening.to(features)
        return white.square().mean(1).sqrt()


def heart_features(deep: Tensor, heart: Tensor) -> Tensor:
    """Mean of deep features (N, C, h, w) where the heart is, (N, H, W) bool; (N, C), NaN where there is none."""
    weight = F.adaptive_avg_pool2d(heart[:, None].float(), (deep.shape[-2], deep.shape[-1]))
    return (deep.float() * weight).sum((2, 3)) / weight.sum((2, 3)).where(heart.any((1, 2))[:, None], torch.nan)
