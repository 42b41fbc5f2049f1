"""Show a run: as a table and a picture, as an HTML page, and with its token weights under other settings."""
