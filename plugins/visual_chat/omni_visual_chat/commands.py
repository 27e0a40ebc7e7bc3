"""`omni see IMAGE [IMAGE ...] "question"`."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

app = typer.Typer(help="Ask about pictures, receipts and documents.", add_completion=False)

_PICTURE = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pdf")


@app.command()
def see(
    words: list[str] = typer.Argument(..., metavar="IMAGE... [QUESTION]", help="pictures, and the question last"),
    as_json: bool = typer.Option(False, "--json", help="everything as one JSON object"),
    boxes: Path | None = typer.Option(None, "--boxes", help="write the first picture with the used regions drawn in"),
    receipt: bool = typer.Option(False, "--receipt", help="read company, date, address and total"),
    schema: Path | None = typer.Option(None, "--schema", help="read the fields of this JSON schema"),
    engine: str = typer.Option("", "--engine", help="composed or vlm; the best there is by default"),
) -> None:
    """Answer a question about one or several pictures, with the regions the answer rests on."""
    from omni.errors import OmniError

    paths = [Path(word) for word in words]
    question = ""
    if len(words) > 1 and not paths[-1].exists() and paths[-1].suffix.lower() not in _PICTURE:
        question, paths = words[-1], paths[:-1]
    try:
        result = asyncio.run(_see(paths, question, receipt, schema, engine))
        if boxes:
            draw(
                paths[0],
                [box for region in result["regions"] if region["image"] == 0 for box in region["boxes"]],
                boxes,
            )
    except OmniError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    typer.echo(json.dumps(result, ensure_ascii=False) if as_json else _shown(result))


async def _see(paths: list[Path], question: str, receipt: bool, schema: Path | None, engine: str) -> dict[str, Any]:
    from omni.capabilities import VisionModel
    from omni.catalogue.store import ModelStore
    from omni.cli.run import settings
    from omni.host.host import Host
    from omni_visual_chat.documents import read_fields
    from omni_visual_chat.seeing import Sight, parse_schema

    images = [_bytes(path) for path in paths]
    asked = _bytes(schema).decode(errors="replace") if schema else ""
    config = settings(quiet=True)
    host = Host(config, ModelStore.from_config(config), config.data_dir, only={"vision", "visual_chat", "language"})
    began = time.perf_counter()
    await host.start()
    try:
        sight = Sight(host)
        if receipt or schema:
            if schema:
                fields = await read_fields(host, await sight.lines(images[0]), parse_schema(asked))
            else:
                fields = {field.name: field for field in (await sight.receipt(images[0])).fields()}
            plain = {name: field.plain() for name, field in fields.items()}
            regions = [
                {"image": 0, "kind": n, "text": f["text"], "boxes": f["boxes"], "confidence": f["confidence"]}
                for n, f in plain.items()
            ]
            return {"fields": plain, "regions": regions, "seconds": round(time.perf_counter() - began, 2), "tokens": 0}
        answer = await host.get(VisionModel, **({"engine": engine} if engine else {})).answer(images, question)
        regions = [{"image": image, **_plain(region)} for image, region in answer.regions]
        return {
            "answer": answer.text, "supported": answer.supported, "regions": regions, "tokens": answer.tokens,
            "seconds": round(answer.seconds, 3), "start_seconds": round(time.perf_counter() - began - answer.seconds,
            2),
        }  # fmt: skip
    finally:
        await host.stop()


def _plain(region: Any) -> dict[str, Any]:
    data = asdict(region)
    return {
        "kind": data["kind"],
        "text": data["text"],
        "boxes": [[round(edge) for edge in data["box"]]],
        "confidence": round(data["confidence"], 3),
    }


def _bytes(path: Path) -> bytes:
    from omni.errors import BadInput

    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}.", "Check the name.") from error


def _shown(result: dict[str, Any]) -> str:
    lines = []
    if "fields" in result:
        width = max(map(len, result["fields"]), default=0)
        for name, field in result["fields"].items():
            checked = f"   ({field['checked']})" if field["checked"] else ""
            lines.append(f"{name:<{width}}  {field['text']}{checked}")
        lines = lines or ["Nothing of that was found."]
    else:
        lines.append(result["answer"])
    for region in result["regions"][:12]:
        box = ", ".join(map(str, region["boxes"][0])) if region["boxes"] else "-"
        text = region["text"].replace("\n", " / ")[:60]
        lines.append(f"  image {region['image'] + 1}  {region['kind']:<8} {region['confidence']:.2f}  [{box}]  {text}")
    if len(result["regions"]) > 12:
        lines.append(f"  and {len(result['regions']) - 12} more regions (--json shows all)")
    lines.append(f"{result['seconds']} s, {result['tokens']} tokens")
    return "\n".join(lines)


def draw(image: Path, boxes: list[list[int]], target: Path) -> None:
    """The picture, upright and without EXIF, with these boxes drawn in. Raises `BadInput` when it can't be written."""
    import io

    from PIL import Image, ImageDraw, ImageOps

    from omni.errors import BadInput
    from omni_visual_chat.seeing import first_page

    data = image.read_bytes()
    if data[:1024].lstrip().startswith(b"%PDF"):
        data = first_page(data)
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    pen = ImageDraw.Draw(picture)
    width = max(2, round(max(picture.size) / 400))
    for box in boxes:
        pen.rectangle(box, outline=(214, 51, 108), width=width)
    try:
        picture.info.clear()  # no EXIF in what is written
        picture.save(target)
    except (OSError, ValueError) as error:
        raise BadInput(f"The picture can't be written to {target}: {error}.", "Name a .png or .jpg file.") from error
