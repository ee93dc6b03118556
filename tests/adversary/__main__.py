"""Try the cases and print the table: ``python -m adversary --help``."""

from __future__ import annotations

import argparse
import sys

import warm
from adversary import battery, disk, images, kills, parameters, tracking

# How many cases of each row a sample takes: together about a quarter of an hour on two cores.
SAMPLE = {
    kills.ROW: 8,
    parameters.WARM: 60,
    parameters.COLD: 4,
    images.ROW: 60,
    disk.ROW: 5,
    tracking.ROW: 5,
}
ATTACKS = (kills, parameters, images, disk, tracking)


def main() -> int:
    """Exit status 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="adversary", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of all cases, and of the sample")
    parser.add_argument("--all", action="store_true", help="every case, not a sample")
    parser.add_argument("--case", help="only cases whose name holds this text, all of them")
    options = parser.parse_args()
    every = [case for attack in ATTACKS for case in attack.cases(options.seed)]
    if options.case is not None:
        chosen = [case for case in every if options.case in case.name]
    else:
        chosen = battery.drawn(every, None if options.all else SAMPLE, options.seed)
    say(f"{len(chosen)} of {len(every)} cases, seed {options.seed}\n")
    tallies = battery.tried(chosen, every, say)
    warm.close()
    say("\n" + battery.table(tallies))
    wrong = [case for tally in tallies.values() for case in tally.wrong]
    if wrong:
        say("\nWrong; repeat one with make adversary SEED=... CASE='beginning of its name':")
    for case in wrong:
        say(f"  SEED={options.seed} CASE={case.name!r}")
    return int(bool(wrong))


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
