"""One process that runs a service for the command line: its limits, its log, and what can be reported of it."""
