"""Kedro datasets: what nodes read, write and are handed to write to."""
