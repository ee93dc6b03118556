from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from processes import in_processes
from ssl_kedro.training.checkpoints import Checkpoint, CheckpointError, CheckpointStore
from ssl_kedro.training.distributed.state import (
    SharedCheckpoints,
    broadcast,
    check_agreement,
    exchanged,
    share_state,
)


def checkpoint(epoch: int) -> Checkpoint:
    tensors = {"model.weight": torch.full((3,), float(epoch)), "model.count": torch.tensor(epoch)}
    return Checkpoint(tensors, epoch, [{"epoch": float(epoch)}], {"seed": 1}, 2.5)


def test_messages_of_unlike_length_arrive_whole() -> None:
    def talk(rank: int) -> tuple[list[dict[str, object]], bytes]:
        texts = exchanged({"rank": rank, "text": "x" * 10**rank, "none": None})
        return texts, broadcast(bytes([rank]) * (rank + 1), source=2)

    for texts, sent in in_processes(3, talk):
        assert texts == [{"rank": r, "text": "x" * 10**r, "none": None} for r in range(3)]
        assert sent == b"\x02\x02\x02"


def test_the_newest_checkpoint_of_any_machine_reaches_all(tmp_path: Path) -> None:
    """Three machines of one process: one has an old one, one a newer, one none."""
    stores = [CheckpointStore(tmp_path / str(rank) / "c.safetensors") for rank in range(3)]
    stores[0].save(checkpoint(2))
    stores[1].save(checkpoint(5))

    def load(rank: int) -> tuple[int, list[dict[str, float]], dict[str, torch.Tensor]]:
        found = SharedCheckpoints(stores[rank], None, 0, tmp_path).load()
        assert found is not None
        assert (found.identity, found.seconds) == ({"seed": 1}, 2.5)
        return found.epoch, found.history, found.tensors

    for epoch, history, tensors in in_processes(3, load):
        assert (epoch, history) == (5, [{"epoch": 5.0}])
        assert torch.equal(tensors["model.weight"], torch.full((3,), 5.0))
        assert torch.equal(tensors["model.count"], torch.tensor(5))
    assert not list(tmp_path.glob("received*"))


def test_a_stale_checkpoint_is_passed_over_until_it_is_replaced(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c.safetensors")
    store.save(checkpoint(7))
    stale = store.path.stat().st_mtime_ns

    def load(rank: int) -> tuple[int | None, int | None]:
        shared = SharedCheckpoints(store, stale, rank, tmp_path)
        first = shared.load()
        dist.barrier()
        shared.save(checkpoint(3))  # the first process alone
        dist.barrier()
        second = shared.load()
        return first and first.epoch, second and second.epoch

    assert in_processes(2, load) == [(None, 3)] * 2
    assert (
        in_processes(2, lambda r: SharedCheckpoints(store, None, 1, tmp_path).load()) == [None] * 2
    )


def test_a_damaged_checkpoint_is_everybodys_error(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c.safetensors")
    store.path.write_bytes(b"\x10\x00")

    def load(rank: int) -> str:
        with pytest.raises(CheckpointError) as error:
            SharedCheckpoints(store, None, rank, tmp_path).load()
        return str(error.value)

    first, second = in_processes(2, load)
    assert first == second
    assert "c.safetensors is not a readable checkpoint" in first


def test_processes_start_alike_and_notice_when_they_do_not_end_alike() -> None:
    def start(rank: int) -> torch.Tensor:
        torch.manual_seed(rank)
        module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
        module.to(memory_format=torch.channels_last)
        share_state(module)
        check_agreement(module)
        weight = module[0].weight.detach().clone()
        with torch.no_grad():
            module[0].weight[0, 0, 0, 0] += 1e-3 * rank
        with pytest.raises(RuntimeError, match="ended with different weights"):
            check_agreement(module)
        return weight

    first, second = in_processes(2, start)
    assert torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(first, nn.Conv2d(2, 3, 3).weight)
