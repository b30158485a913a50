"""What is declared: exchanges, queues, bindings and events, as frozen data."""
