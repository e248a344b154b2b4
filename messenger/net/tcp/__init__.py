"""TCP: listening, dialling, and the Noise upgrade by py-libp2p."""
