"""What is wrong with a topology and its handlers together."""
