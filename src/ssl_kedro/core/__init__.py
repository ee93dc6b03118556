"""What every room may use: checked configuration, seeding and progress bars."""
