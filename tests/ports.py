"""Ports of this machine for the servers that tests start."""

import socket


def reserve() -> socket.socket:
    """A free port of 127.0.0.1 that stays ours until the socket is closed, also while no server listens on it.

    The socket never listens. A server that sets SO_REUSEADDR, as ours, asyncio's and PostgreSQL do, can listen on the
    port all the same; the system gives it to nobody who asks for any port, and connections to it are refused meanwhile.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def number(reserved: socket.socket) -> int:
    """The number of a port that is reserved."""
    port: int = reserved.getsockname()[1]
    return port
