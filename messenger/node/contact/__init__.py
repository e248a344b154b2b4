"""The contacts: who may connect, how they are dialled, and the messages in both directions."""
