"""The file that the demo compresses: a deterministic mix of Python's own sources, a log and binary measurements."""

from __future__ import annotations

import json
import math
import random
import struct
import sysconfig
from pathlib import Path

SEED = 7


def write_sample(path: Path, size: int = 1_200_000) -> Path:
    """Write about `size` bytes: half source text, a quarter JSON log lines, a quarter little-endian floats."""
    rng = random.Random(SEED)
    path.write_bytes(_sources(size // 2) + _log(rng, size // 4) + _measurements(rng, size // 4))
    return path


def _sources(size: int) -> bytes:
    text = bytearray()
    for module in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text += module.read_bytes()
        if len(text) >= size:
            break
    return bytes(text[:size])


def _log(rng: random.Random, size: int) -> bytes:
    lines = bytearray()
    clock = 1_700_000_000.0
    while len(lines) < size:
        clock += rng.expovariate(5)
        record = {
            "time": round(clock, 3),
            "level": rng.choice(["DEBUG", "INFO", "INFO", "INFO", "WARNING"]),
            "path": f"/api/v1/experiments/{rng.randint(1, 400)}",
            "status": rng.choice([200, 200, 200, 201, 404]),
            "ms": round(rng.lognormvariate(1, 0.6), 2),
        }
        lines += json.dumps(record).encode() + b"\n"
    return bytes(lines[:size])


def _measurements(rng: random.Random, size: int) -> bytes:
    values = (round(20 + 5 * math.sin(i / 300) + rng.gauss(0, 0.2), 1) for i in range(size // 8))
    return b"".join(struct.pack("<d", value) for value in values)
