"""The MCP server: a dashboard's answers, small, for assistants (docs/mcp.md). It asks the HTTP API through the client."""
