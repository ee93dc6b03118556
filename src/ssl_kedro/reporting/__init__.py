"""Tables, figures, published figures and the report."""
