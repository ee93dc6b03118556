"""Random views of uint8 batches, drawn per sample on the device of the data."""
