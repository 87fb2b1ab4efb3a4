"""How every command ends: well, with one line about bad input, or stopped by Ctrl-C."""

import sys
from collections.abc import Callable
from typing import NoReturn

from v2s_jax.errors import InputError

BAD_INPUT_CODE = 2  # what argument parsers exit with
INTERRUPTED_CODE = 130  # shells report a program ended by signal 2 as 128 + 2


def run_cli(main: Callable[[], None]) -> NoReturn:
    """Run a command and exit: 0 when it ends well, 2 for bad input, 130 for Ctrl-C.

    Bad input is one line on stderr. Any other exception keeps its traceback: it is our mistake.
    """
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT_CODE)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(INTERRUPTED_CODE)
    sys.exit(0)
