"""What tests and demos stand on: an untrained checkpoint in the published layout."""
