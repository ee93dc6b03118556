"""Gaussian blur of a batch, each sample with its own width."""

import torch
from torch import Tensor

from ssl_kedro.augment.transforms import mix_rows


def gaussian_blur(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Blur every image by its own Gaussian.

    Weights are those of the density at whole pixels, and sum to 1; images go on as their mirror
    image behind the edge. This is torchvision's ``gaussian_blur``. Pillow's, which SimSiam's and
    MoCo v2's code calls, is three box filters of about the same deviation and repeats the edge.

    Args:
        images: float32 (N, C, H, W).
        sigma: standard deviation of each in px (N,); 0 leaves an image as it is.
        kernel: side of the kernel in px, odd; at most twice the smaller side less 1, else that.

    Returns:
        float32 (N, C, H, W), another tensor.
    """
    if images.device.type != "cpu":  # a choice of samples would wait for the device
        return _blurred(images, sigma, kernel)
    chosen = torch.nonzero(sigma)[:, 0]
    found = images.clone()
    if len(chosen):
        found[chosen] = _blurred(images[chosen], sigma[chosen], kernel)
    return found


def _blurred(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    reach = min(kernel // 2, min(images.shape[2:]) - 1)
    offset = torch.arange(-reach, reach + 1, device=images.device)
    sigma = sigma.to(images.dtype)
    # So narrow a Gaussian has no weight but at its centre.
    weight = (-0.5 * (offset / sigma.clamp_min(1e-3)[:, None]).square()).exp_()
    weight = weight / weight.sum(dim=1, keepdim=True)
    for _ in range(2):  # each pass mixes rows, and leaves columns as rows
        length = images.shape[2]
        index = (torch.arange(length, device=images.device)[:, None] + offset).abs()
        index = (length - 1) - ((length - 1) - index).abs()
        every = (len(images), length, -1)
        images = mix_rows(images.contiguous(), index.expand(every), weight[:, None].expand(every))
        images = images.transpose(2, 3)
    return images
