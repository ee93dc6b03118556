"""One file a publisher of weights: its kinds of files, and how each is read."""
