"""Fine-tuning: recipe, cycle, card, ablation."""
