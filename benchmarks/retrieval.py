"""Retrieval kernels beside their plain counterparts, in one run; prints ratios.

python benchmarks/retrieval.py [--threads 1]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_kedro.encoders.frozen import FrozenEncoderConfig, frozen_encoder
from ssl_kedro.images.decode import Resize, decoded_part
from ssl_kedro.images.photographs import FilePhotographs
from ssl_kedro.retrieval.descriptors import PoolingConfig, pooled
from ssl_kedro.retrieval.extraction import ExtractConfig, VectorStore, extract_vectors
from ssl_kedro.retrieval.pooling import region_maxima, rmac_regions
from ssl_kedro.retrieval.protocols import (
    REVISITED,
    Judgements,
    Places,
    average_precisions,
    places_by_similarity,
    places_in_rankings,
    precisions_at,
)

Lists = list[np.ndarray]
KS = (1, 5, 10)


def interleaved_seconds(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken turn by turn after one round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for at in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if at:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def region_by_region(maps: Tensor) -> Tensor:
    """R-MAC's maxima, a slice of the map a region."""
    regions = rmac_regions(maps.shape[2], maps.shape[3])
    return torch.stack(
        [maps[:, :, t : t + side, x : x + side].amax(dim=(2, 3)) for t, x, side in regions], dim=1
    )


def query_by_query(
    rankings: np.ndarray, positives: Lists, junk: Lists
) -> tuple[list[float], list[list[float]]]:
    """AP and mP@k in the manner of the published evaluation: one query, one positive at a time."""
    found, precisions = [], []
    for query in range(rankings.shape[1]):
        places = np.flatnonzero(np.isin(rankings[:, query], positives[query]))
        ignored = np.flatnonzero(np.isin(rankings[:, query], junk[query]))
        area, passed = 0.0, 0
        clean = np.empty_like(places)
        for hit, place in enumerate(places):
            while passed < len(ignored) and ignored[passed] < place:
                passed += 1
            rank = clean[hit] = place - passed
            before = 1.0 if rank == 0 else hit / rank
            area += (before + (hit + 1) / (rank + 1)) / (2 * len(places))
        found.append(area)
        looked_at = [min(k, clean.max() + 1) for k in KS]
        precisions.append([float((clean < k).sum() / k) for k in looked_at])
    return found, precisions


def benchmark_regions(rounds: int) -> None:
    """Maps of 724 px images of a ResNet-50 and of a network a quarter as wide."""
    for shape in ((16, 2048, 23, 23), (64, 512, 23, 23), (16, 2048, 23, 31)):
        contiguous = torch.rand(shape)
        for layout, maps in (
            ("contiguous", contiguous),
            ("channels last", contiguous.to(memory_format=torch.channels_last)),
        ):
            taken = interleaved_seconds(
                {
                    "loop": lambda maps=maps: region_by_region(maps),  # type: ignore[misc]
                    "ours": lambda maps=maps: region_maxima(maps),  # type: ignore[misc]
                },
                rounds,
            )
            print(
                f"R-MAC maxima {shape}, {layout}: {1e3 * taken['loop']:.0f} ms region by region, "
                f"{1e3 * taken['ours']:.0f} ms ours: {taken['loop'] / taken['ours']:.1f}x"
            )


