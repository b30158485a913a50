"""Functions that handle messages, and what their parameters ask for."""
