"""What an operator asks of a live broker."""
