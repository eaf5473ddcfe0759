"""The networks. `build_model` is the one way to make one by name."""

from hsisr_core.models.base import MOST, SuperResolver
from hsisr_core.models.bicubic import Bicubic
from hsisr_core.models.edsr import EDSR
from hsisr_core.models.ercsr import ERCSR
from hsisr_core.models.fcnn3d import FCNN3D
from hsisr_core.models.gdrrn import GDRRN
from hsisr_core.models.mcnet import MCNet
from hsisr_core.models.operations import (
    count_parameters,
    multiply_adds,
    multiply_adds_by_part,
)
from hsisr_core.models.registry import (
    MODELS,
    build_model,
    check_source,
    find_network,
    load_network,
    option_names,
    register,
)
from hsisr_core.models.repeated import Repeated
from hsisr_core.models.sfcsr import SFCSR
from hsisr_core.models.ssrchain import SSRChain
from hsisr_core.models.ssrnet import SSRNet
