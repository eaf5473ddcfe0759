"""A network of a small factor, applied several times for a large one."""

from torch import Tensor

from hsisr_core.models.base import SuperResolver


class Repeated(SuperResolver):
    """`network`, which keeps all bands and pixels, applied `times` times."""

    def __init__(self, network: SuperResolver, times: int) -> None:
        reach = network.halo
        for _ in range(times - 1):
            # what a pass needs of the one before has r times its pixels
            reach = network.halo - (-reach // network.scale)
        super().__init__(network.scale**times, reach)
        self.network, self.times = network, times
        self.mean = network.mean

    def set_mean(self, mean: Tensor) -> None:
        super().set_mean(mean)
        self.network.set_mean(mean)

    def forward(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        for _ in range(self.times):
            lr = self.network(lr)
        return lr
