"""Landlock by system call: a process gives up access to files and TCP for good (Linux 5.13+, `man 7 landlock`)."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG = 1
_RULE_PATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_ALL_V1 = (1 << 13) - 1  #: execute .. make_sym
_REFER = 1 << 13
_READING = _EXECUTE | _READ_FILE | _READ_DIR
#: What a rule on a file (not a folder) may name.
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_TCP = 0b11  #: bind, connect


def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def version() -> int:
    """The Landlock version of this kernel; 0 where there is none."""
    libc = _libc()
    return (
        0 if libc is None else max(0, libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))
    )


def restrict(*, readable: Iterable[str], writable: Iterable[str], no_tcp: bool) -> bool:
    """From now on this process and its children read and write only there. False where Landlock is missing.

    Paths that do not exist are left out. With `no_tcp`, and Landlock 4, TCP can be neither bound nor connected.
    """
    libc, abi = _libc(), version()
    if libc is None or abi < 1:
        return False
    files = _ALL_V1 | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    network = _TCP if no_tcp and abi >= 4 else 0
    attributes = struct.pack("=QQ", files, network) if abi >= 4 else struct.pack("=Q", files)
    ruleset = libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for paths, access in ((readable, _READING), (writable, files)):
            for path in paths:
                _allow(libc, ruleset, path, access & files)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return False
        return libc.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)) == 0
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _ON_FILES
        rule = struct.pack("=Qi", access, fd)
        libc.syscall(_ADD_RULE, ruleset, ctypes.c_uint32(_RULE_PATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(fd)
