"""Figures, as functions that return a closed matplotlib Figure."""
