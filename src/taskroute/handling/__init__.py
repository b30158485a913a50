"""What becomes of a delivery, decided without threads, sockets or a broker."""
