"""`omni replay`: the same session again, through other plugins, and what changed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omni.events import (
    AudioIn,
    AudioOut,
    Backchannel,
    BargeIn,
    Event,
    MicMuted,
    PartialTranscript,
    ReplyFinished,
    SpeechPaused,
    SpeechStarted,
    Spoken,
    TurnCommitted,
    TurnDropped,
    TurnRevised,
    TurnSpeculated,
    VideoFrame,
)

if TYPE_CHECKING:
    from omni.config import Config
    from omni.conversation import Conversation
    from omni.replay import Difference, Recording, TurnSummary
    from omni.session import Session

#: The person's part of a recording with the raw media in it: the ears work again.
RAW = (MicMuted, AudioIn, VideoFrame)
#: And without: what the ears made of it.
HEARD = (
    MicMuted, SpeechStarted, SpeechPaused, PartialTranscript, TurnSpeculated, TurnRevised, TurnCommitted, TurnDropped,
    BargeIn, Backchannel,
)  # fmt: skip

#: How long the last answer of a replay may take to end, in seconds.
PATIENCE_S = 120.0
#: Within this time a published turn has begun its answer, in seconds.
SETTLE_S = 0.25


def replay(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A session recorded with `omni run --record DIR`.")],
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="PLUGIN=VERSION", help="Another version of a plugin, or a folder with it."),
    ] = None,
    slower: Annotated[float, typer.Option(help="Report a stage that became slower by this share.")] = 0.25,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a recorded session again and print what changed: transcript, answers, tool calls, latency.

    Exit status 1 when transcript or tool calls differ; a sampled answer or a slower stage alone is no failure.

    Examples:  omni replay sessions/3f2a   omni replay sessions/3f2a --with speech=../my-speech
    """
    from omni.cli.run import settings
    from omni.replay import diff, read_recording, summarise

    config = settings(quiet=True)
    recording = read_recording(folder)
    before = summarise(recording.events)
    after = summarise(asyncio.run(play(recording, config, with_ or [])))
    changes = diff(before, after, slower=slower)
    failed = any(change.kind in ("transcript", "tools") for change in changes)
    if as_json:
        result = {
            "turns": len(before), "same": not changes, "failed": failed, "truncated": recording.truncated,
            "differences": [asdict(change) for change in changes],
            "before": [asdict(turn) for turn in before], "after": [asdict(turn) for turn in after],
        }  # fmt: skip
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    else:
        _print(recording, before, after, changes)
    raise SystemExit(1 if failed else 0)


def _print(
    recording: Recording, before: list[TurnSummary], after: list[TurnSummary], changes: list[Difference]
) -> None:
    header = recording.header
    versions = ", ".join(f"{plugin} {version}" for plugin, version in header["plugins"].items())
    typer.echo(f"Recorded with Omni {header['omni']} ({versions or 'no plugin'}).")
    typer.echo(f"{len(before)} turns, {len(after)} replayed.")
    if recording.truncated:
        typer.echo("The recording ends within an event: what came before it is compared.")
    for old, new in zip(before, after, strict=False):
        sounds = [f"{turn.first_sound_s:.2f} s" if turn.first_sound_s is not None else "-" for turn in (old, new)]
        typer.echo(f"\nTurn {old.turn}: {old.asked}\n  first sound  {sounds[0]} -> {sounds[1]}")
        for change in (change for change in changes if change.turn == old.turn):
            typer.echo(f"  {change.kind}\n    - {change.before}\n    + {change.after}")
    for change in changes:
        if change.turn not in {turn.turn for turn in before[: len(after)]}:
            typer.echo(f"\nTurn {change.turn} {change.kind}\n    - {change.before}\n    + {change.after}")
    typer.echo("\nNothing changed." if not changes else f"\n{len(changes)} differences.")


def sources(choices: list[str]) -> list[Path]:
    """The source folders of `--with PLUGIN=...`; a version must be the one that is installed.

    Raises `BadInput` for anything else, with what would be right.
    """
    from omni.errors import BadInput
    from omni.host.discovery import discover, find_one, plugin_folders

    folders = []
    for choice in choices:
        plugin, separator, wanted = choice.partition("=")
        if not separator or not wanted:
            raise BadInput(f"{choice!r} is not PLUGIN=VERSION or PLUGIN=FOLDER.", "Example: --with speech=../my-speech")
        path = Path(wanted).expanduser()
        if path.is_dir():
            if not plugin_folders(path):
                raise BadInput(f"{path} holds no plugin.toml.", "Name the folder of the plugin's project.")
            folders.append(path)
            continue
        found = find_one(plugin, discover())
        version = found.manifest.version if found.manifest else "none"
        if wanted != version:
            distribution = found.distribution or plugin
            remedy = f"Install it first (pip install {distribution}=={wanted}), or name a folder with its source."
            raise BadInput(f"The plugin {plugin} {wanted} is not here; {version} is.", remedy)
    return folders


