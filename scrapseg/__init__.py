"""ScrapSeg: finding impurities in steel scrap with vision-language models.

The notebooks tell the story; this package is the small module behind them. Importing it loads
nothing heavy: take what you need from its modules, for example
``from scrapseg.data import ScrapSim`` or ``from scrapseg.classes import CLASSES``.
"""

__version__ = "0.1.0"
