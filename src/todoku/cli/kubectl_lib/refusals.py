"""What ends a command: wrong use, and the API server's refusals in kubectl's words."""

from todoku.api.errors import ApiError


class Usage(Exception):
    """The command line cannot be understood; printed as `error: …`."""


class Failed(Exception):
    """The command ran and did not succeed; `code` is its status, the text may be empty."""

    def __init__(self, message: str = "", *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def worded(error: ApiError) -> str:
    """`Error from server (NotFound): pods "web" not found`; an invalid object speaks for itself."""
    if error.reason == "Invalid" and error.details.get("name"):
        kind, _, problems = error.message.partition(" is invalid: ")
        plain = kind.partition(".")[0] + kind[len(kind.partition(" ")[0]) :]
        return f"The {plain} is invalid: {problems}" if problems else f"The {error.message}"
    reason = f" ({error.reason})" if error.reason else ""
    return f"Error from server{reason}: {error.message}"
