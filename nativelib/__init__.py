"""Build wheels of native libraries, and repair other wheels so that they depend on them."""

__version__ = "0.1.0"
