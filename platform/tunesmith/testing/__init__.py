"""What tests of the platform, and of stores and tools that others write for it, are made of.

`memory_store()` is a real store in memory; `spec()`, `new_experiment()`, `running_job()` and `finished_trial()` make
values with fixed dates; `StoreContract` is what every database must keep: subclass it and override its fixture `store`.
Needs pytest and hypothesis: `pip install tunesmith[dev]`.
"""

from tunesmith.testing.contract import StoreContract
from tunesmith.testing.factories import (
    EPOCH,
    finished_trial,
    memory_store,
    new_experiment,
    open_trial,
    queued_job,
    running_job,
    search,
    spec,
)
from tunesmith.testing.races import race

__all__ = [
    "EPOCH",
    "StoreContract",
    "finished_trial",
    "memory_store",
    "new_experiment",
    "open_trial",
    "queued_job",
    "race",
    "running_job",
    "search",
    "spec",
]
