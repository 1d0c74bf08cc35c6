"""Answers that are made piece by piece, by code that waits for disks and databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

from starlette.responses import StreamingResponse

from serve_app.strict import WORKERS


def streamed(chunks: Iterator[bytes], media_type: str, headers: Mapping[str, str] | None = None) -> StreamingResponse:
    """The chunks as an answer; the first one is made at once, while there is still a status to refuse with."""
    first = next(chunks, b"")
    return StreamingResponse(_offloaded(first, chunks), 200, headers, media_type)


async def _offloaded(first: bytes, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    loop = asyncio.get_running_loop()
    while (chunk := await loop.run_in_executor(WORKERS, next, chunks, None)) is not None:
        yield chunk
