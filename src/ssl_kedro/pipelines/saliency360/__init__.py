"""Chapter 4: contrastive pre-training on panoramas and a light decoder for where people look."""

from ssl_kedro.pipelines.entrance import Entrance

PIPELINE = Entrance(__name__, "Saliency360Parameters")

create_pipeline = PIPELINE.create_pipeline
