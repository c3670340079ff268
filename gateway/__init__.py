"""The only way from guests to Temporal: lets each guest poll and answer its own queue, and nothing else."""
