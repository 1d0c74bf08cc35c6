"""Names by which the parts of a cluster find each other; this module imports nothing, so that the API starts fast."""

from __future__ import annotations

NAMESPACE = "tunesmith"
"""Ray namespace of the platform's named actors."""
RUNNER = "tunesmith-runner"
"""Name of the runner's actor."""
STUDIES = "tunesmith-studies"
"""Name of the actor that chooses points for workers that ask."""


def instance_resource(instance_type: str) -> str:
    """The custom resource that nodes of an instance type carry."""
    return f"instance_type:{instance_type}"
