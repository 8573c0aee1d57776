"""The VAE of a class, for K classes at once: the mathematics."""
