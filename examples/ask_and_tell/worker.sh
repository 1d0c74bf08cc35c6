#!/usr/bin/env bash
# A worker in bash and curl: any language that speaks HTTP can take part in an experiment.
#
#   tunesmith up --detach                                                     # once
#   examples/ask_and_tell/worker.sh                                           # as often, and on as many machines, as you like
#
# TUNESMITH_URL names the service (default http://127.0.0.1:8000), TUNESMITH_API_KEY the key of one that asks for it. Needs curl and python3 (which reads the JSON).
set -euo pipefail
api="${TUNESMITH_URL:-http://127.0.0.1:8000}/api/v1"
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

headers() { # through a file, since a command line is for everybody on this machine to read
  echo 'Content-Type: application/json'
  if [ -n "${TUNESMITH_API_KEY:-}" ]; then echo "Authorization: Bearer $TUNESMITH_API_KEY"; fi
}

# post PATH BODY: the answer is in $answer; prints the status. The key makes it safe to send again when no answer came.
post() {
  curl --silent --show-error --retry 5 --retry-connrefused --output "$answer" --write-out '%{http_code}' \
    --header @<(headers) --header "Idempotency-Key: $(python3 -c 'import uuid; print(uuid.uuid4())')" \
    --data-binary "$2" "$api$1"
}

# field KEY...: the value under nested keys, or in an array, of the JSON in $answer; nothing where there is none
field() {
  python3 -c '
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2:]:
    value = value[int(key)] if isinstance(value, list) else value.get(key)
    if value in (None, []): sys.exit()
print(value if isinstance(value, str) else json.dumps(value))' "$answer" "$@"
}

expect() { # expect STATUS...: ends with the explanation of the service where the answer was another
  local status=$1
  shift
  for wanted in "$@"; do if [ "$status" = "$wanted" ]; then return; fi; done
  echo "answered $status: $(field error)" >&2
  exit 1
}

expect "$(post /experiments '{
  "tool_name": "parabola", "external": true, "parameters": [{"name": "x", "minimum": -5, "maximum": 5}],
  "objectives": [{"metric": "loss"}]
}')" 200 201
experiment=$(field id)

while true; do
  status=$(post "/experiments/$experiment/ask" '{"lease_s": 60, "optimizer": {"type": "tpe", "n_iter": 12, "seed": 1}}')
  if [ "$status" = 409 ] && [ "$(field code)" = EXHAUSTED ]; then break; fi
  expect "$status" 200
  token=$(field trials 0 token)
  if [ -z "$token" ]; then sleep "$(field retry_after_s)"; continue; fi # others have to tell first
  number=$(field trials 0 number)
  x=$(field trials 0 params x)
  loss=$(awk -v x="$x" 'BEGIN { print (x - 2) ^ 2 }')
  # An evaluation of more than a minute would send {"token": ...} to .../trials/$number/heartbeat meanwhile.
  status=$(post "/experiments/$experiment/trials/$number/tell" "{\"token\": \"$token\", \"value\": $loss}")
  if [ "$status" = 409 ]; then echo "trial $number: $(field error)"; continue; fi # too late: it is another worker's
  expect "$status" 200
  echo "trial $number: x=$x loss=$loss"
done

curl --silent --show-error --fail --header @<(headers) --output "$answer" "$api/experiments/$experiment/best"
echo "best: loss $(field outcome) in trial $(field number)"
