"""From a model's name to a checked folder of its files on this machine."""
