#!/bin/bash
# Runs before the command, untimed: fetch the input.
set -e
aws s3 cp --only-show-errors @S3_URL@/input.bin input.bin
