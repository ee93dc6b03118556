"""A network as a folder of the Hugging Face Hub: card, weights, configuration, preprocessing.

It loads without this project, by the code that lies in it.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ssl_kedro.core.errors import InputError, first_line
from ssl_kedro.core.extras import require
from ssl_kedro.core.files import replaced_folder
from ssl_kedro.encoders.bundle import CONFIG_NAME
from ssl_kedro.inference.export import FileReport, folder_bytes
from ssl_kedro.inference.onnx_file import checked_difference, compared_images
from ssl_kedro.inference.planned import PlannedNetwork

_USE = """```python
import torch
from model import load

network = load()  # in this folder; needs PyTorch and safetensors
images = torch.randint(0, 256, (1, 3, {side}, {side}), dtype=torch.uint8)  # RGB, or float in [0, 1]
features = network(images)  # (1, {dimensions}); pixels are normalised inside
```"""


@dataclass(frozen=True)
class ModelCard:
    """What a reader of the network's page wants to know.

    Args:
        title: of the page.
        summary: what it is, in a few sentences.
        data: what it was trained on.
        recipe: how, by name.
        figures: tables by heading: a row of column names, then the values.
        licence: identifier of the Hub, such as "mit"; of the weights.
    """

    title: str
    summary: str
    data: str
    recipe: Mapping[str, str]
    figures: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    licence: str = "other"

    def text(self, side: int, dimensions: int) -> str:
        """The page in Markdown, with the front matter that the Hub reads.

        Args:
            side: of the images in px.
            dimensions: of the features.
        """
        front = {
            "license": self.licence,
            "library_name": "pytorch",
            "pipeline_tag": "image-feature-extraction",
        }
        parts = [
            "\n".join(["---", *(f"{key}: {value}" for key, value in front.items())]),
            "tags:\n- self-supervised-learning\n- image-feature-extraction\n---",
            f"# {self.title}",
            self.summary,
            "## Use it",
            _USE.format(side=side, dimensions=dimensions),
            "## Data",
            self.data,
            "## Recipe",
            _table([["Parameter", "Value"], *([key, value] for key, value in self.recipe.items())]),
        ]
        for heading, rows in self.figures.items():
            parts += [f"## {heading}", _table(rows)]
        # The front matter is one block.
        return "\n".join(parts[:2]) + "\n\n" + "\n\n".join(parts[2:]) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def write_hub_folder(
    network: PlannedNetwork, folder: Path, card: ModelCard, images: np.ndarray | None = None
) -> FileReport:
    """The folder, replaced only when complete, and compared with the network.

    Args:
        network: static or dense.
        folder: to be written.
        card: of the network.
        images: real ones to compare with besides noise, uint8 (N, 3, side, side).

    Raises:
        ValueError: the network has gates, which plain code does not compute.
        ExportError: the folder was not written as it is.
    """
    if network.plan.dependent:
        raise ValueError("expected a static or dense network, found one with gates")
    side, described = network.plan.image_size, network.description()
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    preprocessing = {
        "do_resize": True,
        "size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
        "do_convert_rgb": True,
    }
    batch = compared_images(images, side, side)
    with replaced_folder(folder, sum(value.nbytes for value in weights.values())) as temporary:
        _write_json(temporary / CONFIG_NAME, {"model_type": network.bundle_format, **described})
        _write_json(temporary / "preprocessor_config.json", preprocessing)
        save_file(weights, temporary / network.plain.WEIGHTS[0])
        shutil.copyfile(network.plain.__file__, temporary / "model.py")
        text = card.text(side, network.plan.feature_dimensions)
        (temporary / "README.md").write_text(text, encoding="utf-8")
        with torch.inference_mode():
            found, expected = network.plain.load(temporary)(batch), network(batch)
        difference = checked_difference(folder, found, expected, "features", "write it again")
    largest = float(expected.abs().max())
    return FileReport(folder, folder_bytes(folder), len(batch), difference, largest)


def _write_json(path: Path, values: Mapping[str, object]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def push_to_hub(folder: Path, repository: str) -> str:
    """Send a folder to the Hub, where the user's token and endpoint of ``huggingface_hub`` say.

    Args:
        folder: from :func:`write_hub_folder`.
        repository: "name/model"; private where it is made now.

    Returns:
        Address of the page.

    Raises:
        NotInstalledError: ``huggingface_hub`` is not installed.
        InputError: the Hub did not take it.
    """
    require(f"sending to {repository}", "huggingface_hub")
    from huggingface_hub import HfApi  # noqa: PLC0415  optional

    api = HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        done = api.upload_folder(repo_id=repository, folder_path=folder)
    except Exception as error:  # of its own kinds, and of the network's
        expected = f"{folder} to be taken by the Hub"
        remedy = "log in by `hf auth login` or HF_TOKEN, and name a repository of your own"
        raise InputError(repository, first_line(error), expected, remedy) from error
    return str(done.commit_url)
