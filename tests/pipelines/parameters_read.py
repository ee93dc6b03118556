"""``kedro run`` that writes which sections of the parameters each node reads.

As a program: ``python parameters_read.py FILE run --pipeline ...`` leaves {node: sections} in FILE.
"""

import json
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from kedro.framework.cli.cli import main
from kedro.pipeline.node import Node

from ssl_kedro.pipelines.parameters import PipelineParameters

at_work: ContextVar[str | None] = ContextVar("at_work", default=None)
read: dict[str, set[str]] = {}
run_as_always, get_as_always = Node.run, PipelineParameters.__getattribute__


def run(node: Node, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
    token = at_work.set(node.name)
    try:
        return run_as_always(node, inputs)
    finally:
        at_work.reset(token)


def get(parameters: PipelineParameters, name: str) -> Any:
    node = at_work.get()
    # Sections of the pipeline's parameters, not fields of a section.
    if (
        node is not None
        and name in type(parameters).model_fields
        and "seed" in type(parameters).model_fields
    ):
        read.setdefault(node, set()).add(name)
    return get_as_always(parameters, name)


if __name__ == "__main__":
    file, sys.argv = Path(sys.argv[1]), ["kedro", *sys.argv[2:]]
    Node.run = run  # type: ignore[method-assign]
    PipelineParameters.__getattribute__ = get  # type: ignore[assignment, method-assign]
    try:
        main()
    finally:
        file.write_text(json.dumps({node: sorted(names) for node, names in read.items()}))
