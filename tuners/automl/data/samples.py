"""The tables that come with scikit-learn, by name."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tuners.automl.data.part import Part, TablePart
from tunesmith.automl.places import SAMPLE


def sample(name: str) -> Part:
    """One of tunesmith.automl.places.SAMPLES: its features, and last `target`."""
    from sklearn import datasets  # type: ignore[import-untyped]

    loaded: Any = getattr(datasets, f"load_{name}")(as_frame=True)
    return TablePart(f"{SAMPLE}{name}", pa.Table.from_pandas(loaded.frame, preserve_index=False))
