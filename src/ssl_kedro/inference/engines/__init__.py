"""Ways to execute a compact network, behind one call that takes the fastest."""
