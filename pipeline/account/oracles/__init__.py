"""Other people's tools that answer the same question: optional, run as the user's own install."""
