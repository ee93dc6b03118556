"""Optimisers over a method's parameter groups, LARS with clipping among them; their rates.

A rate climbs linearly through the warm-up, then follows half a cosine or stays constant.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ssl_kedro.core.config import ConfigError
from ssl_kedro.methods.base import Trainable
from ssl_kedro.training.config import TrainConfig


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling over SGD with momentum (You et al. 2017), clipped.

    For a weight with two or more dimensions the gradient g becomes
    q (g + weight_decay * w) with q = eta |w| / (|g| + weight_decay |w| + 1e-8); clipping, as
    in solo-learn's ``grad_clip_lars``, limits q / lr to 1, so that a layer never takes a
    larger step than SGD would. Biases and norm parameters (one dimension) are plain SGD
    without weight decay. A zero weight or gradient is left unscaled.

    Args:
        parameters: parameters or groups; a group may set its own lr and weight_decay.
        lr: learning rate; a group's may be a scalar tensor, which is read on the device.
        momentum: of SGD.
        weight_decay: L2 penalty of weights.
        eta: trust coefficient.
        clip: whether to clip.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.02,
        clip: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "eta": eta,
            "clip": clip,
        }
        super().__init__(parameters, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update; all tensors of a group at once (multi-tensor kernels)."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            adapted = [p for p in with_gradient if p.ndim > 1]
            plain = [p for p in with_gradient if p.ndim <= 1]
            if adapted:
                self._descend(group, adapted, _adapted_gradients(group, adapted))
            if plain:
                self._descend(group, plain, [p.grad for p in plain])
        return loss

    def _descend(self, group: dict[str, Any], weights: list[Tensor], updates: list[Any]) -> None:
        """SGD with momentum on prepared gradients."""
        for p in weights:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in weights]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, updates)
        if isinstance(group["lr"], Tensor):
            torch._foreach_sub_(weights, torch._foreach_mul(buffers, group["lr"]))
        else:
            torch._foreach_add_(weights, buffers, alpha=-group["lr"])


def _adapted_gradients(group: dict[str, Any], weights: list[Tensor]) -> list[Tensor]:
    """Gradients with weight decay, scaled by each layer's trust ratio."""
    gradients = [p.grad for p in weights if p.grad is not None]
    weight_norms = torch.stack(torch._foreach_norm(weights))
    gradient_norms = torch.stack(torch._foreach_norm(gradients))
    decay = group["weight_decay"]
    ratios = group["eta"] * weight_norms / (gradient_norms + decay * weight_norms + 1e-8)
    if group["clip"]:
        # A learning rate of 0 divides by zero: infinity, clipped to 1.
        ratios = (ratios / group["lr"]).clamp(max=1)
    usable = (weight_norms != 0) & (gradient_norms != 0)
    # An unscaled layer takes its bare gradient, without weight decay.
    factors = torch.where(usable, ratios, torch.ones_like(ratios))
    decays = torch.where(usable, torch.full_like(ratios, decay), torch.zeros_like(ratios))
    updates = torch._foreach_mul(weights, list(decays.unbind()))
    torch._foreach_add_(updates, gradients)
    torch._foreach_mul_(updates, list(factors.unbind()))
    return list(updates)


# What a recipe is to have for methods with :meth:`Method.take_weight_decay`.
DECAY_IN_LOSS = "lars, sgd or adam, or weight_decay = 0: the method's loss has the decay"


def decays_in_loss(config: TrainConfig) -> bool:
    """Whether weight decay may be in the loss: AdamW keeps it out of what it divides by."""
    return config.optimiser != "adamw" or config.weight_decay == 0


def parameter_groups(method: Trainable, config: TrainConfig) -> list[dict[str, Any]]:
    """Gates (no weight decay, own rate), constant or other rate, decay in the loss, the rest.

    Each group carries ``lr_factor``, by which its learning rate is multiplied, and
    ``scheduled``: whether the rate follows the schedule or stays at the peak.

    Raises:
        ConfigError: AdamW, of a method whose loss has the weight decay.
    """
    gates = method.gate_parameters()
    constant = method.constant_rate_parameters()
    own = list(method.take_weight_decay(config.weight_decay))
    if own and not decays_in_loss(config):
        raise ConfigError("optimiser", config.optimiser, DECAY_IN_LOSS)
    factors = method.rate_factors()
    other_rates = [p for _, parameters in factors for p in parameters]
    special = {id(p) for p in (*gates, *constant, *own, *other_rates)}
    trained = [p for p in method.parameters() if p.requires_grad]
    others: list[nn.Parameter] = [p for p in trained if id(p) not in special]
    usual = {"weight_decay": config.weight_decay, "lr_factor": 1.0, "scheduled": True}
    groups: list[dict[str, Any]] = [
        usual | {"params": others},
        usual | {"params": gates, "weight_decay": 0.0, "lr_factor": config.gate_lr_factor},
        usual | {"params": constant, "scheduled": False},
        usual | {"params": own, "weight_decay": 0.0},
        *(usual | {"params": slower, "lr_factor": factor} for factor, slower in factors),
    ]
    return [group for group in groups if group["params"]]


def build_optimiser(
    method: Trainable,
    config: TrainConfig,
    rates_on: torch.device | None = None,
    *,
    recorded: bool = False,
) -> Optimizer:
    """The optimiser that the configuration names, over the method's parameter groups.

    Args:
        method: what is trained.
        config: the recipe.
        rates_on: device on which learning rates are scalar tensors, so that a recorded step
            reads them anew each time; None = plain numbers.
        recorded: as a CUDA graph, of which Adam has to be told.
    """
    groups = parameter_groups(method, config)
    lr = config.peak_lr
    if rates_on is not None:
        for group in groups:
            group["lr"] = torch.tensor(lr, dtype=torch.float32, device=rates_on)
    if config.optimiser == "lars":
        return LARS(groups, lr, momentum=config.momentum, eta=config.lars_eta)
    # The fused kernels are those that read a rate, and Adam's step count, on the device.
    kernels = {"foreach": True} if rates_on is None else {"fused": True}
    if config.optimiser == "sgd":
        return SGD(groups, lr, momentum=config.momentum, **kernels)
    kind = Adam if config.optimiser == "adam" else AdamW
    betas = (config.momentum, 0.999)
    capturable = recorded and rates_on is not None and rates_on.type == "cuda"
    return kind(groups, lr, betas=betas, capturable=capturable, **kernels)


def learning_rate(config: TrainConfig, step: int, batches_per_epoch: int) -> float:
    """Learning rate of a step counted from 0.

    Linear from ``warmup_lr`` at step 0 to the peak at the end of the warm-up, then constant or
    peak (1 + cos(pi t)) / 2 with t running from 0 to 1 at the end of the training.
    """
    warmup = round(config.warmup_epochs * batches_per_epoch)
    if step < warmup:
        return config.warmup_lr + (config.peak_lr - config.warmup_lr) * step / warmup
    if config.schedule == "constant":
        return config.peak_lr
    remaining = max(1, config.epochs * batches_per_epoch - warmup)
    return 0.5 * config.peak_lr * (1 + math.cos(math.pi * (step - warmup) / remaining))
