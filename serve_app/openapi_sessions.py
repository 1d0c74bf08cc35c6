"""The example body and answer of every operation on sessions, datasets and scenarios."""

from __future__ import annotations

from typing import Any

from tunesmith.schemas.datasets import EXAMPLE_DATASET

SESSION = {"id": "7d9f0a34-4b5e-4a57-8a55-1f6f0c1a7e10", "display_name": "main"}
SESSIONS = {"sessions": [SESSION], "default": SESSION["id"]}
DURATION = {
    "name": "duration",
    "type": "integer",
    "required": False,
    "value": 1,
    "default": 1,
    "min": 1,
    "max": 60,
    "description": "seconds",
}
SCENARIO: dict[str, Any] = {
    "id": "0b8a4c1e-5d1f-4a0e-9d36-2f6f0c1a7e55",
    "tag": "my-run",
    "status": "complete",
    "progress": 100,
    "input_data_id": "5f0c7a52-6d0e-4b7c-9a39-0c3f5d1e8b21",
    "dataset_key": "Master data",
    "kpis": {
        "Delay": {
            "name": "Delay",
            "better_when": "LOWER",
            "unit": "s",
            "value": 5.003,
            "threshold": 10.0,
            "success": True,
        }
    },
    "algorithm": {"name": "Slow", "parameters": {"duration": 5}},
    "data_parameters": {},
    "created_at": "2026-01-31T12:00:00.000Z",
    "run_started_at": "2026-01-31T12:00:01.040Z",
    "run_finished_at": "2026-01-31T12:00:06.120Z",
    "result": {"slept_s": 5.003},
}
CREATED = {
    **SCENARIO,
    "status": "created",
    "progress": 0,
    "kpis": {"Delay": None},
    "run_started_at": None,
    "run_finished_at": None,
    "result": None,
}
RUNNING = {**CREATED, "status": "processing", "progress": 40, "run_started_at": SCENARIO["run_started_at"]}
STOPPED = {**RUNNING, "status": "failed", "result": {"error": "the run was cancelled"}}
OTHER = "f3b0c8aa-3f0e-4b8e-8f7b-6f0c1a7e5510"
COMPARISON = {
    "scenarios": [
        {"id": SCENARIO["id"], "tag": "my-run", "status": "complete"},
        {"id": OTHER, "tag": "shorter", "status": "complete"},
    ],
    "rows": [
        {
            "kpi": "Delay",
            "unit": "s",
            "better_when": "LOWER",
            "threshold": 10.0,
            "values": {SCENARIO["id"]: 5.003, OTHER: 2.001},
            "best": [OTHER],
        }
    ],
}
JOB = {
    "job_id": "job-3f9c0a1b2d4e",
    "job_status": "queued",
    "job_result": None,
    "job_meta": {
        "experiment_id": "12",
        "run_number": 1,
        "tool_name": "Slow",
        "optimizer": {"type": "tpe", "n_iter": 30, "seed": 1234},
        "attempt": 0,
    },
    "job_exc_info": None,
    "message": None,
    "progress": {"finished": 0, "failed": 0, "total": 30, "best": None},
    "priority": "normal",
    "queued_at": "2026-01-31T12:00:00.000Z",
    "started_at": None,
    "ended_at": None,
    "submitted_by": "anonymous",
}
KEYS = {"keys": ["Master data", "Master data, trimmed"]}
MESSAGE = {
    "severity": "warning",
    "table": "products",
    "column": "weight",
    "row": 17,
    "message": "the cell is empty; the default 0 was filled in",
}

BODIES: dict[str, Any] = {
    "create_session": {"display_name": "what if", "max_parallel": 2},
    "copy_session": {"new_display_name": "main, tried out"},
    "change_session": {"display_name": "production"},
    "create_scenario": {
        "tag": "my-run",
        "dataset_key": "Master data",
        "algo_name": "Slow",
        "algo_params": {"duration": 5},
    },
    "create_scenario_from_trial": {"experiment_id": 12, "tag": "tuned"},
    "compare_scenarios": {"ids": [SCENARIO["id"], OTHER]},
    "optimize_algorithm": {
        "algo_name": "Slow",
        "dataset_key": "Master data",
        "parameters": [{"name": "duration", "type": "int", "minimum": 1, "maximum": 60}],
        "objectives": [{"kpi": "Delay", "direction": "minimize"}],
        "optimizer": {"type": "tpe", "n_iter": 30},
    },
    "derive_dataset": {"new_key": "Master data, trimmed"},
    "upload_dataset": EXAMPLE_DATASET,
    "run_etl": {"dataset_name": "Master data", "files": ["sku,weight\nA1,2.5\n"]},
}
"""operationId -> a body that it takes."""
ANSWERS: dict[str, Any] = {
    "list_sessions": SESSIONS,
    "create_session": SESSIONS,
    "get_session": {**SESSION, "max_parallel": 1, "created_at": "2026-01-31T11:59:00.000Z"},
    "copy_session": SESSIONS,
    "change_session": {**SESSION, "display_name": "production"},
    "delete_session": SESSIONS,
    "list_algorithms": {"algorithms": ["Instant", "Slow"]},
    "list_algorithm_parameters": {"name": "Slow", "parameters": [DURATION]},
    "list_kpis": {"kpis": ["Delay"]},
    "list_scenarios": [SCENARIO],
    "create_scenario": CREATED,
    "create_scenario_from_trial": {**CREATED, "tag": "tuned"},
    "compare_scenarios": COMPARISON,
    "get_scenario": SCENARIO,
    "delete_scenario": None,
    "run_scenario": {**CREATED, "status": "queued"},
    "reset_scenario": CREATED,
    "cancel_scenario": STOPPED,
    "get_scenario_status": {name: RUNNING[name] for name in ("id", "tag", "status", "progress")},
    "stream_scenario_log": "slept 5 s\n",
    "get_processing": RUNNING,
    "optimize_algorithm": {"status": "submitted", "job": JOB, "warnings": []},
    "list_datasets": KEYS,
    "get_dataset": EXAMPLE_DATASET,
    "delete_dataset": None,
    "list_dataset_parameters": {"name": "Master data", "parameters": []},
    "derive_dataset": KEYS,
    "upload_dataset": KEYS,
    "run_etl": {"dataset_name": "Master data", "success": True, "keys": ["Master data"], "messages": [MESSAGE]},
}
"""operationId -> what it answers."""
