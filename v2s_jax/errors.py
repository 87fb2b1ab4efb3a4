"""The one error that a user can mend: bad input, named with its mend, without a traceback."""


class InputError(ValueError):
    """Bad input from outside: a file, an option or a config.

    The message is one line that names what is at fault, the problem and the mend. Command-line
    doors print it and exit with code 2.
    """
