"""Bundles: history that was exported, in a form that another home imports and a person can read."""
