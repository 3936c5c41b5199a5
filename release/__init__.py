"""What makes and checks a release: `make dist`, `make sbom`, `make image`, `make release-notes` (docs/releasing.md)."""
