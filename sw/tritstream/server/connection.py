"""HTTP connections, none of which may wait for its client without a bound."""

import json
import resource

from uvicorn.protocols.http.h11_impl import H11Protocol

from tritstream.server.errors import Refused

__all__ = ["CONNECTION", "Connection", "allow_connections", "most_connections"]

CONNECTION = "connection"
"""Under which name a request has its connection in the state of its scope."""

MOST_CONNECTIONS = 2_000
REQUEST_SECONDS = 30.0      # in which the head of a request has to come
STALL_SECONDS = 30.0        # for which a client may take nothing of what is sent
OTHER_FILES = 256           # that the process may have open besides connections


def most_connections() -> int:
    """Return how many connections there may be, so that there is always room to refuse more.

    As many again may have come before the first of them is looked at, and each is an open file.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, (files - min(OTHER_FILES, files // 2)) // 2)


def allow_connections() -> None:
    """Let this process have as many files open as there may be connections, if the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_CONNECTIONS + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connection(H11Protocol):
    """uvicorn's connection, which ends if its client sends no request, or reads no response.

    uvicorn itself waits for ever in both cases, and answers in plain text what is no HTTP.
    """

    _until: float | None = None     # when a request has to be there that has begun
    _stalled = None                 # what ends a connection whose client does not read

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self.app_state = self.app_state | {CONNECTION: self}    # for responses
        most = most_connections()
        if len(self.connections) > most:
            self._refuse(Refused(503, f"There are {most:,} connections already: try again later."))
        else:
            self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._heed()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._until = None
        elif self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._wait_for_request()

    def on_response_complete(self) -> None:
        self._until = None
        super().on_response_complete()
        if self.transport.is_closing():
            self._end()

    def timeout_keep_alive_handler(self) -> None:
        self._end()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refused(400, msg))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._heed()
        if self.transport.is_closing():
            self._end()

    def send_part(self, data: bytes) -> bool:
        """Send a part of a response that is no last one, if it can go at once.

        It is what h11 makes of it. To go through all layers costs more than the part itself.

        Returns
        -------
        bool
            Whether it has gone.
        """
        if (self.flow.write_paused or self.cycle.disconnected or not self.cycle.response_started
                or self.scope["http_version"] != "1.1"):
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def _heed(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _wait_for_request(self) -> None:
        if self._until is None:
            self._until = self.loop.time() + REQUEST_SECONDS
        self.timeout_keep_alive_task = self.loop.call_at(self._until, self._end)

    def _refuse(self, error: Refused) -> None:
        """Answer outside of any request, and end."""
        body = json.dumps(error.table).encode()
        self.transport.write(b"HTTP/1.1 %d Error\r\nContent-Type: application/json\r\n"
                             b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
                             % (error.status, len(body), body))
        self._end()

    def _end(self) -> None:
        """Close, and do not wait for ever until the client has taken what is left."""
        self.transport.close()
        self._stalled = self._stalled or self.loop.call_later(STALL_SECONDS, self.transport.abort)
