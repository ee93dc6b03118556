"""Packages that an installation may lack: which extra of ours brings each, and what is said."""

import importlib.util

from ssl_kedro.core.errors import UserError

# By the name that is imported; of several extras that bring it the smallest. What always comes
# with one of these is not listed.
EXTRAS = {
    "cryptography": "cluster",
    "cv2": "saliency",
    "datasets": "huggingface",
    "distributed": "cluster",
    "faiss": "retrieval",
    "h5py": "retrieval",
    "huggingface_hub": "huggingface",
    "jinja2": "pipelines",
    "kedro": "pipelines",
    "kedro_datasets": "pipelines",
    "matplotlib": "pipelines",
    "mlflow": "tracking",
    "omegaconf": "pipelines",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "openvino": "fast",
    "pandas": "pipelines",
    "psutil": "tracking",
    "pyarrow": "retrieval",
    "pydantic": "pipelines",
    "s3fs": "s3",
    "scipy": "pipelines",
    "sklearn": "pipelines",
    "timm": "timm",
    "umap": "pipelines",
}


class NotInstalledError(UserError, ModuleNotFoundError):
    """Something that was asked for needs packages that are not there.

    Cause: the installation lacks an extra that a pipeline, an engine or a kind of file needs.
    Remedy: the command that the message ends with, such as ``pip install 'ssl_kedro[export]'``.
    """


def absent(*packages: str) -> list[str]:
    """Those of some packages that are not installed; none is loaded."""
    return [name for name in dict.fromkeys(packages) if importlib.util.find_spec(name) is None]


def how_to_install(*packages: str) -> str:
    """The command that brings packages: "pip install 'ssl_kedro[export,fast]'"."""
    extras = sorted({EXTRAS[name] for name in packages})
    return f"pip install 'ssl_kedro[{','.join(extras)}]'"


def require(purpose: str, *packages: str) -> None:
    """Refuse what cannot be done with what is installed.

    Args:
        purpose: what the packages are for, as the subject of "... needs".
        packages: by the names that are imported.

    Raises:
        NotInstalledError: naming those that are missing, and the command that brings them.
    """
    if missing := absent(*packages):
        are = "are" if len(missing) > 1 else "is"
        raise NotInstalledError(
            f"{purpose} needs {', '.join(missing)}, which {are} not installed: "
            f"{how_to_install(*missing)}",
            name=missing[0],
        )
