"""``--tags assemble``: tables of the thesis over data sets, from runs that are there (ADR 39)."""
