"""From facts to a plan: every decision, as pure functions. No I/O."""
