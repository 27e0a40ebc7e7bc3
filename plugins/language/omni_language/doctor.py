"""What `omni doctor` says about this plugin."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

from omni.errors import OmniError
from omni.host.hookspecs import Check

MEMORY_MB = {"qwen2.5-coder-1.5b": 1700, "smollm2-135m": 350}  #: resident with three caches of 4096 tokens, measured
ANSWER_S = 1.0


def checks(*, model: str, embedding: str, store: Any, endpoint: str = "", api_key: str = "") -> list[Check]:
    """The endpoint when there is one, the embedded engine and its model, the free memory, the embedding model."""
    found = [_endpoint(endpoint, api_key)] if endpoint else []
    found.append(_engine())
    found.append(_file(Path(model)) if model.endswith(".gguf") else _installed("chat model", model, store))
    found.append(_memory(model))
    found.append(_installed("text embedding model", embedding, store))
    return found


def _engine() -> Check:
    if importlib.util.find_spec("xllamacpp") is not None:
        return Check("llama.cpp", True, "xllamacpp is installed.")
    return Check("llama.cpp", False, "xllamacpp is not installed.", "Run `pip install xllamacpp`.")


def _installed(task: str, model: str, store: Any) -> Check:
    try:
        state = store.state(model)
    except OmniError as error:
        return Check(task, False, str(error), "See `omni models list`.")
    remedy = "" if state == "installed" else f"Run `omni models pull {model}`; it is fetched at first use otherwise."
    return Check(task, state == "installed", f"{model} is {state}.", remedy)


def _file(path: Path) -> Check:
    from omni_language.engine import check_gguf

    try:
        check_gguf(path.expanduser())
    except OmniError as error:
        return Check("chat model", False, error.message, error.remedy)
    return Check("chat model", True, f"{path} is a GGUF file.")


def _memory(model: str) -> Check:
    import psutil

    free = math.floor(psutil.virtual_memory().available / 1e6)
    need = MEMORY_MB.get(model) or (
        round(Path(model).expanduser().stat().st_size / 1e6 * 1.3) + 300 if Path(model).expanduser().is_file() else 2000
    )
    remedy = "" if free > need else "Close something, or use `omni run --profile small`."
    return Check("memory for the chat model", free > need, f"It takes {need} MB; {free} MB are free.", remedy)


def _endpoint(url: str, api_key: str) -> Check:
    import httpx

    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        status = httpx.get(f"{url}/models", headers=headers, timeout=ANSWER_S).status_code
    except (httpx.HTTPError, OmniError) as error:
        return Check(
            "chat endpoint", False, f"{url} does not answer ({type(error).__name__}).",
            "Start it, or clear `chat.endpoint`; the embedded model answers meanwhile.",
        )  # fmt: skip
    if status in (401, 403):
        return Check("chat endpoint", False, f"{url} wants a valid key.", "Set `chat.api_key`.")
    return Check("chat endpoint", True, f"{url} answers.")
