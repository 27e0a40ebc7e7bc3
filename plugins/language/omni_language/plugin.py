"""What the language plugin registers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from omni.capabilities import ChatModel, Embedder, Reranker
from omni.host.hookspecs import Check, Offer, PluginContext, hookimpl

DEFAULT_MODEL = "qwen2.5-coder-1.5b"
SMALL_MODEL = "smollm2-135m"
EMBEDDING_MODEL = "minilm-l6"


class LanguagePlugin:
    """Chat models, text embeddings and re-ranking."""

    @hookimpl
    def omni_capabilities(self, context: PluginContext) -> list[Offer]:
        """An endpoint where one is named; the embedded model, a smaller one as its fallback; MiniLM."""
        model = chat_model(context)
        offers = [_embedded(context, model, priority=0)]
        if model != SMALL_MODEL:
            offers.append(_embedded(context, SMALL_MODEL, priority=-10))
        if shared(context, "chat.endpoint"):
            offers.append(_endpoint(context))
        return offers + _minilm(context)

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """The engine, the models, the memory, the endpoint."""
        from omni_language.doctor import checks

        return checks(
            model=chat_model(context),
            embedding=EMBEDDING_MODEL,
            store=context.models,
            endpoint=shared(context, "chat.endpoint"),
            api_key=shared(context, "chat.api_key"),
        )


def shared(context: PluginContext, key: str, default: Any = "") -> Any:
    """A setting of Omni itself (`chat.*`, `models.*`)."""
    config = getattr(context.host, "config", None)
    return config.get(key, default) if config is not None else default


def chat_model(context: PluginContext) -> str:
    """The embedded model, a catalogue id or the path of a GGUF file: `chat.model`, unless that is an endpoint's."""
    named = "" if shared(context, "chat.endpoint") else shared(context, "chat.model")
    return named or DEFAULT_MODEL


def threads(context: PluginContext) -> int:
    """As set, else two: more threads than idle cores make every step wait for the slowest."""
    chosen = context.config.get("threads") or shared(context, "models.threads", 0)
    return chosen or max(1, min(2, os.cpu_count() or 1))


def _embedded(context: PluginContext, model: str, *, priority: int) -> Offer:
    slots = context.config.get("slots") or 3
    window = context.config.get("context") or 4096

    own = Path(model).expanduser() if model.endswith(".gguf") else None

    async def find() -> Path:
        return own or await context.models.path(model)

    def make() -> Any:
        from omni_language.embedded import EmbeddedChat
        from omni_language.engine import LlamaServer

        def engine(file: Path) -> LlamaServer:
            layers = context.config.get("gpu_layers") or 0
            return LlamaServer(file, threads=threads(context), context=window, slots=slots, gpu_layers=layers)

        return EmbeddedChat(find, engine, context=window, slots=slots)

    features = {"engine": "embedded", "model": model}
    return Offer(
        ChatModel, f"embedded:{own.stem if own else model}", make,
        priority=priority, features=features, deadline_s=180.0, models=() if own else (model,),
    )  # fmt: skip


def _endpoint(context: PluginContext) -> Offer:
    def make() -> Any:
        from omni_language.endpoint import EndpointChat

        return EndpointChat(
            shared(context, "chat.endpoint"),
            model=shared(context, "chat.model"),
            api_key=shared(context, "chat.api_key"),
            context=context.config.get("endpoint_context") or 8192,
        )

    return Offer(ChatModel, "endpoint", make, priority=20, features={"engine": "endpoint"}, deadline_s=120.0)


def _minilm(context: PluginContext) -> list[Offer]:
    from omni_language.minilm import LateReranker, MiniLM, TextEmbedder

    async def find() -> Path:
        return await context.models.path(EMBEDDING_MODEL)

    model = MiniLM(find, context.data, threads=threads(context))
    features = {"space": "text", "dimension": 384, "model": EMBEDDING_MODEL}
    models = (EMBEDDING_MODEL,)
    return [
        Offer(Embedder, "minilm", lambda: TextEmbedder(model), features=features, deadline_s=120.0, models=models),
        Offer(Reranker, "late-interaction", lambda: LateReranker(model), deadline_s=120.0, models=models),
    ]


plugin = LanguagePlugin()
