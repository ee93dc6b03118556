"""Images of files that are listed: their states, and what is stored of them."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

from ssl_kedro.core.errors import shown
from ssl_kedro.core.names import states
from ssl_kedro.core.progress import LONG_S, progress_bar
from ssl_kedro.images.decode_files import file_blocks
from ssl_kedro.images.files import passed_over
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, Split
from ssl_kedro.images.parts import ImagePart
from ssl_kedro.images.store import Plan, stored


def images_of_files(root: Path, files: ImagePart, config: DataConfig, split: Split) -> ImageSet:
    """Images of some files below a folder, decoded or found stored.

    Args:
        root: the folder.
        files: with names relative to it.
        config: of the source.
        split: which part they are.

    Raises:
        ImageSourceError: too many cannot be read, or they cannot be stored.
    """
    with progress_bar(len(files), "dates of files", "files", delay=LONG_S) as bar:
        dated = states(root, files.names, bar.update)
    form = config.form(split)
    plan = Plan(
        identity=(
            str(root.resolve()),
            files.class_names,
            files.names.digest(),
            hashlib.sha256(dated.data).hexdigest(),
        ),
        count=len(files),
        labels=files.labels,
        class_names=tuple(map(shown, files.class_names)),
        blocks=partial(file_blocks, config, form, root, files.names, int(dated[:, 0].sum())),
        paths=files.names,
        always_mapped=config.source == "imagenet100",
        form=form,
    )
    return replace(stored(plan, config), passed_over=passed_over(root))
