#!/bin/bash
# Runs after the command, untimed, also after a failed one: keep the result of a good one.
set -e
[ "$TUNESMITH_EXIT_CODE" = 0 ] || exit 0
aws s3 cp --only-show-errors input.bin.gz @S3_URL@/results/${level}.gz
