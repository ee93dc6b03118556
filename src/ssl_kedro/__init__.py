"""Efficient self-supervised visual learning as Kedro pipelines."""

__version__ = "0.1.0"
