"""What each query should find: the published ground truths, and a user's own."""
