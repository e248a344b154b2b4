"""The tables: each module has the rules of one, and its SQL."""
