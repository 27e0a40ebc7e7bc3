"""`--airgap`: no connection of this process, or of one it starts, goes beyond this machine.

An audit hook sees every connection, datagram and name look-up that Python makes and refuses those that
are not loopback; it can't be removed again. Child processes of Omni take it over from the environment,
and the downloaders Omni starts are told to stay offline. What a native library does without Python is
out of its sight: for a guarantee against those too, take the machine off the network.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import sys
from typing import Any

from omni.errors import Airgapped

VARIABLE = "OMNI_AIRGAP"

#: What keeps well-known tools and libraries offline in this process and its children.
OFFLINE = {
    VARIABLE: "1",
    "PIP_NO_INDEX": "1",
    "npm_config_offline": "true",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyname_ex", "socket.getnameinfo")
_SENDS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_installed = False


def install() -> None:
    """From now on, and until the process ends, refuse everything that is not loopback. Idempotent."""
    global _installed
    os.environ.update(OFFLINE)
    for name in _PROXIES:  # a proxy on this machine would carry connections beyond it
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    if not _installed:
        _installed = True
        sys.addaudithook(_audit)
        _guard_names()


def inherit() -> None:
    """Take the airgap over from the process that started this one."""
    if os.environ.get(VARIABLE) == "1":
        install()


def active() -> bool:
    """Whether this process is airgapped."""
    return _installed


def is_loopback(host: Any) -> bool:
    """Whether a host, as given to a socket, is this machine: a loopback address or `localhost`."""
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    if not isinstance(host, str):
        return False
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not event.startswith("socket."):
        return
    if event in _SENDS:
        sock, address = args[0], args[1]
        # A connected socket sends without an address: its connect was looked at.
        if getattr(sock, "family", None) in (socket.AF_INET, socket.AF_INET6) and address is not None:
            _refuse_unless_loopback(address[0] if isinstance(address, tuple) else address)
    elif event in _LOOKUPS:
        host = args[0][0] if isinstance(args[0], tuple) else args[0]
        if host not in (None, "", b"", "0.0.0.0", "::"):  # the wildcards are for listening
            _refuse_unless_loopback(host)


def _guard_names() -> None:
    """Look at names before they are resolved: `connect` asks the resolver first and the audit hook second."""

    def guarded(method: Any) -> Any:
        @functools.wraps(method)
        def call(self: socket.socket, *args: Any) -> Any:
            address = args[-1] if args else None
            if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple) and address:
                _refuse_unless_loopback(address[0])
            return method(self, *args)

        return call

    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, guarded(getattr(socket.socket, name)))


def _refuse_unless_loopback(host: Any) -> None:
    if not is_loopback(host):
        message = f"A connection to {host!s} was refused: Omni runs with --airgap."
        raise Airgapped(message, "Start it without to allow connections.")
