"""Plugin packages written from a few lines: for tests of the host and for benchmarks with many plugins."""

from __future__ import annotations

import textwrap
from pathlib import Path

MANIFEST = """\
id = "{id}"
name = "{title}"
version = "{version}"
omni_api = "{omni_api}"
summary = "Written by a test."
licence = "Apache-2.0"
entry = "{package}.plugin:plugin"
isolation = "{isolation}"
"""


def write_plugin(
    folder: Path,
    plugin: str,
    body: str,
    manifest: str = "",
    *,
    version: str = "0.1.0",
    omni_api: str = ">=1.0,<2",
    isolation: str = "in-process",
    package: str = "",
) -> Path:
    """Write the package `omni_ID` into `folder` and return the package's folder.

    `body` is the module `plugin.py`, which defines `plugin`; `manifest` is added to the manifest.
    """
    package = package or f"omni_{plugin}"
    where = Path(folder) / package
    where.mkdir(parents=True, exist_ok=True)
    head = MANIFEST.format(
        id=plugin,
        title=plugin.capitalize(),
        version=version,
        omni_api=omni_api,
        package=package,
        isolation=isolation,
    )
    (where / "plugin.toml").write_text(head + textwrap.dedent(manifest), encoding="utf-8")
    (where / "__init__.py").write_text("", encoding="utf-8")
    (where / "plugin.py").write_text(textwrap.dedent(body), encoding="utf-8")
    return where


def install_plugin(site: Path, plugin: str, body: str, manifest: str = "", **more: str) -> Path:
    """`write_plugin` into a folder on `sys.path`, with the metadata an installer would leave there."""
    where = write_plugin(site, plugin, body, manifest, **more)
    metadata = Path(site) / f"{where.name}-0.1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    name = where.name.replace("_", "-")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[omni.plugins]\n{plugin} = {where.name}\n", encoding="utf-8")
    return where
