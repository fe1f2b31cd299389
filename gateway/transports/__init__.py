"""The faces of the gateway: REST, MCP over HTTP and stdio. None of them knows a tool by name."""
