"""MoCo (He et al. 2020, Chen et al. 2020)."""

from pathlib import Path

from ssl_kedro.encoders.importers.kind import Kind, Selection, WeightsError, selected
from ssl_kedro.encoders.importers.torch_file import entry, read_torch, tensors_of

_HEAD = "module.encoder_q.fc."
_REASONS = {
    r"module\.encoder_q\.fc\.": "the projection head, which is no part of the encoder",
    r"module\.encoder_k\.": "the key encoder, a running average of the query encoder",
    r"module\.queue": "the queue of negatives",
}
_HEADS = ({"weight", "bias"}, {"0.weight", "0.bias", "2.weight", "2.bias"})
_HOSTED = "https://github.com/facebookresearch/moco (README, Models)"


def read_moco(path: Path) -> Selection:
    """MoCo v1 and v2: the query encoder, less its projection ``fc``.

    v1 has fc.weight and fc.bias, v2 fc.0 and fc.2; neither less nor other keys may be dropped.
    """
    tensors = tensors_of(entry(read_torch(path), "state_dict", path), path)
    selection = selected(tensors, r"module\.encoder_q\.", _REASONS, path)
    found = {key.removeprefix(_HEAD) for key in selection.dropped if key.startswith(_HEAD)}
    if found not in _HEADS:
        raise WeightsError(
            path,
            f"the projection head {sorted(f'fc.{name}' for name in found)}",
            "fc.weight and fc.bias (v1), or fc.0.* and fc.2.* (v2)",
            "check that the file is a pre-training checkpoint of MoCo, not of a linear classifier",
        )
    return selection


KINDS = {
    "moco_v1": Kind(
        publisher="He et al. 2020 (Facebook AI Research)",
        file="moco_v1_200ep_pretrain.pth.tar",
        hosted=_HOSTED,
        row="MoCo v1",
        read=read_moco,
    ),
    "moco_v2": Kind(
        publisher="Chen et al. 2020 (Facebook AI Research)",
        file="moco_v2_800ep_pretrain.pth.tar or moco_v2_200ep_pretrain.pth.tar",
        hosted=_HOSTED,
        row="MoCo v2",
        read=read_moco,
    ),
}
