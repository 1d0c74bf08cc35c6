"""Finding an experiment by what people call it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.errors import Conflict, ExperimentNotFound

if TYPE_CHECKING:
    from tunesmith.client.client import Client
    from tunesmith.client.experiment import Experiment


def find(client: Client, name: str) -> Experiment:
    """The one experiment, not archived, that has the name, or whose tool has it; a tool's letter case does not matter.

    Raises:
        ExperimentNotFound: there is none; the message has the names that are near.
        Conflict: there are several; the message has their ids.
    """
    found = [experiment for experiment in client.experiments(name) if experiment.info.name == name]
    if found:
        return _only(name, found)
    every = list(client.experiments())
    found = [experiment for experiment in every if experiment.info.tool_name.casefold() == name.casefold()]
    if found:
        return _only(name, found)
    names = list(dict.fromkeys(word for e in every for word in (e.info.name, e.info.tool_name)))
    near = difflib.get_close_matches(name, names, n=3) or [word for word in names if name.casefold() in word.casefold()]
    hint = f"is it {' or '.join(map(repr, near[:3]))}?" if near else "`tunesmith experiments` lists them"
    raise ExperimentNotFound(f"No experiment is called {name!r}; {hint}", name=name, near=near[:3])


def _only(name: str, found: Sequence[Experiment]) -> Experiment:
    if len(found) > 1:
        ids = [experiment.id for experiment in found]
        shown = ", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else "")
        raise Conflict(f"{len(ids)} experiments are called {name!r}; take one by its id: {shown}", ids=ids)
    return found[0]
