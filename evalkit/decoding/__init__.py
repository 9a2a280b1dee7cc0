"""The generation loop: tokens from a MusicGen network, position by position."""
