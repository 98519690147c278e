"""From words to runs to workers."""
