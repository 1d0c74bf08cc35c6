"""Tune gzip's level on a file that lies in S3; every trial fetches it and puts its result back.

    tunesmith up --detach                                         # in an environment that may read and write the bucket
    aws s3 cp some.file s3://my-bucket/example/input.bin          # once
    S3_URL=s3://my-bucket/example python examples/s3_staging/run.py

The nodes that run trials need the `aws` command and access to the bucket: an instance role, or `AWS_*` variables in the
environment that the platform was started in. TUNESMITH_URL names the service; without it, the platform that runs in
./.tunesmith or else http://127.0.0.1:8000.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tunesmith import Client

HERE = Path(__file__).parent


def experiment(s3_url: str) -> dict[str, Any]:
    """The body of `POST /api/v1/experiments`, for a prefix `s3://bucket/...`."""
    return {
        "tool_name": "gzip on S3",
        "parameters": [{"name": "level", "type": "int", "minimum": 1, "maximum": 9}],
        "setup_template_string": _script("setup.sh", s3_url),
        "command_template_string": _script("command.sh", s3_url),
        "finish_template_string": _script("finish.sh", s3_url),
        "objectives": [{"metric": "size_bytes", "direction": "minimize"}],
        "trial_timeout_s": 120,
    }


def _script(name: str, s3_url: str) -> str:
    return (HERE / name).read_text().replace("@S3_URL@", s3_url.rstrip("/"))


def main() -> None:
    if "S3_URL" not in os.environ:
        sys.exit("set S3_URL, for instance S3_URL=s3://my-bucket/example")
    with Client() as client:
        staged = client.create_experiment(experiment(os.environ["S3_URL"]))
        ended = staged.submit({"type": "grid", "num_configs_per_param": 3}).wait()
        if ended.job_status != "finished":
            sys.exit(f"the job {ended.job_status}: {ended.job_exc_info}")
        best = staged.front()[0]
        print(f"best: level {best.params['level']}, {best.outcome:.0f} bytes")


if __name__ == "__main__":
    main()
