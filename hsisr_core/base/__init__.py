"""What every wing stands on: files written whole, folders, threads."""
