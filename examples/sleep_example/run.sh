#!/usr/bin/env bash
# Post the sleep experiment, run it with one optimizer and print the best configuration, with curl alone.
#
#   tunesmith up --detach                       # once
#   examples/sleep_example/run.sh               # bayesopt: 2 random trials, then 2 model-based ones
#   examples/sleep_example/run.sh grid          # the four corners
#
# TUNESMITH_URL names the service (default http://127.0.0.1:8000). Needs curl and python3.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/../curl/run.sh" "$here/experiment.json" "$here/${1:-bayesopt}.json"
