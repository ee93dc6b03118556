"""What a training writes down: a row of metrics an epoch, and checkpoints without pickle."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ssl_kedro.core.errors import UserError
from ssl_kedro.core.files import replaced_file, storage_told

Row = Mapping[str, float]


class EpochLog:
    """Append-only record of per-epoch metrics, one JSON object a line.

    The file can be followed while a run is going (``tail -f``). Whoever wants the rows as
    they come, such as a tracking server's client, subscribes.

    Args:
        path: file to append to; None keeps the rows in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._subscribers: list[Callable[[Row], None]] = []

    def subscribe(self, callback: Callable[[Row], None]) -> None:
        """Call callback with every row appended from now on."""
        self._subscribers.append(callback)

    def restart(self, rows: list[dict[str, float]]) -> None:
        """Replace what is written by rows: none for a new run, the history for a resumed one."""
        if self.path is not None:
            with replaced_file(self.path) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def append(self, row: Row) -> None:
        """Write one epoch's metrics; ``row["epoch"]`` counts from 1."""
        self._write(row)
        for callback in self._subscribers:
            callback(row)

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self.path is not None:
            with storage_told(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as file:
                    file.write(json.dumps(dict(entry)) + "\n")


@dataclass(frozen=True)
class Checkpoint:
    """State of a training after an epoch.

    Args:
        tensors: weights, buffers and optimiser state by name.
        epoch: epochs done.
        history: one row of metrics an epoch.
        identity: what the run is (recipe, seed, data, method); must match to resume.
        seconds: training time so far.
    """

    tensors: dict[str, Tensor]
    epoch: int
    history: list[dict[str, float]]
    identity: dict[str, Any]
    seconds: float


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be read or belongs to another run.

    Cause: ``train.resume=true`` with other parameters, images or versions, or a damaged file.
    Remedy: restore the values that the message names, or run with ``train.resume=false``.
    """


class CheckpointStore:
    """The newest checkpoint of one training, in one file.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, checkpoint: Checkpoint) -> None:
        """Write, replacing the previous checkpoint only when complete."""
        described = dict(vars(checkpoint))
        tensors = {name: value.contiguous() for name, value in described.pop("tensors").items()}
        needed = sum(value.nbytes for value in tensors.values())
        with replaced_file(self.path, needed) as temporary:
            save_file(tensors, temporary, metadata={"checkpoint": json.dumps(described)})

    def forget(self) -> None:
        """Remove it, where there is one."""
        self.path.unlink(missing_ok=True)

    def load(self) -> Checkpoint | None:
        """The stored checkpoint on the CPU, or None where there is none.

        Raises:
            CheckpointError: the file is damaged or not a checkpoint.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                description = json.loads((file.metadata() or {})["checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found = Checkpoint(tensors=tensors, **description)
            rows, kinds = found.history, {type(found.identity), *map(type, found.history)}
            whole = isinstance(found.epoch, int) and 1 <= len(rows) <= found.epoch
            if kinds != {dict} or not (whole and found.seconds >= 0):
                raise ValueError("its description contradicts itself")
        except Exception as error:  # readers of damaged files raise any kind
            raise CheckpointError(
                f"{self.path} is not a readable checkpoint ({error}); delete it, or run with "
                "train.resume=false"
            ) from error
        return found


def flattened_state(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Model and optimiser state as one flat dictionary of tensors."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimiser.{index}.{name}"] = torch.as_tensor(value)
    return tensors


def restore_state(
    tensors: dict[str, Tensor], model: torch.nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Put a flat dictionary of tensors back into model and optimiser."""
    weights: dict[str, Tensor] = {}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        whose, key = name.split(".", 1)
        if whose == "model":
            weights[key] = value
        else:
            index, key = key.split(".", 1)
            state.setdefault(int(index), {})[key] = value
    model.load_state_dict(weights)
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )
