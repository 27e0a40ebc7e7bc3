"""EfficientNet-lite0 as an ONNX graph, from its PyTorch checkpoint; batch norms folded into the convolutions.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019; the lite
variants have no squeeze-and-excitation and ReLU6 everywhere. Padding is TensorFlow's "same".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from omni_vision.pth import read_tensors

SIZE = 224  #: pixels of the square input
#: (repeats, kernel, stride of the first, expansion) of each stage.
STAGES = ((1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6))
_EPSILON = 1e-3


def build(checkpoint: Path, target: Path) -> None:
    """Write the model: `image` [n, 3, 224, 224] in -1..1 -> `probabilities` [n, 1000], `features` [n, 1280]."""
    import onnx
    from onnx import TensorProto, helper

    graph = _Builder(read_tensors(checkpoint))
    x = graph.convolve("image", "_conv_stem", "_bn0", stride=2)
    block = 0
    for repeats, kernel, stride, expansion in STAGES:
        for repeat in range(repeats):
            x = _block(graph, x, f"_blocks.{block}", kernel, stride if repeat == 0 else 1, expansion, repeat > 0)
            block += 1
    x = graph.convolve(x, "_conv_head", "_bn1")
    x = graph.node("GlobalAveragePool", [x], "pooled")
    graph.node("Flatten", [x], "features")
    graph.constants["fc.weight"], graph.constants["fc.bias"] = graph.tensors["_fc.weight"], graph.tensors["_fc.bias"]
    graph.node("Gemm", ["features", "fc.weight", "fc.bias"], "logits", transB=1)
    graph.node("Softmax", ["logits"], "probabilities", axis=1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet-lite0",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
            [
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 1000]),
                helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1280]),
            ],
            graph.initializers(),
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    partial = target.with_suffix(".partial")
    partial.write_bytes(model.SerializeToString())
    partial.replace(target)


def _block(graph: _Builder, x: str, name: str, kernel: int, stride: int, expansion: int, skip: bool) -> str:
    """An inverted residual: widen, convolve each channel alone, narrow, add."""
    y = x
    if expansion != 1:
        y = graph.convolve(y, f"{name}._expand_conv", f"{name}._bn0")
    y = graph.convolve(y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, kernel=kernel, depthwise=True)
    y = graph.convolve(y, f"{name}._project_conv", f"{name}._bn2", activate=False)
    return graph.node("Add", [x, y], f"{name}.sum") if skip else y


class _Builder:
    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.tensors = tensors
        self.constants: dict[str, np.ndarray] = {"low": np.float32(0), "high": np.float32(6)}
        self.nodes: list[Any] = []

    def convolve(
        self,
        x: str,
        weight: str,
        norm: str,
        stride: int = 1,
        kernel: int = 0,
        depthwise: bool = False,
        activate: bool = True,
    ) -> str:
        """A convolution of `x` with `weight`, its batch norm `norm` folded in, and ReLU6: the output's name.

        `kernel` is the size that is due (0: any). Raises `ModelCorrupt` when the weights have another.
        """
        w = self.tensors[f"{weight}.weight"]
        if kernel and w.shape[2] != kernel:
            from omni.errors import ModelCorrupt

            raise ModelCorrupt(f"{weight} has a kernel of {w.shape[2]}, not {kernel}: this is not EfficientNet-lite0.")
        scale = self.tensors[f"{norm}.weight"] / np.sqrt(self.tensors[f"{norm}.running_var"] + _EPSILON)
        shift = self.tensors[f"{norm}.bias"] - self.tensors[f"{norm}.running_mean"] * scale
        self.constants[f"{weight}.w"] = (w * scale[:, None, None, None]).astype(np.float32)
        self.constants[f"{weight}.b"] = shift.astype(np.float32)
        y = self.node(
            "Conv",
            [x, f"{weight}.w", f"{weight}.b"],
            f"{weight}.y",
            strides=[stride, stride],
            group=w.shape[0] if depthwise else 1,
            auto_pad="SAME_UPPER",
        )
        return self.node("Clip", [y, "low", "high"], f"{weight}.relu6") if activate else y

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def initializers(self) -> list[Any]:
        from onnx import numpy_helper

        return [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()]
