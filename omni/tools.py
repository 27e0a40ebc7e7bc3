"""A tool: a name, a JSON schema, an effect, the function.

The effect is what the planner may do with it without asking: a `pure` tool may run on a guess,
before the turn is certain; a `mutating` one needs the committed turn; a `consequential` one needs
a person's yes that is bound to exactly its arguments.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omni.errors import BadInput

if TYPE_CHECKING:
    from omni.session import Session


class Effect(enum.Enum):
    """What running a tool does to the world."""

    PURE = "pure"  #: reads only; may run speculatively, twice, or for nothing
    IDEMPOTENT = "idempotent"  #: twice is as once; may be retried
    MUTATING = "mutating"  #: changes something of the user's; never before the turn is committed
    CONSEQUENTIAL = "consequential"  #: can't be undone, or reaches other people; needs a yes


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool is told about the call: where it comes from and how to reach the session."""

    session: Session | None = None
    turn: int = 0
    revision: int = 0
    request: str = ""  #: what the person said, word for word
    attachments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives back.

    `value` is JSON-ready and goes to the model; `say` is the answer in words where the tool can
    give it itself (then no model is asked to paraphrase it); `trusted` is False for text that
    came from a page, a document, a file or a screen: such text can never grant a permission.
    """

    value: Any
    say: str = ""
    trusted: bool = True
    evidence: tuple[dict[str, Any], ...] = ()  #: what the page may show beside the answer
    script: tuple[Any, ...] = ()  #: lines (`planner.plan.Say`: text, drawing) that are spoken and drawn as they are


@dataclass(frozen=True, slots=True)
class Tool:
    """Something the planner can do.

    `examples` are requests, as a person would say them, that this tool is right for: the planner
    routes by nearest example. `function` takes the arguments by name and, when its signature has
    one, a `context: ToolContext`.
    """

    name: str
    description: str
    parameters: dict[str, Any]  #: JSON schema of type "object"
    effect: Effect
    function: Callable[..., Awaitable[Any]]
    examples: tuple[str, ...] = ()
    deadline_s: float = 20.0
    plugin: str = ""
    extract: Callable[[str], dict[str, Any] | None] | None = (
        None  #: arguments straight from the words, where that is certain
    )
    takes_context: bool = field(default=False)

    async def __call__(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Run it. The arguments have been validated against `parameters`."""
        extra = {"context": context} if self.takes_context else {}
        value = await self.function(**arguments, **extra)
        return value if isinstance(value, ToolResult) else ToolResult(value)

    def schema(self) -> dict[str, Any]:
        """As an OpenAI-style function description."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": self.parameters},
        }


def tool(
    function: Callable[..., Awaitable[Any]],
    *,
    name: str | None = None,
    effect: Effect = Effect.PURE,
    examples: tuple[str, ...] = (),
    deadline_s: float = 20.0,
    extract: Callable[[str], dict[str, Any] | None] | None = None,
) -> Tool:
    """A `Tool` from an async function: its docstring describes it, its annotations give the schema.

    Parameters can be annotated with `Annotated[T, pydantic.Field(description=...)]`.
    """
    from pydantic import TypeAdapter, create_model

    signature = inspect.signature(function, eval_str=True)
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.name == "context":
            continue
        if parameter.annotation is inspect.Parameter.empty:
            raise TypeError(f"the tool {function.__name__} does not say what type {parameter.name} is")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[parameter.name] = (parameter.annotation, default)
    schema = TypeAdapter(create_model(function.__name__, **fields)).json_schema()
    schema.pop("title", None)
    for described in schema.get("properties", {}).values():
        described.pop("title", None)
    schema.setdefault("properties", {})
    schema["additionalProperties"] = False
    return Tool(
        name=name or function.__name__,
        description=inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].replace("\n", " "),
        parameters=schema,
        effect=effect,
        function=function,
        examples=examples,
        deadline_s=deadline_s,
        extract=extract,
        takes_context="context" in signature.parameters,
    )


def validate_arguments(tool: Tool, arguments: Any) -> dict[str, Any]:
    """The arguments if they fit the tool's schema; raises `BadInput` with the first thing that does not."""
    import jsonschema

    if not isinstance(arguments, dict):
        raise BadInput(f"{tool.name} takes named arguments, not {type(arguments).__name__}.")
    validator = jsonschema.Draft202012Validator(tool.parameters)
    error = next(iter(sorted(validator.iter_errors(arguments), key=lambda e: list(e.path))), None)
    if error:
        where = ".".join(str(p) for p in error.path) or "the arguments"
        raise BadInput(f"{tool.name}: {where}: {error.message}.")
    return arguments
