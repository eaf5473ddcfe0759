"""One cube: what a scene is, and how it is read and written."""
