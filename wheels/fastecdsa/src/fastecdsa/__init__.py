"""Stand in for fastecdsa 2.3.2: the names py-libp2p imports, P-256 only, over `cryptography`.

Not the project of that name: see README.md beside this package for why it exists.
"""
