"""A trained network as an MLflow model: its bundle, and what reads it, goes in and comes out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import ssl_kedro

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ssl_kedro.encoders.bundled import Bundled

# Height and width of the example for a network that takes panoramas of any size.
_PANORAMA = (32, 64)


def log_model(
    client: MlflowClient, bundle: Path, network: Bundled, register_as: str | None, **described: Any
) -> str:
    """Id of a new model for ``mlflow.pyfunc.load_model``: no pickle, no code but this package.

    Args:
        client: of the store.
        bundle: folder that holds the network, copied.
        network: that was trained.
        register_as: its name in the registry; None = it is not registered.
        described: arguments of ``MlflowClient.create_logged_model``.
    """
    import mlflow  # noqa: PLC0415  as NumPy and torch, nothing for `kedro --help`
    import numpy as np  # noqa: PLC0415

    made = client.create_logged_model(**described)
    run_id, model_id = str(made.source_run_id), made.model_id
    client.log_outputs(run_id, [mlflow.entities.LoggedModelOutput(model_id, 0)])
    known: dict[str, Any] = {"run_id": run_id, "model_id": model_id, "model_uuid": model_id}
    side = getattr(network, "image_size", None)
    shape = (1, 3, side, side) if side else (1, 3, *_PANORAMA)
    with TemporaryDirectory() as temporary:
        folder = str(Path(temporary) / "model")
        mlflow.pyfunc.save_model(
            folder,
            loader_module="ssl_kedro.encoders.served",
            data_path=str(bundle),
            mlflow_model=mlflow.models.Model(made.artifact_location, **known),
            signature=_signature(network),
            input_example=np.full(shape, 128, np.uint8),
            pip_requirements=[f"ssl_kedro=={ssl_kedro.__version__}"],
        )
        client.log_model_artifacts(model_id, folder)
    client.finalize_logged_model(model_id, "READY")
    if register_as:
        with suppress(mlflow.MlflowException):  # it is there
            client.create_registered_model(register_as)
        # Its place, not its "models:/" address, which MLflow looks up in its global store.
        where = made.artifact_location
        client.create_model_version(register_as, where, run_id, model_id=model_id)
    return str(model_id)


def _signature(network: Bundled) -> Any:
    import numpy as np  # noqa: PLC0415
    from mlflow import models, types  # noqa: PLC0415

    side, features = getattr(network, "image_size", -1), getattr(network, "feature_dimensions", 0)
    shapes = {"uint8": (-1, 3, side, side), "float32": (-1, features) if features else (-1,) * 4}
    made: list[Any] = [
        types.Schema([types.TensorSpec(np.dtype(kind), shape)]) for kind, shape in shapes.items()
    ]
    for branch in getattr(network, "branches", ())[-1:]:
        parameters = [types.ParamSpec("branch", "string", branch)]
        if getattr(network, "classifier", None) is not None:
            parameters.append(types.ParamSpec("output", "string", "features"))
        made.append(types.ParamSchema(parameters))
    return models.ModelSignature(*made)
