"""Writes docs/plugins/reference.md and docs/plugins/manifest.md from the code they describe.

    python scripts/plugin_reference.py            write them
    python scripts/plugin_reference.py --check    only say whether they are up to date; the exit status tells

Nothing is imported but `omni`'s contract modules; comments beside a field are read from the source.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from omni import capabilities, errors, events, tools
from omni.host import hookspecs, manifest

DOCS = Path(__file__).resolve().parent.parent / "docs" / "plugins"
WRITTEN = "<!-- Written by scripts/plugin_reference.py. Change the code, then run it again. -->\n"


def classes(module: ModuleType) -> dict[str, ast.ClassDef]:
    """The classes of a module, in the order of its source."""
    tree = ast.parse(inspect.getsource(module))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def comments(module: ModuleType) -> dict[int, str]:
    """The comment at the end of each line that has one, by line number; also of the `)` that closes a field."""
    found = {}
    for number, line in enumerate(inspect.getsource(module).splitlines(), 1):
        if match := re.search(r"\s#:? (.+)$", line):
            found[number] = match[1].replace("fmt: skip", "").strip()
    return found


def fields(node: ast.ClassDef, said: dict[int, str]) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, comment) of each annotated field."""
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            if item.target.id.startswith(("_", "model_config")):
                continue
            note = said.get(item.lineno) or said.get(item.end_lineno or 0, "")
            yield item.target.id, ast.unparse(item.annotation), default_of(item.value), note


def default_of(value: ast.expr | None) -> str:
    """A field's default as one reads it; "" when there is none."""
    if value is None:
        return ""
    if isinstance(value, ast.Call):
        keywords = {keyword.arg: keyword.value for keyword in value.keywords}
        called = ast.unparse(value.func)
        if called in ("Field", "field"):
            if "default_factory" in keywords:
                return {"dict": "{}", "list": "[]"}.get(ast.unparse(keywords["default_factory"]), "made anew")
            return ast.unparse(keywords["default"]) if "default" in keywords else ""
        return "{}" if not value.args else ast.unparse(value)
    return ast.unparse(value)


def cell(text: str) -> str:
    """Text for a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table, or nothing when it has no rows."""
    rows = [[cell(value) for value in row] for row in rows]
    head = list(head)
    if not rows:
        return []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def code(text: str) -> str:
    """As code, unless it is empty."""
    return f"`{text}`" if text else ""


def docstring(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return (ast.get_docstring(node) or "").strip()


def methods(node: ast.ClassDef) -> list[str]:
    """Signature and docstring of each public method."""
    lines = []
    for item in node.body:
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) or item.name.startswith("_"):
            continue
        word = "async def" if isinstance(item, ast.AsyncFunctionDef) else "def"
        returns = f" -> {ast.unparse(item.returns)}" if item.returns else ""
        lines += [f"#### `{word} {item.name}({ast.unparse(item.args)}){returns}`", "", docstring(item), ""]
    return lines


def described(module: ModuleType, names: Iterable[str], level: str = "###") -> list[str]:
    """A section for each of these classes."""
    said, nodes, lines = comments(module), classes(module), []
    for name in names:
        node = nodes[name]
        lines += [f"{level} {name}", "", docstring(node), ""]
        rows = [(code(n), code(t), code(d), c) for n, t, d, c in fields(node, said)]
        lines += table(("field", "type", "default", ""), rows)
        lines += methods(node)
    return lines


def reference() -> str:
    """The page about capabilities, hooks, tools, events and errors."""
    protocols = [name for name in classes(capabilities) if name in capabilities.BY_NAME]
    others = [name for name in classes(capabilities) if name not in capabilities.BY_NAME and name != "Capability"]
    lines = [
        "# Reference",
        "",
        WRITTEN,
        "What a plugin can offer and what it is given. [tutorial.md](tutorial.md) shows how it is used,",
        "[manifest.md](manifest.md) lists the keys of `plugin.toml`.",
        "",
        "## Capabilities",
        "",
        (inspect.getdoc(capabilities) or "").split("\n\n", 1)[1],
        "",
        "All of them have:",
        "",
        *methods(classes(capabilities)["Capability"]),
    ]
    lines += described(capabilities, protocols)
    lines += ["## What they take and give", "", "In `omni.capabilities`.", "", *described(capabilities, others)]
    lines += ["## Registration", "", inspect.getdoc(hookspecs) or "", ""]
    lines += described(hookspecs, ("Hooks", "PluginContext", "Offer", "StageOffer", "Stage", "Panel", "Check"))
    lines += ["## Tools", "", inspect.getdoc(tools) or "", ""]
    lines += table(("effect", ""), effects())
    lines += described(tools, ("Tool", "ToolContext", "ToolResult"))
    lines += ["## Events", "", inspect.getdoc(events) or "", "", *event_tables()]
    lines += ["## Errors", "", inspect.getdoc(errors) or "", ""]
    rows = [(code(name), docstring(node).split("\n\n")[0]) for name, node in classes(errors).items()]
    return "\n".join([*lines, *table(("error", ""), rows)]).rstrip() + "\n"


def effects() -> list[tuple[str, str]]:
    """The effects a tool can have, with what they mean."""
    said = comments(tools)
    return [
        (code(str(ast.literal_eval(item.value))), said.get(item.lineno, ""))
        for item in classes(tools)["Effect"].body
        if isinstance(item, ast.Assign)
    ]


