"""`python -m tuners.working ORDER`: what `tunesmith work` becomes once it has read its command line."""

from __future__ import annotations

import sys

from tuners.working.worker import work
from tunesmith.cli.exits import exit_code
from tunesmith.cli.output import print_error, remember_json
from tunesmith.cli.work import Order
from tunesmith.errors import TunesmithError


def main() -> int:
    """Work; the exit code."""
    order = Order.model_validate_json(sys.argv[1])
    remember_json(order.as_json)
    try:
        return work(order)
    except TunesmithError as error:
        print_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print_error(TunesmithError(f"unexpected {type(error).__name__}: {error}"))
        return 1


if __name__ == "__main__":
    sys.exit(main())
