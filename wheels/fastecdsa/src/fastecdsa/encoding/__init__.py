"""Keys and numbers as bytes."""
