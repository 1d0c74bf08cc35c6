"""The samplers, by name: what each can do, its options, and how a job's search is checked before it is queued."""

from __future__ import annotations

from tuners.samplers.options import Options
from tuners.samplers.planning import DEFAULT_TRIALS, Plan, check_feasible, plan
from tuners.samplers.registry import GROUP, SAMPLERS, catalogue, find
from tuners.samplers.resolving import check_options, learns, needs_history, resolved
from tuners.samplers.sampler import Sampler

__all__ = [
    "DEFAULT_TRIALS",
    "GROUP",
    "SAMPLERS",
    "Options",
    "Plan",
    "Sampler",
    "catalogue",
    "check_feasible",
    "check_options",
    "find",
    "learns",
    "needs_history",
    "plan",
    "resolved",
]
