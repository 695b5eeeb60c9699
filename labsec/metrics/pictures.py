"""How much a picture is like another one: PSNR and SSIM, of pictures that are matched already."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labsec.metrics.shared import check_samples

PSNR_CAP = 120.0


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for values in [0, 1], image by image: [n, *shape] twice -> [n].

    At most 120 dB (equal images); minus infinity for an image that is not finite.

    >>> psnr(torch.full((1, 4, 4), 0.6), torch.full((1, 4, 4), 0.5))
    tensor([20.0000])
    """
    check_samples("psnr", images, truth, least=2)
    if images.shape != truth.shape:
        raise ValueError(f"psnr needs two tensors of one shape; got {list(images.shape)} and {list(truth.shape)}")
    error = (images.double() - truth.double()).square().flatten(1).mean(dim=1)  # [n]
    ratio = (-10 * error.log10()).clamp_max(PSNR_CAP)
    return torch.where(error.isfinite(), ratio, -torch.inf).float()


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity for values in [0, 1], image by image: [n, channels, h, w] twice -> [n], 1 for equal ones,
    NaN for one that is not finite.

    A window of 7 pixels as in the paper's uniform variant. Source: Wang et al. 2004, IEEE Transactions on Image
    Processing 13(4), by scikit-image.

    >>> image = torch.rand(1, 1, 8, 8)
    >>> ssim(image, image)
    tensor([1.])
    """
    from skimage.metrics import structural_similarity  # half a second, and few need it

    check_samples("ssim", images, truth, least=4)
    if images.shape != truth.shape or images.ndim != 4 or min(images.shape[2:]) < 7:
        raise ValueError(
            "ssim needs two tensors [n, channels, h, w] of one shape with h, w >= 7; "
            f"got {list(images.shape)} and {list(truth.shape)}"
        )
    pairs = zip(images.detach().cpu().numpy(), truth.detach().cpu().numpy(), strict=True)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return torch.tensor([structural_similarity(a, b, data_range=1.0, channel_axis=0) for a, b in pairs])
