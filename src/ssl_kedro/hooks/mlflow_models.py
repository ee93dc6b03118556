"""A trained network as an MLflow model: its bundle, and what reads it, goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import ssl_kedro

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

    from ssl_kedro.encoders.bundled import Bundled

# Height and width of the example for a network that takes panoramas of any size.
_PANORAMA = (32, 64)


def log_model(
    client: MlflowClient,
    experiment_id: str,
    run_id: str,
    name: str,
    parameters: Mapping[str, str],
    network: Bundled,
    bundle: Path,
    register_as: str | None,
) -> str:
    """Id of a new model for ``mlflow.pyfunc.load_model``: no pickle, no code but this package.

    Args:
        client: of the store.
        experiment_id: that the run belongs to.
        run_id: that trained the network.
        name: of the model.
        parameters: of its training.
        network: that the bundle holds.
        bundle: folder, copied.
        register_as: what its name in the registry begins with; None = it is not registered.
    """
    import numpy as np  # noqa: PLC0415  as are torch and MLflow, nothing for `kedro --help`
    from mlflow import pyfunc  # noqa: PLC0415
    from mlflow.entities import LoggedModelOutput  # noqa: PLC0415
    from mlflow.models import Model  # noqa: PLC0415

    made = client.create_logged_model(experiment_id, name, run_id, params=dict(parameters))
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
    side = getattr(network, "image_size", None)
    with TemporaryDirectory() as temporary:
        folder = str(Path(temporary) / "model")
        pyfunc.save_model(
            folder,
            loader_module="ssl_kedro.encoders.served",
            data_path=str(bundle),
            mlflow_model=Model(
                made.artifact_location, run_id, model_id=made.model_id, model_uuid=made.model_id
            ),
            signature=_signature(network),
            input_example=np.full((1, 3, *((side, side) if side else _PANORAMA)), 128, np.uint8),
            pip_requirements=[f"ssl_kedro=={ssl_kedro.__version__}"],
        )
        client.log_model_artifacts(made.model_id, folder)
    client.finalize_logged_model(made.model_id, "READY")
    if register_as:
        _register(client, register_as + name, made)
    return str(made.model_id)


def _signature(network: Bundled) -> ModelSignature:
    import numpy as np  # noqa: PLC0415
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec  # noqa: PLC0415

    side = getattr(network, "image_size", -1)
    features = (-1, getattr(network, "feature_dimensions", -1)) if side > 0 else (-1,) * 4
    branches = getattr(network, "branches", ())
    return ModelSignature(
        Schema([TensorSpec(np.dtype("uint8"), (-1, 3, side, side))]),
        Schema([TensorSpec(np.dtype("float32"), features)]),
        *(ParamSchema([ParamSpec("branch", "string", name)]) for name in branches[-1:]),
    )


def _register(client: MlflowClient, name: str, model: LoggedModel) -> None:
    """Make the model a new version of a registered one."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # Its place, not its "models:/" address, which MLflow looks up in its global store.
    where, run_id = model.artifact_location, model.source_run_id
    client.create_model_version(name, where, run_id, model_id=model.model_id)
