"""``python -m vae_augment`` is the ``vae-augment`` command."""

from vae_augment.cli import main

main()
