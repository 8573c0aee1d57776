"""What latent spaces hold: traversals, maps and morphs."""
