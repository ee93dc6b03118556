"""Chapter 5: SimSiam with channel gates under a budget."""

from ssl_kedro.pipelines.entrance import Entrance

PIPELINE = Entrance(__name__, "DynamicChannelsParameters")

create_pipeline = PIPELINE.create_pipeline
