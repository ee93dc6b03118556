"""Time at equal MACs: thin, static and gated networks in every precision.

Run ``python benchmarks/frontier.py [--shares .14 .195 .32 .475 --batches 1 32 --sizes 32 --width
64]``. A thin network of each share of the dense MACs, and static and gated networks of at most its
MACs, each on the fastest engine of each precision, take turns with the dense network. All weights
are random, so that nothing is said of accuracy, only of what an accuracy may cost: what is slower
at equal MACs has to be more accurate. The ratio is to the fastest dense network of any precision.
Gates are imposed as in ``gated_inference.py``.
"""

from __future__ import annotations

import argparse

import torch

from gated_inference import Call, encoder_of, fastest_in_each, imposed, interleaved, options, static
from ssl_kedro.encoders.gated_resnet import GatedResNet18
from ssl_kedro.inference.compact import dense_network


def densities(encoder: GatedResNet18, macs: float, size: int) -> tuple[float, float]:
    """Largest densities, in percents, of a static and a gated network of at most these MACs."""
    found = []
    for gates in (0.0, float(sum(block.gate for block in encoder.cost(size).blocks))):
        fitting = [
            percent / 100
            for percent in range(1, 100)
            if static(encoder, percent / 100).plan.cost(size).dense + gates <= macs
        ]
        if not fitting:
            raise SystemExit(f"{macs:,.0f} MACs are less than stem and shortcuts cost")
        found.append(fitting[-1])
    return found[0], found[1]


def measure(size: int, batch: int, arguments: argparse.Namespace) -> None:
    """One size and batch at all shares."""
    encoder = encoder_of(size, arguments.width)
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(2))
    whole = encoder.cost(size).dense
    print(f"{size} px, batch {batch}:", flush=True)

    def raced(name: str, *network: object) -> dict[str, Call]:
        return fastest_in_each(name, *network, images=images, arguments=arguments)  # type: ignore[arg-type]

    dense = raced("dense", dense_network(encoder))
    for share in arguments.shares:
        thin = encoder_of(size, max(4, round(arguments.width * share**0.5)))
        macs = thin.cost(size).dense
        of_static, of_gated = densities(encoder, macs, size)
        calls = dense | raced("thin", dense_network(thin))
        calls |= raced("static", static(encoder, of_static))
        calls |= raced("gated", *imposed(encoder, of_gated, arguments.off, batch))
        medians, _ = interleaved(calls, arguments.rounds, arguments.seconds)
        best = min((name for name in medians if name.startswith("dense")), key=medians.__getitem__)
        print(
            f"  {macs / whole:.1%} of the MACs: thin of width {thin.config.width}, static of "
            f"density {of_static:.2f}, gated of {of_gated:.2f}; limit {whole / macs:.2f}"
        )
        for name, seconds in sorted(medians.items(), key=lambda item: item[1]):
            engine = calls[name][0].name
            told = f"{1e3 * seconds / batch:8.3f} ms an image, ratio {medians[best] / seconds:5.2f}"
            print(f"    {name:12} {engine:16} {told}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__.splitlines()[0])
    parser.set_defaults(batches=[1, 32], sizes=[32])
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0.14, 0.195, 0.32, 0.475], help="of dense MACs"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"width {arguments.width}, {arguments.threads} threads")
    for size in arguments.sizes:
        for batch in arguments.batches:
            measure(size, batch, arguments)


if __name__ == "__main__":
    main()
