"""What to do with a run's encoders: which form to deploy, where it lies, how it is loaded."""

from collections.abc import Mapping

from ssl_kedro.pipelines.gated.frontier.names import ENGINES, MEASURE_TITLES, form_label
from ssl_kedro.pipelines.gated.inference.records import Deployment, Exports
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.pipelines.gated.variants import has_gates, middle_dual_key, name_of
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import listed, percent


def deploy_sentence(deployment: Deployment | None) -> str:
    """What to deploy and what it gains, for the top of a page."""
    if deployment is None:
        return "No network was timed in this run, so this page recommends none."
    if not deployment.model:
        return f"{deployment.why[:1].upper()}{deployment.why[1:]}."
    name = form_label(deployment.model, deployment.network, deployment.precision)
    gains = [
        f"{ratio:.2f} times as fast with {batch} image{'s' * (batch != '1')} at a time"
        for batch, ratio in deployment.ratio.items()
        if ratio > 1
    ]
    start = f"Deploy {name}: {percent(deployment.accuracy)} {MEASURE_TITLES[deployment.measure]}."
    if not gains:
        return f"{start} No faster network is as accurate."
    return f"{start} Against the fastest dense network on this machine it is {listed(gains)}."


def use_section(
    models: Evaluations,
    deployment: Deployment | None,
    exports: Exports | None,
    bundles: Mapping[str, str],
) -> list[Section]:
    """How to load what a run made; nothing where it is not known where that lies.

    Args:
        models: evaluation of every model.
        deployment: what to deploy; None where nothing was timed.
        exports: checks of exported files.
        bundles: path of the folder of each model's encoder.
    """
    chosen = deployment.model if deployment else ""
    key = chosen or middle_dual_key(models) or ([*bundles] or [""])[-1]
    if key not in bundles:
        return []
    said = [
        "An encoder is a folder: weights as safetensors, and their configuration as JSON. Loading "
        "it needs ssl_kedro but not Kedro, and runs no code from the folder."
    ]
    if deployment is not None and deployment.model:
        form = form_label(key, deployment.network, deployment.precision)
        engines = listed(
            [*dict.fromkeys(ENGINES[engine] for engine in deployment.engines.values())]
        )
        said.append(f"To deploy: {form}, on {engines}.")
    said.append(
        f"Files for other programs lie in {_common_folder(exports)}."
        if exports
        else "The command of this run with --tags export adds files for other programs: ONNX, "
        "plain PyTorch, and what the C++ kernel reads."
    )
    return [Section("Use the model", said, code=_code(key, models, bundles))]


def paths(bundles: str, spaces: Mapping[str, str]) -> dict[str, str]:
    """Folder of each model's encoder.

    Args:
        bundles: folder that they lie in; "" = nobody knows.
        spaces: name of each model's own in it.
    """
    return {key: f"{bundles}/{space}/encoder" for key, space in spaces.items()} if bundles else {}


def _common_folder(exports: Exports) -> str:
    """Where the files of the first model lie, as all others do."""
    return next(iter(exports.values())).folder


def _code(key: str, models: Evaluations, bundles: Mapping[str, str]) -> str:
    lines = [
        "import ssl_kedro as ssl",
        "",
        f'encoder = ssl.load_encoder("{bundles[key]}")',
        'features = encoder.dense("photo.jpg")  # a path or several, pictures, arrays, tensors',
    ]
    if has_gates(key) and "gated" in models[key].branches:
        lines.append('features = encoder.gated("photo.jpg")  # only the channels that gates open')
    if (whole := name_of(key)) != key and whole in bundles:
        lines += [
            "",
            "# The whole network that it was cut from: any budget, no further training.",
            f'whole = ssl.load_encoder("{bundles[whole]}")',
            'features = whole.gated("photo.jpg", budget=0.2)',
            "light = whole.at_budget(0.2)",
        ]
    return "\n".join(lines)
