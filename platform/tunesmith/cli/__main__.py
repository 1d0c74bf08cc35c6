"""`python -m tunesmith.cli`, the same as `tunesmith`."""

from tunesmith.cli import main

main()
