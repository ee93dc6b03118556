"""Instance retrieval with frozen encoders (thesis chapter 3)."""
