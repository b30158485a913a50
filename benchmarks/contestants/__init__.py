"""One module for each library: how its own documents say to publish and consume fast. Each runs in a process alone."""
