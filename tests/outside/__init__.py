"""Things of shelves that stand outside the project, as a user's own would."""
