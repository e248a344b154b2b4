"""Files beside the database: sealed, spooled, or read where they lie."""
