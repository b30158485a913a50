"""What the verbs of `taskroute dead` need: which letters, how they are shown, and who is asked before."""
