"""Gated residual networks in C++: closed channels are neither computed nor read."""
