"""Numbers, and lists of words, as the reports print them; what was not measured is a dash."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_NO_BREAK = "\N{NO-BREAK SPACE}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Fraction as a percentage, "75.3 %"; the space does not break."""
    if fraction is None or math.isnan(fraction):
        return DASH
    return f"{100 * fraction:.{digits}f}{_NO_BREAK}%"


def plain(value: float | None, digits: int = 2) -> str:
    """Number with a fixed count of decimals, the minus as typeset."""
    return DASH if pd.isna(value) else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float | None, digits: int = 2) -> str:
    """Difference with its sign, the minus as typeset; a rounded zero has none."""
    if pd.isna(value):
        return DASH
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def with_std(mean: float, std: float, digits: int = 2) -> str:
    """Mean and standard deviation, "75.27 ± 0.05"; the mean alone where there is no deviation."""
    if pd.isna(mean) or pd.isna(std):
        return plain(mean, digits)
    return f"{mean:.{digits}f} ± {std:.{digits}f}"


def signed_with_std(mean: float, std: float, digits: int = 2) -> str:
    """Difference with its sign and standard deviation, "+1.20 ± 0.30"."""
    text = signed(mean, digits)
    return text if pd.isna(mean) or pd.isna(std) else f"{text} ± {std:.{digits}f}"


def three_digits(value: float | None) -> str:
    """Quantity of unknown size: three significant digits, thousands separated."""
    if pd.isna(value):
        return DASH
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def counted(value: object) -> str:
    """Whole number with thousands separated; anything else as it is."""
    return f"{value:,}" if isinstance(value, int) else str(value)


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
