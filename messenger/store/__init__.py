"""What is on disk: the encrypted database, sealed files, the keyfile, the lock of a home."""
