"""Masking: `***` in the place of secrets, in output that comes in pieces, wherever these are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tunesmith.domain.secret import MIN_MASKED

MASK = b"***"


class Masker:
    """Takes output piece by piece, and gives it back masked; it holds back no more than what may begin a secret."""

    def __init__(self, values: Iterable[str]) -> None:
        """`values`: the secrets. Each line of one that has several is masked too; what is too short is not."""
        parts = {part for value in values for part in (value, value.strip(), *map(str.strip, value.splitlines()))}
        self._secrets = [part.encode() for part in parts if len(part) >= MIN_MASKED]
        self._held = b""
        self._covered = 0
        """Bytes at the front of what is held that belong to a secret whose mask is out already."""

    def feed(self, data: bytes) -> bytes:
        """The next piece, masked, as far as it is certain."""
        text = self._held + data
        return self._masked(text, len(text) - self._begun(text))

    def end(self) -> bytes:
        """The rest, when nothing more comes."""
        return self._masked(self._held, len(self._held))

    def _masked(self, text: bytes, end: int) -> bytes:
        """The text up to `end`; the rest is held."""
        if end == 0:  # all of it may begin a secret
            self._held = text
            return b""
        pieces, position, covered = list[bytes](), 0, 0
        for start, stop in self._found(text):
            if start >= end:
                break
            pieces += [text[position:start], MASK if start or not self._covered else b""]
            position = min(stop, end)
            covered = max(0, stop - end)
        pieces.append(text[position:end])
        self._held, self._covered = text[end:], covered
        return b"".join(pieces)

    def _found(self, text: bytes) -> list[tuple[int, int]]:
        """Where secrets stand, from and to, in order; those that overlap, or touch, are one."""
        merged: list[tuple[int, int]] = []
        for start, stop in sorted(self._each(text)):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
            else:
                merged.append((start, stop))
        return merged

    def _each(self, text: bytes) -> Iterator[tuple[int, int]]:
        if self._covered:
            yield 0, self._covered
        for secret in self._secrets:
            at = text.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = text.find(secret, at + 1)

    def _begun(self, text: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        return max((_overlap(text, secret) for secret in self._secrets), default=0)


def masked(text: str, values: Iterable[str], cut: bool = False) -> str:
    """A text, masked; `cut`: its end was cut off, so that what may begin a secret there is left out."""
    masker = Masker(values)
    found = masker.feed(text.encode(errors="replace"))
    return (found if cut else found + masker.end()).decode(errors="replace")


def _overlap(text: bytes, secret: bytes) -> int:
    longest = min(len(secret) - 1, len(text))
    first, tail = secret[:1], text[-longest:] if longest else b""
    at = tail.find(first)
    while at >= 0:
        if secret.startswith(tail[at:]):
            return len(tail) - at
        at = tail.find(first, at + 1)
    return 0
