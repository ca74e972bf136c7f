"""What a user can get wrong, as exceptions whose message is the one line that a command prints."""


class CnnJaxError(Exception):
    """Base of every error that a command reports as one line and an exit code, without a traceback."""

    exit_code = 1


class RequestError(CnnJaxError, ValueError):
    """A request that cannot be met as it stands: an unknown name, an impossible network, an `--out` that exists."""

    exit_code = 2


class DataError(RequestError):
    """Data that is missing, unreadable, hostile or not what it claims to be. The message names the file."""


class RunError(CnnJaxError, RuntimeError):
    """A run that failed although the request was sound: no checkpoint is good, the device ran out of memory."""


def reason(error: BaseException) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
