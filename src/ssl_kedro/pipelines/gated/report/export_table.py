"""Exported files as a table of the report."""

from ssl_kedro.pipelines.gated.inference.records import Exports
from ssl_kedro.pipelines.gated.variants import label_of
from ssl_kedro.pipelines.parameters import budget_name
from ssl_kedro.reporting.html import Table
from ssl_kedro.reporting.number_format import counted, three_digits


def export_table(exports: Exports, chosen: float | None) -> Table:
    """Exported files with the difference that the check after writing found."""
    rows: list[list[str]] = []
    breaks: list[int] = []
    for key, export in exports.items():
        marked = chosen is not None and key.endswith(f".{budget_name(chosen)}")
        breaks.append(len(rows))
        rows += [
            [
                label_of(key) + " (operating point)" * marked,
                name.replace("_", " "),
                "/".join(file.path.parts[-3:]),
                counted(file.bytes),
                counted(file.images),
                f"{file.difference:.1e}",
                three_digits(file.largest),
            ]
            for name, file in export.files.items()
        ]
    columns = ["Model", "Network", "File", "Bytes", "Images", "Difference", "Largest feature"]
    caption = (
        "Difference: largest absolute difference of a feature between the file, read again, and "
        "the network in f32, over noise and evaluation images: in int8 what quantisation costs. "
        "“compact” is a folder of safetensors and JSON with gates, “gated” the same as ONNX, "
        "“static” the plain narrow network as ONNX, “dense” that with every channel; “int8 kernel” "
        "a folder for the C++ kernel, “kernel” one for plain PyTorch, by model.py, and, of "
        "residual networks, for that, “torchvision” and “timm” weights under their names. "
        "Whole paths: exports.json; what to deploy: deployment/."
    )
    return Table(columns, rows, left=3, breaks=breaks[1:], caption=caption)
