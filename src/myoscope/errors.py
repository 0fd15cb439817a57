"""What can go wrong because of the input or the call: one class, one line, exit code 2."""


class InputError(ValueError):
    """The input or the call cannot be used.

    The message is one line: what was expected, what was found, what to do. The command line prints
    it to stderr and exits with code 2; everything else that escapes is a bug (exit code 1).
    """


class MeasurementError(InputError):
    """A measurement was asked of arrays that cannot carry it."""
