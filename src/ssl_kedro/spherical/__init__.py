"""Geometry of equirectangular panoramas."""
