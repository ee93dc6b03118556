"""Tables 3.1 to 3.4, figures and page of chapter 3."""
