"""Transports: authenticated connections and their streams, over py-libp2p and in memory."""
