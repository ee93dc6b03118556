"""Nodes of chapter 4 that gather: results, metrics, the manifest, the report with pictures."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder
from ssl_kedro.encoders.panorama_maps import PanoramaMaps
from ssl_kedro.encoders.saliency_model import SaliencyModel
from ssl_kedro.losses.memory_nce import chance_loss
from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.saliency360 import records
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.report.differences import Difference
from ssl_kedro.pipelines.saliency360.report.figures import overlay_sheet, scores, training_curves
from ssl_kedro.pipelines.saliency360.report.latitude import Maps, pole_sheet, tested_maps
from ssl_kedro.pipelines.saliency360.report.page import Deployed, Sheets, saliency_report
from ssl_kedro.pipelines.saliency360.report.protocol import (
    data_differs,
    model_differs,
    published_data,
)
from ssl_kedro.pipelines.saliency360.report.sentences import notes
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.reporting.run_sections import passed_over_by
from ssl_kedro.saliency.evaluation import intervals
from ssl_kedro.saliency.ground_truth import Arrays
from ssl_kedro.saliency.scores import PanoramaTruth, scores_by_mode
from ssl_kedro.saliency.store import PanoramaStore, StoredPanoramas

# What results are gathered from, see :func:`collect`, by kind and name.
Found = dict[str, Any]


def collect(
    parameters: Saliency360Parameters,
    data: records.Data,
    runtime: list[records.StageTime],
    **found: Any,
) -> records.Results:
    """Everything that tables and report are made of.

    Args:
        parameters: of the run.
        data: all sources.
        runtime: of the deployed model.
        found: "stored.<data set>", "truth.<data set>", "baselines.<data set>", "scores.<data
            set>.<model>", "pretrained.<encoder>", "fitted.<model>", "networks.<model>".
    """
    of, scored_by = nested(found), parameters.score
    means = partial(
        intervals,
        seed=parameters.seed,
        confidence=scored_by.confidence,
        resamples=scored_by.resamples,
    )
    every: dict[str, dict[str, records.Scored]] = {
        name: {**baselines, **of["scores"][name]} for name, baselines in of["baselines"].items()
    }
    return records.Results(
        seed=parameters.seed,
        recipe="; ".join(parameters.recipe) or "best",
        image=dataclasses.asdict(parameters.image),
        intervals={"level": scored_by.confidence, "resamples": scored_by.resamples},
        datasets={
            name: _dataset(parameters, name, of, scored["uniform"], data)
            for name, scored in every.items()
        },
        encoders={name: _encoder(parameters, name, of) for name in of["pretrained"]},
        models={name: _model(parameters, name, of) for name in of["fitted"]},
        scores={
            name: {model: means(one.scores, one.scenes) for model, one in scored.items()}
            for name, scored in every.items()
        },
        differences={
            name: {
                model: means(one.scores, one.scenes, baseline=scored["equator"].scores)
                for model, one in scored.items()
                if model != "equator"
            }
            for name, scored in every.items()
        },
        per_image={
            name: records.PerImage(
                scored["uniform"].names,
                scored["uniform"].scenes,
                {model: one.scores for model, one in scored.items()},
            )
            for name, scored in every.items()
        },
        runtime=runtime,
        panoramas=data,
        given=[
            name
            for name, plan in parameters.models.items()
            if plan.kind == "maps" and any(name in scored for scored in every.values())
        ],
    )


def _dataset(
    parameters: Saliency360Parameters,
    name: str,
    of: Found,
    tested: records.Scored,
    data: records.Data,
) -> records.TestedData:
    truth: Arrays = of["truth"][name]
    made = truth["made_from_fixations"]
    from_fixations = f"fixations, Gaussian of {parameters.truth.sigma_deg:g} degrees"
    own = name == parameters.dataset
    return records.TestedData(
        images=len(tested.names),
        scenes=len(set(tested.scenes)),
        folds=parameters.folds if own else 0,
        viewers=len(np.unique(truth["viewer"])) or None,
        fixations=len(truth["viewer"]) or None,
        truth=from_fixations if made.all() else "maps" if not made.any() else "both",
        role="main" if own else "out_of_distribution",
        skipped=of["stored"][name].skipped,
        sigma_deg=parameters.truth.sigma_deg if made.any() else None,
        published=published_data(parameters, name),
        differs=data_differs(
            parameters,
            name,
            data,
            tested.scenes,
            bool(made.any()),
            [one for one in of["pretrained"].values() if one.history],
        ),
    )


def _encoder(parameters: Saliency360Parameters, name: str, of: Found) -> records.EncoderResult:
    contrast = parameters.contrast_of(name)
    networks: dict[str, SaliencyModel] = of["networks"]
    model = next(n for n in networks if parameters.models[n].encoder == name)
    network = networks[model].encoder
    used = {p for module in network.used_modules() for p in module.parameters(recurse=False)}
    return records.EncoderResult(
        **vars(of["pretrained"][name]),
        kind=parameters.encoders[name].kind,
        architecture=network.architecture,
        width=network.config.width if isinstance(network, PanoramaEncoder) else None,
        local_weight=contrast.local_weight,
        attention=contrast.attention,
        projections=parameters.views_of(name).projections,
        chance_loss=chance_loss(contrast.negatives),
        macs=_encoder_macs(parameters, model, of),
        parameters=sum(p.numel() for p in used),
        masked=isinstance(network, PanoramaMaps) and network.masked,
        file=parameters.encoders[name].file,
        gating=next(iter(of.get("gating", {}).get(name, ())), None),
    )


def _encoder_macs(parameters: Saliency360Parameters, model: str, of: Found) -> int:
    """Mean over the panoramas that a model was tested on."""
    found: float | None = of["scores"][parameters.dataset][model].encoder_macs
    if found is None:  # scored by an earlier version, which had no gated encoders
        network: SaliencyModel = of["networks"][model]
        found = network.macs(*parameters.image.size)["encoder"]
    return round(found)


def _model(parameters: Saliency360Parameters, name: str, of: Found) -> records.ModelResult:
    model: SaliencyModel = of["networks"][name]
    macs = model.macs(*parameters.image.size)
    return records.ModelResult(
        **vars(of["fitted"][name]),
        encoder=parameters.models[name].encoder,
        decoder=parameters.decoder_config(name).kind,
        fine_tune=parameters.models[name].fine_tune,
        recipe=[*parameters.recipe_of(name)],
        decoder_macs=macs["decoder"],
        encoder_macs=_encoder_macs(parameters, name, of),
        decoder_parameters=sum(p.numel() for p in model.decoder.parameters()),
        differs=model_differs(parameters, name, model),
    )


def metrics(results: records.Results) -> dict[str, float]:
    """The numbers of the run under flat keys, ``<dataset>.<model>.<mode>.<metric>``."""
    return {
        f"{dataset}.{model}.{mode}.{metric}": found.mean
        for dataset, models in results.scores.items()
        for model, modes in models.items()
        for mode, of_mode in modes.items()
        for metric, found in of_mode.items()
        if found.mean is not None
    }


def describe_run(
    parameters: Saliency360Parameters,
    data: records.Data,
    results: records.Results,
    origins: Mapping[str, str],
) -> dict[str, Any]:
    """Versions, commit, data, seed, device and cost of the run."""
    # What encoders were trained in; "auto" chooses by a trial, which a rerun need not repeat.
    used = {found.precision for found in results.encoders.values() if found.precision}
    trained = (*results.encoders.values(), *results.models.values())
    return run_manifest(
        seed=parameters.seed,
        data={
            "images": {name: found.panoramas for name, found in data.items()},
            "fingerprints": {name: found.fingerprint for name, found in data.items()},
            "skipped": [
                [f"{name}/{file}", reason]
                for name, found in results.datasets.items()
                for file, reason in found.skipped
            ],
            "passed_over": passed_over_by(found.passed_over for found in data.values()),
        },
        execution={
            "device": parameters.train.device,
            "precision": ", ".join(sorted(used)) or parameters.train.precision,
        },
        parameters=parameters.as_written,
        training_seconds=sum(one.seconds for one in trained),
        origins=origins,
    )


def _overlays(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    store: PanoramaStore,
    truth: Arrays,
    maps: Maps,
) -> Figure:
    """Tested panoramas from the best to the worst predicted, each model beside the truth."""

    def correlation(name: str, row: int) -> float:
        found = scores_by_mode(maps[name][row], PanoramaTruth(truth["maps"][row]), ("sphere",))
        return found["sphere"]["cc"]

    order = sorted(maps["equator"], key=lambda row: -correlation(parameters.deploy, row))
    count = min(parameters.gallery.panoramas, len(order))
    images = store.images()
    shown = [
        (
            stored.names[row],
            np.array(images[row]),
            truth["maps"][row],
            {name: of[row] for name, of in maps.items()},
            {name: correlation(name, row) for name in maps},
        )
        for row in (order[at] for at in np.linspace(0, len(order) - 1, count).round().astype(int))
    ]
    return overlay_sheet(shown, tuple(maps))


def report(
    parameters: Saliency360Parameters,
    results: records.Results,
    differences: list[Difference],
    manifest: dict[str, Any],
    stored: StoredPanoramas,
    store: PanoramaStore,
    truth: Arrays,
    priors: Arrays,
    bundles: str,
    **shown: Any,
) -> dict[str, Any]:
    """The self-contained HTML report, and its figures.

    It shows the run's own panoramas; ``shown`` are "tables.<name>" and "predictions.<model>".
    """
    of = nested(shown)
    maps = tested_maps(parameters, stored, priors, of["predictions"])
    without_mean = {name: found for name, found in maps.items() if name != "mean"}
    sheet = _overlays(parameters, stored, store, truth, without_mean)
    poles = pole_sheet(parameters, stored, store, truth, maps)
    said = notes(parameters, results)
    place = f"{bundles}/saliency360/models/{parameters.deploy}/{parameters.deployed_part}"
    deployed = Deployed(parameters.deploy, place)
    return {
        "report": saliency_report(
            results, differences, manifest, of["tables"], Sheets(sheet, poles), said, deployed
        ),
        "overlays": sheet,
        "poles": poles,
        # Drawn anew: a figure that was drawn for the page once is laid out otherwise.
        "scores": scores(results),
        "training_curves": training_curves(results),
    }
