"""Dead letters: looked at in their queues, sent again, removed, moved, exported and imported."""
