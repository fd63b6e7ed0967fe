"""The web process: what the store knows, as HTTP, WebSocket and pages."""
