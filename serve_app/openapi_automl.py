"""The example body and answer of every operation of AutoML."""

from __future__ import annotations

from typing import Any

from tunesmith.schemas.automl import EXAMPLE_TRAIN

MODEL_ID = "5d0c1a9e-7f42-4b1e-9a37-2f1b6c8d0e4f"
JOB_ID = "job-3f9c0a1b2d4e"
CONFIG: dict[str, Any] = {
    "model": {"type": "linear", "input_dim": None, "output_dim": None, "task": "regression"},
    "training": {"epochs": 1, "validation_split": 0.2, "seed": 7},
    "data": {"train_path": "houses.csv", "val_path": None, "target": "price", "features": None},
    "hyperparameter_search": {"enabled": False, "n_trials": 20, "sampler": "auto", "folds": 5},
    "resources": {"num_cpus": 1.0, "num_gpus": 0.0, "memory_bytes": None},
}
METRICS = {"train_loss": 0.31, "val_loss": 0.35, "r2": 0.93, "mae": 0.42, "rmse": 0.59}
SUMMARY: dict[str, Any] = {
    "model_id": MODEL_ID,
    "job_id": JOB_ID,
    "experiment_id": 7,
    "template": "linear",
    "status": "completed",
    "progress": 100,
    "message": None,
    "error": None,
    "metrics": METRICS,
    "trial": 0,
    "search": None,
    "submitted_by": "ada",
    "created_at": "2026-01-31T12:00:00.000Z",
    "started_at": "2026-01-31T12:00:00.050Z",
    "ended_at": "2026-01-31T12:00:01.200Z",
    "artifact_url": f"/v1/models/{MODEL_ID}/artifact",
}
STOPPED = {**SUMMARY, "status": "stopped", "progress": 40, "metrics": {}, "trial": None, "artifact_url": None}
ROW = {
    "rank": 1,
    "trial": 12,
    "architecture": "gradient_boosting",
    "value": 0.978,
    "metrics": {"cv_accuracy": 0.978, "accuracy": 0.974},
    "params": {"architecture": "gradient_boosting", "learning_rate": 0.08},
    "duration_s": 2.4,
}

BODIES: dict[str, Any] = {
    "train_model": EXAMPLE_TRAIN,
    "predict": {"rows": [{"rooms": 4, "area": 98.5, "district": "north"}]},
}
"""operationId -> a body that it takes."""
ANSWERS: dict[str, Any] = {
    "list_configs": {"configs": ["classification", "linear", "regression", "vision"]},
    "get_config": {
        "config": CONFIG,
        "description": "Least squares, or logistic regression.",
        "families": [],
        "metric": "r2",
        "search_space": [{"name": "alpha", "type": "float", "minimum": 1e-6, "maximum": 100.0, "log": True}],
        "config_schema": {"type": "object", "properties": {}},
        "available": True,
        "install": None,
    },
    "train_model": {"job_id": JOB_ID, "model_id": MODEL_ID, "status": "initializing", "metrics": {}},
    "list_trained_models": {"models": [SUMMARY], "next_cursor": None},
    "get_trained_model": {**SUMMARY, "config": CONFIG, "history": [{"step": 1, **METRICS}]},
    "get_leaderboard": {"metric": "cv_accuracy", "direction": "maximize", "trials": [ROW]},
    "predict": {"predictions": [312_500.0], "probabilities": None},
    "stop_training": STOPPED,
    "delete_trained_model": None,
    "get_artifact": "PK...",
}
"""operationId -> an answer of it."""
