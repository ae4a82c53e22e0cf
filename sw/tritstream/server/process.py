"""A process that serves."""

import socket
import sys

import uvicorn
from starlette.applications import Starlette

from tritstream.server.connection import Connection, allow_connections, most_connections

__all__ = ["run"]

SHUTDOWN_SECONDS = 30       # in which texts that are under way may come to their end
BACKLOG = 1_024             # connections that wait to be taken
SWITCH_SECONDS = 1e-4       # for which the scheduler waits while this process makes events


def run(app: Starlette, listener: socket.socket) -> None:
    """Serve until a signal ends it.

    Parameters
    ----------
    app : Starlette
        From `application`.
    listener : socket
        Where clients come.
    """
    # Python's own is 5 ms, in which a GPU makes many passes, and waits for the next to be launched.
    sys.setswitchinterval(SWITCH_SECONDS)
    allow_connections()
    config = uvicorn.Config(
        app, http=Connection, ws="none", log_level="error", access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=min(BACKLOG, most_connections()))
    uvicorn.Server(config).run(sockets=[listener])
