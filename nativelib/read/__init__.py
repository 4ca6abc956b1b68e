"""The world -> facts: archives, ELF files, providers, search paths, specs."""
