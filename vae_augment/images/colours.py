"""Colours of classes in pictures."""

from __future__ import annotations

import colorsys

# Colours that people who confuse red and green can tell apart (Okabe and Ito 2008), readable on white and on black.
PALETTE = ("#0b78b8", "#d55e00", "#009e73", "#cc5f9f", "#b8860b", "#3aa0d8", "#7b61c9", "#8c6d46", "#c4392b", "#6b7a8f")


def class_colours(classes: int) -> list[str]:
    """One colour per class: of a palette for up to ten classes, else evenly spaced hues."""
    if classes <= len(PALETTE):
        return list(PALETTE[:classes])
    colours = []
    for place in range(classes):
        red, green, blue = colorsys.hls_to_rgb(place / classes, 0.42 + 0.12 * (place % 2), 0.6)
        colours.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return colours
