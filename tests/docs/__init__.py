"""Tests of README.md and docs/: their code, their links, and the site that is made of them."""
