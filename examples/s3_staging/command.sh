#!/bin/bash
# The tool: timed, and the one place that holds parameters.
set -e
gzip -${level} --keep input.bin
echo "{\"size_bytes\": $(stat -c %s input.bin.gz)}" >> "$TUNESMITH_METRICS"
