"""Sweeps: the points of a space of options, each measured as an ordinary run, and the record of them all."""
