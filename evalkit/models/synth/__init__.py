"""A synthesizer that follows captions."""
