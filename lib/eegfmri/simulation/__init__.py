"""The simulator: it writes the real layouts, with what was planted beside them."""
