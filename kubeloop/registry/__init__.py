"""Which packages exist under a name, and which one is the champion."""
