"""All SQL of the server lives here, in small rooms; nothing outside this package writes any."""

from .engine import Store

__all__ = ["Store"]
