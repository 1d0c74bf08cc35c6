"""Makes the dataset of the bundled models: `python -m tuners.models.make_history FILE`."""

from __future__ import annotations

import csv
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from tuners.models.history import FILE, KPIS, REGIONS, YEARS

SEED = 20240101
SIZE = {"NA": 1.0, "EU": 0.8, "APAC": 0.6, "LATAM": 0.25, "MEA": 0.15}
GROWTH = {"NA": 0.035, "EU": 0.02, "APAC": 0.07, "LATAM": 0.045, "MEA": 0.055}
"""A region's growth in a usual year."""
LEVEL = {"revenue": 2700.0, "cost": 1900.0, "customers": 1150.0, "units": 5200.0}
"""Of NA, before the first year."""
SLOWER = {"revenue": 0.0, "cost": 0.008, "customers": 0.012, "units": 0.004}
"""How much slower a KPI grows than revenue."""
SHOCKS = {2009: -0.09, 2010: 0.03, 2020: -0.07, 2021: 0.05}
"""Years that were not usual, anywhere."""


def make(target: Path) -> None:
    """Write the dataset: always the same one."""
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("region", "year", "kpi", "value"))
        writer.writerows(_rows(random.Random(SEED)))


def _rows(chance: random.Random) -> Iterator[tuple[str, int, str, str]]:
    for region in REGIONS:
        levels = {kpi: math.log(LEVEL[kpi] * SIZE[region]) for kpi in KPIS}
        for year in YEARS:
            shared = GROWTH[region] + SHOCKS.get(year, 0.0) + chance.gauss(0, 0.02)
            for kpi in KPIS:
                levels[kpi] += shared - SLOWER[kpi] + chance.gauss(0, 0.01)
                yield region, year, kpi, f"{math.exp(levels[kpi]):.2f}"


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
