"""What can be asked of a topology and its handlers together."""
