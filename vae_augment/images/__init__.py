"""Image tensors, image files, random moves and pictures; nothing here knows a VAE."""
