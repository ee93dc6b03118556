"""Images from files and data sets, decoded once into uint8 arrays."""
