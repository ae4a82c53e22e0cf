"""Faults put into the RTL on purpose, which the tests have to notice."""
