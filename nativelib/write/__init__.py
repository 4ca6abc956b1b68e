"""Plan -> files: archives, patched ELF files, anchors, rendered templates."""
