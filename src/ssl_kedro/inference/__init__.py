"""Compact, static and fast forms of gated encoders, and their export."""
