"""Features by an exported ONNX file, without ssl_kedro: needs numpy and onnxruntime.

Usage: python features_from_onnx.py data/06_models/dual_gating.budget_30/export/static.onnx \\
           images.npy features.npy

images.npy: uint8 (N, 3, side, side), RGB. Of a picture, with Pillow:
    np.asarray(Image.open(path).convert("RGB").resize((side, side))).transpose(2, 0, 1)[None]
"""

import sys

import numpy as np
import onnxruntime

network, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
images = np.load(source).astype(np.float32) / 255
parts = [images[start : start + 32] for start in range(0, len(images), 32)]
features = np.concatenate([session.run(["features"], {"images": part})[0] for part in parts])
np.save(target, features)
print(f"{target}: {features.shape[0]} features of length {features.shape[1]}")
