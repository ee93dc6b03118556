"""The recipe of a training, how a step of it is computed, what identifies it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ssl_kedro.core.config import EPOCHS, NOT_NEGATIVE, RATE, STRENGTH, Config, ConfigError, Range

if TYPE_CHECKING:
    from ssl_kedro.methods.base import Trainable

MemoryFormat = Literal["channels_last", "contiguous"]


@dataclass(frozen=True)
class TrainConfig(Config):
    """Recipe of pre-training; the defaults are thesis 6.3.1 and its scripts.

    Args:
        epochs: passes over the images (500).
        batch_size: images a step (512).
        optimiser: "lars" (thesis), "sgd", "adam" (weight decay in the gradient) or "adamw".
        lr: base learning rate for 256 images; the peak is lr * batch_size / 256 (0.3).
        schedule: after the warm-up half a "cosine" down to 0, or "constant".
        warmup_epochs: linear warm-up (10).
        warmup_lr: learning rate at its start (0.003).
        momentum: of SGD and LARS, beta_1 of Adam (0.9).
        weight_decay: 0 on gates, biases and norms (1e-4).
        lars_eta: trust coefficient (0.02).
        gate_lr_factor: learning rate of the gates over that of the rest (1).
        device: "auto" = CUDA where there is one, else CPU; "cpu"; "cuda"; "cuda:1"...
        precision: "fp32", "bf16", or "auto" = the faster of the two in a short trial on
            this machine; fp32 on a CPU without instructions for bf16.
        memory_format: "channels_last", "contiguous", or "auto" = the faster of the two in the
            same trial.
        compile: forward and backward pass through torch.compile: "on", "off", or "auto" = on a
            GPU where a trial shows it to be faster; never on a CPU, where compiling takes
            minutes, nor where several processes share the batch.
        graphs: the step recorded as a CUDA graph and replayed: "on", "off", or "auto" = on a
            GPU where it can be recorded and a trial shows it to be faster. Several processes
            record nothing: their messages cannot be part of a graph.
        checkpoint_every: epochs between checkpoints; the last epoch always has one.
        workers: processes on this machine that share each batch; 1 = none but this one.
        nodes: machines that do, each with so many workers, all started alike.
        rendezvous: "host:port" of the one of them where all meet; None for one machine.
        resume: continue from checkpoints where they exist, with the same final numbers as
            an uninterrupted run; else start afresh.
    """

    epochs: Annotated[int, EPOCHS] = 500
    batch_size: Annotated[int, Range(at_least=2, at_most=65_536)] = 512
    optimiser: Literal["lars", "sgd", "adam", "adamw"] = "lars"
    lr: Annotated[float, RATE] = 0.3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: Annotated[float, NOT_NEGATIVE] = 10
    warmup_lr: Annotated[float, Range(at_least=0, at_most=1000)] = 0.003
    momentum: Annotated[float, Range(at_least=0, below=1)] = 0.9
    weight_decay: Annotated[float, STRENGTH] = 1e-4
    lars_eta: Annotated[float, RATE] = 0.02
    gate_lr_factor: Annotated[float, RATE] = 1.0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    graphs: Literal["auto", "on", "off"] = "auto"
    checkpoint_every: Annotated[int, Range(at_least=1)] = 1
    workers: Annotated[int, Range(at_least=1)] = 1
    nodes: Annotated[int, Range(at_least=1)] = 1
    rendezvous: str | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, wrong, expected in self._limits():
            if wrong:
                raise ConfigError(name, getattr(self, name), expected)

    def _limits(self) -> Iterator[tuple[str, object, str]]:
        """Of fields that depend on one another: name, whether it is wrong, what is expected."""
        fewer = f"fewer than epochs = {self.epochs}"
        yield "warmup_epochs", self.warmup_epochs >= self.epochs > 1, fewer
        shared, nodes = f"workers * nodes = {self.processes}", f"with nodes = {self.nodes}"
        multiple = f"a multiple of {shared}: they share each batch evenly"
        yield "batch_size", self.batch_size % self.processes, multiple
        eager = f"off or auto with {shared}: a graph cannot hold the messages between processes"
        yield "graphs", self.graphs == "on" and self.processes > 1, eager
        if self.nodes == 1:
            nobody = f"null {nodes}: one machine meets nobody"
            yield "rendezvous", self.rendezvous is not None, nobody
            return
        host, _, port = (self.rendezvous or "").rpartition(":")
        found = host and port.isdecimal() and 0 < int(port) < 65536
        yield "rendezvous", not found, f'"host:port" {nodes}, where the others reach one of them'
        # Each machine would choose by a trial of its own.
        choices = {"precision": "fp32 or bf16", "memory_format": "channels_last or contiguous"}
        for name, known in choices.items():
            yield name, getattr(self, name) == "auto", f"{known} {nodes}: trials may differ"

    @property
    def processes(self) -> int:
        """Processes that share each batch, on all machines."""
        return self.workers * self.nodes

    @property
    def of_one_process(self) -> TrainConfig:
        """The recipe of one process' part of the batch, by itself, for a trial.

        It leaves open only what a process that shares its batches may do.
        """
        shared = self.processes > 1
        return replace(
            self,
            compile="off" if shared and self.compile == "auto" else self.compile,
            graphs="off" if shared else self.graphs,
            batch_size=max(2, self.batch_size // self.processes),
            workers=1,
            nodes=1,
            rendezvous=None,
        )

    @property
    def peak_lr(self) -> float:
        """Learning rate after warm-up, scaled to the batch."""
        return self.lr * self.batch_size / 256


@dataclass(frozen=True)
class Execution:
    """Where and how trainings compute, which leaves results the same up to rounding.

    Args:
        device: "cpu", "cuda" or, with one process, "cuda:1".
        precision: "fp32" or "bf16" (autocast).
        trial_ms: least milliseconds of a training step in each way that was tried.
        memory_format: order of the maps' and kernels' numbers in memory.
        compiled: forward and backward pass through ``torch.compile``.
        recorded: the step is recorded as a CUDA graph and replayed. On a CPU the same function
            runs on the same fixed tensors, without a graph.
    """

    device: str
    precision: str
    trial_ms: dict[str, float] = field(default_factory=dict, hash=False)
    memory_format: MemoryFormat = "channels_last"
    compiled: bool = False
    recorded: bool = False

    def __str__(self) -> str:
        extra = ["compiled"] * self.compiled + ["graph"] * self.recorded
        return " ".join([self.precision, self.memory_format, *extra])

    def of(self, method: type[Trainable]) -> Execution:
        """The same where another method was tried, as far as this one allows."""
        if self.recorded and not method.recordable:
            say_unrecorded(method)
            return replace(self, recorded=False).of(method)
        if self.compiled and not method.compilable:
            say_uncompiled(method)
            return replace(self, compiled=False)
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What of it changes rounding; part of a checkpoint's identity."""
        names = ("precision", "memory_format", "compiled")
        return {name: getattr(self, name) for name in names}


def say_unrecorded(method: type[Trainable]) -> None:
    """Tell that a method's steps cannot be recorded."""
    logging.getLogger(__name__).info(
        "Training steps of %s stay without a CUDA graph: they wait", method.__name__
    )


def say_uncompiled(method: type[Trainable]) -> None:
    """Tell that a method's steps are not compiled."""
    logging.getLogger(__name__).info(
        "Training steps of %s are not compiled: their shapes change", method.__name__
    )


# Where, how often and by how many processes: the numbers are the same. And what was asked of the
# trial: what it chose stands beside the recipe, and may be asked for by name the next time.
IRRELEVANT = (
    *("resume", "checkpoint_every", "device", "graphs"),
    *("workers", "nodes", "rendezvous"),
    *("precision", "memory_format", "compile"),
)


def recipe_identity(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with its configuration under "train" as flat values, without what cannot matter."""
    flat = dict(_flat("", recipe))
    for irrelevant in IRRELEVANT:
        del flat[f"train.{irrelevant}"]
    return flat


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value
