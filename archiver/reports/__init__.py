"""Pages and tables made from captures for people to read."""
