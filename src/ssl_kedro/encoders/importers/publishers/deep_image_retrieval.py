"""Deep image retrieval (Revaud et al. 2019)."""

from pathlib import Path

from ssl_kedro.encoders.importers.kind import Kind, Selection, resnet, selected
from ssl_kedro.encoders.importers.torch_file import entry, read_torch, tensors_of

_REASONS = {
    r"(module\.)?fc\.": "the learnt whitening, kept apart",
    r"(module\.)?adpool\.p": "the exponent of the pooling, kept as gem_p",
}


def read_gem_ap(path: Path) -> Selection:
    """The encoder, the pooling's p, the whitening.

    ``adpool.p`` becomes the note "gem_p", ``fc`` the extras "whitening.weight" and
    "whitening.bias": y = W x + b after pooling. Objects of scikit-learn under "pca" are not read.
    """
    content = read_torch(path, foreign_objects=True)
    tensors = tensors_of(entry(content, "state_dict", path), path)
    plain = {key.removeprefix("module."): value for key, value in tensors.items()}
    selection = selected(tensors, r"(module\.)?", _REASONS, path)
    others = [str(key) for key in content if key != "state_dict"]
    selection.dropped.update(dict.fromkeys(others, "not of the network; not read"))
    if "adpool.p" in plain and plain["adpool.p"].numel() == 1:
        selection.notes["gem_p"] = float(plain["adpool.p"])
    for name in ("weight", "bias"):
        if f"fc.{name}" in plain:
            selection.extras[f"whitening.{name}"] = plain[f"fc.{name}"]
    return selection


KINDS = {
    "gem_ap": Kind(
        publisher="Revaud et al. 2019 (Naver Labs Europe)",
        file="Resnet101-AP-GeM.pt",
        hosted="https://github.com/naver/deep-image-retrieval (README, Pre-trained models)",
        row="GeM (AP)",
        read=read_gem_ap,
        network=resnet(101),
    ),
}
