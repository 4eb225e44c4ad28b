"""KFP components: one folder each, a face of a few lines over the library."""
