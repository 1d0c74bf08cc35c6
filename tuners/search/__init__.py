"""One job's search: it hands out points and learns from what came of them; what SQL holds is the truth."""

from __future__ import annotations

from tuners.samplers.seeds import seed_of
from tuners.search.points import PointSearch

__all__ = ["PointSearch", "seed_of"]
