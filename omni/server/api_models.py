"""The models page: what there is, what it costs, fetching with progress, switching."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from omni.config import load_config, save_setting
from omni.errors import BadInput, Busy, OmniError
from omni.server.answers import answers, read_json, text_of
from omni.server.frames import encode_plain
from omni.server.hub import Hub

#: The setting that names the model in use, by the catalogue's task.
SWITCHES = {"chat": "chat.model"}
#: Seconds between two progress messages.
TELL_S = 0.25


class Pulls:
    """Fetches under way; every page hears of them as `ModelProgress`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.progress: dict[str, dict[str, Any]] = {}

    def start(self, model: str) -> None:
        """Begin to fetch a model. Raises `Busy` when that is under way already."""
        if model in self._tasks:
            raise Busy(f"{model} is being fetched already.", "Wait for it, or cancel it.")
        task = asyncio.create_task(self._pull(model), name=f"pull {model}")
        self._tasks[model] = task
        task.add_done_callback(lambda _: self._tasks.pop(model, None))

    def cancel(self, model: str) -> None:
        """Stop fetching; what came is kept. Idempotent."""
        if task := self._tasks.get(model):
            task.cancel()

    async def stop(self) -> None:
        """Stop all. Idempotent."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pull(self, model: str) -> None:
        last = 0.0
        loop = asyncio.get_running_loop()

        def progress(update: Any) -> None:
            nonlocal last
            self.progress[model] = {k: v for k, v in asdict(update).items() if k != "model"}
            if loop.time() - last >= TELL_S or update.done >= update.total:
                last = loop.time()
                self._tell(model, state="fetching", **self.progress[model])

        try:
            await self._hub.runtime.store.pull(model, progress)
            self._tell(model, state="installed")
        except asyncio.CancelledError:
            self._tell(model, state="partial", message="Stopped; what came is kept.")
            raise
        except OmniError as error:
            self._tell(model, state="failed", message=error.message, remedy=error.remedy)
        finally:
            self.progress.pop(model, None)

    def _tell(self, model: str, **fields: Any) -> None:
        self._hub.broadcast(encode_plain(type="ModelProgress", model=model, **fields))


def pulls_of(request: Request) -> Pulls:
    """The fetches of this server."""
    return request.app.state.pulls


@answers
async def models(request: Request) -> Any:
    """Every model of the catalogue, with its state here."""
    runtime = request.app.state.hub.runtime
    under_way = pulls_of(request).progress
    config = load_config(profile=request.app.state.hub.runtime.config.profile or None)
    users: dict[str, list[str]] = {}
    for record in runtime.host.plugins():
        for model in (*record.manifest.models.required, *record.manifest.models.optional) if record.manifest else ():
            users.setdefault(model, []).append(record.id)

    def read() -> list[dict[str, Any]]:
        return [
            {
                "id": m.id, "name": m.name, "task": m.task, "size": m.size, "licence": m.licence,
                "licence_found": m.licence_found, "default": m.default, "format": m.format, "notes": m.notes,
                "sources": [source.kind for source in m.sources], "state": runtime.store.state(m.id),
                "plugins": users.get(m.id, []), "progress": under_way.get(m.id),
                "in_use": bool(SWITCHES.get(m.task)) and config.get(SWITCHES[m.task]) == m.id,
                "switch": m.task in SWITCHES,
            }
            for m in runtime.store.catalogue
        ]  # fmt: skip

    return {"models": await asyncio.to_thread(read), "folder": str(runtime.store.models_dir)}


@answers
async def pull(request: Request) -> Any:
    """Begin to fetch `{"model": ID}`; its progress comes over the WebSocket."""
    model = text_of(await read_json(request), "model")
    pulls_of(request).start(request.app.state.hub.runtime.store.catalogue.get(model).id)
    return {"ok": True}


@answers
async def cancel(request: Request) -> Any:
    """Stop fetching `{"model": ID}`."""
    pulls_of(request).cancel(text_of(await read_json(request), "model"))
    return {"ok": True}


@answers
async def remove(request: Request) -> Any:
    """Delete a model's files: `{"model": ID}`."""
    model = text_of(await read_json(request), "model")
    return {"freed": await asyncio.to_thread(request.app.state.hub.runtime.store.remove, model)}


@answers
async def switch(request: Request) -> Any:
    """Use `{"model": ID}` for its task from the next start on."""
    store = request.app.state.hub.runtime.store
    entry = store.catalogue.get(text_of(await read_json(request), "model"))
    if entry.task not in SWITCHES:
        raise BadInput(f"{entry.name} is chosen by the plugin that uses it.", "Its choice is on the settings page.")
    if store.state(entry.id) != "installed":
        raise BadInput(f"{entry.name} is not on this machine.", "Fetch it first.")
    await asyncio.to_thread(save_setting, SWITCHES[entry.task], entry.id)
    return {"ok": True, "restart": True}


def routes() -> list[BaseRoute]:
    """The routes of this module."""
    return [
        Route("/api/models", models),
        Route("/api/models/pull", pull, methods=["POST"]),
        Route("/api/models/cancel", cancel, methods=["POST"]),
        Route("/api/models/remove", remove, methods=["POST"]),
        Route("/api/models/switch", switch, methods=["POST"]),
    ]
