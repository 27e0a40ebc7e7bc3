"""`omni chat`: a conversation by keyboard, in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omni.cli.run import Airgap, Only, Profile, fetch_missing, make_runtime, settings

if TYPE_CHECKING:
    from omni.conversation import Conversation
    from omni.events import Attachment
    from omni.session import Session

#: Plugins that only a voice needs.
FOR_VOICE = ("speech",)


def chat(
    question: Annotated[str, typer.Argument(metavar="[TEXT]", help="Ask this, print the answer and end.")] = "",
    image: Annotated[list[Path] | None, typer.Option(help="Show a picture with the (first) question.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Allow consequential actions without asking.")] = False,
    off_the_record: Annotated[bool, typer.Option("--off-the-record", help="Remember nothing of this.")] = False,
    airgap: Airgap = False,
    only: Only = "",
    profile: Profile = "",
) -> None:
    """Talk by keyboard. The answer streams; Ctrl-C cuts it off, Ctrl-D ends the conversation.

    Examples:  omni chat   omni chat "What is 20 percent of 42.50?"   omni chat --image cat.jpg "What is this?"
    """
    config = settings(profile, airgap, quiet=True)
    pictures = [_read_picture(path) for path in image or []]
    runtime = make_runtime(config, only, deny=() if only else FOR_VOICE)

    async def talk() -> int:
        await runtime.start()
        try:
            await fetch_missing(runtime)
            chosen = {"voice": False} | ({"off_the_record": True} if off_the_record else {})
            conversation = await runtime.open_session(chosen)
            terminal = Terminal(conversation, yes)
            return await terminal.run(question, _attach(conversation.session, pictures))
        finally:
            await runtime.stop()

    raise SystemExit(asyncio.run(talk()))


def _read_picture(path: Path) -> tuple[Path, bytes]:
    from omni.errors import BadInput

    try:
        return path, path.read_bytes()
    except OSError as error:
        raise BadInput(f"The picture {path} can't be read: {error.strerror}.", "Check the name.") from error


def _attach(session: Session, pictures: list[tuple[Path, bytes]]) -> tuple[Attachment, ...]:
    from omni.events import Attachment

    attached = []
    for number, (path, data) in enumerate(pictures, 1):
        ref = session.keep(f"chat-{number}-{path.name}", data)
        mime = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        attached.append(Attachment(kind="image", ref=ref, name=path.name, mime=mime))
    return tuple(attached)


class Terminal:
    """Prints a session's events and feeds it what is typed."""

    def __init__(self, conversation: Conversation, yes: bool = False) -> None:
        from omni.bus import Overflow
        from omni.events import ApprovalAsked, Notice, ReplyFinished, TextDelta, ToolCalled, ToolReturned

        self.conversation = conversation
        self.yes = yes
        self._turn = -1
        self._done = asyncio.Event()
        self._failed = False
        self._printed = False
        self._events = conversation.session.bus.subscribe(
            TextDelta, ReplyFinished, ToolCalled, ToolReturned, ApprovalAsked, Notice,
            capacity=4096, overflow=Overflow.WAIT, name="terminal",
        )  # fmt: skip

    async def run(self, question: str, attachments: tuple[Attachment, ...]) -> int:
        """The conversation until its end (or one question). Returns the exit status."""
        printer = asyncio.create_task(self._print(), name="terminal")
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the conversation instead
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            if question:
                await self._ask(question, attachments)
                return 1 if self._failed else 0
            typer.echo("Ctrl-C cuts an answer off, Ctrl-D ends.")
            while True:
                line = await self._line("> ")
                if line is None:
                    typer.echo()
                    return 0
                if line.strip():
                    await self._ask(line.strip(), attachments)
                    attachments = ()
        finally:
            printer.cancel()
            await asyncio.gather(printer, return_exceptions=True)

    async def _ask(self, text: str, attachments: tuple[Attachment, ...]) -> None:
        self._done.clear()
        self._failed = self._printed = False
        self._turn = self.conversation.session.turns.turn + 1
        self._turn = await self.conversation.say(text, attachments)
        await self._done.wait()

    def _interrupt(self) -> None:
        """Ctrl-C: cut the answer off; with no answer under way, end."""
        if self._turn >= 0 and not self._done.is_set():
            self.conversation.interrupt("key")
        else:
            typer.echo("\n(Ctrl-D ends.)")

    async def _line(self, prompt: str) -> str | None:
        """A line from the keyboard, None at its end."""

        def read() -> str:
            sys.stdout.write(prompt if sys.stdin.isatty() else "")
            sys.stdout.flush()
            return sys.stdin.readline()

        line = await asyncio.to_thread(read)
        return line.rstrip("\n") if line else None

    async def _print(self) -> None:
        from omni.events import ApprovalAsked, Notice, ReplyFinished, TextDelta, ToolCalled, ToolReturned

        async for event in self._events:
            if isinstance(event, TextDelta) and event.turn == self._turn:
                self._printed = True
                sys.stdout.write(event.text)
                sys.stdout.flush()
            elif isinstance(event, ReplyFinished) and event.turn == self._turn:
                self._finish(event)
            elif isinstance(event, ToolCalled):
                arguments = ", ".join(f"{key}={value!r}" for key, value in event.arguments.items())
                typer.secho(f"[{event.tool}({arguments})]", dim=True, err=True)
            elif isinstance(event, ToolReturned) and event.error:
                typer.secho(f"[{event.tool}: {event.error}]", fg="yellow", err=True)
            elif isinstance(event, ApprovalAsked):
                await self._approve(event)
            elif isinstance(event, Notice) and event.text:
                typer.secho(event.text, fg="yellow", err=True)

    def _finish(self, event: Any) -> None:
        if not self._printed and event.text:  # an answer that came in one piece
            sys.stdout.write(event.text)
        sys.stdout.write(" [cut off]\n" if event.reason == "cut" else "\n")
        sys.stdout.flush()
        self._failed = event.reason == "failed"
        self._done.set()

    async def _approve(self, event: Any) -> None:
        """A consequential action waits for a yes; no answer is a no."""
        from omni.events import ApprovalGiven

        allowed = self.yes
        if not allowed and sys.stdin.isatty():
            answer = await self._line(f"{event.sentence} Allow it? [y/N] ")
            allowed = (answer or "").strip().lower() in ("y", "yes")
        elif not allowed:
            typer.echo(f"{event.sentence} Nobody is here to allow it: it is refused (--yes allows it).", err=True)
        self.conversation.session.publish(ApprovalGiven, call=event.call, digest=event.digest, approved=allowed)
