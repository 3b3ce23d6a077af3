"""Names under which the server may be addressed.

A browser lets a page read and write whatever the page's own host name resolves to. DNS rebinding makes a hostile page's
name resolve to this machine, so the name in `Host` is checked. An IP address cannot be rebound: the loopback addresses
are always allowed, and so is the address at which the connection arrived.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from tunix_rt.base.errors import WrongUsage, cut

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[a-zA-Z0-9_.-]+))(?::(?P<port>[0-9]{0,5}))?")
_LOCALHOST = "localhost"
"""The only loopback name. Its subdomains (`x.localhost`) are not: some resolvers ask the network for them."""


class Host(NamedTuple):
    """A `Host` header, or the host and port of an `Origin`.

    Attributes:
        name: lower case, without a trailing dot; an IP address in canonical form.
        port: None if not given.
        address: the parsed IP address; None if the host is a name.
    """

    name: str
    port: int | None
    address: IPv4Address | IPv6Address | None


@lru_cache(maxsize=256)
def parse_host(text: bytes) -> Host | None:
    """Parse `name`, `name:port`, `1.2.3.4:port` or `[::1]:port`; None where it is none of them."""
    match = _HOST.fullmatch(text.decode("latin-1"))
    if match is None:
        return None
    address = _address(match["v6"] or match["name"])
    if match["v6"] and address is None:
        return None
    name = str(address) if address else match["name"].lower().removesuffix(".")
    return Host(name, int(match["port"]) if match["port"] else None, address)


@lru_cache(maxsize=256)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0].removesuffix("."))  # a socket's link-local address has a %zone
    except ValueError:
        return None
    # A socket for both families reports 127.0.0.1 as ::ffff:127.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address


def host_name(text: str) -> str:
    """Normalize a configured name for comparison with `Host` headers.

    Args:
        text: a host name or an IP address, with brackets or without, and no port.

    Raises:
        WrongUsage: it is neither.
    """
    try:
        plain = text.encode("idna")
    except UnicodeError:
        plain = b""
    host = parse_host(b"[" + plain + b"]" if b":" in plain and not plain.startswith(b"[") else plain)
    if host is None or host.port is not None:
        raise WrongUsage(
            f"{cut(text, 60)!r} is not a host name.",
            hint="Give host names or IP addresses without http:// and without a port, separated by commas: "
            "--allowed-hosts rt.example.org,10.0.0.5, or TUNIX_RT_ALLOWED_HOSTS=rt.example.org,10.0.0.5.",
        )
    return host.name


class AllowedHosts:
    """Check of `Host` headers.

    Args:
        names: normalized by `host_name`; allowed in addition to `localhost`, loopback addresses and the connection's
            own address.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset({_LOCALHOST, *names})

    def allow(self, host: Host, server: str | None) -> bool:
        """Whether requests for this host are answered.

        Args:
            host: from the request.
            server: local address of the connection.
        """
        if host.name in self.names:
            return True
        if host.address is None:
            return False
        return host.address.is_loopback or (server is not None and host.address == _address(server))
