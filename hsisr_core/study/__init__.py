"""What the numbers say: the paper's tables beside ours, differences and their spread."""
