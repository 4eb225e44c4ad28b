"""The package: the deployable model, identified by the digest of its manifest, which names the digest of every file."""
