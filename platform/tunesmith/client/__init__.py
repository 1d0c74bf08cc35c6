"""The Python client: `Client(url)` with the handles that it gives out, and `AutoMLClient(api_key)`."""

from tunesmith.client.asking import TrialToRun
from tunesmith.client.automl import AutoMLClient
from tunesmith.client.client import Client
from tunesmith.client.discovery import RunFile, platform_url, read_run_file
from tunesmith.client.experiment import Experiment
from tunesmith.client.job import Job, JobEvent
from tunesmith.client.model_runs import RunHandle
from tunesmith.client.training_job import TrainingHandle

__all__ = [
    "AutoMLClient",
    "Client",
    "Experiment",
    "Job",
    "JobEvent",
    "RunFile",
    "RunHandle",
    "TrainingHandle",
    "TrialToRun",
    "platform_url",
    "read_run_file",
]
