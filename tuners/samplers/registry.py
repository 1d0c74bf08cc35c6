"""The samplers by name: the platform's own, and those that installed distributions offer by entry point."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tuners.samplers.builtin import samplers
from tuners.samplers.sampler import Sampler
from tunesmith.errors import InvalidOptimizer

log = logging.getLogger(__name__)

GROUP = "tunesmith.samplers"
"""The entry point group by which a distribution offers samplers of its own.

In its pyproject.toml:

    [project.entry-points."tunesmith.samplers"]
    simulated_annealing = "annealing.platform:SAMPLER"

The entry is a `tuners.samplers.Sampler`, or a callable without arguments that returns one:

    from tuners.samplers import Options, Sampler

    class AnnealingOptions(Options):
        cooling: float = 0.95

    def build(options: AnnealingOptions, seed: int) -> optuna.samplers.BaseSampler:
        return SimulatedAnnealingSampler(options.cooling, seed=seed)

    SAMPLER = Sampler(
        name="simulated_annealing", description="Simulated annealing (Kirkpatrick et al. 1983).",
        options=AnnealingOptions, build=build, multi_objective=False,
    )

It must be installed where the API runs and where the runner does. What `build` returns is seeded anew for each trial
(every `numpy.random.RandomState`, `numpy.random.Generator`, `random.Random` and Optuna sampler among its attributes),
and what it keeps about a trial in Optuna's system attributes outlives a restart, as far as JSON holds it; a sampler
that keeps its state elsewhere does not resume exactly. One that has a method `search_over` is told the whole space
before the first trial, as Optuna's distributions by name.

A sampler that has the name of one of the platform's, and one that cannot be loaded, are left out with a warning.
"""


class Registry(Mapping[str, Sampler]):
    """Name -> sampler, in the order to try them; entry points are loaded at the first look."""

    def __getitem__(self, name: str) -> Sampler:
        return self._samplers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._samplers)

    def __len__(self) -> int:
        return len(self._samplers)

    @cached_property
    def _samplers(self) -> dict[str, Sampler]:
        found = {sampler.name: sampler for sampler in samplers()}
        for entry in entry_points(group=GROUP):
            sampler = _loaded(entry)
            if sampler is None:
                continue
            if sampler.name in found:
                log.warning(
                    "the sampler %r of entry point %s is left out: the name is taken", sampler.name, entry.value
                )
            else:
                found[sampler.name] = sampler
        return found


SAMPLERS: Mapping[str, Sampler] = Registry()


def find(name: str) -> Sampler:
    """A sampler by name. Raises InvalidOptimizer that names the nearest one."""
    if name in SAMPLERS:
        return SAMPLERS[name]
    near = difflib.get_close_matches(name, SAMPLERS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InvalidOptimizer(
        f"optimizer.type: no sampler is called {name!r}; {hint}known: {', '.join(SAMPLERS)}", field="type"
    )


def catalogue() -> list[dict[str, Any]]:
    """What `GET /api/v1/samplers` lists."""
    return [
        {
            "name": sampler.name,
            "description": sampler.description,
            "fields": sorted(sampler.fields),
            "options": sampler.options.model_json_schema().get("properties", {}),
            "multi_objective": sampler.multi_objective,
            "constraints": sampler.constraints,
            "mixed_spaces": sampler.mixed_spaces,
            "conditional_spaces": sampler.conditional_spaces,
            "define_by_run": sampler.define_by_run,
            "available": sampler.available,
            "remedy": sampler.missing,
        }
        for sampler in SAMPLERS.values()
    ]


def _loaded(entry: EntryPoint) -> Sampler | None:
    """What an entry point offers; None, with a warning in the log, when that is no sampler."""
    try:
        offered = entry.load()
        sampler = offered if isinstance(offered, Sampler) else offered()
        if not isinstance(sampler, Sampler):
            raise TypeError(f"it gave a {type(sampler).__name__}, not a tuners.samplers.Sampler")
        sampler.options.model_json_schema()
    except Exception:  # a stranger's module may raise anything, and no request may fail for it
        log.warning("the entry point %s of group %s is left out", entry.value, GROUP, exc_info=True)
        return None
    return sampler
