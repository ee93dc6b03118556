"""What reports call networks, precisions and engines."""

from ssl_kedro.pipelines.gated.variants import has_gates, label_of

ENGINES = {
    "native": "C++",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "compiled": "compiled",
    "eager": "PyTorch",
}
MEASURE_TITLES = {
    "linear": "linear top-1",
    "knn": "1-NN top-1",
    "neighbours": "nearest neighbours of the dense network kept",
}


def form_label(model: str, network: str, precision: str = "") -> str:
    """Name of a network in a sentence: "dual gating, 30 %, static, int8"."""
    parts = [label_of(model)]
    if has_gates(model):  # any other model has one network, which needs no word
        parts.append(network)
    return ", ".join(filter(None, [*parts, precision]))


def batch_label(batch: int) -> str:
    """Heading of what was measured at a batch size."""
    return f"{batch} image{'s' if batch > 1 else ''} at a time"
