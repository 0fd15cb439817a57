"""A node beside the archive: studies come in, each is analysed when complete, results go back."""
