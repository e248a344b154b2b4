"""Peerpost: messages and files between people and machines that know each other, with no server."""

__version__ = "0.1.0"
