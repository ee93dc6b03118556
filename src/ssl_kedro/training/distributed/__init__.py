"""Trainings whose batches several processes share, on one machine or many."""
