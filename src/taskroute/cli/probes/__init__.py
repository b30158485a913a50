"""What a running service answers over HTTP: `/live`, `/ready`, `/metrics`."""
