"""all-MiniLM-L6-v2 as an ONNX graph, built from its safetensors without torch.

The architecture is BERT's (Devlin et al., 2019) with learned positions, post-layer-norm and the exact
(erf) GELU. Standard operators of opset 20 only. Shapes: b texts, t tokens, h hidden, a heads, d = h / a.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSET = 20


def build(folder: Path, target: Path) -> None:
    """Convert `folder` (config.json, model.safetensors) to the ONNX file `target`, atomically.

    Inputs: `ids`, `mask` int64 [b, t]. Outputs: `sentence` [b, h], the unit mean of the tokens under the
    mask, and `tokens` [b, t, h], each a unit vector.
    """
    import onnx
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    weights = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}
    model = _Graph(config, weights).model()
    onnx.checker.check_model(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    onnx.save(model, str(partial))
    partial.replace(target)


class _Graph:
    def __init__(self, config: dict[str, Any], weights: dict[str, np.ndarray]) -> None:
        self.config = config
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.hidden = config["hidden_size"]
        self.heads = config["num_attention_heads"]

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name].astype(np.float32))

    def linear(self, x: str, name: str) -> str:
        # Stored as [out, in]; MatMul wants [in, out].
        matrix = self.constant(f"{name}.T", np.ascontiguousarray(self.weights[f"{name}.weight"].astype(np.float32).T))
        return self.add("Add", self.add("MatMul", x, matrix), self.weight(f"{name}.bias"))

    def norm(self, x: str, name: str) -> str:
        return self.add(
            "LayerNormalization", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"),
            axis=-1, epsilon=self.config["layer_norm_eps"],
        )  # fmt: skip

    def split(self, x: str) -> str:
        """[b, t, h] -> [b, a, t, d]"""
        shape = self.constant("split", np.array([0, 0, self.heads, self.hidden // self.heads], np.int64))
        return self.add("Transpose", self.add("Reshape", x, shape), perm=[0, 2, 1, 3])

    def embeddings(self) -> str:
        words = self.add("Gather", self.weight("embeddings.word_embeddings.weight"), "ids")  # [b, t, h]
        shape = self.add("Shape", "ids", start=1)
        positions = self.add(
            "Slice",
            self.weight("embeddings.position_embeddings.weight"),
            self.constant("zero", np.array([0], np.int64)),
            shape,
        )  # [t, h]
        self.constants["segment"] = self.weights["embeddings.token_type_embeddings.weight"][0].astype(np.float32)
        total = self.add("Add", self.add("Add", words, "segment"), positions)
        return self.norm(total, "embeddings.LayerNorm")

    def attention(self, x: str, bias: str, name: str) -> str:
        query = self.split(self.linear(x, f"{name}.self.query"))
        key = self.add("Transpose", self.split(self.linear(x, f"{name}.self.key")), perm=[0, 1, 3, 2])
        value = self.split(self.linear(x, f"{name}.self.value"))
        scale = self.constant("scale", np.float32((self.hidden // self.heads) ** -0.5))
        scores = self.add("Add", self.add("Mul", self.add("MatMul", query, key), scale), bias)  # [b, a, t, t]
        mixed = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
        merged = self.constant("merge", np.array([0, 0, self.hidden], np.int64))
        return self.linear(
            self.add("Reshape", self.add("Transpose", mixed, perm=[0, 2, 1, 3]), merged), f"{name}.output.dense"
        )

    def layer(self, x: str, bias: str, name: str) -> str:
        attended = self.attention(x, bias, f"{name}.attention")
        x = self.norm(self.add("Add", x, attended), f"{name}.attention.output.LayerNorm")
        inner = self.add("Gelu", self.linear(x, f"{name}.intermediate.dense"), approximate="none")
        return self.norm(self.add("Add", x, self.linear(inner, f"{name}.output.dense")), f"{name}.output.LayerNorm")

    def unit(self, x: str) -> str:
        length = self.add("ReduceL2", x, self.constant("last", np.array([-1], np.int64)), keepdims=1)
        return self.add("Div", x, self.add("Max", length, self.constant("tiny", np.float32(1e-12))))

    def model(self) -> onnx.ModelProto:
        """The whole graph: token ids [b, t] and mask [b, t] to unit vectors [b, 384]."""
        from onnx import TensorProto, helper, numpy_helper

        mask = self.add("Cast", "mask", to=TensorProto.FLOAT)  # [b, t]
        apart = self.add("Sub", mask, self.constant("one", np.float32(1)))  # 0 where there is a token, -1 elsewhere
        wide = self.add("Unsqueeze", apart, self.constant("middle", np.array([1, 2], np.int64)))
        bias = self.add("Mul", wide, self.constant("far", np.float32(1e9)))  # [b, 1, 1, t]
        x = self.embeddings()
        for index in range(self.config["num_hidden_layers"]):
            x = self.layer(x, bias, f"encoder.layer.{index}")
        column = self.add("Unsqueeze", mask, self.constant("end", np.array([-1], np.int64)))
        total = self.add(
            "ReduceSum", self.add("Mul", x, column), self.constant("along", np.array([1], np.int64)), keepdims=0
        )
        self.nodes.append(
            helper.make_node("Identity", [self.unit(total)], ["sentence"])
        )  # the length cancels the count
        self.nodes.append(helper.make_node("Identity", [self.unit(x)], ["tokens"]))
        graph = helper.make_graph(
            self.nodes,
            "minilm",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in ("ids", "mask")],
            [
                helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["b", self.hidden]),
                helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["b", "t", self.hidden]),
            ],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