async def play(recording: Recording, config: Config, choices: list[str]) -> list[Event]:
    """Feed what the person did into a new session, in its own rhythm, and return every event of it."""
    from omni.cli.run import make_runtime
    from omni.loudspeaker import Loudspeaker

    # Without the raw audio what was heard is taken as said, and the ears stay out of it.
    runtime = make_runtime(config, sources=sources(choices) or None)
    await runtime.start()
    try:
        await runtime.warm_up()
        spoken = any(isinstance(event, AudioOut) for event in recording.events)
        chosen = {**recording.header.get("settings", {}), "voice": spoken, "off_the_record": True}
        conversation = await runtime.open_session(chosen)
        seen: list[Event] = []
        untap = conversation.session.bus.tap(seen.append)
        helpers = [
            asyncio.create_task(Loudspeaker(conversation.session).run(), name="loudspeaker"),
            asyncio.create_task(decide(recording, conversation), name="approvals"),
        ]
        try:
            await feed(recording, conversation)
        finally:
            untap()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
        return seen
    finally:
        await runtime.stop()


async def decide(recording: Recording, conversation: Conversation) -> None:
    """Answer what is asked for with what the person answered then, in order; what was not asked then gets a no."""
    from omni.events import ApprovalAsked, ApprovalGiven

    given = iter([event.approved for event in recording.events if isinstance(event, ApprovalGiven)])
    box = conversation.session.bus.subscribe(ApprovalAsked, name="approvals")
    async for asked in box:
        approved = next(given, False)
        conversation.session.publish(ApprovalGiven, call=asked.call, digest=asked.digest, approved=approved)


async def feed(recording: Recording, conversation: Conversation) -> None:
    """Publish the person's part of a recording.

    Within a turn the recorded times hold. A turn waits until the answer before it has ended, where it had
    ended in the recording too, so that a slower plugin shifts what follows and breaks nothing.
    """
    session = conversation.session
    previous: float | None = None
    for event, answered in inputs(recording):
        if answered:
            await _settled(conversation)
        elif previous is not None:
            await asyncio.sleep(max(0.0, event.at - previous))
        previous = event.at
        session.bus.publish(_renewed(event, session, own_numbers=not recording.media))
    await _settled(conversation)


async def _settled(conversation: Conversation) -> None:
    """Wait for the end of the answer, and first for its beginning: a turn that was just published starts one."""
    await asyncio.sleep(SETTLE_S)
    await asyncio.wait_for(conversation.idle(), PATIENCE_S)


def _renewed(event: Event, session: Session, *, own_numbers: bool) -> Event:
    """The event as of now. Without the raw audio nobody else numbers the turns, so the recorded numbers hold."""
    import msgspec

    turns = session.turns
    changes: dict[str, Any] = {"session": session.id, "at": session.clock.now()}
    typed = isinstance(event, TurnCommitted) and event.source != "voice"
    if own_numbers:
        while turns.turn < event.turn:
            turns.begin()
        while turns.turn == event.turn and turns.revision < event.revision:
            turns.revise()
    elif typed:
        changes["turn"], changes["revision"] = turns.begin()
    if isinstance(event, TurnCommitted) and event.speech_end:
        changes["speech_end"] = session.clock.now() - max(0.0, event.at - event.speech_end)
    return msgspec.structs.replace(event, **changes)


def inputs(recording: Recording) -> Iterator[tuple[Event, bool]]:
    """The person's part of a recording, and of each event whether the answer before it had ended."""
    kinds = RAW if recording.media else HEARD
    ended = False
    for event in recording.events:
        if isinstance(event, ReplyFinished) or (isinstance(event, Spoken) and event.final):
            ended = True
        typed = isinstance(event, TurnCommitted) and event.source != "voice"
        if isinstance(event, kinds) or typed:
            yield event, ended
            ended = False
