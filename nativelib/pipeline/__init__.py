"""Read, plan and write, wired together. The package's own names are the public API."""
