"""The command line, `tunesmith`.

Exit codes: 0 done; 1 the request or the job failed; 2 wrong usage or bad input; 3 the platform cannot be reached or
cannot answer now; 4 not found; 5 conflict with the present state; 130 interrupted.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; it ends the process with one of the exit codes above."""
    from tunesmith.cli.app import app

    app(prog_name="tunesmith")
