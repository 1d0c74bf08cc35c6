"""The contract of the store, whole: one test class that every database must pass."""

from __future__ import annotations

from tunesmith.testing.best_contract import BestContract
from tunesmith.testing.counter_contract import CounterContract
from tunesmith.testing.event_contract import EventContract
from tunesmith.testing.experiment_contract import ExperimentContract
from tunesmith.testing.job_contract import JobContract
from tunesmith.testing.lease_contract import LeaseContract
from tunesmith.testing.notification_contract import NotificationContract
from tunesmith.testing.number_contract import NumberContract
from tunesmith.testing.paging_contract import PagingContract
from tunesmith.testing.recording_contract import RecordingContract
from tunesmith.testing.recovery_contract import RecoveryContract
from tunesmith.testing.training_contract import TrainingContract


class StoreContract(
    ExperimentContract,
    PagingContract,
    JobContract,
    LeaseContract,
    RecoveryContract,
    RecordingContract,
    EventContract,
    BestContract,
    CounterContract,
    NumberContract,
    TrainingContract,
    NotificationContract,
):
    """What a store promises; override the fixture `store` with a migrated one that holds no queued jobs."""
