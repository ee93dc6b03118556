"""Channel gates, channel masks and what they cost."""
