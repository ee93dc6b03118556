"""Names and labels of the images of a part of a source, none decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.core.names import Names
from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.image_set import SkippedFile
from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.subsets import held_out

# The first of them that a source has is the evaluation part.
EVALUATION_PARTS = ("test", "val", "validation", "eval")
# Longer ones are no numbers; Python may be set to convert no more (sys.set_int_max_str_digits).
MOST_DIGITS = 640


@dataclass(frozen=True)
class ImagePart:
    """Some images of a source.

    Args:
        names: of the images; of files relative to the root, with forward slashes.
        labels: int64, index into ``class_names`` for each image; None where unlabelled.
        class_names: sorted; empty where unlabelled.
    """

    names: Names
    labels: np.ndarray | None
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def chosen(self, rows: np.ndarray) -> "ImagePart":
        """Those of some rows, int (K,), in that order."""
        if len(rows) == len(self):
            return self
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, names=self.names.chosen(rows), labels=labels)


def kept_and_held(part: ImagePart, config: DataConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and evaluation images where nothing but training images are given.

    Returns:
        Both ascending; ``config.eval_fraction`` of each class is held out.

    Raises:
        ImageSourceError: a class has a single image.
    """
    generator = numpy_generator(seed, "images", "held out")
    return held_out(_labels_to_split(part, config), config.eval_fraction, generator)


def _labels_to_split(part: ImagePart, config: DataConfig) -> np.ndarray:
    """Labels of images that are to be split; zeros where unlabelled."""
    unlabelled = part.labels is None
    labels = np.zeros(len(part), dtype=np.int64) if part.labels is None else part.labels
    counts = np.bincount(labels, minlength=len(part.class_names))
    counts = counts[counts > 0]
    if counts.min() < 2:
        rarest = part.names[0] if unlabelled else part.class_names[_rarest(labels)]
        raise config.error(
            "root",
            found=f"1 image, {rarest!r}" if unlabelled else f"1 image in class {rarest!r}",
            expected=f"at least 2{'' if unlabelled else ' in each class'}, so that one can be held "
            "out for evaluation",
            remedy="add images, or give those for evaluation as a part of their own (test)",
        )
    return labels


def _rarest(labels: np.ndarray) -> int:
    names, counts = np.unique(labels, return_counts=True)
    return int(names[counts.argmin()])


def with_classes_of(
    train: ImagePart, test: ImagePart, test_name: str, config: DataConfig
) -> ImagePart:
    """The evaluation part with its labels in the order of training's classes.

    Raises:
        ImageSourceError: it has other classes.
    """
    differing = [
        f"{', '.join(map(repr, sorted(names)[:5]))} only in {part}"
        for part, one, other in (("train", train, test), (test_name, test, train))
        if (names := {*one.class_names} - {*other.class_names})
    ]
    if differing:
        raise config.error(
            "root",
            found="classes " + " and ".join(differing),
            expected=f"the same classes in train and {test_name}, each with images",
            remedy="rename, add or remove classes until they agree",
        )
    if test.labels is None or test.class_names == train.class_names:
        return test
    place = np.array([train.class_names.index(name) for name in test.class_names], np.int64)
    return replace(test, labels=place[test.labels], class_names=train.class_names)


def coded_labels(
    codes: np.ndarray, texts: Sequence[str], given: Sequence[str] | None, config: DataConfig
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and class names from labels as they are written.

    Args:
        codes: int64 (N,), index into ``texts``.
        texts: numbers or names.
        given: names by number, or None: then names are those found, sorted, numbers by their value.
        config: of the source.

    Returns:
        int64 (N,) and the class names they are indices into.

    Raises:
        ImageSourceError: a label that is not among the given ones.
    """
    numbers = all(is_number(text) and len(text) <= MOST_DIGITS for text in texts)
    if given is None:
        keys: list[Any] = [int(text) for text in texts] if numbers else list(texts)
        known = sorted(set(keys))
        place = {key: index for index, key in enumerate(known)}
        return np.array([place[key] for key in keys], np.int64)[codes], tuple(map(str, known))
    place = {name: index for index, name in enumerate(given)}
    if numbers and not place.keys() & {*texts}:
        place = {text: int(text) for text in texts if 0 <= int(text) < len(given)}
    if strange := [text for text in texts if text not in place]:
        raise config.error(
            "root",
            found=f"labels that no class name stands for: {first_few(strange)}",
            expected=f"numbers from 0 to {len(given) - 1}, or names of the {len(given)} classes",
            remedy="correct the labels or the list of class names",
        )
    return np.array([place[text] for text in texts], np.int64)[codes], tuple(given)


def is_number(label: str) -> bool:
    """Whether a label is a whole number as it is written."""
    return label.isascii() and label.removeprefix("-").isdecimal()


def check_classes(
    part: ImagePart, name: str, config: DataConfig, lost: Sequence[SkippedFile] = ()
) -> None:
    """Refuse, by an ImageSourceError, a part without images or of a single class.

    Args:
        part: what can be read.
        name: of the part.
        config: of the source.
        lost: what cannot be read, for the message.
    """
    if not len(part):
        named = first_few([f"{file.path} ({file.reason})" for file in lost], separator="; ")
        raise config.error(
            "root",
            found=f"no images in {name} that can be read{named and ': '}{named}",
            expected="images there",
            remedy="correct data.root, or repair or add images",
        )
    if part.labels is not None and len(classes := np.unique(part.labels)) == 1:
        raise config.error(
            "root",
            found=f"1 class, {part.class_names[classes[0]]!r}, in {name}",
            expected="at least two classes, which evaluation needs",
            remedy="add images of other classes, or leave the labels out",
        )
