"""Whether a handler takes every body of an event."""
