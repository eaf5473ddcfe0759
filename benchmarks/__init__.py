"""Side-by-side timings against plain implementations, run by hand, printed as ratios."""
