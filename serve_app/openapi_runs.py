"""The example body and answer of every operation on models and their runs."""

from __future__ import annotations

from typing import Any

from tunesmith.schemas.model_runs import EXAMPLE_RUN

RUN_ID = "0b5c1d2e-8f3a-4c6b-9d7e-1f2a3b4c5d6e"
STATUS: dict[str, Any] = {
    "run_id": RUN_ID,
    "status": "running",
    "progress": 30,
    "message": "Processing step 3/10",
    "started_at": "2026-01-31T12:00:00.040Z",
    "updated_at": "2026-01-31T12:00:00.240Z",
    "submitted_by": "anonymous",
}
RUN = {
    **STATUS,
    "model_id": "linear_reg",
    "inputs": {"region": "NA", "year": 2024, "parameter_set": "baseline", "seed": 0, "alpha": 0.1},
    "experiment_id": 7,
    "created_at": "2026-01-31T12:00:00.000Z",
}
ROW = {"region": "NA", "year": 2024, "kpi": "revenue", "value": 4567.89}
MODELS = [
    {"id": "linear_reg", "name": "Linear Regression", "params": {"alpha": [0.1, 1.0, 10.0]}},
    {"id": "simulator", "name": "Monte Carlo Simulator", "params": {"trials": [100, 1000, 10000]}},
]

BODIES: dict[str, Any] = {"submit_run": EXAMPLE_RUN}
"""operationId -> a body that it takes."""
ANSWERS: dict[str, Any] = {
    "list_models": {"models": MODELS},
    "submit_run": {"run_id": RUN_ID, "status": "queued"},
    "list_runs": {"runs": [RUN], "next_cursor": None},
    "get_run": RUN,
    "get_run_status": STATUS,
    "get_run_results": {
        "run_id": RUN_ID,
        "summary": {"rows": 20, "avg_value": 1234.56},
        "rows": [ROW],
        "next_cursor": None,
    },
    "cancel_run": {**STATUS, "status": "failed", "message": "the run was cancelled"},
}
"""operationId -> what it answers."""
