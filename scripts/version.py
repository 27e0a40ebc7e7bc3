"""Versions move together: says which there are, or sets them all.

python scripts/version.py            Omni's and every member's
python scripts/version.py 0.2.0      sets it in every pyproject.toml, every plugin.toml and omni/__init__.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNEL = ROOT / "omni" / "__init__.py"
LINE = re.compile(r'^((?:__version__|version) = ")([^"]+)(")', re.MULTILINE)


def places() -> Iterator[Path]:
    """Every file that names the version."""
    yield KERNEL
    for folder in (ROOT / "memory", ROOT / "tools", *sorted((ROOT / "plugins").glob("*"))):
        if (folder / "pyproject.toml").is_file():
            yield folder / "pyproject.toml"
            yield from sorted(folder.glob("omni_*/plugin.toml"))


def version_in(path: Path) -> str:
    """The version that a file names; "" when it names none."""
    match = LINE.search(path.read_text(encoding="utf-8"))
    return match[2] if match else ""


def set_version(path: Path, version: str) -> None:
    """Change the first version a file names."""
    text = path.read_text(encoding="utf-8")
    path.write_text(LINE.sub(lambda match: f"{match[1]}{version}{match[3]}", text, count=1), encoding="utf-8")


def main() -> int:
    """Say the versions, or set them."""
    if len(sys.argv) > 1:
        version = sys.argv[1]
        if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", version):
            sys.stderr.write(f"{version!r} is not a version such as 0.2.0 or 0.2.0rc1.\n")
            return 2
        for path in places():
            set_version(path, version)
    for path in places():
        sys.stdout.write(f"{version_in(path):<10} {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
