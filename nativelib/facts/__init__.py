"""What is known: frozen values and the arithmetic on them. No I/O."""
