from __future__ import annotations

import re
from html import unescape

import pytest

from ssl_kedro.reporting import glossary
from ssl_kedro.reporting.glossary import Marker, Term

TERMS = [
    Term("1-NN", "nearest"),
    Term("Top-1", "first", ("top-1", "1-NN top-1")),
    Term("x", "y", ()),
]


def plain(marked: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", marked))


def titles(marked: str) -> list[tuple[str, str]]:
    return re.findall(r'<abbr tabindex="0" title="([^"]*)">([^<]*)</abbr>', marked)


def test_the_first_of_each_term_is_marked_in_every_place() -> None:
    words = Marker(TERMS)
    made = words("1-NN, then 1-NN again; top-1.")
    assert titles(made) == [("nearest", "1-NN"), ("first", "top-1")]
    assert titles(words("1-NN")) == []
    words.begin()
    assert titles(words("1-NN")) == [("nearest", "1-NN")]


def test_longer_words_win_and_parts_of_words_are_none() -> None:
    words = Marker(TERMS)
    assert titles(words("1-NN top-1")) == [("first", "1-NN top-1")]
    assert titles(words("11-NN, 1-NNs, stop-12, a.top-1, top-1.b, a/1-NN")) == []
    assert titles(words("1\N{NON-BREAKING HYPHEN}NN")) == [
        ("nearest", "1\N{NON-BREAKING HYPHEN}NN")
    ]


@pytest.mark.parametrize("text", ["", 'a < b & 1-NN > "c"', "<script>top-1</script>"])
def test_text_stays_what_it_is(text: str) -> None:
    made = Marker(TERMS)(text)
    assert plain(made) == text
    assert "<script" not in made


def test_listed_are_terms_that_were_met_and_those_that_are_always() -> None:
    words = Marker(TERMS)
    words("Top-1 of something")
    assert [term.name for term in words.listed()] == ["Top-1", "x"]
    assert Marker([])("1-NN") == "1-NN"


@pytest.mark.parametrize("terms", [glossary.ENCODERS, glossary.RETRIEVAL, glossary.SALIENCY])
def test_no_word_means_two_things_on_a_page(terms: tuple[Term, ...]) -> None:
    words = [word.lower() for term in terms for word in term.marked]
    assert len(set(words)) == len(words)
    assert len({term.name for term in terms}) == len(terms)
    assert all(term.meaning.endswith(".") for term in terms)
