"""The band and spectrum explorer: cubes side by side, with a kernel and without."""

from hsisr_core.explorer.widget import SpectralExplorer
