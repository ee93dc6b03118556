"""What gates add to an encoder, beside what the thesis says."""

from ssl_kedro.encoders.factory import GateOverhead, gate_overhead
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, percent
from ssl_kedro.reporting.published import published_overhead

# What the thesis' shares are of.
_PUBLISHED_SHAPE, _PUBLISHED_PX = EncoderConfig(stem="imagenet"), 224


def overhead_section(parameters: EncoderPipelineParameters, models: Evaluations) -> list[Section]:
    """Parameters and MACs of the gates; nothing where no model has any.

    Args:
        parameters: of the run.
        models: evaluation of every model.
    """
    if not any(model.channel_usage for model in models.values()):
        return []
    own = gate_overhead(parameters.encoder, parameters.data.size, parameters.gates)
    thesis = gate_overhead(_PUBLISHED_SHAPE, _PUBLISHED_PX, GateConfig())
    shares = [
        percent(share, digits) for share, digits in zip(published_overhead(), (2, 3), strict=True)
    ]
    rows = [
        _row(f"This run, {parameters.data.size} px", own),
        _row(f"ResNet-18, {_PUBLISHED_PX} px", thesis),
        ["Published (thesis, 6.3.1)", DASH, shares[0], DASH, shares[1]],
    ]
    columns = ["Encoder", "Parameters of gates", "Of all", "MACs of gates", "Of the dense network"]
    said = (
        "Gates are part of every cost in this report. The smaller the images, the larger the share "
        "of their MACs: those of a gate depend on channels alone."
    )
    return [Section("What gates add", [said], [Table(columns, rows)])]


def _row(name: str, found: GateOverhead) -> list[str]:
    return [
        name,
        f"{found.parameters:,}",
        percent(found.parameters / found.all_parameters, 2),
        f"{found.macs:,}",
        percent(found.macs / found.dense_macs, 3),
    ]
