"""Who is tested on what, what was predicted, and whether anything leaked."""
