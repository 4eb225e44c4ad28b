"""Every picture and page, one look: self-contained HTML without scripts, made from run records alone."""
