"""One page of the web, as text: fetched when allowed, never from a private address, never without bounds.

The name is resolved once, every address it has must be a public one, and the connection goes to that very
address, so that a name that answers differently the second time gains nothing. Redirects are followed by
hand under the same rules. What comes back is somebody else's text: untrusted.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from typing import Annotated, Any
from urllib.parse import urljoin, urlsplit

from pydantic import Field

from omni import airgap
from omni.errors import Airgapped, BadInput, OmniError, Refused
from omni.tools import ToolResult

#: Bytes of a page that are read, characters of its text that are kept, redirects that are followed.
LONGEST_PAGE = 2_000_000
LONGEST_TEXT = 12_000
MOST_REDIRECTS = 5
TIMEOUT_S = 15.0
_TYPES = ("text/", "application/json", "application/xhtml", "application/xml", "application/rss", "application/atom")

Resolve = Callable[[str, int], Awaitable[list[str]]]
Span = {"x-copy": "span"}


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host name. Raises `OmniError` where it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OmniError(f"I find no server called {host}.", "Check the address and the connection.") from error
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def is_public(address: str) -> bool:
    """Whether an address is on the open internet: not this machine, not the home network, not a cloud's own."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if embedded is not None:
            ip = embedded
        elif ip in ipaddress.ip_network("64:ff9b::/96"):
            ip = ipaddress.ip_address(int(ip) & 0xFFFFFFFF)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class Web:
    """Fetches pages from the hosts that are allowed; `"*"` allows all public ones."""

    def __init__(self, allowed: list[str], *, resolve: Resolve = resolve, transport: Any = None) -> None:
        self.allowed = [host.lower().lstrip(".") for host in allowed]
        self._resolve = resolve
        self._transport = transport

    async def fetch_page(
        self,
        url: Annotated[str, Field(description="the address as it was said", max_length=2000, json_schema_extra=Span)],
    ) -> ToolResult:
        """Read a page of the web."""
        address = url.strip().strip(".,")
        address = address if re.match(r"^[a-z][a-z0-9+.-]*://", address, re.I) else f"https://{address}"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                final, kind, body = await self._get(address)
        except TimeoutError:
            raise OmniError(f"{url} did not answer within {TIMEOUT_S:.0f} seconds.") from None
        title, text = page_text(body) if "html" in kind else ("", body)
        value = {"url": final, "title": title, "text": text[:LONGEST_TEXT]}
        return ToolResult(value, trusted=False, evidence=({"url": final, "title": title},))

    def check(self, url: str) -> tuple[str, str, int]:
        """Scheme, host and port of an address that may be asked. Raises `Refused`, `BadInput`."""
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise BadInput(f"{url[:80]!r} is no address of a page.") from error
        host = (parts.hostname or "").rstrip(".")
        if parts.scheme not in ("http", "https") or not host or ("." not in host and ":" not in host):
            raise BadInput(f"{url[:80]!r} is no address of a page.", "Say something like example.org.")
        if parts.username or parts.password:
            raise Refused("I don't fetch addresses with a password in them.")
        if port not in (80, 443, 8080, 8443):
            raise Refused(f"I don't fetch from port {port}.")
        if airgap.active():
            raise Airgapped("I am offline on purpose: Omni runs with --airgap.")
        if "*" not in self.allowed and not any(host == a or host.endswith(f".{a}") for a in self.allowed):
            raise Refused(
                f"I may not fetch pages from {host}.", "Add it under [plugins.tools] web_hosts in the settings."
            )
        return parts.scheme, host, port

    async def _get(self, url: str) -> tuple[str, str, str]:
        """The final address, the kind of content and the text."""
        import httpx

        for _ in range(MOST_REDIRECTS + 1):
            _, host, port = self.check(url)
            addresses = await self._resolve(host, port)
            if not addresses or not all(is_public(address) for address in addresses):
                raise Refused(f"{host} is an address of a private network; I only fetch public pages.")
            pinned = httpx.URL(url).copy_with(host=addresses[0])
            headers = {"Host": host, "User-Agent": "Omni", "Accept": "text/html,text/plain,application/json;q=0.8"}
            async with (
                httpx.AsyncClient(
                    transport=self._transport, follow_redirects=False, trust_env=False, timeout=TIMEOUT_S
                ) as client,
                client.stream("GET", pinned, headers=headers, extensions={"sni_hostname": host}) as response,
            ):
                if response.is_redirect:
                    url = urljoin(url, response.headers.get("location", ""))
                    continue
                return await _body(url, response)
        raise OmniError(f"{url[:80]} sends me from one address to the next.")


async def _body(url: str, response: Any) -> tuple[str, str, str]:
    if response.status_code >= 400:
        raise OmniError(f"The page answered with an error: {response.status_code}.")
    kind = response.headers.get("content-type", "text/html").split(";")[0].strip().lower()
    if not kind.startswith(_TYPES):
        raise BadInput(f"That address holds {kind or 'something'}, and I can only read text.")
    data = bytearray()
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) > LONGEST_PAGE:
            break
    return url, kind, bytes(data[:LONGEST_PAGE]).decode(response.encoding or "utf-8", "replace")


class _Text(HTMLParser):
    """The words a reader of the page would see."""

    _HIDDEN = frozenset({"script", "style", "noscript", "template", "svg", "nav", "footer", "form", "head"})
    _BLOCK = frozenset(
        {"p", "div", "li", "br", "tr", "h1", "h2", "h3", "h4", "section", "article", "pre", "ul", "table"}
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.hidden: list[str] = []
        self.title = ""
        self.in_title = False
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_title = tag == "title" and not self.title
        if tag in self._HIDDEN:
            self.hidden.append(tag)
        elif tag in self._BLOCK:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.in_title = False
        if tag in self.hidden:
            while self.hidden.pop() != tag:
                pass
        elif tag in self._BLOCK:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.title += data
        elif not self.hidden:
            self.pieces.append(data)


def page_text(html: str) -> tuple[str, str]:
    """Title and visible text of a page."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    text = re.sub(r"[^\S\n]+", " ", "".join(parser.pieces))
    return " ".join(parser.title.split()), re.sub(r"\s*\n\s*", "\n", text).strip()


def read_url(words: str) -> dict[str, Any] | None:
    """The address out of a request; None unless exactly one is said."""
    found = re.findall(
        r"\bhttps?://[^\s<>\"']+|\b(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|io|de|uk|fr|eu|info|dev|ch|at|nl|se|ai)\b"
        r"(?:/[^\s<>\"']*)?", words, re.IGNORECASE,
    )  # fmt: skip
    return {"url": found[0].rstrip(".,?!")} if len(found) == 1 else None
