"""Understanding images with a real vision-language model: SmolVLM or Qwen2.5-VL, by llama.cpp or transformers.

Both backends take upright pictures without metadata and a question, and give an answer with its token counts.
`VlmVision` is the capability around them: decoding, caching per picture and question, and owning up.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from omni.capabilities import Region, Scene, VisualAnswer
from omni.errors import BadInput, ModelMissing, PluginError
from omni.worker import Worker
from omni_vision import images as pictures

MOST_IMAGES = 4
MAX_TOKENS = 200
ANSWERS_KEPT = 256
_SYSTEM = "Answer briefly from what the image shows. If the image does not show it, say: I can't see that in the image."
_DESCRIBE = "Describe what the image shows in two or three sentences, with any text in it."
_CANT = re.compile(
    r"\b(?:can(?:no|')t (?:see|tell|determine|answer|be determined)|not (?:visible|shown)|unanswerable|unclear from)\b",
    re.I,
)


class Backend(Protocol):
    """A loaded model. Called in one thread."""

    def generate(self, images: Sequence[np.ndarray], question: str, max_tokens: int) -> tuple[str, int]:
        """(answer, tokens written)."""
        """(answer, tokens of the prompt with its images and of the answer)."""

    def close(self) -> None:
        """Give the memory back."""


class VlmVision:
    """`VisionModel`, engine "vlm". `load` gives the backend; it is called once, in the worker's thread."""

    def __init__(self, folder: Callable[[], Any], load: Callable[[Path], Backend]) -> None:
        self._folder = folder
        self._load = load
        self._worker: Worker | None = None
        self._backend: Backend | None = None
        self._known: OrderedDict[tuple[str, ...], tuple[str, int]] = OrderedDict()

    async def open(self) -> None:
        """Load the model. Raises `ModelMissing` where no source has it."""
        if self._worker is not None:
            return
        folder = Path(await self._folder())
        worker = Worker("vlm")
        try:
            self._backend = await worker.run(self._load, folder)
        except BaseException:
            worker.close()
            raise
        self._worker = worker

    async def close(self) -> None:
        """Idempotent."""
        worker, backend = self._worker, self._backend
        self._worker = self._backend = None
        if worker is not None and backend is not None:
            await worker.run(backend.close)
            worker.close()

    async def look(self, image: bytes, *, detail: Literal["fast", "full"] = "full") -> Scene:
        """A description as the one region: this engine gives no boxes."""
        began = time.perf_counter()
        picture = await asyncio.to_thread(pictures.decode, image)
        text, _ = await self._ask([picture], _DESCRIBE)
        whole = (0.0, 0.0, float(picture.width), float(picture.height))
        region = Region("description", text, whole, 0.5)
        return Scene(picture.width, picture.height, (region,), text, picture.digest, time.perf_counter() - began)

    async def answer(self, images: Sequence[bytes], question: str) -> VisualAnswer:
        """Answer a question; it rests on whole images. Raises `BadInput`."""
        began = time.perf_counter()
        if not images or len(images) > MOST_IMAGES:
            raise BadInput(f"{len(images)} images can't be asked about at once.", f"Show between 1 and {MOST_IMAGES}.")
        shown = [await asyncio.to_thread(pictures.decode, one) for one in images]
        text, tokens = await self._ask(shown, question.strip() or _DESCRIBE)
        supported = bool(text) and not _CANT.search(text)
        whole = tuple(
            (i, Region("image", "the whole image", (0.0, 0.0, float(one.width), float(one.height)), 0.5))
            for i, one in enumerate(shown)
        )
        return VisualAnswer(
            text or "I can't see that in the image.",
            whole if supported else (),
            supported,
            tokens,
            time.perf_counter() - began,
        )

    async def _ask(self, shown: Sequence[pictures.Picture], question: str) -> tuple[str, int]:
        await self.open()
        assert self._worker is not None
        assert self._backend is not None
        key = (*(one.digest for one in shown), question)
        if key not in self._known:
            self._known[key] = await self._worker.run(
                self._backend.generate, [one.pixels for one in shown], question, MAX_TOKENS
            )
            while len(self._known) > ANSWERS_KEPT:
                self._known.popitem(last=False)
        return self._known[key]


class TransformersBackend:
    """Any image-text-to-text model of transformers in a folder (Idefics3/SmolVLM, Qwen2.5-VL), greedy, on the CPU."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        try:
            import torch
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError as error:
            raise ModelMissing(
                "The engine vlm needs torch and transformers for this model.", "Run `pip install 'omni-vision[vlm]'`."
            ) from error
        torch.set_num_threads(threads)
        self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model = model.eval()

    def generate(self, images: Sequence[np.ndarray], question: str, max_tokens: int) -> tuple[str, int]:
        import torch
        from PIL import Image

        content: list[dict[str, str]] = [{"type": "image"} for _ in images]
        content.append({"type": "text", "text": f"{_SYSTEM}\n{question}"})
        prompt = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = self._processor(text=prompt, images=[Image.fromarray(one) for one in images], return_tensors="pt")
        with torch.inference_mode():
            output = self._model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        new = output[0, inputs["input_ids"].shape[1] :]
        return self._processor.decode(new, skip_special_tokens=True).strip(), int(output.shape[1])

    def close(self) -> None:
        self._model = self._processor = None


class LlamaBackend:
    """A GGUF model with its projector (mmproj) by llama.cpp, through xllamacpp's server in this process."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        import xllamacpp

        projector = next(iter(sorted(folder.glob("mmproj*.gguf"))), None)
        model = next((one for one in sorted(folder.glob("*.gguf")) if one != projector), None)
        if projector is None or model is None:
            raise ModelMissing(f"{folder.name} needs a GGUF model and its mmproj file.", "Fetch the model again.")
        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.mmproj.path = str(projector)
        params.mmproj_use_gpu = False
        params.n_ctx = 8192
        params.n_parallel = 1
        params.hostnames, params.port, params.api_keys = (
            ["127.0.0.1"],
            0,
            [secrets.token_hex(16)],
        )  # nobody else asks it
        params.ui = False
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        self._server: Any = xllamacpp.Server(params)

    def generate(self, images: Sequence[np.ndarray], question: str, max_tokens: int) -> tuple[str, int]:
        """(answer, tokens of prompt and answer), as `Backend` says. Raises `PluginError` when the server refuses."""
        content: list[dict[str, Any]] = [
            {
                "type": "image_url",
                "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(pictures.encode(one)).decode()}"},
            }
            for one in images
        ]
        content.append({"type": "text", "text": question})
        request = {
            "messages": [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": content}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": False,
        }
        reply = self._server.handle_chat_completions(json.dumps(request))
        data = json.loads(reply) if isinstance(reply, str | bytes) else reply
        if "choices" not in data:
            raise PluginError(f"The vision-language model failed: {data.get('error', data)}.", "Try a smaller image.")
        usage = data.get("usage", {})
        return str(data["choices"][0]["message"]["content"]).strip(), int(usage.get("total_tokens", 0))

    def close(self) -> None:
        self._server = None


def load(folder: Path) -> Backend:
    """The backend that fits the files of a model: GGUF by llama.cpp, safetensors by transformers."""
    if any(folder.glob("*.gguf")):
        return LlamaBackend(folder)
    return TransformersBackend(folder)
