"""The picture of the README: accuracy over cost, from the table in docs/results.

``python docs/_ext/cost_accuracy.py`` writes it anew. It has colours of its own for light and dark.
"""

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1]
TABLE = DOCS / "results/frontier_cifar10_cpu.md"
PICTURE = DOCS / "images/cost_accuracy.svg"

_WIDTH, _HEIGHT = 880, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 200, 96, 62
_LOWEST, _HIGHEST = 44.0, 56.0
# Start of a network's name in the table -> series, its label, and where that stands: at which of
# its points, and how many px right and down of it.
_SERIES = {
    "nested": ("nested", "nested: one training, cut to any cost", (2, -60, -18)),
    "slim": ("slim", "slim: any width", (4, 14, 12)),
    "thin": ("thin", "thin: a training for each cost", (3, 14, 10)),
    "VICReg": ("dense", "VICReg, twice", (1, 14, 10)),
    "dual gating 30 %, gated": ("gated", "the thesis' gates", (0, 14, 6)),
}
# What is drawn -> colour on a light and on a dark card.
_COLOURS = {
    "card": ("#fff", "#141a22"),
    "ink": ("#16202e", "#eef2f7"),
    "soft": ("#5b6675", "#9fabba"),
    "line": ("#e3e8ee", "#2a3340"),
    "nested": ("#1f5fd0", "#7fb0ff"),
    "slim": ("#8a5bc4", "#c7a3f5"),
    "thin": ("#b4570a", "#f3a35c"),
    "dense": ("#16202e", "#eef2f7"),
    "gated": ("#0c7a62", "#4fd1b0"),
}
_STYLE = """
text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
.title{font-size:21px;font-weight:650;fill:var(--ink)}
.name{font-weight:650;font-size:15px;fill:var(--c)}
path{fill:none;stroke:var(--c);stroke-width:2.5}circle{fill:var(--c)}
"""


class Point(NamedTuple):
    """One network of the table: share of the MACs and linear accuracy, both in percent."""

    network: str
    macs: float
    linear: float


def points(table: str) -> list[Point]:
    """Networks whose accuracy was measured with three seeds, mean over them."""
    found = []
    for line in table.splitlines():
        cells = [cell.strip().strip("*") for cell in line.split("|")[1:-1]]
        if len(cells) != 7 or not re.match(r"\d", cells[1]):
            continue
        seeds = re.fullmatch(r"([\d.]+) / ([\d.]+) / ([\d.]+)", cells[2])
        costs = [float(number) for number in re.findall(r"[\d.]+", cells[1])]
        if seeds:
            found.append(
                Point(cells[0], sum(costs) / len(costs), sum(map(float, seeds.groups())) / 3)
            )
    return found


def _x(macs: float) -> float:
    return _LEFT + macs / 100 * (_WIDTH - _LEFT - _RIGHT)


def _y(linear: float) -> float:
    share = (linear - _LOWEST) / (_HIGHEST - _LOWEST)
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def picture(table: str) -> str:
    """The SVG, with axes, the series and a label beside each."""
    known = points(table)
    body = [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="12" '
        'fill="var(--card)" stroke="var(--line)"/>',
        '<text class="title" x="24" y="40">Train once, then choose what an image may cost</text>',
        '<text x="24" y="64">Linear accuracy in percent; 10,000 images of CIFAR-10, ResNet-18 of '
        "width 16, 20 epochs each, mean of 3 seeds</text>",
        *_axes(),
    ]
    for start, (name, words, (nearest, right, down)) in _SERIES.items():
        own = sorted((one.macs, one.linear) for one in known if one.network.startswith(start))
        places = [(_x(macs), _y(linear)) for macs, linear in own]
        body.append(f'<g style="--c:var(--{name})">')
        if name != "dense":
            body.append('<path d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) + '"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>' for x, y in places]
        x, y = places[nearest]
        body += [
            f'<text class="name" x="{x + right:.1f}" y="{y + down:.1f}">{words}</text>',
            "</g>",
        ]
    label = (
        "Accuracy over cost: nested networks from one training lie above all others at every cost"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}"><style>{_style()}</style>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _style() -> str:
    light, dark = (
        ";".join(f"--{name}:{both[shade]}" for name, both in _COLOURS.items()) for shade in (0, 1)
    )
    return f"svg{{{light}}}\n@media(prefers-color-scheme:dark){{svg{{{dark}}}}}{_STYLE.rstrip()}"


def _axes() -> list[str]:
    end = _WIDTH - _RIGHT
    lines = []
    for level in range(int(_LOWEST), int(_HIGHEST) + 1, 4):
        y = _y(level)
        lines.append(
            f'<line x1="{_LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
        )
        lines.append(f'<text x="{_LEFT - 12}" y="{y + 5:.1f}" text-anchor="end">{level}</text>')
    for share in (0, 25, 50, 75, 100):
        y = _HEIGHT - _BOTTOM + 24
        lines.append(f'<text x="{_x(share):.1f}" y="{y}" text-anchor="middle">{share} %</text>')
    middle = _x(50)
    lines.append(
        f'<text x="{middle}" y="{_HEIGHT - 14}" text-anchor="middle">multiply-accumulates of an '
        "image, share of the whole network</text>"
    )
    return lines


if __name__ == "__main__":
    PICTURE.write_text(picture(TABLE.read_text("utf-8")), "utf-8")
