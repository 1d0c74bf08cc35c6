"""What a host and its child send each other: pickles behind a header, and descriptors, over a pair of sockets."""

from __future__ import annotations

import os
import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any

HEADER = struct.Struct("!4sQ")
"""A mark, and how many bytes follow."""
MARK = b"tsh1"
CHUNK = 1 << 18
STOP = b"stop"
"""In a task's place: the one under way is to end where it next reports."""
GARBLED = "it wrote into the platform's connection"


class Garbled(Exception):
    """What came is no message: somebody else wrote into the socket."""


def send(to: socket.socket, value: Any, descriptors: Sequence[int] = ()) -> None:
    """Send a value, with copies of descriptors. Raises OSError when nobody is there, or nobody listens."""
    send_packed(to, pack(value), descriptors)


def pack(value: Any) -> bytes:
    """A value as it travels. Raises whatever pickling it does."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def send_packed(to: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """The same with a value that is packed already."""
    header = HEADER.pack(MARK, len(data))
    if descriptors:
        socket.send_fds(to, [header], descriptors)
        to.sendall(data)
    else:
        to.sendall(header + data)


def receive(from_: socket.socket) -> tuple[Any, list[int]] | None:
    """The next value, waited for, and the descriptors that came with it; None when the other side is gone.

    Raises:
        Garbled: it is no message.
    """
    data, descriptors, _flags, _address = socket.recv_fds(from_, HEADER.size, 4)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    reader = Reader()
    while data:
        reader.feed(data)
        if values := reader.values():
            return values[0], descriptors
        data = from_.recv(reader.missing)
    return None


class Reader:
    """Puts values together from what comes, piece by piece."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def missing(self) -> int:
        """Bytes that are missing of the value that began, CHUNK at most. Raises Garbled."""
        if len(self._data) < HEADER.size:
            return HEADER.size - len(self._data)
        return min(CHUNK, HEADER.size + self._length() - len(self._data))

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._data += data

    def values(self) -> list[Any]:
        """The values that are complete now, each given once. Raises Garbled."""
        found = []
        while len(self._data) >= HEADER.size and len(self._data) >= (end := HEADER.size + self._length()):
            try:
                found.append(pickle.loads(memoryview(self._data)[HEADER.size : end]))  # nosec B301  # from a process of the same user
            except Exception as error:
                raise Garbled(GARBLED) from error
            del self._data[:end]
        return found

    def _length(self) -> int:
        mark, length = HEADER.unpack_from(self._data)
        if mark != MARK:
            raise Garbled(GARBLED)
        return int(length)
