"""Seeds: one for each trial, so that what is drawn for it does not depend on what was drawn before."""

from __future__ import annotations

import hashlib


def seed_of(seed: int, *place: int | str) -> int:
    """The seed of one trial (or of one thing in it), in [0, 2^32), from the search's seed."""
    return int.from_bytes(_digest(seed, place, 4), "big")


def share_of(seed: int, *place: int | str) -> float:
    """A number in [0, 1), as if drawn uniformly, that is always the same for one place."""
    return (int.from_bytes(_digest(seed, place, 8), "big") >> 11) * 2.0**-53


def _digest(seed: int, place: tuple[int | str, ...], size: int) -> bytes:
    return hashlib.blake2b("/".join(map(str, (seed, *place))).encode(), digest_size=size).digest()
