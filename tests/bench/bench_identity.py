"""What it adds to a request to find out who asks, and whether that one may; with the token known and asked for anew."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.responses import Response
from starlette.types import Message

from serve_app.auth import Authentication
from serve_app.guarding import Guard
from serve_app.identities import Identities
from tunesmith.services import identity, tokens
from tunesmith.store import Store, open_store
from tunesmith.testing.postgres import postgres_server

KEY, PASSWORD, REQUESTS = "k" * 32, "correct horse battery", 3000


def main() -> None:
    """Print the median of each."""
    for kind, opened in (("SQLite", on_sqlite), ("PostgreSQL", on_postgres)):
        with opened() as store:
            user = identity.add_user(store, "ada", PASSWORD)
            with store.write() as tx:
                token, _ = tokens.issue(tx, user, "bench")
            known, asking = Identities(store), Identities(store, fresh_s=0)
            plain = Response("done")
            doors = {
                "the key": (Authentication(guarded(plain, known), known, KEY, True), KEY),
                "a token that is known": (Authentication(guarded(plain, known), known, KEY, True), token),
                "a token, asked anew each time": (Authentication(guarded(plain, asking), asking, KEY, True), token),
            }
            before = asyncio.run(median_us(plain, None))
            for who, (app, given) in doors.items():
                print(f"  {kind:10}  {who:30} adds {asyncio.run(median_us(app, given)) - before:7.1f} us at p50")
            begun = time.perf_counter()
            for _ in range(5):
                identity.authenticate(store, "ada", PASSWORD)
            print(f"  {kind:10}  {'signing in takes':30}      {(time.perf_counter() - begun) / 5 * 1000:7.1f} ms")
            known.close()
            asking.close()
    print(f"  target: a request of somebody whose token is known (for {tokens.FRESH_S:g} s) waits less than 1 ms more")


def guarded(plain: Response, identities: Identities) -> Guard:
    """What answers, behind the check that it may."""
    return Guard(plain, frozenset({("GET", "/stats")}), identities)


async def median_us(app: object, given: str | None) -> float:
    """The median time of a request, in microseconds."""
    headers = [(b"host", b"localhost"), (b"accept", b"*/*"), (b"user-agent", b"bench")]
    if given is not None:
        headers.append((b"authorization", f"Bearer {given}".encode()))
    times, statuses = [], set()

    async def send(message: Message) -> None:
        statuses.add(message.get("status", 200))

    for _ in range(REQUESTS):
        scope = {"type": "http", "method": "GET", "path": "/stats", "headers": headers}
        begun = time.perf_counter()
        await app(scope, receive, send)  # type: ignore[operator]
        times.append(time.perf_counter() - begun)
    assert statuses == {200}, statuses
    return statistics.median(times) * 1e6


async def receive() -> Message:
    """A request without a body."""
    return {"type": "http.request"}


@contextmanager
def on_sqlite() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield from fresh(f"sqlite:///{Path(folder) / 'bench.db'}")


@contextmanager
def on_postgres() -> Iterator[Store]:
    with postgres_server() as server, server.database(migrated=False) as url:
        yield from fresh(url)


def fresh(url: str) -> Iterator[Store]:
    store = open_store(url)
    store.upgrade()
    yield store
    store.close()


if __name__ == "__main__":
    main()
