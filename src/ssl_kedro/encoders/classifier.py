"""Linear layers that name the classes of an encoder's features, and their files in its bundle.

They are no part of the encoder: its weights, their fingerprint and its description stay as they are
without.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssl_kedro.core.errors import InputError, first_few
from ssl_kedro.encoders.fingerprint import weight_fingerprint

if TYPE_CHECKING:
    from ssl_kedro.encoders.base import Branch, Encoder

NAMES, WEIGHTS = "classifier.json", "classifier.safetensors"
_FORMAT = "ssl_kedro classifier v1"


class Head(NamedTuple):
    """A linear layer on features: logits are features @ weight + bias.

    Args:
        weight: float32 (D, K).
        bias: float32 (K,).
    """

    weight: Tensor
    bias: Tensor


class Guess(NamedTuple):
    """A class of an image, and its probability by softmax, which nothing has calibrated."""

    name: str
    probability: float


@dataclass(frozen=True)
class Classifier:
    """A linear layer for each branch of an encoder, and what its outputs are called.

    Args:
        class_names: K of them, in the order of the outputs.
        heads: by branch, on the CPU.

    Raises:
        ValueError: no class or branch, or layers of other shapes or types or with numbers that are
            not finite.
    """

    class_names: tuple[str, ...]
    heads: Mapping[Branch, Head]

    def __post_init__(self) -> None:
        classes = len(self.class_names)
        if not classes or not self.heads:
            raise ValueError("expected at least one class and one branch, found none")
        for branch, head in self.heads.items():
            shapes = tuple(head.weight.shape), tuple(head.bias.shape)
            if head.weight.ndim != 2 or shapes[0][1:] != (classes,) or shapes[1] != (classes,):
                raise ValueError(
                    f"{branch}: expected a weight (D, {classes}) and a bias ({classes},) for "
                    f"{classes} class names, found {shapes[0]} and {shapes[1]}"
                )
            if kinds := {tensor.dtype for tensor in head} - {torch.float32}:
                raise ValueError(f"{branch}: expected float32, found {kinds.pop()}")
            if not all(bool(torch.isfinite(tensor).all()) for tensor in head):
                raise ValueError(f"{branch}: found values that are not finite, expected numbers")

    def default_branch(self, branches: Sequence[Branch]) -> Branch:
        """The last of an encoder's branches that there is a layer for: gated before dense."""
        return [branch for branch in branches if branch in self.heads][-1]

    def probabilities(self, features: Tensor, branch: Branch) -> Tensor:
        """Softmax over the classes, (N, K), of features (N, D) of a branch, on the CPU."""
        if branch not in self.heads:
            raise ValueError(f"there is no head for the {branch!r} branch, only {(*self.heads,)}")
        head = self.heads[branch]
        return torch.softmax(features.cpu().float() @ head.weight + head.bias, dim=1)

    def guesses(self, features: Tensor, branch: Branch, top: int) -> list[list[Guess]]:
        """The likeliest classes of each image, likeliest first; at most as many as there are."""
        likeliest = self.probabilities(features, branch).topk(min(top, len(self.class_names)))
        return [
            [Guess(self.class_names[place], value) for value, place in zip(*row, strict=True)]
            for row in zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
        ]

    def check_fits(self, encoder: Encoder) -> None:
        """Refuse layers for branches or features that the encoder does not have.

        Raises:
            ValueError: naming them.
        """
        for branch, head in self.heads.items():
            encoder.check_branch(branch)
            if len(head.weight) != encoder.feature_dimensions:
                raise ValueError(
                    f"{branch}: expected a layer on {encoder.feature_dimensions} features, as this "
                    f"encoder has, found one on {len(head.weight)}"
                )

    def save(self, folder: Path, encoder: Encoder) -> None:
        """Two files in an encoder's bundle: names as JSON, layers as safetensors."""
        described = {
            "format": _FORMAT,
            "encoder": weight_fingerprint(encoder),
            "class_names": list(self.class_names),
        }
        (folder / NAMES).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        save_file(
            {
                f"{branch}.{name}": tensor.detach().cpu().contiguous()
                for branch, head in self.heads.items()
                for name, tensor in head._asdict().items()
            },
            folder / WEIGHTS,
        )


def with_classifier(encoder: Encoder, classifier: Classifier) -> Encoder:
    """A copy of an encoder that can name classes.

    Raises:
        ValueError: the layers do not fit it.
    """
    classifier.check_fits(encoder)
    made = copy.deepcopy(encoder)
    made.classifier = classifier
    return made


def kept_classifier(folder: Path, encoder: Encoder) -> Classifier | None:
    """What a bundle has beside its encoder; None where it has none.

    Raises:
        InputError: its files are damaged, incomplete, or of another encoder.
    """
    files = folder / NAMES, folder / WEIGHTS
    if not any(file.exists() for file in files):
        return None
    at = files[0]
    try:
        described: Any = json.loads(at.read_text(encoding="utf-8"))
        if not isinstance(described, dict) or described.get("format") != _FORMAT:
            raise ValueError(f"expected an object of format {_FORMAT!r}")
        names = described["class_names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("expected class_names to be a list of words")
        if described["encoder"] != weight_fingerprint(encoder):
            raise ValueError("its layers were trained on the features of another encoder")
        at = files[1]
        tensors = load_file(at)
        branches: dict[Any, Head] = {
            branch: Head(**{name: tensors.pop(f"{branch}.{name}") for name in Head._fields})
            for branch in encoder.branches
            if any(f"{branch}.{name}" in tensors for name in Head._fields)
        }
        if tensors:
            raise ValueError(f"{first_few(tensors)}: no layer of one of {encoder.branches}")
        found = Classifier(tuple(names), branches)
        found.check_fits(encoder)
    except Exception as error:  # damaged files make readers raise any kind
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            str(at),
            reason,
            "the linear layers that were trained on this encoder's features",
            f"fetch the bundle again, or remove {NAMES} and {WEIGHTS}: the encoder works without",
        ) from error
    return found
