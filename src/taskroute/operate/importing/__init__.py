"""From what a broker has to the Python of a topology."""
