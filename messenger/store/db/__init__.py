"""The database: its engine, its schema, and what its failures mean."""
