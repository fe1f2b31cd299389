"""Cached reads: each view declared once, kept in Redis for all processes and in memory for this one."""

from gateway.views.rows import Rows
from gateway.views.views import Views

__all__ = ["Rows", "Views"]
