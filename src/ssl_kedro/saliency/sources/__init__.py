"""Panoramas with saliency maps and fixations, read from the data sets that people have."""
