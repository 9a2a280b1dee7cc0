"""Reference packs: what metrics need of references, in one file without audio."""
