"""Datasets of a million cells: into the storage, and out again as JSON, Parquet and Arrow, beside pandas' own.

Run it as `python tests/bench/bench_datasets.py`. The targets are those of `GET /data/{key}`; the peers write and read
the same frame in memory, and keep neither missing keys nor big integers apart.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tunesmith.data import DataSource, arrow_stream, json_chunks, new_files, open_dataset, parquet, write_tables
from tunesmith.domain.session import Dataset
from tunesmith.domain.value import utcnow
from tunesmith.storage import Storage

TARGETS_S = {"JSON out": 3.0, "Parquet out": 0.5, "Arrow out": 0.5}


def main() -> None:
    """Measure, and print what was measured beside its target and its peer."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=100_000, help="of ten columns")
    options.add_argument("--repeats", type=int, default=5, help="the best one counts")
    chosen = options.parse_args()
    frame = mixed(chosen.rows)
    with tempfile.TemporaryDirectory() as folder:
        show(measure(frame, Storage(folder), chosen.repeats), chosen.rows * len(frame.columns))


def mixed(rows: int) -> pd.DataFrame:
    """Numbers, texts, times and nulls."""
    rng = np.random.default_rng(1)
    names = np.array([f"product {number}" for number in range(500)], dtype=object)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, rows), unit="s")
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "quantity": rng.integers(0, 1000, rows),
            "price": rng.random(rows) * 100,
            "weight": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "name": names[rng.integers(0, len(names), rows)],
            "note": [f'row {number} of "many" größer' for number in range(rows)],
            "ordered_at": times,
            "shipped_on": times.strftime("%Y-%m-%d"),
            "express": rng.random(rows) < 0.5,
            "mixed": pd.Series(np.where(rng.random(rows) < 0.5, 1, 2.5)).astype(object),
        }
    )


def stored(source: DataSource, storage: Storage) -> Dataset:
    """Write a dataset."""
    tables, size = write_tables(storage, files := new_files(), source)
    known = {"key": source.name, "files": files, "tables": tuple(tables), "metadata": source.metadata, "bytes": size}
    return Dataset(id="bench", session_id="bench", created_at=utcnow(), **known)


def measure(frame: pd.DataFrame, storage: Storage, repeats: int) -> dict[str, tuple[float, float]]:
    """What was done -> seconds, and seconds of pandas doing the like."""
    source = DataSource("bench", {"t": frame})
    text = source.to_json()
    dataset = stored(DataSource.from_json(text), storage)
    plain, columnar = frame.to_json(orient="records", date_format="iso"), frame.drop(columns="mixed")
    file = columnar.to_parquet()

    def best(call: Callable[[], Any]) -> float:
        return min(timed(call) for _ in range(repeats))

    return {
        "JSON in": (
            best(lambda: stored(DataSource.from_json(text), storage)),
            best(lambda: pd.read_json(io.StringIO(plain)).to_parquet()),
        ),
        "JSON out": (
            best(lambda: sum(map(len, json_chunks(storage, dataset)))),
            best(lambda: pd.read_parquet(io.BytesIO(file)).to_json(orient="records", date_format="iso")),
        ),
        "json.loads of it": (best(lambda: json.loads(text)), best(lambda: json.loads(plain))),
        "frame in": (best(lambda: stored(DataSource("bench", {"t": frame}), storage)), best(columnar.to_parquet)),
        "frame out": (
            best(lambda: open_dataset(storage, dataset).table("t")),
            best(lambda: pd.read_parquet(io.BytesIO(file))),
        ),
        "Parquet out": (
            best(lambda: sum(map(len, parquet(storage, dataset)))),
            best(lambda: pd.read_parquet(io.BytesIO(file)).to_parquet()),
        ),
        "Arrow out": (best(lambda: sum(map(len, arrow_stream(storage, dataset)))), best(lambda: len(file))),
    }


def timed(call: Callable[[], Any]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def show(found: dict[str, tuple[float, float]], cells: int) -> None:
    """A table."""
    print(f"{cells:,} cells; seconds, best of several{'':8}ours  pandas   ratio  target")
    for what, (ours, peer) in found.items():
        target = TARGETS_S.get(what)
        missed = "  MISSED" if target and ours > target else ""
        ratio = f"{ours / peer:7.2f}" if peer > 1e-3 else " " * 7
        print(f"  {what:40}{ours:8.3f}{peer:8.3f} {ratio}{f'{target:8.1f}' if target else ''}{missed}")
    print(f"  most resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
