"""Train a model from a template, step by step: a token, the templates, one changed, the training, the model's file.

    TUNESMITH_ADMIN_PASSWORD=correct-horse tunesmith up --detach          # once
    AUTOML_USERNAME=admin AUTOML_PASSWORD=correct-horse python examples/automl/train.py [URL]

Without a user's name no token is asked for: a platform that has no users takes trainings from this machine.
"""

from __future__ import annotations

import os
import sys
import time

from tunesmith import AutoMLClient
from tunesmith.client import platform_url

PATIENTS = [
    {"age": 0.04, "sex": 0.05, "bmi": 0.06, "bp": 0.02, "s1": -0.04, "s2": -0.03, "s3": -0.04, "s4": 0, "s5": 0.02},
    {"age": 0, "sex": -0.04, "bmi": -0.05, "bp": -0.03, "s1": 0, "s2": -0.02, "s3": 0.07, "s4": -0.04, "s5": -0.07},
]
"""What two patients measured (all as distances from the mean); `s6` is missing, and is filled in."""


def connect(url: str) -> AutoMLClient:
    username = os.environ.get("AUTOML_USERNAME")
    if username is None:
        return AutoMLClient(base_url=url)
    return AutoMLClient.login(username, os.environ["AUTOML_PASSWORD"], base_url=url)


def main() -> None:
    with connect(sys.argv[1] if len(sys.argv) > 1 else platform_url()) as client:
        print("templates:", ", ".join(client.configs()))

        config = client.config("linear")  # complete, with every default: it would run as it is
        config["model"]["task"] = "regression"
        config["data"]["train_path"] = "sample:diabetes"  # or a CSV or Parquet file in the training-data directory
        config["training"]["validation_split"] = 0.25

        job = client.train(config)
        print("job:", job["job_id"], job["status"])
        while (model := client.model(job["job_id"]))["status"] in ("initializing", "training"):
            print(f"  {model['progress']:3} %", model["metrics"])
            time.sleep(0.2)
        print(model["status"], model["metrics"])  # client.wait(job["model_id"], progress=True) does all of that
        if model["status"] != "completed":
            raise SystemExit(model["error"])

        print("saved:", client.save(model["model_id"]))
        print("predicted:", client.predict(model["model_id"], [{**patient, "s6": None} for patient in PATIENTS]))


if __name__ == "__main__":
    main()
