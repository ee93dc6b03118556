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
if "resnet" not in plan["format"] or plan["stem"] == "imagenet_same":
    sys.exit(f"{folder}: expected residual blocks and a stem of the thesis; use model.py beside it")
weights = load_file(folder / "weights.safetensors")


def conv(x, name, stride=1, padding=0):
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding)


x = (torch.from_numpy(np.load(source)) / 255 - weights["pixel_mean"]) / weights["pixel_std"]
stems = {"cifar": (1, 2), "cifar_pad1": (1, 1), "imagenet": (2, 3)}
x = conv(x, "stem", *stems[plan["stem"]]).relu()
x = F.max_pool2d(x, 3, 2, 1) if plan["stem"] == "imagenet" else x
for index, block in enumerate(plan["blocks"]):
    at, layers = f"blocks.{index}", block.get("layers", [block])  # earlier files had one layer
    kernels = (3, 3) if len(layers) == 1 else (1, 3, 1)
    shortcut = conv(x, f"{at}.downsample", block["stride"]) if block["downsample"] else x
    # Behind the last layer that keeps no channel stands a constant.
    empty = [number for number, layer in enumerate(layers) if not layer["kept"]]
    out, first = x, empty[-1] + 2 if empty else 0
    if first:
        out = weights[f"{at}.constant"][:, None, None].expand(len(x), -1, *shortcut.shape[2:])
    for number in range(max(first - 1, 0), len(kernels)):
        if number >= first:
            stride = block["stride"] if number == kernels.index(3) else 1
            out = conv(out, f"{at}.conv{number + 1}", stride, kernels[number] // 2)
        if number == len(layers):
            break
        out, layer, gate = out.relu(), layers[number], f"{at}.gate{'2' * number}"
        if layer["hidden"]:
            squeeze = weights[f"{gate}.squeeze.weight"], weights[f"{gate}.squeeze.bias"]
            hidden = F.linear(x.mean((2, 3)), *squeeze).relu()
            opened = F.linear(hidden, weights[f"{gate}.expand.weight"]) >= 0
            always = opened.new_ones(len(x), layer["always_on"])
            out = out * torch.cat([always, opened], dim=1)[:, :, None, None]
    x = (out + shortcut).relu()
np.save(target, x.mean((2, 3)).numpy())
print(f"{target}: {len(x)} features of length {x.shape[1]}")
