"""Errors as OpenAI's interface has them."""

from starlette.responses import JSONResponse

from tritstream.errors import BadInput, DeviceBusy, DeviceError, TritstreamError

__all__ = ["Refused", "refusal", "server_ends"]

_KINDS = {400: "invalid_request_error", 401: "authentication_error",
          403: "permission_error", 404: "not_found_error",
          405: "invalid_request_error", 408: "invalid_request_error",
          409: "invalid_request_error", 413: "invalid_request_error", 429: "rate_limit_error"}


class Refused(Exception):
    """A request that is answered with an error.

    Parameters
    ----------
    status : int
        Of HTTP.
    message : str
        One sentence.
    field : str or None
        Of the request.
    """

    def __init__(self, status: int, message: str, field: str | None = None):
        super().__init__(message)
        self.status = status
        self.field = field

    @classmethod
    def of(cls, error: TritstreamError) -> "Refused":
        """Return what a client is told of an error of the program."""
        if isinstance(error, DeviceBusy):
            return cls(429, str(error))
        if isinstance(error, DeviceError):
            return cls(503, str(error))
        return cls(400 if isinstance(error, BadInput) else 500, str(error))

    @property
    def table(self) -> dict:
        """The error as a JSON object."""
        return {"error": {"message": str(self), "type": _KINDS.get(self.status, "server_error"),
                          "param": self.field, "code": None}}


def server_ends() -> Refused:
    """Return what is told where something is still under way when the server has to end."""
    return Refused(503, "The server ends: start it again, and repeat the request.")


def refusal(error: Refused) -> JSONResponse:
    """Answer with an error."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(error.table, error.status, headers)
