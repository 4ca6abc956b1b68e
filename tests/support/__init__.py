"""What tests share: real compilers, real wheels, real environments."""
