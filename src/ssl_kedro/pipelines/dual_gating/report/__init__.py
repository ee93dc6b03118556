"""Tables, figures and page of chapter 6."""
