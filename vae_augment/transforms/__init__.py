"""Latent jitter as a transform: `torchvision` for transforms.v2, `albumentations` for albumentations 2.0."""
