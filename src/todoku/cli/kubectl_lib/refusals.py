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
    causes = error.details.get("causes") or ()
    if error.reason == "Invalid" and causes:
        head = f'The {error.details.get("kind", "")} "{error.details.get("name", "")}" is invalid: '
        lines = list(dict.fromkeys(f"{one.get('field', '')}: {one['message']}" for one in causes))
        return head + (lines[0] if len(lines) == 1 else "".join(f"\n* {line}" for line in lines))
    reason = f" ({error.reason})" if error.reason else ""
    return f"Error from server{reason}: {error.message}"
