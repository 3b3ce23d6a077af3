"""Tunix RT: teach a small language model to reason, and know whether it worked."""

__version__ = "0.1.0"
