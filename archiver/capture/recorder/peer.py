"""Who is at the other end of a loopback connection: any local user can reach a listening port.

The kernel is asked through sock_diag(7), which costs microseconds; where that is closed to us (some
sandboxes), ``/proc/net/tcp`` is read, which costs milliseconds. On a system with neither, nobody can be
told apart and ``CAN_CHECK`` is False.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple

_PROC_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
CAN_CHECK = _PROC_TABLES[0].exists()

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_MAX_ANSWER_BYTES = 8192
_NLMSG = struct.Struct("=IHHII")  # struct nlmsghdr
_DIAG_REQUEST = struct.Struct("=BBBBI")  # head of struct inet_diag_req_v2
_DIAG_ID = struct.Struct("!HH16s16sIII")  # struct inet_diag_sockid; the cookie is "any"
_DIAG_ANSWER = struct.Struct("=4x48x12xII")  # struct inet_diag_msg: uid, inode
_ANY_COOKIE = 0xFFFFFFFF
_ALL_STATES = 0xFFFFFFFF
_MAPPED = b"\0" * 10 + b"\xff\xff"

Endpoint = tuple[str, int]


class Owner(NamedTuple):
    """Who holds a socket.

    Args:
        uid: User of the process that made it.
        inode: 0 when no process holds it any more; the kernel then says uid 0 whoever it was.
    """

    uid: int
    inode: int


def peer_owner(peer: Endpoint, local: Endpoint) -> Owner | None:
    """Return who holds the socket at *peer* that is connected to our *local* end, both IPv4.

    The client's socket may be an IPv6 one with a mapped address, so both tables are asked.

    Returns:
        None when the kernel knows no such socket, or no process holds it: the peer has closed.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
            owner = _ask(link, socket.AF_INET, peer, local) or _ask(link, socket.AF_INET6, peer, local)
    except OSError:
        owner = _read_proc(peer, local)
    return owner if owner and owner.inode else None


def _ask(link: socket.socket, family: int, peer: Endpoint, local: Endpoint) -> Owner | None:
    """Ask the kernel for one exact pair of ends.

    Raises:
        OSError: The interface is missing or closed to us.
    """
    prefix = _MAPPED if family == socket.AF_INET6 else b""
    source, target = ((prefix + socket.inet_aton(host)).ljust(16, b"\0") for host, _ in (peer, local))
    ident = _DIAG_ID.pack(peer[1], local[1], source, target, 0, _ANY_COOKIE, _ANY_COOKIE)
    body = _DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + ident
    size = _NLMSG.size + len(body)
    link.send(_NLMSG.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body)
    answer = link.recv(_MAX_ANSWER_BYTES)
    if _NLMSG.unpack_from(answer)[1] == _SOCK_DIAG_BY_FAMILY:
        return Owner(*_DIAG_ANSWER.unpack_from(answer, _NLMSG.size))
    code = -struct.unpack_from("=i", answer, _NLMSG.size)[0]
    if code != errno.ENOENT:
        raise OSError(code, os.strerror(code))
    return None


def _read_proc(peer: Endpoint, local: Endpoint) -> Owner | None:
    """Find the pair in the kernel's text tables; their columns are described in proc(5)."""
    for table, prefix in zip(_PROC_TABLES, (b"", _MAPPED), strict=True):
        ends = tuple(_proc_end(prefix, end) for end in (peer, local))
        with contextlib.suppress(OSError), table.open() as lines:
            for line in lines:
                fields = line.split()
                if tuple(fields[1:3]) == ends:
                    return Owner(int(fields[7]), int(fields[9]))
    return None


def _proc_end(prefix: bytes, end: Endpoint) -> str:
    address = prefix + socket.inet_aton(end[0])
    words = struct.unpack(f"={len(address) // 4}I", address)
    return "".join(f"{word:08X}" for word in words) + f":{end[1]:04X}"
