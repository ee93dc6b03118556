"""What the words of the reports mean: said once, shown wherever a page uses them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Term:
    """A word and its meaning.

    Args:
        name: as the list of terms has it.
        meaning: in short sentences.
        words: spellings that are marked in a page's text; None = the name. A term without any is
            listed wherever its page offers it.
    """

    name: str
    meaning: str
    words: tuple[str, ...] | None = None

    @property
    def marked(self) -> tuple[str, ...]:
        """Spellings to look for."""
        return (self.name,) if self.words is None else self.words


ENCODERS = (
    Term("Encoder", "The network that turns an image into features.", ("encoder", "encoders")),
    Term(
        "Budget, t_d",
        "The share of the dense encoder's cost that an image may have.",
        ("budget", "budgets"),
    ),
    Term(
        "Dense, gated",
        "Two uses of the same weights. Dense computes every channel. Gated computes only what the "
        "gates open for the image. It takes less time only with an engine that skips closed "
        "channels.",
        ("dense", "gated"),
    ),
    Term(
        "Gate",
        "A small network that decides for each image which channels are computed.",
        ("gate", "gates"),
    ),
    Term("Static", "A plain narrow network: the same channels for every image.", ("static",)),
    Term(
        "Nested",
        "One encoder with one set of weights. It can be cut to any budget without training again.",
        ("nested",),
    ),
    Term(
        "Thin", "A plain network with fewer channels, trained on its own.", ("thin", "thin network")
    ),
    Term(
        "VICReg",
        "A way to learn from images without labels. Here it trains the dense baseline.",
        ("VICReg",),
    ),
    Term(
        "SimSiam",
        "A way to learn from images without labels. Two views of an image should look alike.",
        ("SimSiam",),
    ),
    Term(
        "FLOPs (MACs)",
        "Multiply-accumulates of convolutions and matrices for one image: stem, blocks, "
        "downsample, gates. Norms, activations and pooling count nothing. The thesis calls them "
        "FLOPs.",
        ("FLOPs (MACs)", "FLOPs", "MACs"),
    ),
    Term(
        "FLOP reduction",
        "1 \N{MINUS SIGN} mean gated MACs / dense MACs, over the evaluation images.",
        ("FLOP reduction", "FLOP reductions"),
    ),
    Term(
        "TMACs",
        "10¹² multiply-accumulates. A backward pass counts as two forward passes.",
        ("TMACs",),
    ),
    Term(
        "Linear evaluation",
        "One linear layer learns the classes from frozen features. The number is the share of "
        "evaluation images that it names rightly, mean of its runs. The deviation is over training "
        "seeds, or over those runs where there is one seed.",
        ("linear evaluation", "linear top-1", "linear probe", "linear"),
    ),
    Term(
        "1-NN",
        "Each image takes the class of the nearest training image in feature space. The number is "
        "the share that this names rightly.",
        ("1-NN top-1", "1-NN"),
    ),
    Term("Top-1", "Share of images whose first guess is right.", ("top-1",)),
    Term(
        "Operating point",
        "The budget that saves most among those whose 1-NN accuracy stays within the allowed "
        "distance of the ungated baseline's.",
    ),
    Term(
        "f32, bf16, int8",
        "Numbers of 32, 16 and 8 bits that a network computes in. Fewer bits are faster and "
        "less exact.",
        ("f32", "bf16", "int8"),
    ),
    Term(
        "ONNX",
        "A file format that other programs run networks from.",
        ("ONNX",),
    ),
    Term(
        "Front",
        "Networks that no other beats in both accuracy and time.",
        ("front",),
    ),
    Term(
        "View",
        "A random change of an image: cut, mirrored, other colours. Training compares views.",
        ("view", "views"),
    ),
    Term(
        "Seed",
        "The start of all random numbers of a training. Another seed gives another result; over "
        "one seed nobody knows how far.",
        ("seed", "seeds"),
    ),
)
RETRIEVAL = (
    Term("G", "Global search: images in the order of their descriptors' inner product.", ()),
    Term(
        "AQE", "The query is replaced by the mean of itself and its first results, then searched."
    ),
    Term(
        "DBA",
        "Every image of the database is replaced by a weighted mean of it and its neighbours.",
    ),
    Term("alpha-QE", "As AQE, but nearer results weigh more."),
    Term(
        "mAP",
        "Mean over queries of the area under the precision-recall polygon (trapezoidal rule, as "
        "the published benchmarks compute it). Junk is taken out of the ranking first.",
    ),
    Term(
        "Easy, medium, hard",
        "Revisited protocols. Easy: only easy images are to be found; hard: only hard ones; "
        "medium: both. What is not asked for is taken out like junk.",
        ("easy", "medium", "hard"),
    ),
    Term(
        "Whitened on",
        "The images that PCA-whitening was learnt on. “itself” is a leak; “own” is whitening that "
        "the encoder's publisher gives out.",
        ("whitened on", "whitening", "PCA-whitening"),
    ),
    Term("Own dimension", "Region vectors at unit length, summed, at unit length: no PCA."),
    Term("Descriptor", "One vector for an image. Near vectors mean like images.", ("descriptors",)),
)
SALIENCY = (
    Term(
        "Sphere mode",
        "Every pixel counts as much as the solid angle that it covers.",
        ("sphere mode", "solid angle"),
    ),
    Term("Planar mode", "The MIT benchmark's definitions on the pixels as they are."),
    Term("Authors mode", "Rows multiplied by a sine, as the thesis' code does."),
    Term("equator", "How often training panoramas are looked at, by latitude alone."),
    Term("mean", "The mean of the training maps: it also knows where viewers start.", ()),
    Term("ceiling", "What half of the viewers say of the other half."),
    Term("Panorama", "A picture of all directions, twice as wide as high.", ("panorama",)),
    Term(
        "Decoder",
        "The part of the network that turns features into a map of where people look.",
        ("decoder", "decoders"),
    ),
)


@dataclass
class Marker:
    """Marks terms in a page's text, the first of each in a place, and knows which it has met."""

    terms: Sequence[Term]
    met: set[str] = field(default_factory=set)
    _here: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._by_word = {_key(word): term for term in self.terms for word in term.marked}
        longest_first = sorted(self._by_word, key=len, reverse=True)
        # A hyphen may stand as one that does not break.
        words = [
            re.escape(word).replace(r"\-", "[-\N{NON-BREAKING HYPHEN}]") for word in longest_first
        ]
        self._pattern = (
            re.compile(rf"(?<![\w./])(?:{'|'.join(words)})(?![\w/]|\.\w)", re.IGNORECASE)
            if words
            else None
        )

    def begin(self) -> str:
        """A new place, in which every term is marked once more."""
        self._here.clear()
        return ""

    def __call__(self, text: str) -> Markup:
        """The text as HTML."""
        if self._pattern is None:
            return escape(text)
        made, end = Markup(), 0
        for found in self._pattern.finditer(text):
            term = self._by_word[_key(found.group())]
            if term.name in self._here:
                continue
            self._here.add(term.name)
            self.met.add(term.name)
            made += escape(text[end : found.start()])
            made += Markup('<abbr tabindex="0" title="{}">{}</abbr>').format(
                term.meaning, found.group()
            )
            end = found.end()
        return made + escape(text[end:])

    def listed(self) -> list[Term]:
        """Terms that the page has used so far, and those that are always listed."""
        return [term for term in self.terms if term.name in self.met or not term.marked]


def _key(word: str) -> str:
    return word.replace("\N{NON-BREAKING HYPHEN}", "-").lower()
