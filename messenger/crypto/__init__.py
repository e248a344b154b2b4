"""Keys, envelopes, sealed chunks and signatures: pure functions over bytes (PROTOCOL.md)."""
