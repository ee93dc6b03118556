"""What parameters of chapter 4 are checked against, names and sources, before a run starts."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import first_line
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaNetwork
from ssl_kedro.encoders.panorama_maps import panorama_network
from ssl_kedro.pipelines.saliency360 import plans
from ssl_kedro.saliency.folds import part
from ssl_kedro.saliency.given_maps import MapFolder
from ssl_kedro.saliency.held_out import check_held_out
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.predict.inputs import found_input

if TYPE_CHECKING:
    from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def check_known(key: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not known."""
    if name not in known:
        raise ConfigError(key, name, f"one of {', '.join(known)}")


def check_names(key: str, names: Iterable[str], *taken: str) -> None:
    """Refuse names that cannot be parts of the catalog's, or are taken."""
    for name in names:
        if not _NAME.fullmatch(name) or name in taken:
            also = f", other than {', '.join(taken)}" if taken else ""
            raise ConfigError(key, name, f"letters, digits and underscores{also}")


def check_plans(parameters: "Saliency360Parameters") -> None:
    """Refuse encoders and models that name what there is not, or cannot be made as they say.

    Raises:
        ConfigError: naming key, value and what is allowed.
    """
    parameters.sections((plans.TEXT,))
    for name, encoder in parameters.encoders.items():
        parameters.contrast_of(name)
        plans.check_recipe(f"encoders.{name}.recipe", encoder.recipe, plans.VIEW_QUIRKS)
    for name, model in parameters.models.items():
        check_names(f"models.{name}.part", model.part)
        for dataset in model.folder if isinstance(model.folder, dict) else ():
            check_known(f"models.{name}.folder", dataset, parameters.datasets)
        if model.kind == "trained":
            check_known(f"models.{name}.encoder", model.encoder, parameters.encoders)
            plans.check_recipe(f"models.{name}.recipe", model.recipe, plans.DECODING_QUIRKS)
    deployed = parameters.models.get(parameters.deploy)
    if parameters.predict.budget is not None and deployed is not None:
        plan = parameters.encoders.get(deployed.encoder)
        if plan is not None and plan.branch != "gated":
            expected = f"null: the encoder of {parameters.deploy}, which predicts, has no gates"
            raise ConfigError("predict.budget", parameters.predict.budget, expected)


def check_seen(parameters: "Saliency360Parameters", node: str, seen: Mapping[str, Any]) -> None:
    """Refuse sources that leave too little to learn from, and inputs that cannot be predicted for.

    Args:
        parameters: of the run.
        node: name of a node's function.
        seen: its sources on this machine, by "sources." and their names; nothing is decoded.

    Raises:
        ConfigError: naming key, value and what is allowed.
        PredictionInputError: the input of the prediction cannot be used.
    """
    sources: dict[str, PanoramaSource] = {
        key.removeprefix("sources."): of for key, of in seen.items() if key.startswith("sources.")
    }
    chosen = parameters.predict
    if node == "predict" and chosen.input is None:
        expected = "the path of a panorama, a video, or a folder of them"
        raise ConfigError("predict.input", None, expected)
    if node in ("check_sources", "predict") and chosen.input is not None:
        found_input(chosen.input, chosen.max_megapixels)
    if node == "check_sources" and parameters.dataset in sources:
        _check_parts(parameters, sources[parameters.dataset])
    if node == "check_sources":
        for name in parameters.also_test_on.keys() & sources.keys():
            check_tested(parameters, name, sources[name])
        check_held_out(sources, parameters.learnt_from, parameters.tested)
    if node == "store_for_pretraining" and {parameters.dataset, *parameters.unlabelled} == {
        *sources
    }:
        _check_pretraining(parameters, list(sources.values()))


def check_maps(
    parameters: "Saliency360Parameters", source: PanoramaSource, folder: MapFolder, *, own: bool
) -> None:
    """Refuse maps of somebody's that are missing, surplus, or cannot be used.

    Raises:
        SaliencyDataError: naming each.
    """
    rows = [row for row, split in enumerate(source.splits) if split != "unlabelled"]
    if own:
        scenes, splits, seed = source.scenes, source.splits, parameters.seed
        parts = [part(name, scenes, splits, parameters.folds, seed) for name in parameters.parts]
        rows = [int(row) for found in parts for row in found.test]
    folder.paired([source.names[row] for row in rows], source.names)


def checked_network(
    parameters: "Saliency360Parameters", name: str, network: MapNetwork
) -> PanoramaNetwork:
    """A trained network as the encoder that the parameters ask for, tried on one panorama.

    Raises:
        ConfigError: it takes no panoramas of the run's size, has no such branch, or cannot be used
            with an error of the authors' code that a model is to make.
    """
    plan, height, width = parameters.encoders[name], *parameters.image.size
    if plan.branch == "gated" and not isinstance(network, BranchMaps):
        expected = f'"dense": {plan.file} is a {type(network).__name__}, without branches'
        raise ConfigError(f"encoders.{name}.branch", plan.branch, expected)
    made = panorama_network(network, parameters.encoder_config(name).longitude_padding).eval()
    for model, of in parameters.models.items():
        raw = of.encoder == name and "raw_bgr" in parameters.recipe_of(model)
        if raw and not isinstance(made, PanoramaEncoder):
            expected = f"without raw_bgr, which encoders.{name} knows nothing of"
            raise ConfigError(f"models.{model}.recipe", "raw_bgr", expected)
    try:
        with torch.no_grad():
            made(torch.zeros(1, 3, height, width))
    except Exception as error:  # networks of others say in their own ways what they take
        expected = f"a size that encoders.{name} takes: {first_line(error)}"
        raise ConfigError("image", f"{height} x {width}", expected) from error
    return made


def check_tested(parameters: "Saliency360Parameters", name: str, source: PanoramaSource) -> None:
    """Refuse a source that models are only tested on without a part to test on.

    Raises:
        ConfigError: it has none.
    """
    if "test" not in source.splits:
        share = parameters.also_test_on[name].test_share
        expected = "panoramas for testing, found none: 1 makes all that, test_list names some"
        raise ConfigError(f"also_test_on.{name}.test_share", share, expected)


def _check_parts(parameters: "Saliency360Parameters", own: PanoramaSource) -> None:
    for name in parameters.parts:
        found = part(name, own.scenes, own.splits, parameters.folds, parameters.seed)
        if len(found.train) < 2:
            generated = parameters.data.source == "generated" and not parameters.folds
            key = "count_train" if generated else "source"
            expected = f"at least 2 panoramas to train decoders on, found {len(found.train)}"
            raise ConfigError(f"data.{key}", getattr(parameters.data, key), expected)


def _check_pretraining(
    parameters: "Saliency360Parameters", sources: Collection[PanoramaSource]
) -> None:
    splits, size = parameters.pretraining_splits, parameters.train.batch_size
    count = sum(split in splits for source in sources for split in source.splits)
    if not count:
        expected = 'panoramas to pre-train on: add sources under "unlabelled", or set it to "train"'
        raise ConfigError("pretrain_on", parameters.pretrain_on, expected)
    trained = any(plan.kind == "contrastive" for plan in parameters.chosen_encoders().values())
    if trained and size > count:
        expected = f"at most {count}, the number of panoramas to pre-train on"
        raise ConfigError("train.batch_size", size, expected)
