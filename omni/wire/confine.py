"""What a plugin's process may do, enforced in that process before a line of the plugin is imported.

Three layers, each used where the system has it:

1. A network namespace without devices (Linux, `unshare`), when no network is granted: no packet leaves.
2. Landlock (Linux 5.13+): files beyond the granted folders can't be opened, whatever code tries; with Landlock 4
   TCP can't be used when no network is granted. Both hold for native code and for child processes too.
3. An audit hook (PEP 578), everywhere: refuses files, connections and programs with a sentence that names the
   permission. It sees what Python code does; native code that calls the system by itself passes it by. Alone,
   it stops mistakes, not malice. It is the only layer that tells hosts apart when some network is granted.
"""

from __future__ import annotations

import ctypes
import os
import site
import socket
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omni.wire import landlock

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc", "/proc", "/sys", "/opt")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm", "/dev/tty")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def confine(
    plugin: str,
    *,
    network: Iterable[str],
    readable: Iterable[str | Path],
    writable: Iterable[str | Path],
    programs: bool,
) -> list[str]:
    """Give up what was not granted, for good. Returns the layers that are in force, for the list."""
    hosts = tuple(network)
    read = {_real(path) for path in (*readable, *python_folders(), *_SYSTEM)}
    write = {_real(path) for path in (*writable, *_DEVICES)}
    layers = []
    if not hosts and leave_network():
        layers.append("a network of its own")
    if landlock.restrict(readable=read, writable=write, no_tcp=not hosts):
        layers.append(f"Landlock {landlock.version()}")
    sys.addaudithook(_Guard(plugin, hosts, read, write, programs))
    return [*layers, "audit hook"]


def python_folders() -> set[str]:
    """Where Python itself and what is installed for it lie: to be read, never written."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    folders |= {entry for entry in (*sys.path, *site.getsitepackages()) if entry}
    folders.add(str(Path(__file__).resolve().parents[2]))
    return {folder for folder in folders if os.path.exists(folder)}


def leave_network() -> bool:
    """Move this process into a network namespace of its own, without a device. False where that is not allowed."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        unshare = libc.unshare
    except (OSError, AttributeError):
        return False
    if unshare(_CLONE_NEWNET) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if threading.active_count() > 1 or unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    try:  # keep the names of the user: without a map files seem to belong to nobody
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    except OSError:
        return True
    return True


def _real(path: str | Path) -> str:
    return os.path.realpath(os.path.expanduser(path))


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except OSError:
            continue
        return True
    return False


class _Guard:
    """The audit hook."""

    def __init__(self, plugin: str, hosts: tuple[str, ...], read: set[str], write: set[str], programs: bool) -> None:
        self._plugin = plugin
        self._hosts = hosts
        self._read = tuple(read | write)
        self._write = tuple(write)
        self._programs = programs
        self._resolving = False
        self._addresses: set[str] = set()

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            self._open(*args[:3])
        elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.utime"):
            self._must_lie_in(self._write, args[0], "change")
        elif event in ("os.rename", "os.link", "os.symlink"):
            for path in args[:2]:
                self._must_lie_in(self._write, path, "change")
        elif event in ("os.listdir", "os.scandir"):
            self._must_lie_in(self._read, args[0] if args and args[0] is not None else ".", "list")
        elif event.startswith("socket.") and event in (
            "socket.connect",
            "socket.sendto",
            "socket.sendmsg",
            "socket.bind",
        ):
            self._reach(args[0], args[1])
        elif event == "socket.getaddrinfo":
            self._look_up(args[0])
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"):
            if not self._programs:
                self._refuse("start other programs", "subprocess = true")
        elif event == "os.kill" and args[0] != os.getpid():
            self._refuse("send signals to other processes", "no permission there is")

    def _refuse(self, what: str, permission: str) -> None:
        raise PermissionError(
            f"The plugin {self._plugin!r} may not {what}: its manifest does not ask for {permission}."
        )

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor that is open already
        writing = (
            any(letter in mode for letter in "wax+") if mode else bool(isinstance(flags, int) and flags & _WRITING)
        )
        self._must_lie_in(self._write if writing else self._read, path, "write" if writing else "read")

    def _must_lie_in(self, roots: tuple[str, ...], path: Any, verb: str) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        real = os.path.realpath(os.fsdecode(path))
        if not any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in roots):
            self._refuse(f"{verb} {real}", "that folder in permissions.files")

    def _look_up(self, host: Any) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if self._resolving or name is None or "*" in self._hosts or name in self._hosts or _is_address(name):
            return  # an address is looked at when it is connected to
        self._refuse(f"look up {name}", "that host in permissions.network")

    def _reach(self, sock: Any, address: Any) -> None:
        if not isinstance(address, tuple) or "*" in self._hosts:
            return  # a socket of this machine's file system, or everything is granted
        host = str(address[0])
        if host in self._hosts or host in self._addresses:
            return
        self._resolve()
        if host not in self._addresses:
            self._refuse(f"connect to {host}:{address[1]}", "that host in permissions.network")

    def _resolve(self) -> None:
        """The addresses of the granted hosts, as they are now."""
        self._resolving = True
        try:
            for host in self._hosts:
                try:
                    self._addresses |= {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
                except OSError:
                    continue
        finally:
            self._resolving = False
