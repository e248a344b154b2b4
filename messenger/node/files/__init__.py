"""Files on their way: offered, queued, read, sealed, sent, received, kept."""
