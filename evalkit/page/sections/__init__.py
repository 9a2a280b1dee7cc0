"""The sections of the page, one file each; see `evalkit.page`."""
