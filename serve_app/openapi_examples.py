"""The example body and answer of every operation, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from serve_app import openapi_automl, openapi_people, openapi_runs, openapi_sessions
from tunesmith.schemas.analysis import EXAMPLES as ANALYSES
from tunesmith.schemas.asking import EXAMPLE_ASK
from tunesmith.schemas.functions import EXAMPLE as EXAMPLE_FUNCTION
from tunesmith.schemas.records import EXAMPLE_RECORD
from tunesmith.schemas.requests import EXAMPLE_EXPERIMENT
from tunesmith.schemas.secrets import EXAMPLE as EXAMPLE_SECRET
from tunesmith.schemas.training_jobs import EXAMPLE_TRAINING

METRICS = """# HELP tunesmith_jobs_running Jobs that a runner holds.
# TYPE tunesmith_jobs_running gauge
tunesmith_jobs_running 2.0
"""
CONFIGS = [{"parameter_name": "paramA", "value": 1}, {"parameter_name": "paramB", "value": 1}]
BEST = {
    "number": 3,
    "outcome": 2.004,
    "outcomes": {"wall_time_s": 2.004},
    "params": {"paramA": 1, "paramB": 1},
}
TRIAL: dict[str, Any] = {
    "experiment_id": 1,
    "run_number": 1,
    "job_id": "job-3f9c0a1b2d4e",
    "number": 3,
    "state": "complete",
    "outcome": 2.004,
    "outcomes": {"wall_time_s": 2.004},
    "metrics": {"wall_time_s": 2.004, "cpu_time_s": 0.003, "max_rss_bytes": 3_457_024.0, "exit_code": 0.0},
    "feasible": None,
    "parameter_configs": CONFIGS,
    "timestamp": "2026-01-31T12:00:06.120Z",
    "started_at": "2026-01-31T12:00:04.110Z",
    "duration_s": 2.01,
    "error": None,
    "attempt": 1,
    "worker": "head:4711",
    "log_url": "/api/v1/jobs/job-3f9c0a1b2d4e/logs?trial=3",
}
TOKEN = "4836b440f418f5aa923d1b67dac700d7"
LEASE_ENDS = "2026-01-31T12:01:04.110Z"
ASKED = {
    **TRIAL,
    "run_number": None,
    "job_id": None,
    "outcome": 0.31,
    "outcomes": {"loss": 0.31},
    "metrics": {"loss": 0.31},
    "parameter_configs": [{"parameter_name": "lr", "value": 0.01}],
    "worker": "node7-gpu0",
    "log_url": None,
}
JOB: dict[str, Any] = {
    "job_id": "job-3f9c0a1b2d4e",
    "job_status": "started",
    "job_result": None,
    "job_meta": {
        "experiment_id": "1",
        "run_number": 1,
        "tool_name": "sleepExample",
        "optimizer": {"type": "bayesopt", "n_init": 2, "n_iter": 2, "seed": 1234},
        "attempt": 1,
    },
    "job_exc_info": None,
    "message": None,
    "progress": {"finished": 3, "failed": 0, "total": 4, "best": BEST},
    "priority": "normal",
    "queued_at": "2026-01-31T12:00:00.000Z",
    "started_at": "2026-01-31T12:00:00.040Z",
    "ended_at": None,
    "submitted_by": None,
}
QUEUED = {
    **JOB,
    "job_status": "queued",
    "job_meta": {**JOB["job_meta"], "attempt": 0},
    "progress": {"finished": 0, "failed": 0, "total": 4, "best": None},
    "started_at": None,
}
FAILED = {
    **JOB,
    "job_status": "failed",
    "job_exc_info": "no trial succeeded; trial 0: exit code 127: sleeep: command not found",
    "progress": {"finished": 4, "failed": 4, "total": 4, "best": None},
    "ended_at": "2026-01-31T12:00:02.500Z",
}
STOPPING = {"status": "success", "job": {**JOB, "message": "stopping"}, "warnings": []}
EXPERIMENT: dict[str, Any] = {
    "id": 1,
    "name": "sleepExample",
    "tags": [],
    "archived": False,
    "created_at": "2026-01-31T11:59:59.000Z",
    "tool_name": "sleepExample",
    "parameters": [
        {
            "name": name,
            "type": "int",
            "minimum": 1.0,
            "maximum": 3.0,
            "log": False,
            "step": None,
            "choices": None,
            "when": None,
        }
        for name in ("paramA", "paramB")
    ],
    "command_template_string": "#!/bin/bash\nsleep $(( ${paramA} + ${paramB} ))\n",
    "function": None,
    "setup_template_string": None,
    "finish_template_string": None,
    "compute": {"type": "local", "max_threads": None, "instance_model": None, "instance_family": None, "ami": None},
    "objectives": [{"metric": "wall_time_s", "direction": "minimize"}],
    "constraints": [],
    "metrics": {"patterns": {}},
    "trial_timeout_s": None,
    "resources": {"cpus": 1.0, "gpus": 0.0, "memory_bytes": None},
    "trial_counts": {"waiting": 0, "running": 1, "complete": 3, "pruned": 0, "failed": 0},
    "warnings": [],
}
SAMPLER = {
    "name": "tpe",
    "description": "Tree-structured Parzen estimator (Bergstra et al. 2011).",
    "fields": ["n_iter"],
    "options": {"n_startup_trials": {"default": 10, "minimum": 0, "type": "integer"}},
    "multi_objective": True,
    "constraints": True,
    "mixed_spaces": True,
    "conditional_spaces": True,
    "define_by_run": True,
    "available": True,
    "remedy": None,
}
PRUNER = {
    "name": "median",
    "description": "Prunes a trial that is worse than the median of the complete ones at the same step.",
    "options": {"n_warmup_steps": {"default": 0, "minimum": 0, "type": "integer"}},
    "multi_objective": True,
}
EVENT = {
    "id": "3",
    "event": "trial",
    "data": '{"job_id":"job-3f9c0a1b2d4e","at":"2026-01-31T12:00:06.120Z","number":0,"state":"complete",'
    '"values":[2.004],"params":{"paramA":1,"paramB":1},"duration_s":2.01,"error":null}',
}
HEALTH = {
    "status": "healthy",
    "timestamp": "2026-01-31T12:00:00.000Z",
    "service": "tunesmith",
    "database_connected": True,
    "version": "0.1.0",
    "title": "tunesmith",
    "sessions": [],
}
TRAINING: dict[str, Any] = {
    "job_id": "train-a1b2c3d4",
    **EXAMPLE_TRAINING,
    "retry_count": 0,
    "retry_backoff_s": 60.0,
    "resume_flag": "--resume-from-checkpoint",
    "env": {},
    "timeout_s": None,
    "priority": "normal",
    "depends_on": [],
    "catch_up": "once",
    "overlap": "skip",
    "resources": {"cpus": 1.0, "gpus": 0.0, "memory_bytes": None},
    "tags": [],
    "notify": [],
    "parameters": [],
    "parameter_constraints": [],
    "objectives": [{"metric": "wall_time_s", "direction": "minimize"}],
    "constraints": [],
    "optimizer": None,
    "status": "pending",
    "next_run_at": "2026-01-31T01:00:00.000Z",
    "started_at": None,
    "completed_at": None,
    "error_message": None,
    "message": None,
    "experiment_id": 7,
    "created_at": "2026-01-30T18:00:00.000Z",
    "updated_at": "2026-01-30T18:00:00.000Z",
}
FIRED = {
    **TRAINING,
    "status": "running",
    "started_at": "2026-01-31T01:00:00.040Z",
    "next_run_at": "2026-02-01T01:00:00.000Z",
    "updated_at": "2026-01-31T01:00:00.040Z",
}
EXECUTION = {
    "number": 3,
    "attempt": 2,
    "trial": 4,
    "status": "completed",
    "started_at": "2026-01-31T01:10:00.040Z",
    "ended_at": "2026-01-31T03:30:00.040Z",
    "exit_code": 0,
    "duration_s": 8400.0,
    "checkpoint": "/checkpoints/resnet50",
    "node": "node7:4711",
    "error": None,
    "params": {},
    "usage": {"wall_time_s": 8400.0, "cpu_time_s": 31_700.5, "max_rss_bytes": 8_123_456_789.0},
    "log": "/jobs/train-a1b2c3d4/logs?trial=4",
}
NOTIFICATION = {
    "id": "ntf-8f14e45fceea167a",
    "state": "dead",
    "channel": "slack",
    "training_id": "train-3f9c0a1b",
    "name": "nightly",
    "job_id": "job-3f9c0a1b2d4e",
    "execution": 3,
    "status": "failed",
    "text": "Training job nightly (train-3f9c0a1b): failed at 2026-01-31T02:10:00.000Z.\nExecution 3, attempt 4.",
    "attempts": 8,
    "next_at": None,
    "last_error": "slack+https://chat.example.com/*** answered 404: no_service",
    "created_at": "2026-01-31T02:10:00.040Z",
    "sent_at": None,
}

BODIES: dict[str, Any] = {
    **openapi_sessions.BODIES,
    **openapi_people.BODIES,
    **openapi_runs.BODIES,
    **openapi_automl.BODIES,
    "ship_function": EXAMPLE_FUNCTION,
    "ask": EXAMPLE_ASK,
    "report_trial": {"token": TOKEN, "step": 1, "value": 0.42},
    "tell_trial": {"token": TOKEN, "values": {"loss": 0.31}},
    "tell_trials": {"trials": [{"number": 3, "token": TOKEN, "value": 0.31}]},
    "fail_trial": {"token": TOKEN, "error": "CUDA out of memory"},
    "heartbeat": {"token": TOKEN, "lease_s": 60},
    "create_experiment": EXAMPLE_EXPERIMENT,
    "change_experiment": {"name": "sleep, narrowed", "tags": ["demo"]},
    "submit_job": {"optimizer": {"type": "bayesopt", "n_init": 2, "n_iter": 2}},
    "add_records": {"records": [EXAMPLE_RECORD]},
    "create_training": EXAMPLE_TRAINING,
    "check_training": EXAMPLE_TRAINING,
    "change_training": {"schedule": "0 3 * * *", "max_retries": 5},
    "try_channel": {"channel": "slack"},
    "set_secret": {"value": "4836b440f418f5aa923d1b67dac700d7"},
    "create_token": {"username": "ada", "password": "correct horse battery staple"},
    "create_study": {"name": "mnist", "objectives": [{"metric": "loss", "direction": "minimize"}]},
}
"""operationId -> a body that it takes."""
ANSWERS: dict[str, Any] = {
    **openapi_sessions.ANSWERS,
    **openapi_people.ANSWERS,
    **openapi_runs.ANSWERS,
    **openapi_automl.ANSWERS,
    "create_experiment": EXPERIMENT,
    "ask": {
        "experiment_id": 1,
        "trials": [{"number": 3, "params": {"lr": 0.01}, "token": TOKEN, "attempt": 1, "lease_expires_at": LEASE_ENDS}],
        "retry_after_s": None,
    },
    "report_trial": {"prune": False, "lease_expires_at": LEASE_ENDS},
    "tell_trial": ASKED,
    "tell_trials": {"trials": [{"number": 3, "status": "told", "code": None, "error": None}], "told": 1},
    "fail_trial": {**ASKED, "state": "failed", "outcome": None, "outcomes": {"loss": None}, "error": "out of memory"},
    "heartbeat": {"lease_expires_at": LEASE_ENDS},
    "list_experiments": {"experiments": [EXPERIMENT], "next_cursor": None},
    "get_experiment": {**EXPERIMENT, "job": JOB, "best": TRIAL},
    "change_experiment": {**EXPERIMENT, "tags": ["demo"]},
    "list_samplers": {"samplers": [SAMPLER]},
    "list_pruners": {"pruners": [PRUNER]},
    "ship_function": {"digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    "submit_job": {"status": "submitted", "job": QUEUED, "warnings": []},
    "list_trials": {"trials": [TRIAL], "next_cursor": "WzNd"},
    "list_records": {"records": [EXAMPLE_RECORD], "study": {"name": None}, "next_cursor": "WzBd"},
    "add_records": {"count": 1, "first_number": 0, "outside": 0},
    "create_study": {**EXPERIMENT, "name": "mnist", "tool_name": "mnist", "parameters": [], "external": True},
    "get_trial": {**TRIAL, "measurements": [{"metric": "loss", "step": 1, "value": 0.3}]},
    "get_best": TRIAL,
    **ANALYSES,
    "get_active_job": {"status": "success", "job": JOB, "warnings": []},
    "stop_experiment": STOPPING,
    "list_jobs": {"jobs": [JOB], "next_cursor": None},
    "list_running_jobs": [JOB],
    "list_queued_jobs": [QUEUED],
    "list_failed_jobs": [FAILED],
    "get_job": {"status": "success", "job": JOB, "warnings": []},
    "cancel_job": STOPPING,
    "pause_job": {**STOPPING, "job": {**JOB, "message": "pausing: its running trials finish first"}},
    "resume_job": {"status": "success", "job": QUEUED, "warnings": []},
    "retry_job": {"status": "success", "job": QUEUED, "warnings": []},
    "create_training": TRAINING,
    "check_training": {
        "valid": True,
        "schedule": "at 02:00 every day (Europe/Berlin)",
        "next_runs": [f"2026-02-0{day}T01:00:00.000Z" for day in range(1, 6)],
        "warnings": [],
    },
    "list_trainings": {"jobs": [TRAINING], "total": 15, "page": 1, "page_size": 50},
    "get_training": FIRED,
    "change_training": {**TRAINING, "schedule": "0 3 * * *", "max_retries": 5},
    "delete_training": None,
    "retry_training": TRAINING,
    "run_training": TRAINING,
    "cancel_training": {**FIRED, "message": "stopping"},
    "pause_training": {**TRAINING, "status": "paused"},
    "resume_training": TRAINING,
    "list_executions": {"executions": [EXECUTION], "next_cursor": "WzRd"},
    "stream_training_logs": "==> attempt 2 of execution 3 (running) <==\nepoch 41: loss 0.31\n",
    "get_stats": {
        "total_jobs": 25,
        "pending": 5,
        "running": 2,
        "completed": 12,
        "failed": 2,
        "retrying": 1,
        "paused": 2,
        "cancelled": 1,
    },
    "list_notifications": {"notifications": [NOTIFICATION], "next_cursor": None},
    "resend_notification": {**NOTIFICATION, "state": "waiting", "attempts": 0, "next_at": "2026-01-31T08:00:00.000Z"},
    "try_channel": {"status": "sent", "channel": "slack"},
    "list_secrets": {"secrets": [EXAMPLE_SECRET]},
    "set_secret": EXAMPLE_SECRET,
    "remove_secret": None,
    "stream_events": EVENT,
    "stream_logs": "==> trial 0 (complete) <==\n+ sleep 2\n",
    "create_token": {
        "access_token": "ts_q3mZ0y1vC8bK5nR7wX2aT4uE6iP9oL-sDfGhJk_QzYc",
        "token_type": "bearer",
        "expires_at": "2026-02-01T12:00:00.000Z",
    },
    "get_health": HEALTH,
    "get_ready": {"status": "ready"},
    "get_metrics": METRICS,
}
"""operationId -> what it answers."""
