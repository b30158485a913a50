"""The commands, a file each: `add_arguments` says what one takes, `run` does it and returns an exit code."""
