"""One connection, many streams: records, multiplexing, windows and pace."""
