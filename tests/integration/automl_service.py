"""The application with a user, which trains by itself; and data to train on."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import served

from serve_app.app import build
from serve_app.embedded import Embedded
from tunesmith.services.identity import keep_admin
from tunesmith.settings import Settings
from tunesmith.store import Store

PASSWORD = "correct-horse"


@contextmanager
def training_service(settings: Settings, store: Store) -> Iterator[str]:
    """The URL of the application, whose trainings run for as long as the block does; its user `admin` has PASSWORD."""
    keep_admin(store, PASSWORD)
    engine = Embedded(store, settings)
    with served(build(settings, engine, store)) as url:
        engine.start(alone=True)
        try:
            yield url
        finally:
            engine.stop()


def houses(path: Path, rows: int = 200, noise: float = 0) -> list[dict[str, Any]]:
    """A table to train on: price = 3 size + 20 if in town + 7; the rows that were written."""
    draw = random.Random(7)
    written = []
    for _ in range(rows):
        size, place = round(draw.uniform(20, 200), 1), draw.choice(["town", "village"])
        price = round(3 * size + 20 * (place == "town") + 7 + draw.gauss(0, noise), 3)
        written.append({"size": size, "place": place, "price": price})
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["size", "place", "price"])
        writer.writeheader()
        writer.writerows(written)
    return written
