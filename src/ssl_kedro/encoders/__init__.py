"""Encoders: images in, feature vectors out."""
