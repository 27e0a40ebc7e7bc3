"""`omni plugin check`: what is to be mended before a plugin is published.

What can be read is read first (manifest, package, licences, imports); then the contract kit tries the code in a
process of its own, so that a plugin that ends its process ends nothing else.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from omni.errors import ManifestError
from omni.host.contract.kit import Outcome, check_apart
from omni.host.devloop import the_one_in
from omni.host.discovery import GROUP
from omni.host.manifest import Manifest, read_manifest

#: What importing a module suggests that a plugin does, and the permission for it.
SUGGESTS = {
    "network": ("socket", "httpx", "requests", "urllib.request", "aiohttp", "http.client", "websockets", "smtplib",
                "ftplib"),
    "subprocess": ("subprocess", "multiprocessing", "pty"),
    "microphone": ("sounddevice", "pyaudio"),
    "screen": ("mss", "pyautogui", "PIL.ImageGrab"),
    "input": ("pynput", "pyautogui", "evdev"),
}  # fmt: skip
#: Licences that let anyone use and sell what is under them.
PERMISSIVE = re.compile(
    r"^(Apache-2\.0|MIT(-0)?|BSD-[0123]-Clause|ISC|0BSD|Unlicense|CC0-1\.0|CC-BY-[34]\.0|Zlib|PSF-2\.0|OFL-1\.1"
    r"|BSL-1\.0|Apache License 2\.0|public domain)$",
    re.IGNORECASE,
)


def checkup(project: Path, *, with_models: bool = False) -> Iterator[Outcome]:
    """Everything there is to say about the plugin in a folder, as it is found out. Raises `BadInput` for no plugin."""
    found = the_one_in(project)
    assert found.folder is not None
    try:
        manifest = read_manifest(found.folder)
    except ManifestError as error:
        yield Outcome("manifest", "broken", str(error))
        return
    yield Outcome("manifest", "broken" if found.refusal else "kept", found.refusal)
    yield from package(found.folder, manifest)
    yield permissions(found.folder, manifest)
    yield licence("licence", manifest.licence)
    yield from model_licences(manifest)
    yield from check_apart(found.folder, with_models=with_models)


def package(folder: Path, manifest: Manifest) -> Iterator[Outcome]:
    """Whether an installer would find the plugin and everything it needs."""
    file = folder.parent / "pyproject.toml"
    if not file.is_file():
        yield Outcome("package", "warning", f"there is no {file}: it can be run from source, not installed")
        return
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        yield Outcome("package", "broken", f"{file}: {error}")
        return
    project = data.get("project", {})
    entry = project.get("entry-points", {}).get(GROUP, {})
    told = []
    if entry.get(manifest.id) != folder.name:
        told.append(f'[project.entry-points."{GROUP}"] lacks {manifest.id} = "{folder.name}"')
    if "version" in project and project["version"] != manifest.version:
        told.append(f"pyproject.toml says version {project['version']} and the manifest {manifest.version}")
    shipped = data.get("tool", {}).get("setuptools", {}).get("package-data", {})
    if "setuptools" in str(data.get("build-system", {}).get("build-backend", "setuptools")):
        globs = [*shipped.get(folder.name, []), *shipped.get("*", [])]
        if not any(glob in ("plugin.toml", "*.toml", "**", "*") for glob in globs):
            told.append(f'[tool.setuptools.package-data] lacks {folder.name} = ["plugin.toml"]')
    yield Outcome("package", "broken" if told else "kept", "; ".join(told))
    missing = [key for key in ("description", "readme", "license", "requires-python") if key not in project]
    if missing:
        yield Outcome("metadata", "warning", f"[project] has no {', '.join(missing)}, which an index shows")


def imports(folder: Path) -> dict[str, str]:
    """The modules that the package's files import, each with the place where it is first imported."""
    places: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue  # importing it fails, which the contract kit says better
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                places.setdefault(name, f"{path.relative_to(folder.parent)}, line {node.lineno}")
    return places


def permissions(folder: Path, manifest: Manifest) -> Outcome:
    """What it imports beside what it asks for. A hint, for an import is not a use; the contract kit watches uses."""
    asked = manifest.permissions.asked()
    found = imports(folder)
    hints = [
        f"{module} ({place}) suggests {permission!r}"
        for permission, modules in SUGGESTS.items()
        if not asked.get(permission)
        for module, place in found.items()
        if any(module == name or module.startswith(f"{name}.") for name in modules)
    ]
    said = "; ".join(manifest.permissions.sentences()) or "nothing beyond computing"
    if hints:
        return Outcome("permissions", "warning", f"{'; '.join(hints)}, which the manifest does not ask for")
    return Outcome("permissions", "kept", f"it may: {said}")


def licence(what: str, text: str) -> Outcome:
    """Whether anyone may use it; otherwise a warning, for that is the author's to decide."""
    parts = [part.strip("() ") for part in re.split(r"\s+(?:AND|OR|and|or)\s+", text) if part.strip("() ")]
    if not parts:
        return Outcome(what, "broken", "the manifest names no licence")
    odd = [part for part in parts if not PERMISSIVE.match(part)]
    if odd:
        return Outcome(what, "warning", f"{', '.join(odd)} is not known as a licence that lets anyone use it")
    return Outcome(what, "kept", text)


def model_licences(manifest: Manifest) -> Iterator[Outcome]:
    """Each model it names: whether the catalogue knows it, and under which licence it is."""
    if not manifest.models.required and not manifest.models.optional:
        return
    from omni.catalogue import Catalogue

    catalogue = Catalogue.load()
    for model in (*manifest.models.required, *manifest.models.optional):
        if model not in catalogue:
            remedy = "add it to models.toml beside your settings, or name one of `omni models list`"
            yield Outcome(f"model_{model}", "broken", f"the catalogue has no such model; {remedy}")
            continue
        entry = catalogue.get(model)
        yield licence(f"model_{model}", entry.licence)
