"""How the pocket model's image side was aligned with its text side; and the shipped model."""


class AlignError(Exception):
    """An alignment cannot start, or its card cannot be written; the message is one line."""
