"""Self-supervised methods: encoder, heads and objective, one file each."""
