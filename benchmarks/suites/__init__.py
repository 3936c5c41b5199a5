"""One file a room: `make bench`, `make bench-quick`, or pytest itself; see conftest.py for its options."""
