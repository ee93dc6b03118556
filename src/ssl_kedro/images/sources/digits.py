"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels, part of its package."""

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.arrays import images_from_arrays
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.subsets import held_out, limited_count

_SPLIT_SEED = 0


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Digits, resized, grey as three equal channels.

    The data set has no evaluation part of its own: a stratified share of ``eval_fraction``
    is held out, the same whatever the seed, so that runs of several seeds are compared on
    the same images.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  slow to import, rarely used

    digits, training = load_digits(), split != "eval"
    # Published as 0 to 16.
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    every_label = digits.target.astype(np.int64)
    members = _members(every_label, config, training)
    return images_from_arrays(
        config,
        np.repeat(grey[members, None], 3, axis=1),
        every_label[members],
        tuple(str(name) for name in digits.target_names),
        training=training,
        seed=seed,
        identity=(config.eval_fraction,),
    )


def _members(labels: np.ndarray, config: DataConfig, training: bool) -> np.ndarray:
    generator = numpy_generator(_SPLIT_SEED, "images", "digits")
    return held_out(labels, config.eval_fraction, generator)[0 if training else 1]


def _count(config: DataConfig, split: Split, _seed: int) -> int:
    from sklearn.datasets import load_digits  # noqa: PLC0415  slow to import, rarely used

    members = _members(load_digits().target, config, split != "eval")
    return limited_count(config, split != "eval", len(members), 10)


SOURCE = ImageSource(("digits",), _load, reads_files=False, count=_count, package="sklearn")
