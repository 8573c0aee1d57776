"""Files: what we write is whole or absent, what others wrote is read within bounds."""