def event_tables() -> list[str]:
    """All events in one table: a plugin's stages read and write them by these names."""
    nodes, said, rows = classes(events), comments(events), []
    for kind in events.ALL:
        node = nodes[kind.__name__]
        own = ", ".join(f"{name}: {annotation}" for name, annotation, _, _ in fields(node, said))
        rows.append((code(kind.__name__), docstring(node), code(own)))
    return table(("event", "", "fields"), rows)


def manifest_page() -> str:
    """The page about `plugin.toml`: every key of every table."""
    nodes, said = classes(manifest), comments(manifest)
    sections = {
        "Manifest": ("Top level", ""),
        "CapabilityEntry": ("[[capabilities]]", "capabilities"),
        "StageEntry": ("[[stages]]", "stages"),
        "ToolEntry": ("[[tools]]", "tools"),
        "CommandEntry": ("[[commands]]", "commands"),
        "PanelEntry": ("[[panels]]", "panels"),
        "Permissions": ("[permissions]", "permissions"),
        "Resources": ("[resources]", "resources"),
        "Models": ("[models]", "models"),
        "Environment": ("[environment]", "environment"),
        "Setting": ("[config.KEY]", "config"),
    }
    tables = {key for _, key in sections.values() if key}
    lines = [
        "# The manifest",
        "",
        WRITTEN,
        "`plugin.toml` lies in the plugin's package and says everything Omni wants to know before it imports a line.",
        "An unknown key is an error, which names the line, the column and the nearest key that exists.",
        "[example.toml](example.toml) uses every key once.",
        "",
    ]
    for name, (title, _) in sections.items():
        node = nodes[name]
        lines += [f"## {title if name == 'Manifest' else code(title)}", "", docstring(node), ""]
        rows = []
        for field, annotation, default, note in fields(node, said):
            if name == "Manifest" and field in tables:
                continue
            needed = "needed" if default == "" else code(toml_default(default))
            rows.append(
                (
                    code(field),
                    code(toml_type(annotation)),
                    needed,
                    note or NOTES.get(f"{name}.{field}") or NOTES.get(field, ""),
                )
            )
        lines += table(("key", "type", "default", ""), rows)
    return "\n".join(lines).rstrip() + "\n"


#: Keys whose name says it in the code, and not to a reader of the page.
NOTES = {
    "id": "small letters, digits, `_` and `-`; the name of the entry point",
    "name": "for people; the id where it is missing",
    "version": "as on the package index",
    "omni_api": "the plugin interface it is written for; the minor version before Omni's is served too",
    "StageEntry.name": "its name among the plugin's stages",
    "ToolEntry.name": "small letters, digits and `_`",
    "CommandEntry.name": "mounted as `omni NAME`",
    "PanelEntry.id": "its custom element is `omni-ID`",
    "summary": "one sentence",
    "licence": "an SPDX expression",
    "entry": "`module:object`, the object with the hooks",
    "isolation": "where it runs: Omni's process, or one of its own (../isolation.md)",
    "protocol": "a name of [reference.md](reference.md)",
    "features": "what `host.get(Protocol, **features)` matches",
    "outputs": "what it gives, in words",
    "reads": "events it reads", "writes": "events it publishes", "role": "of several stages with one role one runs",
    "effect": "see [reference.md](reference.md#tools)", "examples": "five at least: the planner chooses by them",
    "target": "`module:object`, a `typer.Typer` or a function", "help": "a sentence",
    "camera": "see camera frames", "microphone": "hear the microphone", "screen": "see screen frames",
    "ram_mb": "the limit of a process of its own", "threads": "", "disk_mb": "",
    "required": "fetched before the first use", "optional": "used where they are installed",
    "requirements": "as for pip", "default": "", "choices": "the only values allowed", "secret": "never shown",
    "minimum": "of a number", "maximum": "of a number", "title": "in the rail", "type": "",
}  # fmt: skip


def toml_type(annotation: str) -> str:
    """A Python annotation as somebody writing TOML reads it."""
    for python, said in (
        ("tuple[str, ...]", "list of strings"),
        ("tuple[Any, ...]", "list"),
        ("dict[str, Any]", "table"),
    ):
        annotation = annotation.replace(python, said)
    names = {"str": "string", "bool": "boolean", "int": "integer", "float | None": "number", "Id": "string",
             "Target": "string", "Any": "any", "Isolation": '"in-process" or "process"'}  # fmt: skip
    if literal := re.fullmatch(r"Literal\[(.+)\]", annotation):
        return literal[1].replace("'", '"').replace(", ", " or ")
    return names.get(annotation, annotation)


def toml_default(default: str) -> str:
    """A Python default in TOML."""
    return {"()": "[]", "False": "false", "True": "true", "None": "none", "''": '""'}.get(
        default, default.replace("'", '"')
    )


def main() -> int:
    """Write both pages, or say whether they are right."""
    stale = []
    for name, text in (("reference.md", reference()), ("manifest.md", manifest_page())):
        path = DOCS / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv[1:]:
        sys.stderr.write(f"{', '.join(stale)}: not what the code says. Run scripts/plugin_reference.py.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
