"""The page at ``/``: files of this package, as they are."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from tritstream.server.errors import Refused

__all__ = ["PAGE", "Page"]

PAGE = "/", "/page/{file}"
"""Where the files are; they need no key, as there is nothing of anybody's in them."""

FILES = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript",
         ".svg": "image/svg+xml"}
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
    "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"))
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff",
           "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}


class Page:
    """Has the files, read once."""

    def __init__(self):
        self._files = {path.name: path.read_bytes() for path in FILES.iterdir()}

    async def file(self, request: Request) -> Response:
        """Give a file; ``/`` is the page itself."""
        name = request.path_params.get("file", "index.html")
        if name not in self._files:
            raise Refused(404, "There is no such file of the page.")
        return Response(self._files[name], media_type=TYPES[Path(name).suffix], headers=HEADERS)
