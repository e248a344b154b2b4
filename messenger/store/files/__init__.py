"""Files outside the database: sealed, spooled, or read in their place."""
