"""Machines of the protocol, without I/O: HELLO, transfers, windows, replays, backoff."""
