"""A large CSV file through `run_etl`: seconds, peak memory, and how that compares to pandas' read_csv and to_parquet.

Run it as `python tests/bench/bench_etl.py [--megabytes 200] [--schema]`. Each side runs in a process of its own, whose
peak resident set is measured whole, imports included.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_S, TARGET_MB = 20, 500
SIDES = ("ours", "pandas")


def main() -> None:
    """Measure, and print what was measured beside its target."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--megabytes", type=int, default=200, help="size of the file")
    options.add_argument("--schema", action="store_true", help="with a schema: types, primary and foreign keys")
    options.add_argument("--side", choices=SIDES, help="in this process, on --directory")
    options.add_argument("--directory", type=Path)
    chosen = options.parse_args()
    if chosen.side:
        print(json.dumps(measured(chosen.side, chosen.directory, chosen.schema)))
        return
    with tempfile.TemporaryDirectory() as directory:
        rows = make(Path(directory), chosen.megabytes)
        size = (Path(directory) / "orders.csv").stat().st_size / 1e6
        print(f"{size:.0f} MB of CSV, {rows:,} rows{', with a schema' if chosen.schema else ''}")
        found = {side: in_a_process(side, directory, chosen.schema) for side in SIDES}
    for side, (seconds, processor, megabytes) in found.items():
        print(f"{side:>7}: {seconds:6.1f} s   {processor:6.1f} s of processor   peak {megabytes:6.0f} MB resident")
    ratio = found["ours"][0] / found["pandas"][0]
    fits = found["ours"][0] < TARGET_S and found["ours"][2] < TARGET_MB
    print(f"  ratio: {ratio:6.2f}     targets {TARGET_S} s, {TARGET_MB} MB: {'kept' if fits else 'MISSED'}")


def make(directory: Path, megabytes: int) -> int:
    """Write orders.csv of that size and its products.csv; the number of orders."""
    draw = random.Random(1)
    products = [f"P{number:06d}" for number in range(50_000)]
    lines = "".join(f"{product},{draw.randrange(1, 40)}\n" for product in products)
    (directory / "products.csv").write_text(f"product,weight\n{lines}")
    rows = size = 0
    with (directory / "orders.csv").open("w") as file:
        file.write("id,product,ordered_at,day,quantity,price,customer,express,note\n")
        while size < megabytes * 1_000_000:
            block = "".join(
                f"{rows + n},{draw.choice(products)},2026-{draw.randrange(1, 13):02d}-{draw.randrange(1, 29):02d} "
                f"{draw.randrange(24):02d}:{draw.randrange(60):02d}:00,2026-{draw.randrange(1, 13):02d}-11,"
                f"{draw.randrange(1, 500)},{draw.random() * 1000:.2f},customer {draw.randrange(10**6)},"
                f"{draw.choice(('true', 'false', ''))},some words {draw.randrange(10**9)}\n"
                for n in range(20_000)
            )
            file.write(block)
            rows, size = rows + 20_000, size + len(block)
    return rows


def in_a_process(side: str, directory: str, schema: bool) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and peak megabytes of one side."""
    command = [sys.executable, __file__, "--side", side, "--directory", directory, *(["--schema"] if schema else [])]
    seconds, processor, megabytes = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return seconds, processor, megabytes


def measured(side: str, directory: Path, schema: bool) -> tuple[float, float, float]:
    """The same, in this process."""
    begun = time.perf_counter()
    (ours if side == "ours" else peer)(directory, schema)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def ours(directory: Path, schema: bool) -> None:
    """`run_etl` into a directory."""
    from tunesmith.etl import Column, Schema, Upload
    from tunesmith.etl.run import run_etl
    from tunesmith.storage import Storage

    orders = [
        Column("id", "integer", primary_key=True),
        Column("product", "string", foreign_key="products.product"),
        Column("ordered_at", "datetime"),
        Column("quantity", "integer"),
        Column("price", "float"),
        Column("express", "boolean", default=False),
    ]
    schemas = [Schema("orders", orders), Schema("products", [Column("product", "string", primary_key=True)])]
    uploads = [Upload(directory / name, name) for name in ("orders.csv", "products.csv")]
    outcome = run_etl(
        uploads, "orders", schemas if schema else (), None, Storage(str(directory / "storage")), "datasets/bench"
    )
    assert outcome.success, outcome.messages


def peer(directory: Path, schema: bool) -> None:
    """pandas, the dates told."""
    import pandas as pd

    pd.read_csv(directory / "products.csv").to_parquet(directory / "products.parquet")
    frame = pd.read_csv(directory / "orders.csv", parse_dates=["ordered_at", "day"])
    if schema:
        assert frame["id"].is_unique
    frame.to_parquet(directory / "orders.parquet")


if __name__ == "__main__":
    main()
