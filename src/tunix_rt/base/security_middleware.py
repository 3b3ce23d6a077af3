"""Defence against hostile web pages, which reach the server through a user's browser.

Cross-origin pages cannot change anything, and pages that use DNS rebinding cannot read anything either. Programs that
send neither `Origin` nor `Sec-Fetch-Site` are not affected.
"""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tunix_rt.base.allowed_hosts import AllowedHosts, Host, parse_host
from tunix_rt.base.errors import CrossOrigin, Problem, UnknownHost, cut
from tunix_rt.base.http import problem_response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROBED_PATHS = frozenset({"/api/health", "/api/ready", "/metrics"})
"""Paths that probes request by IP address; the responses hold no secret."""

DEFAULT_PORTS = {b"http": 80, b"https": 443}


class SecurityMiddleware:
    """Answers 421 to a request for a host that is not allowed, and 403 to a cross-origin request with an unsafe method.

    Args:
        app: the application to protect.
        allowed_hosts: checks the `Host` header.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: AllowedHosts) -> None:
        self.app = app
        self.allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        problem = self._check(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await problem_response(Request(scope), problem)(scope, receive, send)

    def _check(self, scope: Scope) -> Problem | None:
        given = [value for name, value in scope["headers"] if name == b"host"]
        host = parse_host(given[0]) if len(given) == 1 else None
        server = scope.get("server")
        allowed = host is not None and self.allowed_hosts.allow(host, server[0] if server else None)
        if not allowed and scope["path"] not in PROBED_PATHS:
            return _unknown_host(given, host)
        if scope["method"] in SAFE_METHODS:
            return None
        for name, value in scope["headers"]:
            if (name == b"origin" and not is_same_origin(value, host, scope["scheme"])) or (
                name == b"sec-fetch-site" and value not in (b"same-origin", b"none")
            ):
                return _cross_origin(name, value)
        return None


def is_same_origin(origin: bytes, host: Host | None, scheme: str) -> bool:
    """Whether an `Origin` is the server's own.

    Args:
        origin: value of the header; `null` is foreign.
        host: the request's `Host`.
        scheme: of the request as received. Behind a proxy that terminates TLS, pages of https send requests that
            arrive as http; an Origin of http on a request by https is foreign.
    """
    of_origin, _, rest = origin.partition(b"://")
    default = DEFAULT_PORTS.get(of_origin.lower())
    other = parse_host(rest)
    if host is None or other is None or default is None or (scheme == "https" and default == 80):
        return False
    return (other.name, other.port or default) == (host.name, host.port or default)


def _unknown_host(given: list[bytes], host: Host | None) -> UnknownHost:
    if host is not None:
        detail, name = f"This server does not answer to the host {cut(host.name, 60)!r}.", cut(host.name, 60)
    else:
        detail, name = f"The request must have one valid Host header; it has {_quoted(given)}.", "NAME"
    return UnknownHost(
        detail,
        hint="An unexpected name may belong to a hostile web page. If it is a name of this server, allow it: "
        f"tunix-rt serve --allowed-hosts {name}, or TUNIX_RT_ALLOWED_HOSTS={name}.",
    )


def _cross_origin(header: bytes, value: bytes) -> CrossOrigin:
    name = {b"origin": "Origin", b"sec-fetch-site": "Sec-Fetch-Site"}[header]
    return CrossOrigin(
        f"Pages of another origin cannot change anything on this server: the request has {name}: {_quoted([value])}.",
        hint="Use the server's own pages, the command line or a program. A proxy in front of the server must pass on "
        "the browser's Host header; allow that name with tunix-rt serve --allowed-hosts NAME, or "
        "TUNIX_RT_ALLOWED_HOSTS=NAME.",
    )


def _quoted(values: list[bytes]) -> str:
    return cut(" and ".join(repr(value.decode("latin-1")) for value in values[:3]), 100) or "none"
