"""The protocol as machines without I/O, after PROTOCOL.md."""
