"""What belongs together, said once: for running, publishing, tests and tools."""
