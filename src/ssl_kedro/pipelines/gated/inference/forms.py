"""Accuracy, loss and size of an encoder's networks in every precision, through their engines."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.precision import Precision
from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.evaluation.accuracies import Accuracies, Evaluator
from ssl_kedro.evaluation.features import branch_arrays, gate_record
from ssl_kedro.evaluation.forms import Answers, HeldOut
from ssl_kedro.evaluation.paired import held_out_images
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.inference.comparison import Comparison, NetworkName, key_parts, network_key
from ssl_kedro.inference.engines.base import Engine, EngineUnavailableError, engine_features
from ssl_kedro.inference.engines.packaged import onnx_bytes
from ssl_kedro.inference.engines.probe import EngineName
from ssl_kedro.inference.memory import engine_maker, engine_memory_mb
from ssl_kedro.inference.network import CompactEncoder
from ssl_kedro.inference.planned import PlannedNetwork
from ssl_kedro.pipelines.gated.inference.networks import Networks
from ssl_kedro.pipelines.gated.inference.records import Footprint, Form
from ssl_kedro.pipelines.gated.nodes import evaluator
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters

Arrays = dict[str, np.ndarray]
# Features of the training and of the evaluation images.
_Sides = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Timed:
    """Networks as they were timed.

    Args:
        engines: by batch size and network key.
        batches: by batch size.
        precisions: that were asked for.
        calibration: images that int8 was calibrated on.
    """

    engines: dict[str, dict[str, Engine]]
    batches: dict[str, Comparison]
    precisions: Sequence[Precision]
    calibration: np.ndarray | None

    def winners(self, key: str) -> dict[EngineName, Engine]:
        """Engines that ran a network fastest at some batch size, those of the largest first."""
        found: dict[EngineName, Engine] = {}
        for batch in sorted(self.batches, key=int, reverse=True):
            if key in self.engines[batch]:
                found.setdefault(self.batches[batch].networks[key].engine, self.engines[batch][key])
        return found


class Judge:
    """Evaluates forms of one encoder's networks.

    Args:
        parameters: of the run.
        train_images: bank and probe; some are held out where losses are judged.
        eval_images: what accuracies are of.
        seed: of the probe.
        judged: whether there are forms to compare with f32.
    """

    def __init__(
        self,
        parameters: EncoderPipelineParameters,
        train_images: ImageSet,
        eval_images: ImageSet,
        seed: int,
        *,
        judged: bool,
    ) -> None:
        self.train, self.eval = train_images, eval_images
        self.device = resolved_device(parameters.train.device)
        self.limit = parameters.inference.max_loss
        # On features of whole images, even where the probe augments: that takes a pass over the
        # training images for every epoch of it, for each of these networks.
        probe = parameters.probe and dataclasses.replace(parameters.probe, features="cached")
        self.evaluator: Evaluator | None = None
        labels = train_images.labels
        if labels is not None and eval_images.labels is not None:
            recipe = evaluator(parameters, train_images, eval_images, seed)
            self.evaluator = dataclasses.replace(recipe, probe=probe)
        self.held_out: HeldOut | None = None
        # Without labels neighbours are all there is to compare networks by, in f32 as well.
        if (judged or self.evaluator is None) and len(train_images) > 1:
            held = held_out_of(parameters, len(train_images))
            labels = labels if self.evaluator else None
            self.held_out = HeldOut(
                held, labels, probe, parameters.knn.normalise, seed, self.device
            )

    def forms(
        self, networks: Networks, timed: Timed, features: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[Form, Arrays, float | None]]:
        """Every form of the encoder's own networks, f32 first.

        Args:
            networks: of the encoder.
            timed: the same on engines.
            features: of both parts by branch, as the encoder computes them.

        Yields:
            The form, which evaluation images it names rightly, and mean MACs of an image, None
            where they are known without a pass.
        """
        for name in networks.own:
            sides, macs = self._in_f32(name, networks.by_name[name], features)
            accuracies, right = self._evaluated(*sides)
            in_f32 = None if self.held_out is None else self.held_out.answers(sides[0])
            engines = tuple(timed.winners(name))
            yield Form(name, "f32", engines, accuracies), self._kept(right, in_f32), macs
            for precision in _others(name, timed):
                for engine, ready in timed.winners(network_key(name, precision)).items():
                    yield self._judged(name, precision, engine, ready, in_f32)

    def _judged(
        self,
        name: NetworkName,
        precision: Precision,
        engine: EngineName,
        ready: Engine,
        in_f32: Answers | None,
    ) -> tuple[Form, Arrays, None]:
        known, asked = (engine_features(ready, part.images) for part in (self.train, self.eval))
        accuracies, right = self._evaluated(known, asked)
        judgement = found = None
        if self.held_out is not None and in_f32 is not None:
            found = self.held_out.answers(known)
            judgement = self.held_out.judged(in_f32, found, self.limit)
        form = Form(name, precision, (engine,), accuracies, judgement)
        return form, self._kept(right, found), None

    def _in_f32(
        self, name: NetworkName, network: PlannedNetwork, features: Mapping[str, np.ndarray]
    ) -> tuple[_Sides, float | None]:
        """Features of a network, and its mean MACs where its gates decide them."""
        if name == "dense" or "gated.eval" not in features:
            return (features["dense.train"], features["dense.eval"]), None
        # No gate is forced another way on the images of the usage, so the features of those are
        # the compact network's.
        known = features["gated.train"] if name == "gated" else None
        encoder, parts = CompactEncoder(network), {"eval": self.eval.images}
        if known is None and (self.evaluator or self.held_out):
            parts["train"] = self.train.images
        branch = encoder.branches[0]
        found = branch_arrays(encoder, parts, device=self.device)
        macs = float(encoder.cost(self.eval.images.shape[-1]).dense)
        if branch == "gated":
            macs = float(gate_record(found, "eval").macs.mean())
        known = found.get(f"{branch}.train", np.empty((0, 0))) if known is None else known
        return (known, found[f"{branch}.eval"]), macs

    def _evaluated(self, known: np.ndarray, asked: np.ndarray) -> tuple[Accuracies, Arrays]:
        """Accuracies (none without labels), and which images are named rightly."""
        if self.evaluator is None:
            return Accuracies(), {}
        right = self.evaluator.right(known, asked)
        linear = right.get("linear")
        top1 = None if linear is None else tuple(linear.mean(axis=1).tolist())
        return Accuracies(float(right["knn"].mean()), linear_top1=top1), right

    def _kept(self, right: Arrays, found: Answers | None) -> Arrays:
        """What tells networks of different encoders apart, image by image."""
        kept = {
            name: np.atleast_2d(of).mean(axis=0, dtype=np.float32) for name, of in right.items()
        }
        if self.evaluator is None and found is not None:
            kept["neighbours"] = found.neighbours
        return kept


def held_out_of(parameters: EncoderPipelineParameters, count: int) -> np.ndarray:
    """Which training images are held out where losses are judged: boolean (count,)."""
    options = parameters.inference
    draw = numpy_generator(parameters.seed, "held out of judging precisions")
    return held_out_images(count, options.held_out, options.held_out_limit, draw)


def calibration_images(parameters: EncoderPipelineParameters, train_images: ImageSet) -> np.ndarray:
    """Training images for int8: uint8 (N, 3, side, side), none of them held out."""
    free = np.flatnonzero(~held_out_of(parameters, len(train_images)))
    draw = numpy_generator(parameters.seed, "calibration of precisions")
    chosen = draw.permutation(free)[: parameters.inference.calibration]
    return np.array(train_images.images[np.sort(chosen)])


def footprints(networks: Networks, timed: Timed, side: int) -> dict[str, Footprint]:
    """File and memory of each of the encoder's own networks in each precision that was timed."""
    found = {}
    for name in networks.own:
        network = networks.by_name[name]
        for precision in ("f32", *_others(name, timed)):
            key = network_key(name, precision)
            calibration = timed.calibration if precision == "int8" else None
            try:
                file = onnx_bytes(network, side, calibration=calibration)
            except EngineUnavailableError:
                file = None
            memory: dict[str, float | None] = {}
            # Alone, f32 is timed in passing; processes would take longer than all the races.
            for batch, compared in timed.batches.items() if len(timed.precisions) > 1 else ():
                won = compared.networks.get(key)
                if won is None:
                    continue
                make = engine_maker(
                    won.engine,
                    network,
                    file,
                    won.batch_size,
                    side,
                    won.threads,
                    precision,
                    timed.calibration,
                )
                memory[batch] = engine_memory_mb(make, won.batch_size, side)
            found[key] = Footprint(None if file is None else len(file), memory)
    return found


def _others(name: NetworkName, timed: Timed) -> Sequence[Precision]:
    """Precisions besides f32 in which a network was timed."""
    of_all = {
        found.precision
        for compared in timed.batches.values()
        for key, found in compared.networks.items()
        if key_parts(key)[0] == name and found.precision != "f32"
    }
    return sorted(of_all)
