"""Classes by their slugs, for tests that name one."""

from __future__ import annotations

from scrapseg.data.classes import CLASSES, ScrapClass


def by_slug(slug: str) -> ScrapClass:
    """The class with this slug."""
    return next(c for c in CLASSES if c.slug == slug)
