"""Published claims, the arithmetic they allow, the verdicts they reach."""
