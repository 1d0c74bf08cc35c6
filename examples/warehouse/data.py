"""A made-up warehouse, the same for the same seed: `python -m warehouse.data DIRECTORY` writes it as CSV files."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

AISLE_M, DEPTH_M = 3.0, 1.2
"""Metres from aisle to aisle, and from slot to slot in one."""


def tables(products: int = 400, aisles: int = 12, depth: int = 40, seed: int = 0) -> dict[str, pd.DataFrame]:
    """`products` and `slots`; two aisles are a zone, few products are asked for often, and they lie anywhere.

    Raises ValueError when there are more products than slots.
    """
    if products > aisles * depth:
        raise ValueError(f"{products} products do not fit into {aisles * depth} slots")
    random = np.random.default_rng(seed)
    aisle, position = (found.ravel() for found in np.mgrid[:aisles, :depth])
    slots = pd.DataFrame(
        {
            "slot": [f"{chr(65 + a)}{p + 1:02d}" for a, p in zip(aisle, position, strict=True)],
            "zone": [f"zone {a // 2 + 1}" for a in aisle],
            "x": aisle * AISLE_M,
            "y": position * DEPTH_M,
        }
    )
    demand = np.round(400 / (1 + np.arange(products)) ** 0.8 * random.lognormal(0, 0.3, products), 1)
    names = [f"P{number:04d}" for number in range(1, products + 1)]
    taken = random.choice(slots["slot"].to_numpy(dtype=object), products, replace=False)
    return {
        "products": pd.DataFrame({"product": names, "demand": random.permutation(demand), "slot": taken}),
        "slots": slots,
    }


def write(directory: Path, seed: int = 0) -> list[Path]:
    """The tables as CSV files in a directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables(seed=seed).items():
        paths.append(directory / f"{name}.csv")
        table.to_csv(paths[-1], index=False)
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for path in write(asked.directory, asked.seed):
        print(path)
