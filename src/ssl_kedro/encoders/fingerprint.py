"""What tells one set of weights from another."""

import hashlib

import torch


def weight_fingerprint(model: torch.nn.Module) -> str:
    """Short hash of a model's weights, for the identity of what is trained against them."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
