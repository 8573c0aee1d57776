"""Contents of latent spaces: traversals, maps and morphs."""
