"""Asset checks: claims about a table that are measured again after it is written."""
