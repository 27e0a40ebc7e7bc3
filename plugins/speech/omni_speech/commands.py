"""`omni talk`: a conversation without a browser, over this machine's microphone and loudspeaker."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omni.cli.run import Airgap, Only, Profile, fetch_missing, make_runtime, settings

if TYPE_CHECKING:
    from omni.events import Event
    from omni.runtime import Runtime

app = typer.Typer(invoke_without_command=True, help="Talk without a browser.")


@app.callback(epilog="Example: omni talk --microphone 'USB Audio'")
def talk(
    microphone: Annotated[str, typer.Option(metavar="NAME", help="Part of the microphone's name.")] = "",
    speaker: Annotated[str, typer.Option(metavar="NAME", help="Part of the loudspeaker's name.")] = "",
    off_the_record: Annotated[bool, typer.Option("--off-the-record", help="Remember nothing of this.")] = False,
    airgap: Airgap = False,
    only: Only = "",
    profile: Profile = "",
) -> None:
    """Speak into this machine's microphone and hear the answers. Ctrl-C ends it. `omni doctor` lists the devices."""
    config = settings(profile, airgap)
    runtime = make_runtime(config, only)
    chosen = {"off_the_record": True} if off_the_record else {}
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_talk(runtime, chosen, microphone or None, speaker or None))


async def _talk(runtime: Runtime, chosen: dict[str, Any], microphone: str | None, speaker: str | None) -> None:
    from omni_speech.devices import Microphone, Speaker

    await runtime.start()
    try:
        await fetch_missing(runtime)
        for sentence in await runtime.warm_up():
            typer.echo(f"Without {sentence}", err=True)
        conversation = await runtime.open_session(chosen)
        session = conversation.session
        session.bus.tap(_print)
        typer.echo("Speak. Ctrl-C ends the conversation.")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Speaker(session, speaker).run())
            tasks.create_task(Microphone(session, microphone).run())
    except* KeyboardInterrupt:
        pass
    except* Exception as failures:
        raise failures.exceptions[0] from None  # one device's sentence says more than the group
    finally:
        await runtime.stop()


def _print(event: Event) -> None:
    """Captions of both sides, and what can't be done."""
    from omni.events import Notice, Spoken, TurnCommitted

    if isinstance(event, TurnCommitted):
        typer.echo(f"\nyou   {event.text}")
    elif isinstance(event, Spoken) and event.final:
        typer.echo(f"omni  {event.text}{' …' if event.cut else ''}")
    elif isinstance(event, Notice) and event.text:
        typer.echo(f"      ({event.text})", err=True)
