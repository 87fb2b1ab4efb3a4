"""How every command ends: with exit code 0, or one line about the user's error, or by Ctrl-C."""

import sys
from collections.abc import Callable
from typing import NoReturn

from v2s_jax.errors import InputError

BAD_INPUT_CODE = 2  # as argument parsers exit
INTERRUPTED_CODE = 130  # as shells report signal 2: 128 + 2


def run_cli(main: Callable[[], None]) -> NoReturn:
    """Run a command and exit: 0 on success, 2 for bad input, 130 for Ctrl-C.

    Bad input is one line on stderr. Any other exception is a bug and keeps its traceback.
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
