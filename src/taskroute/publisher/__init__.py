"""Messages out, each one confirmed."""
