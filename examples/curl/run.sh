#!/usr/bin/env bash
# The whole conversation with the service in curl: create, submit, wait, read the best configuration.
#
#   tunesmith up --detach                                                     # once
#   examples/curl/run.sh                                                      # the sleep example
#   examples/curl/run.sh EXPERIMENT.json JOB.json                             # any other bodies
#
# TUNESMITH_URL names the service (default http://127.0.0.1:8000), TUNESMITH_API_KEY the key of one that asks for it. Needs curl and python3 (which reads the JSON).
set -euo pipefail
api="${TUNESMITH_URL:-http://127.0.0.1:8000}/api/v1"
examples=$(cd "$(dirname "$0")/.." && pwd)
experiment_file=${1:-$examples/sleep_example/experiment.json}
job_file=${2:-$examples/sleep_example/bayesopt.json}

headers() { # through a file, since a command line is for everybody on this machine to read
  echo 'Content-Type: application/json'
  if [ -n "${TUNESMITH_API_KEY:-}" ]; then echo "Authorization: Bearer $TUNESMITH_API_KEY"; fi
}

# call METHOD PATH [BODY_FILE]: prints the answer; on an error prints the service's explanation and ends
call() {
  local body status
  body=$(mktemp)
  status=$(curl --silent --show-error --request "$1" --output "$body" --write-out '%{http_code}' \
    --header @<(headers) ${3:+--data-binary "@$3"} "$api$2") || { rm -f "$body"; return 1; }
  if [ "$status" -ge 400 ]; then
    printf '%s %s answered %s: %s\n' "$1" "$2" "$status" "$(field error < "$body")" >&2
    rm -f "$body"
    return 1
  fi
  cat "$body"
  rm -f "$body"
}

# field KEY...: the value under nested keys of the JSON on standard input
field() {
  python3 -c '
import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1:]:
    value = value[key]
print(value if isinstance(value, str) else json.dumps(value))' "$@"
}

experiment=$(call POST /experiments "$experiment_file" | field id)
job=$(call POST "/experiments/$experiment/trials" "$job_file" | field job job_id)
echo "experiment $experiment, job $job"

while true; do
  answer=$(call GET "/jobs/$job")
  status=$(field job job_status <<< "$answer")
  echo "$status: $(field job progress finished <<< "$answer") of $(field job progress total <<< "$answer") trials"
  case $status in finished | failed | stopped) break ;; esac
  sleep "${POLL_S:-1}"
done

echo "best:"
call GET "/experiments/$experiment/best" | python3 -m json.tool
[ "$status" = finished ]
