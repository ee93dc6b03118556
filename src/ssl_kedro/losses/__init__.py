"""Objectives on embeddings and masks, one file each."""
