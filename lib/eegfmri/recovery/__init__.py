"""What was planted against what was found."""
