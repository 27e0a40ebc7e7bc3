"""A contact sheet: one HTML file that holds its thumbnails and loads nothing."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from pathlib import Path

from omni.errors import BadInput
from omni_image_search.records import Hit

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;margin:2rem;background:#faf9f6;color:#1e1d1a}}
main{{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1.25rem}}
figure{{margin:0}}img{{width:100%;height:11rem;object-fit:cover;border-radius:.5rem;display:block}}
figcaption{{font-size:.8rem;overflow-wrap:anywhere;color:#625e55;margin-top:.4rem}}a{{color:inherit}}
</style><h1>{title}</h1><p>{count} photos</p><main>{figures}</main></html>
"""


def write(target: Path, title: str, hits: Sequence[Hit], thumb: Callable[[int], bytes | None]) -> None:
    """Write the sheet. Raises `BadInput` when the file can't be written."""
    figures = []
    for hit in hits:
        data = base64.b64encode(thumb(hit.photo) or b"").decode()
        path = Path(hit.paths[0]) if hit.paths else Path("?")
        link = path.as_uri() if path.is_absolute() else ""
        figures.append(
            f'<figure><a href="{html.escape(link)}"><img alt="{html.escape(hit.words)}" '
            f'src="data:image/jpeg;base64,{data}"></a><figcaption>{hit.score:.2f} · {html.escape(path.name)}'
            f"<br>{html.escape(hit.words)}</figcaption></figure>"
        )
    page = _PAGE.format(title=html.escape(title), count=len(hits), figures="".join(figures))
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"The sheet can't be written to {target}: {error.strerror}.", "Name another file.") from error
