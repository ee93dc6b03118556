"""Videos without labels, for pre-training: a folder with panoramic videos at any depth.

``frame_rate`` frames of each second are taken (thesis 4.4: 1, of the videos of PVS-HMEM and of
YouTube). Pictures lie in a folder of their own, a source ``folder`` beside this one.
"""

from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.sources import layouts
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.frames import FramePanoramas, opened_videos
from ssl_kedro.saliency.video import VIDEO_EXTENSIONS


class VideosPanoramas(FramePanoramas):
    """Frames of all videos of a folder, unlabelled.

    Args:
        config: ``root``, ``frame_rate``, lists or ``test_names`` of videos (paths below root
            without the ending) that are held out, ``limit`` (frames), ``seed``.

    Raises:
        SaliencyDataError: no folder, no videos, damaged videos (all are named), all held out.
    """

    def __init__(self, config: SourceConfig) -> None:
        root = layouts.existing(config)
        files = layouts.by_stem(root, VIDEO_EXTENSIONS)
        kept = layouts.kept_unlabelled(list(files), config, root)
        if not kept:
            raise SaliencyDataError(
                root,
                found="no videos" if not files else "no videos but those that are held out",
                expected=f"videos ({', '.join(sorted(VIDEO_EXTENSIONS))})",
                remedy="set root to the folder that holds them; pictures have source = folder",
            )
        videos = opened_videos({name: files[name] for name in kept}, config, root)
        super().__init__(videos, dict.fromkeys(kept, "unlabelled"), root, config)

    def saliency(self, index: int) -> None:  # noqa: ARG002
        """None: nothing is known of where people look."""
        return

    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:  # noqa: ARG002
        """(): nothing is known of where people look."""
        return ()
