"""`omni`: the entry point. Everything it offers is imported when it is called, not before."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from omni import __version__
from omni.cli.lazy import LazyGroup
from omni.errors import OmniError

#: What a shell expects of a command that was interrupted.
INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"omni {__version__}")
        for name, number in sorted(_members()):
            typer.echo(f"{name} {number}")
        raise typer.Exit


def _members() -> set[tuple[str, str]]:
    """(name, version) of every distribution that brings a plugin."""
    from importlib.metadata import entry_points

    return {(entry.dist.name, entry.dist.version) for entry in entry_points(group="omni.plugins") if entry.dist}


app = typer.Typer(
    name="omni",
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: omni run",
)


@app.callback()
def omni(
    profile: Annotated[str, typer.Option(metavar="NAME", help="A profile of settings: a name or a TOML file.")] = "",
    debug: Annotated[bool, typer.Option("--debug", help="Log more, and show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """A local-first assistant that hears, sees, reads and acts.

    Nothing leaves this machine unless you name a remote endpoint.
    """
    if profile:
        os.environ["OMNI_PROFILE"] = profile
    if debug:
        os.environ["OMNI_DEBUG"] = "1"


def main(argv: list[str] | None = None) -> None:
    """Run a command; an `OmniError` becomes one sentence on stderr and its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--debug" in arguments:  # also behind the command's name
        arguments = ["--debug", *(argument for argument in arguments if argument != "--debug")]
    try:
        app(args=arguments, prog_name="omni", standalone_mode=True)
    except OmniError as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted.", err=True)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:  # `omni models list | head`
        sys.stderr.close()
        raise SystemExit(0) from None


def fail(error: OmniError) -> None:
    """Say what went wrong and what to do, and end with the error's exit status."""
    if os.environ.get("OMNI_DEBUG"):
        import traceback

        traceback.print_exception(error)
    typer.echo(f"omni: {error}", err=True)
    raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
