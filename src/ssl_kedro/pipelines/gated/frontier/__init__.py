"""The front of accuracy against time, and what of it to deploy."""
