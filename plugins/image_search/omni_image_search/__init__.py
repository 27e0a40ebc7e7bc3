"""Photos found by meaning: an index of your folders, searched by words, by example, or both."""
