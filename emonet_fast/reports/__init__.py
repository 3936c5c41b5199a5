"""Pages for people: scores of pictures, time lines."""
