"""What the reports of chapters 5 and 6 share."""
