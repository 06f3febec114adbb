"""Magnetic-Tile: how its split was made, and a drawn stand-in for it."""
