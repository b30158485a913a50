"""What a session's connection is for."""
