"""Pictures of a bank for people to look at."""
