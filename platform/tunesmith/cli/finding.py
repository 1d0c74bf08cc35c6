"""Which job an id or a name means: an experiment's (`job-...`), or a training job."""

from __future__ import annotations

from tunesmith.client import Client, Job, TrainingHandle
from tunesmith.errors import NotFound


def find_job(client: Client, word: str) -> Job | TrainingHandle:
    """The job. Raises JobNotFound, TrainingNotFound."""
    if not word.startswith("job-"):
        return client.training_jobs.get(word)
    try:
        return client.job(word)
    except NotFound as error:
        try:
            return client.training_jobs.get(word)  # nothing keeps people from such a name
        except NotFound:
            raise error from None
