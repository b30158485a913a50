"""What is carried, and how handling it ended."""
