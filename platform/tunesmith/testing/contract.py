"""The contract of the store, whole: one test class that every database must pass."""

from __future__ import annotations

from tunesmith.testing.best_contract import BestContract
from tunesmith.testing.comparison_contract import ComparisonContract
from tunesmith.testing.counter_contract import CounterContract
from tunesmith.testing.dataset_contract import DatasetContract
from tunesmith.testing.event_contract import EventContract
from tunesmith.testing.experiment_contract import ExperimentContract
from tunesmith.testing.grant_contract import GrantContract
from tunesmith.testing.identity_contract import IdentityContract
from tunesmith.testing.job_contract import JobContract
from tunesmith.testing.lease_contract import LeaseContract
from tunesmith.testing.model_run_contract import ModelRunContract
from tunesmith.testing.notification_contract import NotificationContract
from tunesmith.testing.number_contract import NumberContract
from tunesmith.testing.paging_contract import PagingContract
from tunesmith.testing.recording_contract import RecordingContract
from tunesmith.testing.recovery_contract import RecoveryContract
from tunesmith.testing.scenario_contract import ScenarioContract
from tunesmith.testing.session_contract import SessionContract
from tunesmith.testing.trained_model_contract import TrainedModelContract
from tunesmith.testing.training_contract import TrainingContract
from tunesmith.testing.turn_contract import TurnContract
from tunesmith.testing.workspace_contract import WorkspaceContract


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
    SessionContract,
    DatasetContract,
    ScenarioContract,
    TurnContract,
    ComparisonContract,
    ModelRunContract,
    TrainedModelContract,
    IdentityContract,
    GrantContract,
    WorkspaceContract,
):
    """What a store promises; override the fixture `store` with a migrated one that holds no queued jobs."""
