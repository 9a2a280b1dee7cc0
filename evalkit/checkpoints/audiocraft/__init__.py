"""audiocraft's checkpoints, read and put into the modules of transformers, without audiocraft."""
