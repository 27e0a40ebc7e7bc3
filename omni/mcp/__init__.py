"""The Model Context Protocol, both ways: Omni's tools for other assistants, and MCP servers as plugins."""
