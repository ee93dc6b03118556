"""Somebody's own images: looked at, and a training planned that fits the time there is."""
