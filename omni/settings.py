"""What can be set: the sections of the configuration, their types, ranges and meaning.

The values live in `config/default.toml`; here stands what a value may be. A section added here needs
its defaults there. The settings page and `omni config` are made from these descriptions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Source = Literal["hub", "wheel", "local"]


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", strict=False)


class Server(Section):
    host: str = Field(description="The address to listen on. Anything but loopback lets others on the network in.")
    port: Port = Field(description="The port of the page; 0 takes a free one.")
    open_browser: bool = Field(description="Open the page in the browser at start.")
    max_sessions: int = Field(ge=1, le=64, description="How many conversations at once.")
    max_message_kb: int = Field(ge=16, le=65536, description="The largest message accepted on the WebSocket.")
    messages_per_s: int = Field(ge=50, le=10000, description="Messages a second accepted from one page.")


class Chat(Section):
    endpoint: str = Field(
        description="An OpenAI-compatible endpoint (Ollama, vLLM, ...), e.g. http://127.0.0.1:11434/v1. "
        "Empty: the embedded model answers."
    )
    model: str = Field(
        description="A catalogue id, or a name the endpoint knows. Empty: the default."
    )
    api_key: str = Field(description="The key the endpoint asks for, if any.")
    system_prompt: str = Field(description="Added to the system prompt, word for word.")
    max_tokens: int = Field(ge=16, le=32768, description="The longest answer, in tokens.")
    temperature: float = Field(ge=0.0, le=2.0, description="0 is deterministic.")

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")


class Models(Section):
    dir: str = Field(description="Where models are kept. Empty: the user's data folder.")
    order: list[Source] = Field(min_length=1, description="Which sources are tried for a model, in this order.")
    hub_url: str = Field(description="The model hub, or a mirror of it.")
    hub_timeout_s: Seconds = Field(
        description="How long the hub has to answer; then it is left out until the next start."
    )
    local_dirs: list[str] = Field(description="Folders to look for models in, as FOLDER/MODEL/FILE.")
    fetch: bool = Field(description="Fetch a missing model when it is first needed.")
    threads: int = Field(ge=0, le=256, description="Threads a model may use; 0 lets Omni choose.")


class Plugins(BaseModel):
    """`allow` and `deny`, and one table a plugin, checked against its manifest."""

    model_config = ConfigDict(extra="allow")

    allow: list[str] = Field(description="Load these plugins alone. Empty: all that are installed.")
    deny: list[str] = Field(description="Never load these plugins.")

    @model_validator(mode="after")
    def _tables(self) -> Plugins:
        for key, value in (self.__pydantic_extra__ or {}).items():
            if not isinstance(value, dict):
                raise ValueError(f"{key} must be a table of settings of the plugin {key}")
        return self


class SessionSettings(Section):
    off_the_record: bool = Field(description="Remember nothing of new conversations.")


class Budgets(Section):
    ram_mb: int = Field(
        ge=256, description="Memory the plugins may ask for together; what does not fit is refused."
    )
    plan_steps: int = Field(ge=1, le=100, description="The most steps a plan may take before it is stopped.")
    plan_s: Seconds = Field(description="The most seconds a plan may take.")
    tool_s: Seconds = Field(description="The most seconds one tool call may take; a tool may have set itself fewer.")


class Network(Section):
    airgap: bool = Field(description="Refuse every connection beyond this machine.")


class Remote(Section):
    broker: str = Field(
        description="The broker with plugins on other machines: mqtt://host:1883, mqtts:// for TLS, or "
        '"embedded" to run one here. Empty: none.'
    )
    username: str = Field(description="The name the broker asks for.")
    password: str = Field(description="The password the broker asks for.")
    ca: str = Field(description="A PEM file with the authority of the broker's certificate, if it is a private one.")
    allow: list[str] = Field(description="Use these plugins of the broker alone. Empty: all that are announced.")
    prefer: bool = Field(description="Plugins elsewhere go before those here, which are then their fallback.")
    listen: str = Field(description="Where the embedded broker listens; beyond this machine it needs a password.")
    port: int = Field(ge=0, le=65535, description="The port of the embedded broker.")
    certfile: str = Field(description="The embedded broker's certificate (PEM), for TLS.")
    keyfile: str = Field(description="The key of that certificate.")


class Mcp(BaseModel):
    """One table an MCP server: `[mcp.NAME]` with `command` or `url`; read when it is started, so that one typo
    costs one server."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _tables(self) -> Mcp:
        for key, value in (self.__pydantic_extra__ or {}).items():
            if not isinstance(value, dict):
                raise ValueError(f"{key} must be a table with a command or a url")
        return self


class Record(Section):
    dir: str = Field(description="Record sessions into this folder (events, not raw media). Empty: don't.")
    media: bool = Field(description="Record the raw audio and frames too.")


class Telemetry(Section):
    stall_ms: float = Field(gt=0, description="Report when the event loop stands still for longer than this.")
    opentelemetry: bool = Field(description="Send spans to OpenTelemetry, when it is installed.")


class Settings(Section):
    """The whole configuration."""

    server: Server
    chat: Chat
    models: Models
    plugins: Plugins
    session: SessionSettings
    budgets: Budgets
    network: Network
    remote: Remote
    mcp: Mcp
    record: Record
    telemetry: Telemetry


def describe() -> dict[str, dict[str, Any]]:
    """Per dotted key: `type`, `help`, and `choices`, `minimum`, `maximum` where there are any."""
    schema = Settings.model_json_schema()
    found: dict[str, dict[str, Any]] = {}
    for section, reference in schema["properties"].items():
        table = schema["$defs"][reference["$ref"].rsplit("/", 1)[1]]
        for key, spec in table.get("properties", {}).items():
            entry = {"type": spec.get("type", "string"), "help": spec.get("description", "")}
            lows = [spec[k] for k in ("minimum", "exclusiveMinimum") if k in spec]
            highs = [spec[k] for k in ("maximum", "exclusiveMaximum") if k in spec]
            entry |= {"minimum": lows[0]} if lows else {}
            entry |= {"maximum": highs[0]} if highs else {}
            choices = spec.get("enum") or spec.get("items", {}).get("enum")
            entry |= {"choices": choices} if choices else {}
            found[f"{section}.{key}"] = entry
    return found
