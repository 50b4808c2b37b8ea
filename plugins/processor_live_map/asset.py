"""How is a file of the page served, so that it is fresh, small, and may load nothing from elsewhere?"""

import gzip
import hashlib
from dataclasses import dataclass, field

from aiohttp import ETag, hdrs, web

CONTENT_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
}
"""Not `mimetypes`: what that says depends on the machine, and a module of another type is not run."""


def security_policy(tile_origin: str) -> str:
    """Return the Content-Security-Policy of the page; only tiles may come from elsewhere, from `tile_origin`."""
    images = f"'self' data: {tile_origin}" if tile_origin else "'self'"  # Leaflet ends the loading of a tile with data:
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file, from memory: there are few, and they change only with the service."""

    name: str
    body: bytes = field(repr=False)
    policy: str
    _gzipped: bytes = field(init=False, repr=False)
    _etag: ETag = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_gzipped", gzip.compress(self.body, mtime=0))
        object.__setattr__(self, "_etag", ETag(hashlib.sha256(self.body).hexdigest()[:16], is_weak=True))

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a GET or HEAD."""
        headers = {
            hdrs.CACHE_CONTROL: "no-cache",  # kept, but asked about each time: modules of two versions do not mix
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
            "Content-Security-Policy": self.policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "strict-origin-when-cross-origin",  # tile servers want to know who asks
            "X-Content-Type-Options": "nosniff",
        }
        if any(tag.value in {self._etag.value, "*"} for tag in request.if_none_match or ()):
            response = web.Response(status=304, headers=headers)
        else:
            suffix = self.name.rpartition(".")[2]
            response = web.Response(
                body=self.body, headers=headers, content_type=CONTENT_TYPES[suffix], charset="utf-8"
            )
            if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
                response.body = self._gzipped
                response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        response.etag = self._etag
        return response
