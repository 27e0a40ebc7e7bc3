"""TensorFlow.js graph models as ONNX, so that one runtime runs everything.

A graph model is two files: `model.json` (a frozen TensorFlow graph, channels last, and the list of its
weights) and the weights one after the other, float16 where that was chosen. Only the operators that
convolutional detectors use are known; anything else is an error, never a guess.

The format: https://www.tensorflow.org/js/guide/conversion ; the operators: TensorFlow's and ONNX's references.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omni.errors import ModelCorrupt

OPSET = 18
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_SIMPLE = {
    "Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "Relu": "Relu", "Sigmoid": "Sigmoid",
    "Identity": "Identity",
}  # fmt: skip


def convert(model_json: Path, weights: Path, outputs: Mapping[str, int], target: Path) -> None:
    """Write the ONNX model that computes `outputs` (node name: its rank). Raises `ModelCorrupt` on the unknown."""
    import onnx
    from onnx import TensorProto, helper

    try:
        document = json.loads(model_json.read_text())
        nodes = document["modelTopology"]["node"]
        manifest = [weight for group in document["weightsManifest"] for weight in group["weights"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelCorrupt(f"{model_json.name} is not a graph model: {error}.") from error
    graph = _Graph(_read_weights(manifest, weights.read_bytes()))
    wanted = _needed(nodes, outputs)
    inputs = []
    for node in nodes:
        if node["name"] not in wanted:
            continue
        if node["op"] == "Placeholder":
            shape = [int(dim["size"]) for dim in node["attr"]["shape"]["shape"]["dim"]]
            inputs.append(helper.make_tensor_value_info(node["name"], TensorProto.FLOAT, [1, *shape[1:]]))
        elif node["op"] != "Const":
            graph.add(node)
    made = helper.make_graph(
        graph.nodes,
        model_json.stem,
        inputs,
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *[None] * (rank - 1)))
            for name, rank in outputs.items()
        ],
        graph.initializers(),
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    partial = target.with_suffix(".partial")
    partial.write_bytes(model.SerializeToString())
    partial.replace(target)


def _read_weights(manifest: list[dict[str, Any]], data: bytes) -> dict[str, np.ndarray]:
    """Name -> array; `quantization` with dtype float16 means that the bytes are half floats."""
    arrays, offset = {}, 0
    for entry in manifest:
        stored = np.dtype(entry.get("quantization", {}).get("dtype", entry["dtype"]))
        if stored == np.uint8 or stored == np.uint16:
            raise ModelCorrupt(f"The weight {entry['name']} is quantised in a way that is not known.")
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if offset + count * stored.itemsize > len(data):
            raise ModelCorrupt("The weights end before the graph's list of them does.", "Fetch the model again.")
        array = np.frombuffer(data, stored, count, offset).reshape(entry["shape"])
        arrays[entry["name"]] = array.astype(entry["dtype"])
        offset += count * stored.itemsize
    return arrays


def _source(name: str) -> str:
    """The node an input refers to, without its output index and control mark."""
    return name.lstrip("^").partition(":")[0]


def _needed(nodes: list[dict[str, Any]], outputs: Iterable[str]) -> set[str]:
    """The names of all nodes the outputs depend on."""
    by_name = {node["name"]: node for node in nodes}
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name not in by_name:
            raise ModelCorrupt(f"The graph has no node {name!r}.")
        found.add(name)
        waiting += [_source(one) for one in by_name[name].get("input", [])]
    return found


class _Graph:
    """ONNX nodes being built. `constants` are weights and what could be computed from weights alone."""

    def __init__(self, constants: dict[str, np.ndarray]) -> None:
        self.constants = constants
        self.extra: dict[str, np.ndarray] = {}
        self.nodes: list[Any] = []

    def add(self, node: dict[str, Any]) -> None:
        """Translate one TensorFlow node."""
        op, name, inputs = node["op"], node["name"], [one.removesuffix(":0") for one in node.get("input", [])]
        attributes = node.get("attr", {})
        if op == "SparseToDense" or (op in ("Add", "AddV2") and all(one in self.constants for one in inputs)):
            self.constants[name] = _fold(op, [self.constants[one] for one in inputs])
        elif op in _SIMPLE:
            self.emit(_SIMPLE[op], inputs, name)
        elif op in ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"):
            self._convolution(op, inputs, name, attributes)
        elif op == "MaxPool":
            size, stride = _integers(attributes["ksize"])[1:3], _integers(attributes["strides"])[1:3]
            self._channels_first(
                "MaxPool", inputs[:1], name, kernel_shape=size, strides=stride, auto_pad=_padding(attributes)
            )
        elif op == "ResizeBilinear":
            mode = "half_pixel" if attributes.get("half_pixel_centers", {}).get("b") else "asymmetric"
            sizes = self.constant(f"{name}/sizes", self.constants[inputs[1]].astype(np.int64))
            self._channels_first(
                "Resize",
                [inputs[0], "", "", sizes],
                name,
                mode="linear",
                coordinate_transformation_mode=mode,
                axes=[2, 3],
            )
        else:
            self._shape_operator(op, inputs, name, attributes)

    def _shape_operator(self, op: str, inputs: list[str], name: str, attributes: dict[str, Any]) -> None:
        """Those whose second input is a list of axes, sizes or paddings."""
        if op == "Transpose":
            self.emit("Transpose", inputs[:1], name, perm=self.constants[inputs[1]].tolist())
        elif op == "Reshape":
            shape = self.constant(f"{name}/shape64", self.constants[inputs[1]].astype(np.int64))
            self.emit("Reshape", [inputs[0], shape], name)
        elif op == "ConcatV2":
            self.emit("Concat", inputs[:-1], name, axis=int(self.constants[inputs[-1]]))
        elif op == "SplitV":
            sizes = self.constants[inputs[1]].astype(np.int64)
            outputs = [name, *(f"{name}:{i}" for i in range(1, len(sizes)))]
            split = self.constant(f"{name}/split64", sizes)
            self.emit("Split", [inputs[0], split], outputs, axis=int(self.constants[inputs[2]]))
        elif op in ("Pad", "PadV2"):
            pads = self.constant(f"{name}/pads64", self.constants[inputs[1]].T.reshape(-1).astype(np.int64))
            value = float(self.constants[inputs[2]]) if op == "PadV2" else 0.0
            self.emit("Pad", [inputs[0], pads, self.constant(f"{name}/value", np.float32(value))], name)
        elif op == "LeakyRelu":
            self.emit("LeakyRelu", inputs, name, alpha=float(attributes.get("alpha", {}).get("f", 0.2)))
        elif op == "Relu6":
            low, high = self.constant("relu6/low", np.float32(0)), self.constant("relu6/high", np.float32(6))
            self.emit("Clip", [inputs[0], low, high], name)
        elif op == "Mean":
            axes = self.constant(f"{name}/axes64", np.atleast_1d(self.constants[inputs[1]]).astype(np.int64))
            self.emit("ReduceMean", [inputs[0], axes], name, keepdims=int(bool(attributes["keep_dims"]["b"])))
        else:
            raise ModelCorrupt(f"The operator {op} of {name} is not one this converter knows.")

    def _convolution(self, op: str, inputs: list[str], name: str, attributes: dict[str, Any]) -> None:
        weight = self.constants[inputs[1]]  # [height, width, in, out], or [height, width, channels, multiplier]
        height, width, channels, last = weight.shape
        depthwise = "Depthwise" in op
        if depthwise:
            weight = weight.reshape(height, width, 1, channels * last)
        kernel = self.constant(f"{name}/kernel", np.ascontiguousarray(weight.transpose(3, 2, 0, 1)))
        fused = [base64.b64decode(one).decode() for one in attributes.get("fused_ops", {}).get("list", {}).get("s", [])]
        activations = [one for one in fused if one != "BiasAdd"]
        if activations not in ([], ["Relu"], ["Relu6"]):
            raise ModelCorrupt(f"The fused operators {fused} of {name} are not known.")
        plain = f"{name}/linear" if activations else name
        self._channels_first(
            "Conv",
            [inputs[0], kernel, *([inputs[2]] if "BiasAdd" in fused else [])],
            plain,
            strides=_integers(attributes["strides"])[1:3],
            dilations=_integers(attributes.get("dilations", {"list": {"i": [1, 1, 1, 1]}}))[1:3],
            group=channels if depthwise else 1,
            auto_pad=_padding(attributes),
        )
        if activations:
            self.add({"op": activations[0], "name": name, "input": [plain]})

    def _channels_first(self, op: str, inputs: list[str], name: str, **attributes: Any) -> None:
        """ONNX convolves channels first: wrap in transpositions (the runtime cancels neighbouring ones)."""
        self.emit("Transpose", inputs[:1], f"{name}/nchw", perm=_TO_NCHW)
        self.emit(op, [f"{name}/nchw", *inputs[1:]], f"{name}/out", **attributes)
        self.emit("Transpose", [f"{name}/out"], name, perm=_TO_NHWC)

    def emit(self, op: str, inputs: list[str], outputs: str | list[str], **attributes: Any) -> None:
        from onnx import helper

        names = [outputs] if isinstance(outputs, str) else outputs
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], **attributes))

    def constant(self, name: str, value: Any) -> str:
        self.extra[name] = np.asarray(value)
        return name

    def initializers(self) -> list[Any]:
        """All constants that a node really reads."""
        from onnx import numpy_helper

        read = {one for node in self.nodes for one in node.input}
        everything = {**self.constants, **self.extra}
        return [
            numpy_helper.from_array(np.asarray(everything[name]), name) for name in sorted(read & everything.keys())
        ]


def _fold(op: str, values: list[np.ndarray]) -> np.ndarray:
    """What can be computed before running: sums of constants, and shapes written as sparse tensors."""
    if op != "SparseToDense":
        return values[0] + values[1]
    indices, shape, filled, default = values
    dense = np.full(np.atleast_1d(shape), default, dtype=np.asarray(filled).dtype)
    if indices.size:
        dense[tuple(np.atleast_2d(indices).T)] = filled
    return dense


def _integers(attribute: dict[str, Any]) -> list[int]:
    return [int(value) for value in attribute["list"]["i"]]


def _padding(attributes: dict[str, Any]) -> str:
    padding = base64.b64decode(attributes["padding"]["s"]).decode()
    return {"SAME": "SAME_UPPER", "VALID": "VALID"}[padding]
