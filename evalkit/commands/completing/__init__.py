"""What a shell is offered to complete a command line with, found without importing what takes long."""
