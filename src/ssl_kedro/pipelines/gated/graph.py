"""Pieces of graph that pipelines which train encoders have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kedro.pipeline import Node, node

from ssl_kedro.pipelines.gated import nodes
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.given import given

# Catalog names by the arguments that they are given to.
Inputs = list[str] | dict[str, str]


@dataclass(frozen=True)
class PlannedTraining:
    """One training and where its data lies in the catalog.

    Args:
        pipeline: the pipeline's key, which its images and parameters stand under.
        namespace: of the nodes and of what they leave behind.
        label: end of the nodes' names, "dual_budget_30".
        training: what is trained.
        pretrain_images: catalog name of the images it sees.
        data_summary: catalog name of their summary.
        tags: of the nodes.
    """

    pipeline: str
    namespace: str
    label: str
    training: Training
    pretrain_images: str
    data_summary: str
    tags: tuple[str, ...]

    def node(
        self,
        action: str,
        function: Callable[..., Any],
        inputs: Inputs,
        outputs: str | list[str],
        tags: Iterable[str] = (),
    ) -> Node:
        """A node of this model, inside its namespace."""
        return node(
            function,
            inputs,
            outputs,
            name=f"{action}_{self.label}",
            namespace=self.namespace,
            tags=[*self.tags, *tags],
        )


def data_summary_node(namespace: str, images: list[str], name: str, tags: Iterable[str]) -> Node:
    """Counts, fingerprints and statistics of pretrain, train and eval images."""
    return node(
        nodes.summarise_data, images, f"{namespace}.data_summary", name=name, tags=list(tags)
    )


def preparation_nodes(pipeline: str, pretrain_images: str, tags: Iterable[str]) -> list[Node]:
    """Data summary, arithmetic and baselines, which every model needs."""
    tags = list(tags)
    own = _own_images(pipeline)
    data = f"{pipeline}.data_summary"
    parameters = f"params:{pipeline}"
    return [
        data_summary_node(pipeline, [pretrain_images, *own], "summarise_data", tags),
        node(
            nodes.select_execution,
            [parameters, data],
            f"{pipeline}.execution",
            name="select_execution",
            tags=tags,
        ),
        node(
            nodes.measure_baselines,
            [parameters, data, *own],
            f"{pipeline}.baselines",
            name="measure_baselines",
            tags=tags,
        ),
    ]


def training_node(
    model: PlannedTraining, further: Mapping[str, str] | None = None, action: str = "pretrain"
) -> Node:
    """Training of one model; leaves its encoder and how the training went.

    Args:
        model: what is trained.
        further: catalog names of a student's teacher and of the gates that it takes over.
        action: what the node's name begins with.
    """
    space = model.namespace
    inputs = {
        "parameters": f"params:{model.pipeline}",
        "data": model.data_summary,
        "execution": f"{model.pipeline}.execution",
        "images": model.pretrain_images,
        "checkpoints": f"{space}.checkpoint",
        "log": f"{space}.epoch_log",
        **(further or {}),
    }
    bound = given(nodes.pretrain, training=model.training)
    outputs = [f"{space}.encoder", f"{space}.training"]
    return model.node(action, bound, inputs, outputs, ["pretrain"])


def evaluation_nodes(model: PlannedTraining) -> list[Node]:
    """Features and evaluation of one model on the pipeline's own images."""
    space, pipeline = model.namespace, model.pipeline
    own = _own_images(pipeline)
    inputs = [
        f"params:{pipeline}",
        f"{pipeline}.data_summary",
        f"{space}.encoder",
        f"{space}.features",
        f"{space}.training",
        *own,
    ]
    return [
        model.node(
            "extract",
            nodes.extract,
            [f"params:{pipeline}", f"{space}.encoder", *own],
            f"{space}.features",
        ),
        model.node(
            "evaluate",
            given(nodes.evaluate, trained=model.training),
            inputs,
            f"{space}.evaluation",
        ),
    ]


def _own_images(pipeline: str) -> list[str]:
    return [f"{pipeline}.train_images", f"{pipeline}.eval_images"]
