"""Chapter 6: one encoder, trained once, usable dense and gated."""

from ssl_kedro.pipelines.entrance import Entrance

PIPELINE = Entrance(__name__, "DualGatingParameters", default=True)

create_pipeline = PIPELINE.create_pipeline
