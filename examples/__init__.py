"""Example sites on loopback, the example register, and the demonstration that captures them."""
