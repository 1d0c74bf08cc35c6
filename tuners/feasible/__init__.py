"""Points that satisfy constraints between parameters: drawn, searched for, or found near one that breaks them."""

from __future__ import annotations

from tuners.feasible.finding import Finding, find
from tuners.feasible.region import Axis, Constraints, draw, feasible
from tuners.feasible.repairing import repair

__all__ = ["Axis", "Constraints", "Finding", "draw", "feasible", "find", "repair"]
