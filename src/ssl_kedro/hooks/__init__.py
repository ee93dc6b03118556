"""Kedro hooks: parameters, tracking and the run manifest."""
