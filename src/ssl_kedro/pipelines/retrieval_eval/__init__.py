"""Chapter 3: frozen encoders as descriptors for instance retrieval."""

from ssl_kedro.pipelines.entrance import Entrance

PIPELINE = Entrance(__name__, "RetrievalEvalParameters")

create_pipeline = PIPELINE.create_pipeline
