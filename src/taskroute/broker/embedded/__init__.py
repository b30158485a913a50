"""A broker inside the process: an AMQP model in plain Python, and kombu's view of it."""
