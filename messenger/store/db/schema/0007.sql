-- Version 7. What was offered as a text and may be longer than one is a file.
UPDATE transfers SET as_text = 0
    WHERE incoming = 1 AND as_text = 1 AND (size IS NULL OR size > 16777216)
        AND state IN ('offered', 'asking', 'active', 'paused');
