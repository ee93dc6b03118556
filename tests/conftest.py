"""Shared set-up of the tests."""

from __future__ import annotations

import os

# Before anything imports MLflow or Kedro: no telemetry, no terminal colours in messages.
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import torch

# Small tensors gain nothing from a second thread and lose much when tests run side by side.
torch.set_num_threads(1)
