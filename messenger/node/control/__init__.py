"""The control socket: who may ask, and what is answered."""
