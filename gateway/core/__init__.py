"""The pure heart: shapes, decisions and failures. Standard library and pydantic only; no I/O, no clock, no globals."""
