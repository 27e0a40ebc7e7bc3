"""Which plugins there are: entry points, source folders and environments of their own. Nothing is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from omni.errors import ManifestError, OmniError
from omni.host.manifest import FILE_NAME, Manifest, api_refusal, read_manifest

GROUP = "omni.plugins"


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that is there: its manifest, or the reason why it is refused.

    `source` is "installed", "folder" or "environment"; `folder` is its package, and `python` the
    interpreter of its own virtual environment where it has one.
    """

    id: str
    source: str
    folder: Path | None = None
    manifest: Manifest | None = None
    refusal: str = ""
    python: Path | None = None
    distribution: str = ""


def package_folder(name: str) -> Path | None:
    """The folder of an importable package, without importing it (nor, for a subpackage, its parents)."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location, *rest)
        if (folder / FILE_NAME).is_file():
            return folder
    return None


def installed() -> Iterator[Found]:
    """The plugins of this environment, by the entry point group `omni.plugins`."""
    for entry in importlib.metadata.entry_points(group=GROUP):
        distribution = entry.dist.name if entry.dist else ""
        folder = package_folder(entry.module)
        if folder is None:
            refusal = f"Its package {entry.value!r} has no {FILE_NAME}. Reinstall it."
            yield Found(entry.name, "installed", refusal=refusal, distribution=distribution)
            continue
        yield _read(entry.name, "installed", folder, distribution=distribution)


def plugin_folders(path: Path) -> list[Path]:
    """The package folders with a manifest at `path`: itself, or its subfolders (a project with a package)."""
    path = path.expanduser().resolve()
    if (path / FILE_NAME).is_file():
        return [path]
    return sorted(manifest.parent for manifest in path.glob(f"*/{FILE_NAME}"))


def in_folder(path: Path) -> Iterator[Found]:
    """The plugins in a source folder (`--plugin PATH`)."""
    folders = plugin_folders(path)
    if not folders:
        yield Found(
            path.name or str(path), "folder", path, refusal=f"{path} holds no {FILE_NAME}, nor does a folder in it."
        )
    for folder in folders:
        yield _read("", "folder", folder)


def in_environments(environments: Mapping[str, Path]) -> Iterator[Found]:
    """The plugins that were installed into environments of their own: plugin id -> the environment's folder."""
    for plugin, environment in sorted(environments.items()):
        python = next((p for p in (environment / "bin/python", environment / "Scripts/python.exe") if p.exists()), None)
        manifests = [
            *environment.glob(f"lib/python*/site-packages/*/{FILE_NAME}"),
            *environment.glob(f"Lib/site-packages/*/{FILE_NAME}"),
        ]
        if python is None or not manifests:
            yield Found(
                plugin,
                "environment",
                environment,
                refusal=f"Its environment {environment} is broken. Install it again.",
            )
            continue
        yield _read(plugin, "environment", manifests[0].parent, python=python)


def _read(plugin: str, source: str, folder: Path, *, python: Path | None = None, distribution: str = "") -> Found:
    """Its manifest, with what is against it. `plugin` is the id under which it is installed ("" for a folder)."""
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        return Found(
            plugin or folder.name, source, folder, refusal=str(error), python=python, distribution=distribution
        )
    refusal = api_refusal(manifest)
    if plugin and plugin != manifest.id:
        refusal = f"It is installed as {plugin!r} and its manifest says {manifest.id!r}. One of the two is wrong."
    return Found(plugin or manifest.id, source, folder, manifest, refusal, python, distribution)


def discover(sources: Iterable[Path] = (), environments: Mapping[str, Path] | None = None) -> list[Found]:
    """Every plugin there is, in the order in which they are to be loaded; refused ones with their reason.

    A source folder stands in for an installed plugin of the same id (that is how one is developed);
    otherwise two plugins with one id are both refused, for nobody can say which was meant.
    """
    folders = [found for path in sources for found in in_folder(Path(path))]
    own = list(in_environments(environments or {}))
    ahead = {found.id for found in folders} | {found.id for found in own}
    everything = folders + own + [found for found in installed() if found.id not in ahead]
    return order(_without_twins(everything))


def _without_twins(found: list[Found]) -> list[Found]:
    by_id: dict[str, list[Found]] = {}
    for one in found:
        by_id.setdefault(one.id, []).append(one)
    result = []
    for plugin, same in by_id.items():
        folders = {one.folder for one in same}
        if len(folders) > 1:
            where = " and ".join(str(folder) for folder in sorted(map(str, folders)))
            refusal = f"Two plugins have the id {plugin!r}: {where}. Remove one of them."
            result.append(Found(plugin, same[0].source, same[0].folder, same[0].manifest, refusal))
        else:
            result.append(same[0])
    return result


def order(found: list[Found]) -> list[Found]:
    """Those that offer what others need come first; the members of a cycle of needs are refused."""
    usable = {one.id: one for one in found if one.manifest and not one.refusal}
    offers: dict[str, list[str]] = {}
    for one in usable.values():
        for capability in one.manifest.offered():
            offers.setdefault(capability, []).append(one.id)
    needs = {
        plugin: {p for capability in one.manifest.needs for p in offers.get(capability, []) if p != plugin}
        for plugin, one in usable.items()
    }
    # One provider outside the cycle is enough: only those all of whose providers wait for them are stuck.
    done: list[str] = []
    waiting = dict(sorted(needs.items()))
    while waiting:
        free = [plugin for plugin in waiting if _satisfied(usable[plugin].manifest, offers, done, plugin)]
        if not free:
            break
        done.extend(free)
        for plugin in free:
            del waiting[plugin]
    stuck = {plugin: _cycle_sentence(plugin, waiting, usable) for plugin in waiting}
    ordered = [usable[plugin] for plugin in done]
    return ordered + [
        Found(
            one.id,
            one.source,
            one.folder,
            one.manifest,
            one.refusal or stuck.get(one.id, ""),
            one.python,
            one.distribution,
        )
        for one in found
        if one.id not in done
    ]


def _satisfied(manifest: Manifest, offers: Mapping[str, list[str]], done: list[str], plugin: str) -> bool:
    """Whether each need has a provider already placed, is its own, or has no provider at all (said at first use)."""
    return all(
        not offers.get(need) or plugin in offers[need] or any(provider in done for provider in offers[need])
        for need in manifest.needs
    )


def _cycle_sentence(plugin: str, waiting: Mapping[str, set[str]], usable: Mapping[str, Found]) -> str:
    path, at = [plugin], plugin
    while True:
        following = sorted(p for p in waiting[at] if p in waiting)
        if not following:
            return f"It needs {', '.join(usable[plugin].manifest.needs)} of plugins that wait for each other."
        at = following[0]
        if at in path:
            chain = " -> ".join([*path[path.index(at) :], at])
            return f"A cycle of needs: {chain}. One of them has to move a capability from `needs` to `wants`."
        path.append(at)


def find_one(name: str, found: Iterable[Found]) -> Found:
    """The plugin of that id. Raises `OmniError` with the nearest one."""
    import difflib

    known = {one.id: one for one in found}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise OmniError(
        f"There is no plugin {name!r}.", f"Did you mean {near[0]!r}?" if near else "`omni plugin list` shows all."
    )
