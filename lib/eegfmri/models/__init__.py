"""The models of the four papers: torch modules and their losses, nothing else."""
