"""Several processes for one service: a parent that imports nothing of the user's, and children that do the work."""
