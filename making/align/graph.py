"""Make the graphs that models of the pocket architecture are predicted by, their weights left out:
of those without a `Novelty`, and of those with one.

    python -m making.align graph

Only a change of the architecture makes it necessary; then a test says so.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir
from onnxscript import optimizer

from making.align import AlignError
from scrapseg.files import atomic_write
from scrapseg.models.export import program_of
from scrapseg.models.runtime import GRAPH, GRAPH_NOVELTY, architecture, exported, session_for
from scrapseg.models.scrapseg import ScrapSeg


def make_graph(model: ScrapSeg, path: Path = GRAPH) -> Path:
    """Write the graph of a model's architecture.

    Raises:
        AlignError: onnxruntime cannot predict by it; the reason stands on stderr.
    """
    wrapped = exported(model)
    program = program_of(wrapped, optimize=False).model
    graph, names = program.graph, wrapped.state_dict()
    for node in graph.all_nodes():
        node.metadata_props.clear()  # where in the sources each came from: more than all the rest
    held = [value for name, value in graph.initializers.items() if name in names]
    for value in held:  # as inputs they are not folded into constants
        value.const_value = None
        del graph.initializers[value.name]
        graph.inputs.append(value)
    optimizer.optimize_ir(program)
    for value in held:
        graph.inputs.remove(value)
        facts = {"dtype": value.dtype, "shape": value.shape, "name": value.name}
        value.const_value = onnx_ir.ExternalTensor("weights", None, None, **facts)
        graph.initializers[value.name] = value
    program.metadata_props.clear()
    program.metadata_props["architecture"] = architecture(model)
    atomic_write(path, onnx_ir.to_proto(program).SerializeToString())
    if path in (GRAPH, GRAPH_NOVELTY) and session_for(model) is None:
        raise AlignError(f"{path} is of no use")
    return path
