"""Routing keys, and which of them a pattern matches."""
