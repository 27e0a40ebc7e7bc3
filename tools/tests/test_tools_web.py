"""Web pages: public ones only, within bounds, as untrusted text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from omni_tools.web import LONGEST_PAGE, Web, is_public, page_text, read_url

from omni import airgap
from omni.clock import run_virtual
from omni.errors import Airgapped, BadInput, OmniError, Refused

PAGE = "<html><head><title>A  page</title><style>x{}</style></head><body><nav>menu</nav><p>Hello&nbsp;you.</p>" \
       "<script>alert(1)</script><p>Bye.</p></body></html>"  # fmt: skip


def web(
    answer: Callable[[httpx.Request], httpx.Response], allowed: list[str] | None = None, address: str = "93.184.216.34"
) -> Web:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host.startswith("inner") else [address]

    return Web(["*"] if allowed is None else allowed, resolve=resolve, transport=httpx.MockTransport(answer))


def html(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, html=PAGE)


async def test_a_page_comes_back_as_untrusted_text() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return html(request)

    result = await web(answer).fetch_page("example.org/about")
    assert result.value == {"url": "https://example.org/about", "title": "A page", "text": "Hello you.\nBye."}
    assert not result.trusted
    assert seen[0].url.host == "93.184.216.34", "the connection goes to the address that was checked"
    assert seen[0].headers["host"] == "example.org" and seen[0].extensions["sni_hostname"] == "example.org"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "fc00::1",
     "::ffff:127.0.0.1", "64:ff9b::7f00:1", "100.64.0.1", "224.0.0.1", "2002:7f00:1::"],
)  # fmt: skip
async def test_a_private_address_is_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(Refused, match="private"):
        await web(html, address=address).fetch_page("https://example.org")


def test_public_addresses_are_public() -> None:
    assert is_public("93.184.216.34") and is_public("2606:2800:220:1::1")


@pytest.mark.parametrize(
    "target", ["https://inner.example.org/", "http://127.0.0.1/", "file:///etc/passwd", "https://u:p@x.org"]
)
async def test_a_redirect_is_checked_like_the_first_address(target: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": target})

    async def resolve(host: str, port: int) -> list[str]:
        return [host] if host[0].isdigit() else ["127.0.0.1" if host.startswith("inner") else "93.184.216.34"]

    fetcher = Web(["*"], resolve=resolve, transport=httpx.MockTransport(answer))
    with pytest.raises((Refused, BadInput)):
        await fetcher.fetch_page("https://example.org")


async def test_redirects_end() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "https://example.org/again"})

    with pytest.raises(OmniError, match="from one address to the next"):
        await web(answer).fetch_page("https://example.org")


@pytest.mark.parametrize(
    "url", ["", "not a url", "ftp://example.org", "localhost", "https://", "http://[::1", "javascript:alert(1)"]
)
async def test_what_is_no_page_is_a_sentence(url: str) -> None:
    with pytest.raises(BadInput):
        await web(html).fetch_page(url)


async def test_only_allowed_hosts_are_fetched() -> None:
    assert (await web(html, ["example.org"]).fetch_page("https://www.example.org")).value["title"] == "A page"
    for allowed in ([], ["example.com"], ["ample.org"]):
        with pytest.raises(Refused, match="may not"):
            await web(html, allowed).fetch_page("https://example.org")
    with pytest.raises(Refused, match="port"):
        await web(html).fetch_page("https://example.org:22/")


async def test_under_the_airgap_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airgap, "active", lambda: True)
    with pytest.raises(Airgapped):
        await web(html).fetch_page("https://example.org")


async def test_a_huge_page_is_cut_and_a_binary_one_refused() -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 100_000
            yield b"x" * 100_000

    result = await web(
        lambda _: httpx.Response(200, headers={"content-type": "text/plain"}, content=endless())
    ).fetch_page("https://example.org")
    assert sent <= LONGEST_PAGE + 200_000 and len(result.value["text"]) <= 12_000
    with pytest.raises(BadInput, match="image/png"):
        await web(lambda _: httpx.Response(200, headers={"content-type": "image/png"})).fetch_page(
            "https://example.org"
        )
    with pytest.raises(OmniError, match="404"):
        await web(lambda _: httpx.Response(404)).fetch_page("https://example.org")


def test_a_server_that_says_nothing_is_given_up() -> None:
    async def scenario() -> None:
        async def resolve(host: str, port: int) -> list[str]:
            await asyncio.sleep(1000)
            return []

        with pytest.raises(OmniError, match="did not answer within 15 seconds"):
            await Web(["*"], resolve=resolve).fetch_page("https://example.org")

    run_virtual(scenario())


def test_text_of_a_page() -> None:
    assert page_text("<p>a<div>b</p>")[1] == "a\nb"
    assert page_text("<script>never closed <p>text")[1] == ""
    assert page_text("")[1] == ""


def test_addresses_are_read_from_the_words() -> None:
    assert read_url("please open python.org/downloads and read it") == {"url": "python.org/downloads"}
    assert read_url("look at https://example.com/a?b=1.") == {"url": "https://example.com/a?b=1"}
    assert read_url("open the page") is None and read_url("compare a.org and b.org") is None
