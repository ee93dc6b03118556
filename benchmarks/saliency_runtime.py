"""Time of a saliency prediction per image by stage, as in thesis Table 4.2.

python benchmarks/saliency_runtime.py [--threads 1] [--device auto] [--batch 16] [PANORAMA ...]

Without panoramas, generated ones of 2048 x 1024 px are measured with. The weights are random:
time does not depend on them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ssl_kedro.core.memory import keep_freed_memory
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.encoders.saliency_model import DecoderConfig, SaliencyModel, build_decoder
from ssl_kedro.reporting.published import published_table
from ssl_kedro.saliency.predict.runtime import RuntimeConfig, runtimes


def network() -> SaliencyModel:
    """A model of the thesis' size; its weights make no difference to the time."""
    encoder = PanoramaEncoder(PanoramaEncoderConfig())
    return SaliencyModel(encoder, build_decoder(DecoderConfig("thesis"), encoder.map_channels))


def generated(folder: Path, count: int = 4) -> list[Path]:
    """JPEG files of smooth noise, about as large as photographs."""
    paths = []
    for index in range(count):
        random = np.random.default_rng(index)
        small = random.integers(0, 256, (128, 256, 3), dtype=np.uint8)
        path = folder / f"{index}.jpg"
        Image.fromarray(small).resize((2048, 1024), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


def main() -> None:
    """Print a table of milliseconds an image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("panoramas", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    torch.manual_seed(0)
    # Else a large batch spends a third of its time on pages that the kernel clears again.
    keep_freed_memory()
    model = network()
    config = RuntimeConfig(
        batch_sizes=(1, options.batch),
        repetitions=options.repetitions,
        threads=options.threads,
        device=options.device,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = runtimes(model, options.panoramas or generated(Path(folder)), config)
    first = found[0]
    print(
        f"thesis' model on {first.device}, {first.threads} threads, medians of {first.repetitions} "
        "(quartiles), ms per image"
    )
    for row in found:
        spread = f"({row.low_ms:.2f} to {row.high_ms:.2f})"
        print(f"batch {row.batch_size:3d}  {row.stage:18s} {row.milliseconds:9.2f} {spread}")
    published = ", ".join(
        f"{row.model} {1e3 * row.seconds:.0f}" for row in published_table("4.2").itertuples()
    )
    print(f"published, on an RTX 3090, ms per image: {published}")


if __name__ == "__main__":
    main()
