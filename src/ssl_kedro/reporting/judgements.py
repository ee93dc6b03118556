"""Sentences from judged differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def grouped(differences: Iterable[tuple[str, str]]) -> str:
    """One phrase a judgement: "helps at 10 % (+1.0) and does not help at 50 % (+.1)".

    Args:
        differences: (judgement with its preposition, what it is about with its figures) of each.
    """
    found: dict[str, list[str]] = {}
    for judgement, about in differences:
        found.setdefault(judgement, []).append(about)
    return listed([f"{judgement} {listed(of)}" for judgement, of in found.items()])


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence, "a, b and c"; "" of none."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
