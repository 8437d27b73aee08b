"""What the numbers of cells say about replicates and conditions."""
