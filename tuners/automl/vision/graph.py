"""The trained network as an ONNX graph: raw images in, probabilities out, so that to predict needs no torch.

torch's exporters do the same in two to four seconds of each trial, or are deprecated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from torch import Tensor, nn

from tuners.automl.vision.network import Network, Residual

IMAGES, PROBABILITIES = "images", "probabilities"
OPSET, FORMAT = 17, 9
"""Versions that onnxruntime reads since 1.16."""


def write(network: Network, shape: tuple[int, int, int], file: Path) -> None:
    """Write a network that predicts (`eval`), on the CPU; `shape`: rows, columns and channels of an image."""
    graph = _Graph()
    found = graph.add("Sub", IMAGES, graph.constant(network.mean))
    found = graph.add("Div", found, graph.constant(network.deviation))
    found = graph.add("Relu", graph.convolution(found, network.stem, network.stem_norm))
    for block in network.blocks:
        assert isinstance(block, Residual)
        found = graph.residual(found, block)
    found = graph.add("Flatten", graph.add("GlobalAveragePool", found))
    head = (graph.constant(network.head.weight), graph.constant(network.head.bias))
    graph.add("Softmax", graph.add("Gemm", found, *head, transB=1), output=PROBABILITIES, axis=1)
    model = graph.model((shape[2], shape[0], shape[1]), network.head.out_features)
    onnx.save(model, file)


class _Graph:
    """A graph that grows: each method adds nodes and gives the name of what they put out."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: Tensor | npt.NDArray[np.float64]) -> str:
        array = values.detach().numpy() if isinstance(values, Tensor) else values
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype=np.float32), name))
        return name

    def convolution(self, images: str, layer: nn.Conv2d, norm: nn.BatchNorm2d) -> str:
        """A convolution that does what the normalisation after it would do, too."""
        weight, mean, variance, factor, shift = (
            values.detach().numpy().astype(np.float64)
            for values in (layer.weight, norm.running_mean, norm.running_var, norm.weight, norm.bias)
            if values is not None
        )
        scale = factor / np.sqrt(variance + norm.eps)
        inputs = (self.constant(weight * scale[:, None, None, None]), self.constant(shift - mean * scale))
        padding = [layer.kernel_size[0] // 2] * 4
        return self.add("Conv", images, *inputs, strides=list(layer.stride), pads=padding)

    def residual(self, images: str, block: Residual) -> str:
        inner = self.add("Relu", self.convolution(images, block.first, block.first_norm))
        inner = self.convolution(inner, block.second, block.second_norm)
        past = images if block.past is None else self.convolution(images, block.past, block.past_norm)
        return self.add("Relu", self.add("Add", inner, past))

    def model(self, shape: tuple[int, int, int], classes: int) -> onnx.ModelProto:
        kind = onnx.TensorProto.FLOAT
        taken = helper.make_tensor_value_info(IMAGES, kind, ["n", *shape])
        given = helper.make_tensor_value_info(PROBABILITIES, kind, ["n", classes])
        graph = helper.make_graph(self.nodes, "tunesmith", [taken], [given], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=FORMAT)
        onnx.checker.check_model(model)
        return model
