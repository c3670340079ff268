"""Swift, as the API asks it with a caller's token."""
