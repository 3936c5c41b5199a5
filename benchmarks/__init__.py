"""How fast the package is beside what a user could run instead. In the checkout: `python -m benchmarks.NAME`."""
