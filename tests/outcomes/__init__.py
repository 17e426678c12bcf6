"""A labelled corpus of pages and what became of them."""
