"""VergeOS Gateway: one MCP and REST endpoint for a VergeOS system."""

__version__ = "0.1.0"
