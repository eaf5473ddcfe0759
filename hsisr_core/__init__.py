"""hsisr: an executable reproduction of SSRNet (Wang, Li, Li; hyperspectral image super-resolution)."""

__version__ = "0.1.0"
