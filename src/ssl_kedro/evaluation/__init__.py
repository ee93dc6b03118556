"""What a frozen encoder is worth and what it costs."""
