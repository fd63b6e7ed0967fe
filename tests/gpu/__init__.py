"""All checks that need a graphics card, in one command that runs on a machine without network: `make gpu`, docs/gpu-check.md."""
