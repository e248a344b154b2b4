"""A session: one connection with its lanes, keys and rates."""
