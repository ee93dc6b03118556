"""Features by an exported folder of safetensors and JSON, without ssl_kedro: needs torch.

Usage: python features_from_safetensors.py data/06_models/dual_gating.budget_30/export/compact \\
           images.npy features.npy

images.npy: uint8 (N, 3, side, side), RGB. Gates decide image by image which channels count; this
example computes all of them and multiplies, which is exact and saves no time.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

folder, source, target = (Path(argument) for argument in sys.argv[1:])
plan = json.loads((folder / "config.json").read_text())
weights = load_file(folder / "weights.safetensors")


def conv(x, name, stride=1, padding=0):
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding)


x = (torch.from_numpy(np.load(source)) / 255 - weights["pixel_mean"]) / weights["pixel_std"]
stems = {"cifar": (1, 2), "cifar_pad1": (1, 1), "imagenet": (2, 3)}
x = conv(x, "stem", *stems[plan["stem"]]).relu()
x = F.max_pool2d(x, 3, 2, 1) if plan["stem"] == "imagenet" else x
for index, block in enumerate(plan["blocks"]):
    at = f"blocks.{index}"
    shortcut = conv(x, f"{at}.downsample", block["stride"]) if block["downsample"] else x
    if not block["kept"]:
        x = (shortcut + weights[f"{at}.constant"][:, None, None]).relu()
        continue
    inner = conv(x, f"{at}.conv1", block["stride"], 1).relu()
    if block["hidden"]:
        squeeze = weights[f"{at}.gate.squeeze.weight"], weights[f"{at}.gate.squeeze.bias"]
        hidden = F.linear(x.mean((2, 3)), *squeeze).relu()
        opened = F.linear(hidden, weights[f"{at}.gate.expand.weight"]) >= 0
        inner[:, block["always_on"] :] *= opened[:, :, None, None]
    x = (conv(inner, f"{at}.conv2", padding=1) + shortcut).relu()
np.save(target, x.mean((2, 3)).numpy())
print(f"{target}: {len(x)} features of length {x.shape[1]}")
