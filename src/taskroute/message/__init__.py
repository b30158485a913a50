"""Messages as brokers deliver and handlers see them, and how handling one ended."""
