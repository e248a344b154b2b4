"""Bytes to frozen values and back: no clock, no randomness, no I/O, no secrets used."""
