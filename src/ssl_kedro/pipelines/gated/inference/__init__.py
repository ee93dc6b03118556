"""What takes the place of a dense encoder at inference: its networks timed, judged and exported."""
