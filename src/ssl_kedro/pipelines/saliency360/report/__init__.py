"""What chapter 4 reports: Tables 4.1 to 4.4, figures, differences, and the page."""
