"""Masking: secrets in output that comes in pieces, wherever these are cut."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tuners.tools.masking import Masker, masked
from tuners.tools.rotation import Pump, RotatedLog


def through(values: list[str], pieces: list[bytes]) -> bytes:
    masker = Masker(values)
    return b"".join([*map(masker.feed, pieces), masker.end()])


def cut(text: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(text) + 1) for place in places} | {len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def visible(text: bytes, secrets: list[bytes]) -> bytes:
    """What no secret covers: the naive way, byte by byte."""
    covered = {
        place
        for secret in secrets
        for start in range(len(text))
        if text.startswith(secret, start)
        for place in range(start, start + len(secret))
    }
    return bytes(byte for place, byte in enumerate(text) if place not in covered)


WORDS = st.text("ab", min_size=6, max_size=9)


@given(st.lists(WORDS, min_size=1, max_size=3), st.text("ab-", max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_wherever_the_output_is_cut_exactly_what_is_secret_is_gone(
    secrets: list[str], text: str, places: list[int]
) -> None:
    found = through(secrets, cut(text.encode(), places))
    assert found.replace(b"***", b"") == visible(text.encode(), [secret.encode() for secret in secrets])
    assert not [secret for secret in secrets if secret.encode() in found]


def test_a_secret_becomes_one_mask() -> None:
    assert through(["geheimnis"], [b"the key is gehe", b"imnis, ", b"geheimni", b"s", b"!"]) == b"the key is ***, ***!"


def test_what_begins_no_secret_is_passed_on_at_once() -> None:
    masker = Masker(["geheimnis"])
    assert masker.feed(b"epoch 1\n") == b"epoch 1\n"
    assert masker.feed(b"ge") == b""
    assert masker.feed(b"nug\n") == b"genug\n"


def test_the_longer_one_of_two_that_begin_alike_is_masked_whole() -> None:
    assert through(["geheim", "geheimnis"], [b"x geheim", b"nis y geheim z"]) == b"x *** y *** z"


def test_each_line_of_a_secret_is_masked_too() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n"
    assert through([key], [b"MIIEvQIBADAN and ", key.encode(), b"."]) == b"*** and ***."


def test_what_is_too_short_stays_as_it_would_mask_ordinary_words() -> None:
    assert through(["true"], [b"true\n"]) == b"true\n"


def test_a_text_whose_end_was_cut_off_does_not_end_with_half_a_secret() -> None:
    assert masked("it is geheimn", ["geheimnis"]) == "it is geheimn"
    assert masked("it is geheimn", ["geheimnis"], cut=True) == "it is "


def test_a_pump_masks_what_goes_through_it(tmp_path: Path) -> None:
    with RotatedLog(tmp_path / "log.txt", 100_000) as log:
        pump = Pump(log, ["geheimnis"])
        for piece in (b"a gehe", b"imnis b\n", b"geheim"):
            os.write(pump.fileno(), piece)
        pump.close()
    assert (tmp_path / "log.txt").read_bytes() == b"a *** b\ngeheim"
