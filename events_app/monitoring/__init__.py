"""The facts about the living system, and the URLs and the command that show them."""
