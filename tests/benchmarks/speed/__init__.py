"""How fast fitting, generating and serving are: each figure a ratio of two things that took turns in one run."""
