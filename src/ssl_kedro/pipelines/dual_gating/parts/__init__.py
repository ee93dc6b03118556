"""Parts of chapter 6, found by name: each module has some in PARTS."""