def benchmark_average_precision(rounds: int) -> None:
    """Easy, medium and hard of a set of rParis6k's size with as many judged images."""
    generator = np.random.default_rng(0)
    images, queries = 6322, 70
    similarities = generator.normal(size=(images, queries))
    rankings = np.argsort(-similarities, axis=0, kind="stable")
    judged = [generator.permutation(images)[:300] for _ in range(queries)]
    bounds = {"easy": (0, 80), "hard": (80, 200), "junk": (200, 300)}
    judgements = Judgements(
        {name: [part[a:b] for part in judged] for name, (a, b) in bounds.items()}
    )

    def measured(places: Places) -> list[tuple[np.ndarray, np.ndarray]]:
        hits = [places.hits(level) for level in REVISITED.values()]
        return [(average_precisions(h), precisions_at(h, KS)) for h in hits]

    def ours() -> list[tuple[np.ndarray, np.ndarray]]:
        return measured(places_in_rankings(rankings, judgements))

    def without_ranking() -> list[tuple[np.ndarray, np.ndarray]]:
        return measured(places_by_similarity(similarities, judgements))

    def loop() -> list[tuple[list[float], list[list[float]]]]:
        return [
            query_by_query(
                rankings, _lists(judgements, level.positives), _lists(judgements, level.junk)
            )
            for level in REVISITED.values()
        ]

    for found, expected in zip(ours(), loop(), strict=True):
        for a, b in zip(found, expected, strict=True):
            if np.abs(a - np.array(b)).max() > 1e-9:
                raise RuntimeError("the two evaluations disagree")
    taken = interleaved_seconds({"loop": loop, "ours": ours}, rounds)
    print(
        f"AP, mP@k of {images} x {queries} at three levels, from rankings: "
        f"{1e3 * taken['loop']:.0f} ms query by query, {1e3 * taken['ours']:.1f} ms ours: "
        f"{taken['loop'] / taken['ours']:.1f}x"
    )
    taken = interleaved_seconds(
        {
            "sorted": lambda: (np.argsort(-similarities, axis=0, kind="stable"), loop()),
            "ours": without_ranking,
        },
        rounds,
    )
    print(
        f"  from similarities: {1e3 * taken['sorted']:.0f} ms ranked first, "
        f"{1e3 * taken['ours']:.0f} ms ours: {taken['sorted'] / taken['ours']:.1f}x"
    )


def benchmark_extraction(rounds: int) -> None:
    """1600 x 1200 px photographs at 362 px through a narrow ResNet-50; memory for more of them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _photographs(Path(folder), 48)
        network = frozen_encoder(FrozenEncoderConfig(kind="random", width=16), 0)
        resize, config = Resize(362), ExtractConfig(device="cpu", batch_size=8)

        def decoded_first() -> None:
            """A batch is decoded, then goes through the network, then the next."""
            with torch.inference_mode():
                for first in range(0, len(paths), 8):
                    images = [decoded_part(path, resize) for path in paths[first : first + 8]]
                    pooled(network(torch.from_numpy(np.stack(images))), PoolingConfig())

        def ours(times: int = 1) -> None:
            photographs = FilePhotographs(paths * times, [str(i) for i in range(48 * times)])
            store = VectorStore(Path(folder) / "vectors")
            description = extract_vectors(
                photographs,
                network,
                resize,
                PoolingConfig(),
                config,
                store,
                {"at": time.time()},
                "",
            )
            if description["images"] != 48 * times:
                raise RuntimeError("not all images were extracted")

        taken = interleaved_seconds({"plain": decoded_first, "ours": ours}, rounds)
        print(
            f"Extraction of {len(paths)} photographs: {len(paths) / taken['plain']:.1f} images/s "
            f"decoded, then described; {len(paths) / taken['ours']:.1f} ours: "
            f"{taken['plain'] / taken['ours']:.2f}x"
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours(times=8)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"  eight times as many images: peak memory {before / 1e3:.0f} -> {after / 1e3:.0f} MB"
        )


def _photographs(folder: Path, count: int) -> list[Path]:
    """JPEG files as cameras make them: smooth, with some noise."""
    generator = np.random.default_rng(0)
    paths = []
    for index in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (30, 40, 3), np.uint8))
        pixels = np.asarray(coarse.resize((1600, 1200), Image.Resampling.BICUBIC)).astype(np.int16)
        pixels = pixels + generator.normal(0, 6, pixels.shape).astype(np.int16)
        paths.append(folder / f"{index}.jpg")
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def _lists(judgements: Judgements, names: frozenset[str]) -> Lists:
    return [
        np.concatenate(parts)
        for parts in zip(*(judgements.lists[name] for name in sorted(names)), strict=True)
    ]


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions, turn by turn")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    benchmark_regions(arguments.rounds)
    benchmark_average_precision(arguments.rounds)
    benchmark_extraction(min(arguments.rounds, 5))


if __name__ == "__main__":
    main()
