"""Which routing keys a pattern takes."""
